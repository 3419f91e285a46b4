"""
How much of the machine a kernel may use: what the settings say, and what its kernelspec says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kgd.errors import KernelStartFailed
from kgd.interfaces import KernelSpec, Limits
from kgd.settings import Settings, size_in_bytes

#: In the metadata of a kernelspec: ``{"kgd": {"limits": {"memory": "2GiB"}}}``.
_OURS = "kgd"
_LIMITS = "limits"
_SIZES = ("memory", "file_size")
_NAMES = tuple(field.name for field in attrs.fields(Limits))
_LARGEST = 2**62
_NICEST = 19


def limits_of(settings: Settings, spec: KernelSpec) -> Limits:
    """
    :return: Those of the settings, except where the kernelspec says otherwise.
    :raises kgd.errors.KernelStartFailed: when it says something that makes no sense.
    """
    usual = {name: getattr(settings, f"kernel_{name}") for name in _NAMES}
    ours = spec.metadata.get(_OURS, {})
    said = ours.get(_LIMITS, {}) if isinstance(ours, Mapping) else None
    if not isinstance(said, Mapping):
        raise _wrong(spec, f"must be objects, like {{{_OURS!r}: {{{_LIMITS!r}: {{}}}}}}")
    return Limits(**(usual | {name: _read(spec, name, value) for name, value in said.items()}))


def _read(spec: KernelSpec, name: object, value: Any) -> int:
    if name not in _NAMES:
        raise _wrong(spec, f"have {name!r}; there are {', '.join(_NAMES)}")
    right = "a whole number, or null for no limit"
    try:
        if name in _SIZES:
            right = "bytes, as a number or like '2GiB', or null for no limit"
            number = size_in_bytes(value) if isinstance(value, str) else value
        else:
            number = value
        if number is None:
            return 0
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LARGEST:
            raise ValueError
        if name == "nice" and number > _NICEST:
            right = f"a whole number from 0 to {_NICEST}"
            raise ValueError
    except ValueError:
        raise _wrong(spec, f"have {value!r} as {name}; it takes {right}") from None
    return number


def _wrong(spec: KernelSpec, what: str) -> KernelStartFailed:
    return KernelStartFailed(
        f"The {_LIMITS} of {_OURS} in the metadata of the kernelspec {spec.name} {what}; mend its "
        "kernel.json"
    )
