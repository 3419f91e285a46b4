"""
Writes JSON-like data as YAML.

Format: https://yaml.org/spec/1.2.2/, in block style. Texts are in double quotes, as in JSON, so
that no parser, also of YAML 1.1, takes one for a number, a date or a switch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

#: The most bytes that a key may have, as it is written: YAML limits the length of simple keys.
MAX_KEY = 1000
# Words that are keys without quotes. YAML 1.1 takes some others for switches, like "on" and "y".
_PLAIN_KEY = re.compile(r"[A-Za-z_$/][\w$/-]{2,}", re.ASCII)
_SWITCHES = frozenset({"yes", "off", "true", "false", "null"})
# What JSON leaves as it is, and YAML takes for a line break, or does not take at all.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(value: Any) -> str:
    """
    :param value: What msgspec can encode as JSON: mappings with texts as keys, lists, texts, whole
        numbers, switches and ``None``.
    :return: The same as YAML, with a line feed at its end.
    :raises ValueError: for a key that is longer than :py:data:`MAX_KEY`, and for numbers that are
        not whole, which YAML 1.1 writes in other ways than JSON.
    """
    value = msgspec.to_builtins(value)
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    if not value or not isinstance(value, dict | list):
        yield indent + _scalar(value)
    elif isinstance(value, dict):
        yield from _mapping(value, indent)
    else:
        for item in value:
            # The first line of an item has the dash in place of its indentation.
            first, *others = _lines(item, f"{indent}  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from others


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, item in value.items():
        key = indent + _key(name)
        if item and isinstance(item, dict | list):
            yield f"{key}:"
            yield from _lines(item, f"{indent}  ")
        else:
            yield f"{key}: {_scalar(item)}"


def _key(name: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(name) and name.lower() not in _SWITCHES
    key = name if is_plain else _scalar(name)
    if len(key.encode()) > MAX_KEY:
        raise ValueError(f"a key of YAML may have at most {MAX_KEY} bytes: {key[:50]}...")
    return key


def _scalar(value: Any) -> str:
    """
    :param value: Anything but a mapping or a list that has items.
    """
    if isinstance(value, float):
        raise ValueError(f"{value} is not a whole number")
    text = msgspec.json.encode(value).decode()
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
