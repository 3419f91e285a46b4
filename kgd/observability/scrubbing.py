"""
Removes secrets and control characters from text that goes to a log.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

# Everything that could end a line, move the cursor or turn the text around.
_UNSAFE_CHARACTERS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_ESCAPES = {
    ord(char): ascii(char)[1:-1]
    for char in map(chr, range(0x2100))
    if _UNSAFE_CHARACTERS.fullmatch(char)
}
# What stands before a host: https://user:password@host/
_USERINFO = re.compile(r"(?<=//)[^/?#\s]*@")
_SECRET_ARGUMENT_NAME = re.compile(r"token|secret|passw|pwd|auth|signature|api-?_?key|credential")
# In any text: token=..., ?token=..., Authorization: Bearer ...
_TOKEN_ARGUMENT = re.compile(r"(?i)\b((?:access_|auth_|auth-)?token=)[^&;\s'\"]+")
_AUTHORIZATION_HEADER = re.compile(
    r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:token|bearer|basic)\s+)?[^\s'\"]+"
)
_SEPARATOR = re.compile("([&;])")
HIDDEN = "***"
# A shorter secret would be found in innocent words.
MIN_SECRET = 6


def escaped(text: str) -> str:
    """
    :return: The text with control characters as escapes, like ``\\x1b``.
    """
    return text.translate(_ESCAPES) if _UNSAFE_CHARACTERS.search(text) else text


def shortened(text: str, limit: int) -> str:
    """
    Shorten a text before it is searched for secrets, which takes time.

    :param limit: In characters.
    :return: The text, or its beginning, which does not end within a word: that may be a secret.
    """
    if len(text) <= limit:
        return text
    end = max(text.rfind(separator, 0, limit) for separator in " /?&;=")
    return f"{text[: end + 1]}..."


def scrubbed_uri(uri: str) -> str:
    """
    Remove the values of arguments that look like secrets, users and passwords, and characters that
    cannot be printed.

    :param uri: As a client sent it.
    """
    path, mark, query = _USERINFO.sub(f"{HIDDEN}@", _printable(uri)).partition("?")
    if _has_encoded_token(path):
        path = _TOKEN_ARGUMENT.sub(rf"\g<1>{HIDDEN}", _printable(unquote(unquote(path))))
    return path + mark + "".join(map(_scrubbed_argument, _SEPARATOR.split(query)))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _scrubbed_argument(argument: str) -> str:
    name, equals, _ = argument.partition("=")
    # A server decodes the name, so a percent-encoded one is a secret's name, too.
    if equals and _SECRET_ARGUMENT_NAME.search(unquote_plus(name).lower()):
        return f"{name}={HIDDEN}"
    if not _has_encoded_token(argument):
        return argument
    # Another URI: ?next=%2Flab%3Ftoken%3D...
    return f"{name}={HIDDEN}" if equals else HIDDEN


def _has_encoded_token(text: str) -> bool:
    """
    Whether there is a secret in what is percent-encoded, once or twice.
    """
    return "%" in text and any(map(_TOKEN_ARGUMENT.search, (unquote(text), unquote(unquote(text)))))


def passwords_in(uris: Iterable[str]) -> list[str]:
    """
    :return: The passwords in URIs, both percent-encoded and decoded.
    """
    found = []
    for uri in uris:
        password = urlsplit(uri).password
        if password:
            found += [password, unquote(password)]
    return found


class Scrubber:
    """
    Removes secrets from text.

    :param secrets: Secrets that are known, and are found however they are encoded.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known_forms: set[str] = set()
        self._known_pattern: re.Pattern[str] | None = None
        self._encoded_pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """
        Add a secret; one that is too short to be told from words is ignored.
        """
        if len(secret) < MIN_SECRET:
            return
        self._known_forms |= {
            secret, ascii(secret)[1:-1], json.dumps(secret)[1:-1], *_in_base64(secret),
        }  # fmt: skip
        ordered = sorted(self._known_forms, key=len, reverse=True)
        self._known_pattern = re.compile("|".join(map(re.escape, ordered)))
        self._encoded_pattern = re.compile("|".join(map(_percent_encoded, ordered)))

    def scrub_known(self, text: str) -> str:
        """
        :return: The text without the known secrets, however they are encoded.
        """
        if self._encoded_pattern is not None and "%" in text:
            text = self._encoded_pattern.sub(HIDDEN, text)
        return text if self._known_pattern is None else self._known_pattern.sub(HIDDEN, text)

    def __call__(self, text: str) -> str:
        """
        :return: The text without known secrets and without what looks like one.
        """
        text = self.scrub_known(text)
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        text = _TOKEN_ARGUMENT.sub(rf"\g<1>{HIDDEN}", text)
        return _AUTHORIZATION_HEADER.sub(rf"\g<1>{HIDDEN}", text)


def _in_base64(secret: str) -> Iterator[str]:
    """
    :return: The characters that stand for the secret in Base64, for each of its three alignments.
    """
    data = secret.encode("utf-8")
    for before in range(3):
        encoded = b64encode(bytes(before) + data).decode("ascii")
        core = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield core
        yield core.translate({ord("+"): "-", ord("/"): "_"})


def _percent_encoded(text: str) -> str:
    """
    :return: A pattern for the text, any character of which may be percent-encoded, repeatedly.
    """
    return "".join(
        f"(?:{re.escape(char)}|(?i:{''.join(f'%(?:25)*{byte:02x}' for byte in char.encode())}))"
        for char in text
    )
