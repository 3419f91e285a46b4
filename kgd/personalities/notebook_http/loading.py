"""
Finds and reads the notebooks that ``--seed-uri`` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from twisted.python.reflect import namedAny
from zope.interface import classImplements
from zope.interface.verify import verifyObject

from kgd.errors import ConfigurationError, InvalidNotebook, NoSuchKernelSpec
from kgd.fetching.notebooks import fetch, is_remote, local_path, split_prefix
from kgd.interfaces import ICellParser, IKernelSpecs, Seed
from kgd.kernels.specs import is_ipykernel
from kgd.notebook.annotation_parser import AnnotationParser
from kgd.notebook.api import NotebookAPI, NotebookSource
from kgd.notebook.endpoints import require_endpoints
from kgd.notebook.jkg_parsers import JKGParser
from kgd.notebook.openapi import title_of
from kgd.notebook.prefixes import comment_prefix
from kgd.notebook.reading import all_cells, kernel_name, language, read_notebook
from kgd.notebook.routing import percent_encode
from kgd.notebook.swagger_parser import SwaggerParser
from kgd.observability.logs import make_logger
from kgd.settings import Settings, normalize_base_url

_log = make_logger()

# Parsers by name; the longer names are modules of the Jupyter Kernel Gateway.
_PARSERS = {
    "cell": AnnotationParser,
    "kernel_gateway.notebook_http.cell.parser": AnnotationParser,
    "swagger": SwaggerParser,
    "kernel_gateway.notebook_http.swagger.parser": SwaggerParser,
}
# Declared here, because kgd.notebook is pure and imports no interfaces.
classImplements(AnnotationParser, ICellParser)
classImplements(SwaggerParser, ICellParser)
classImplements(JKGParser, ICellParser)


@attrs.frozen
class NotebookLocation:
    """
    The URI of a notebook, and the path below which it is served.

    :ivar prefix: The path that precedes all of its endpoints: empty, or with a leading slash and
        without a trailing one, percent-encoded.
    :ivar uri: A path, or a URI.
    """

    prefix: str
    uri: str

    @property
    def path(self) -> Path | None:
        """
        The path of a local notebook.
        """
        return None if is_remote(self.uri) else Path(local_path(self.uri))

    @property
    def title(self) -> str:
        """
        The notebook's name, for people.
        """
        return title_of(self.uri)


@attrs.frozen(kw_only=True)
class LoadedNotebook:
    """
    A notebook that has been read.

    :ivar raw: The content of the file.
    :ivar seed: The cells that run once in each of its kernels.
    :ivar reads_metadata: Whether code can read the metadata of the message that runs it.
    """

    location: NotebookLocation
    raw: bytes = attrs.field(repr=False)
    api: NotebookAPI = attrs.field(repr=False)
    language: str
    seed: Seed = attrs.field(repr=False)
    reads_metadata: bool


def find_notebooks(seed_uris: Iterable[str]) -> list[NotebookLocation]:
    """
    :param seed_uris: Notebooks and directories of notebooks, some after a prefix and ``=``.
    :return: The present notebooks.
    :raises kgd.errors.ConfigurationError: when there are none, or two have the same prefix.
    """
    found: dict[str, NotebookLocation] = {}
    for location in _all_notebooks(seed_uris):
        if location.prefix in found:
            raise ConfigurationError(
                f"Both {found[location.prefix].title} and {location.title} would be served at "
                f"{location.prefix or '/'}; give each a prefix of its own, like "
                "--seed-uri=/reports=reports.ipynb"
            )
        found[location.prefix] = location
    if not found:
        raise ConfigurationError("--api=notebook_http serves a notebook; name it with --seed-uri")
    return list(found.values())


def _all_notebooks(seed_uris: Iterable[str]) -> Iterator[NotebookLocation]:
    for text in seed_uris:
        given, uri = split_prefix(text)
        prefix = normalize_base_url(given or "")
        location = NotebookLocation(percent_encode(prefix), uri)
        path = location.path
        if path is None or not path.is_dir():
            yield location
            continue
        notebooks = sorted(path.glob("*.ipynb"))
        if not notebooks:
            raise ConfigurationError(
                f"There is no notebook in the directory {path}; put one there, or name another one"
            )
        for notebook in notebooks:
            yield NotebookLocation(f"{location.prefix}/{quote(notebook.stem)}", str(notebook))


def find_parser(name: str) -> ICellParser:
    """
    :param name: The value of ``--cell-parser``.
    :raises kgd.errors.ConfigurationError: when there is no such parser.
    """
    if name in _PARSERS:
        return _PARSERS[name]()  # type: ignore[return-value]
    try:
        found: Any = namedAny(name)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise ConfigurationError(
            f"--cell-parser={name} cannot be imported: {error}; use cell, swagger, or the dotted "
            "name of a parser"
        ) from error
    if hasattr(found, "create_parser"):
        return JKGParser(found)
    parser = getattr(found, "parser", found)
    try:
        verifyObject(ICellParser, parser)
    except Exception as error:
        raise ConfigurationError(f"--cell-parser={name} does not fit: {error}") from None
    return parser  # type: ignore[no-any-return]


async def load_notebook(
    reactor: Any, settings: Settings, specs: IKernelSpecs, location: NotebookLocation
) -> LoadedNotebook:
    """
    Read a notebook.

    :raises kgd.errors.GatewayError: when it cannot be read, or has nothing to serve.
    """
    raw = await fetch(reactor, location.uri, settings.max_seed_size, settings.seed_timeout)
    notebook = read_notebook(raw, location.title)
    name = settings.force_kernel_name or kernel_name(notebook)
    if name is None:
        raise InvalidNotebook(
            f"{location.title} does not name its kernel; save it with one, or name one with "
            "--force-kernel-name"
        )
    try:
        spec = specs.find(name)
    except NoSuchKernelSpec as error:
        raise NoSuchKernelSpec(
            f"{location.title} cannot be served: {error}; install that kernel, or choose another "
            "one with --force-kernel-name"
        ) from None
    code_language = language(notebook)
    api = find_parser(settings.cell_parser).parse(
        NotebookSource(
            title=location.title,
            language=code_language,
            comment_prefix=comment_prefix(code_language, settings.comment_prefix),
            cells=all_cells(notebook),
        )
    )
    require_endpoints(api, location.title)
    for warning in api.warnings:
        _log.warn("{title}: {advice}", title=location.title, advice=warning)
    return LoadedNotebook(
        location=location,
        raw=raw,
        api=api,
        language=code_language,
        seed=Seed(kernel_name=spec.name, cells=api.seed),
        reads_metadata=is_ipykernel(spec.argv),
    )
