"""
Media types: what they say of a body, and which of several a client prefers.

Accept: https://www.rfc-editor.org/rfc/rfc9110#name-accept
"""

from __future__ import annotations

from collections.abc import Sequence

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART_FORM = "multipart/form-data"

# What is text although its name does not tell.
_TEXTUAL_TYPES = frozenset({
    JSON, FORM, "application/ecmascript", "application/graphql", "application/javascript",
    "application/json-seq", "application/jsonl", "application/jsonlines", "application/ndjson",
    "application/sparql-query", "application/sql", "application/toml", "application/x-javascript",
    "application/x-jsonlines", "application/x-latex", "application/x-ndjson", "application/x-sh",
    "application/x-tex", "application/x-yaml", "application/xml", "application/xml-dtd",
    "application/yaml",
})  # fmt: skip


def media_type(value: str) -> str:
    """
    :param value: A ``Content-Type``.
    :return: It without its parameters, in lower case.
    """
    return value.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """
    :param kind: As :py:func:`media_type` returns it.
    """
    return kind == JSON or kind.endswith("+json")


def is_textual(kind: str) -> bool:
    """
    :param kind: As :py:func:`media_type` returns it.
    """
    return (
        kind.startswith("text/")
        or kind in _TEXTUAL_TYPES
        or kind.endswith(("+json", "+xml", "+yaml"))
    )


def negotiate(offers: Sequence[str], accept: str | None) -> str | None:
    """
    :param offers: Media types, the one that we like best first.
    :param accept: The client's ``Accept``; parameters in it do not count, and one that cannot be
        read is as good as none.
    :return: The offer that the client likes best, or ``None`` when it accepts none.
    """
    qualities = _parse_accept(accept) if accept else {}
    if not qualities:
        return offers[0] if offers else None
    chosen, highest = None, 0.0
    for offer in offers:
        kind = media_type(offer)
        for wanted in (kind, kind.partition("/")[0] + "/*", "*/*"):
            if wanted in qualities:
                # Only the range that says most of it counts, even when that is a refusal.
                if qualities[wanted] > highest:
                    chosen, highest = offer, qualities[wanted]
                break
    return chosen


def is_acceptable(produces: Sequence[str], accept: str | None) -> bool:
    """
    :param produces: What a handler promises; nothing is as good as anything.
    :return: Whether it is worth running the handler.
    """
    return not produces or negotiate(produces, accept) is not None


def _parse_accept(accept: str) -> dict[str, float]:
    """
    :return: Media range to weight; nothing when it cannot be read.
    """
    found: dict[str, float] = {}
    for element in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in element.split(";"))
        if not kind and not parameters:
            continue
        if kind == "*":
            # As Java's own client has it.
            kind = "*/*"
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    return {}
        family, slash, name = kind.partition("/")
        if not (family and slash and name and 0 <= weight <= 1) or (family == "*" != name):
            return {}
        # A range with several parameters may come several times.
        found[kind] = max(weight, found.get(kind, 0.0))
    return found
