"""
Making text fit for a log: no secrets in it, and nothing that a terminal obeys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, unquote_plus, urlsplit

# Everything that could end a line, move the cursor or turn the text around.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# What stands before a host: https://user:password@host/
_USERINFO = re.compile(r"(//)[^/?#\s@]*(?:@[^/?#\s@]*)*@")
_SECRET_NAME = re.compile(r"token|secret|passw|pwd|auth|signature|api-?_?key|credential")
# In any text: token=..., ?token=..., Authorization: Bearer ...
_ARGUMENT = re.compile(r"(?i)\b((?:access_|auth_|auth-)?token=)[^&;\s'\"]+")
_HEADER = re.compile(
    r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:token|bearer|basic)\s+)?[^\s'\"]+"
)
_SEPARATOR = re.compile("([&;])")
HIDDEN = "***"
# A shorter secret would be found in innocent words.
SHORTEST_SECRET = 6


def escaped(text: str) -> str:
    """
    :return: The text, with an escape in place of every character that is not harmless.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def scrubbed_uri(uri: str) -> str:
    """
    :param uri: As a client sent it.
    :return: The same without the values of arguments that look like secrets, without names and
        passwords of users, and in printable characters.
    """
    printable = "".join(char if char.isprintable() else "?" for char in uri)
    path, mark, query = _USERINFO.sub(rf"\1{HIDDEN}@", printable).partition("?")
    return path + mark + "".join(map(_scrubbed_argument, _SEPARATOR.split(query)))


def _scrubbed_argument(argument: str) -> str:
    name, equals, _ = argument.partition("=")
    # Whoever percent-encodes the name hides it from nobody but us.
    is_secret = equals and _SECRET_NAME.search(unquote_plus(name).lower())
    return f"{name}={HIDDEN}" if is_secret else argument


def passwords(uris: Iterable[str]) -> list[str]:
    """
    :return: The passwords in URIs, as they stand there and as they are meant.
    """
    found = []
    for uri in uris:
        password = urlsplit(uri).password
        if password:
            found += [password, unquote(password)]
    return found


class Scrubber:
    """
    Takes secrets out of any text.

    :param secrets: Those that are known; in whatever way they got into the text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: set[str] = set()
        self._known: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """
        :param secret: One more that is known from now on.
        """
        if len(secret) < SHORTEST_SECRET:
            return
        self._spellings |= {secret, quote(secret, safe=""), ascii(secret)[1:-1]}
        ordered = sorted(self._spellings, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered)))

    def __call__(self, text: str) -> str:
        """
        :return: The text without secrets.
        """
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        text = _ARGUMENT.sub(rf"\g<1>{HIDDEN}", text)
        return _HEADER.sub(rf"\g<1>{HIDDEN}", text)
