"""
Adapts parsers written for the Jupyter Kernel Gateway, which are modules with a ``create_parser``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kgd.errors import ConfigurationError, InvalidNotebook
from kgd.notebook.api import VERBS, Endpoint, Handler, NotebookAPI, NotebookSource
from kgd.notebook.routing import compile_path

_REQUIRED_METHODS = ("is_api_cell", "is_api_response_cell", "endpoints", "endpoint_responses")


class _NbformatCell(dict[str, Any]):
    """
    A cell as in nbformat, which has each value as a key and as an attribute.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class _WarningCollector(logging.Handler):
    """
    Collects the warnings and errors that a parser logs.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class JKGParser:
    """
    Adapts such a parser to :py:class:`kgd.interfaces.ICellParser`. Its endpoints are tried in its
    order.

    :param module: Has a function ``create_parser(parent=, log=, comment_prefix=,
        notebook_cells=)``, which returns an object with the methods ``is_api_cell``,
        ``is_api_response_cell``, ``endpoints`` and ``endpoint_responses``, and maybe
        ``get_default_api_spec``.
    :raises kgd.errors.ConfigurationError: when it has no such function.
    """

    def __init__(self, module: Any) -> None:
        self._name = getattr(module, "__name__", None) or type(module).__name__
        self._create: Any = getattr(module, "create_parser", None)
        if not callable(self._create):
            raise ConfigurationError(
                f"{self._name} is not a cell parser: it has no create_parser()"
            )

    def parse(self, source: NotebookSource) -> NotebookAPI:
        """
        Find a notebook's endpoints; there may be none.

        :raises kgd.errors.ConfigurationError: when the parser lacks a method, or returns a wrong
            type.
        :raises kgd.errors.InvalidNotebook: when the parser fails with this notebook, or finds a
            path that cannot be served.
        """
        warnings = _WarningCollector()
        # A logger of getLogger's would stay for ever, and propagate to the root.
        log = logging.Logger(self._name)  # noqa: LOG001
        log.addHandler(warnings)
        parser = self._call(
            self._create,
            parent=None,
            log=log,
            comment_prefix=source.comment_prefix,
            notebook_cells=[
                _NbformatCell(cell_type=cell.kind, source=cell.source, metadata=_NbformatCell())
                for cell in source.cells
            ],
        )
        for method in _REQUIRED_METHODS:
            if not callable(getattr(parser, method, None)):
                raise ConfigurationError(
                    f"{self._name} is not a cell parser: the object that create_parser() returns "
                    f"has no {method}()"
                )
        code = [cell for cell in source.cells if cell.kind == "code"]
        sources = [cell.source for cell in code]
        found = self._call(parser.endpoints, sources)
        responses = self._call(parser.endpoint_responses, sources)
        if not isinstance(responses, Mapping):
            raise self._unusable("endpoint_responses", "a mapping of paths")
        api_cells = [cell for cell in code if self._call(parser.is_api_cell, cell.source)]
        endpoints = []
        for path, handlers in self._check_pairs(found):
            answers = self._check_sources("endpoint_responses", responses.get(path, {}))
            endpoints.append(
                Endpoint(
                    path=path,
                    handlers={
                        verb: Handler(
                            source=text,
                            response=answers.get(verb),
                            cells=tuple(cell.number for cell in api_cells if cell.source in text),
                        )
                        for verb, text in self._check_sources("endpoints", handlers).items()
                    },
                )
            )
        return NotebookAPI(
            endpoints=tuple(endpoints),
            seed=tuple(
                (cell.number, cell.source)
                for cell in code
                if cell.source.strip()
                and cell not in api_cells
                and not self._call(parser.is_api_response_cell, cell.source)
            ),
            document=self._swagger_document(parser),
            warnings=tuple(warnings.texts),
        )

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            name = getattr(function, "__name__", "create_parser")
            raise InvalidNotebook(
                f"the cell parser {self._name} failed in {name}(): {type(error).__name__}: {error}"
            ) from error

    def _unusable(self, method: str, expected: str) -> ConfigurationError:
        return ConfigurationError(
            f"the cell parser {self._name} is not usable: {method}() has to return {expected}"
        )

    def _check_pairs(self, found: Any) -> Iterable[tuple[str, Any]]:
        """
        :return: Paths that can be served, each with its verbs.
        """
        error = self._unusable("endpoints", "a list of pairs, a path and a mapping of verbs")
        try:
            pairs = [(path, handlers) for path, handlers in found]
        except (TypeError, ValueError):
            raise error from None
        for path, _ in pairs:
            if not isinstance(path, str) or not path.startswith("/"):
                raise error
            compile_path(path)
        return pairs

    def _check_sources(self, method: str, handlers: Any) -> dict[str, str]:
        """
        :return: The source for each verb, in upper case.
        """
        error = self._unusable(
            method, f"a source for each verb, which is one of {', '.join(VERBS)}"
        )
        if not isinstance(handlers, Mapping):
            raise error
        sources = {}
        for verb, text in handlers.items():
            if not isinstance(verb, str) or verb.upper() not in VERBS or not isinstance(text, str):
                raise error
            sources[verb.upper()] = text
        return sources

    def _swagger_document(self, parser: Any) -> Mapping[str, Any] | None:
        """
        :return: The parser's own document, unless it has no paths.
        """
        make = getattr(parser, "get_default_api_spec", None)
        document = self._call(make) if callable(make) else None
        if isinstance(document, Mapping) and document.get("paths"):
            return dict(document)
        return None
