"""
Loads the seed notebook, whose cells run in every kernel before clients use it.
"""

from __future__ import annotations

from typing import Any

from kgd.errors import ConfigurationError, GatewayError
from kgd.fetching.notebooks import fetch, name_for_display
from kgd.interfaces import IKernelSpecs, Seed
from kgd.notebook.reading import read_notebook
from kgd.observability.logs import make_logger
from kgd.settings import Settings

_log = make_logger()


async def load_seed(reactor: Any, settings: Settings, specs: IKernelSpecs) -> Seed | None:
    """
    :return: The seed that ``--seed-uri`` names, or ``None`` when it names none.
    :raises kgd.errors.ConfigurationError: when the notebook cannot be fetched or read, or its
        kernelspec is not installed.
    """
    if not settings.seed_uri:
        return None
    if len(settings.seed_uri) > 1:
        raise ConfigurationError(
            "There is more than one --seed-uri; only --api=notebook_http serves several"
        )
    (uri,) = settings.seed_uri
    try:
        raw = await fetch(reactor, uri, settings.max_seed_size, settings.seed_timeout)
        notebook = read_notebook(raw, name_for_display(uri))
        name = settings.force_kernel_name or notebook.kernel_name() or settings.default_kernel_name
        spec = specs.find(name)
    except GatewayError as error:
        raise ConfigurationError(
            f"The seed notebook cannot be used: {error}; see --seed-uri"
        ) from None
    seed = Seed(kernel_name=spec.name, cells=notebook.code_cells())
    _log.info(
        "{count} cells seed every kernel of {kernel_name}",
        count=len(seed.cells),
        kernel_name=seed.kernel_name,
    )
    return seed
