"""
The gateway's token: reads it from its source, and authenticates requests that have it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kgd.auth.identities import ANONYMOUS, Identity
from kgd.auth.in_requests import token_from_request
from kgd.errors import ConfigurationError, describe_read_error
from kgd.observability.scrubbing import Scrubber
from kgd.settings import Settings

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
#: The systemd credential that holds the token if no option names another source.
TOKEN_CREDENTIAL = "kgd-auth-token"  # noqa: S105 - its name, not the token
MAX_TOKEN_FILE = 64 * 1024  # bytes


def with_token_credential(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """
    :return: The settings; without a token, they name :py:data:`TOKEN_CREDENTIAL` if it exists.
    """
    directory = environ.get(CREDENTIALS_VARIABLE)
    if settings.needs_token or not directory or not Path(directory, TOKEN_CREDENTIAL).exists():
        return settings
    return attrs.evolve(settings, auth_token_credential=TOKEN_CREDENTIAL)


class AuthToken:
    """
    The token of one gateway.

    A token in the settings themselves is known at once, others after :py:meth:`load`; until then no
    client is let in.

    :param environ: The environment, for a token in a variable or a credential.
    :param on_secret: Called with each token that is read.
    :ivar scrubber: Removes all tokens that have been read.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str] | None = None,
        on_secret: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._environ = environ or {}
        self._value = settings.auth_token.encode("utf-8")
        self.scrubber = Scrubber([settings.auth_token])
        self._on_secret = on_secret
        self._change_callbacks: list[Callable[[], None]] = []

    @property
    def is_needed(self) -> bool:
        """
        Whether clients need a token.
        """
        return self._settings.needs_token

    def authenticate(self, request: Any) -> Identity | None:
        """
        Find out who sends a request.

        :return: ``None`` when the request lacks the token, or has a wrong one.
        """
        return self.identify(token_from_request(request)) if self.is_needed else ANONYMOUS

    def identify(self, token: bytes | None) -> Identity | None:
        """
        Find out who has sent a token, in a time that does not depend on where it is wrong.

        :param token: ``None`` for a request without one.
        """
        if not self.is_needed:
            return ANONYMOUS
        is_known = token is not None and self._value and hmac.compare_digest(token, self._value)
        return ANONYMOUS if is_known else None

    def on_change(self, callback: Callable[[], None]) -> None:
        """
        Call a function whenever the token changes.
        """
        self._change_callbacks.append(callback)

    def load(self) -> bool:
        """
        Read the token, again if it was read before.

        :return: Whether it has changed. Then all callbacks have been called.
        :raises kgd.errors.ConfigurationError: when it cannot be read, or several sources are given;
            then the token stays as it is.
        """
        if not self.is_needed:
            return False
        text = self._read()
        # Before anything about it can be logged.
        self.scrubber.add(text)
        self._on_secret(text)
        value = text.encode("utf-8")
        if value == self._value:
            return False
        was_known, self._value = bool(self._value), value
        if was_known:
            for callback in self._change_callbacks:
                callback()
        return was_known

    def _read(self) -> str:
        """
        :return: The token, from the one source that the settings name.
        """
        settings = self._settings
        sources = {
            "--auth-token": settings.auth_token,
            "--auth-token-file": settings.auth_token_file,
            "--auth-token-env": settings.auth_token_env,
            "--auth-token-credential": settings.auth_token_credential,
        }
        options = [option for option, value in sources.items() if value]
        if len(options) > 1:
            raise ConfigurationError(
                f"{' and '.join(options)} are all given; give only one of them"
            )
        (option,) = options
        if option == "--auth-token":
            return settings.auth_token
        if option == "--auth-token-env":
            return _check_token(
                self._environ.get(settings.auth_token_env, ""),
                f"the variable {settings.auth_token_env}, which --auth-token-env names,",
            )
        if option == "--auth-token-file":
            return _read_file(Path(settings.auth_token_file), option)
        return _read_file(self._credential_path(settings.auth_token_credential), option)

    def _credential_path(self, name: str) -> Path:
        directory = self._environ.get(CREDENTIALS_VARIABLE)
        if not directory:
            raise ConfigurationError(
                f"--auth-token-credential={name} needs ${CREDENTIALS_VARIABLE}, which is not set; "
                f"add LoadCredential={name}:/path to the systemd unit"
            )
        if name in (".", "..") or os.sep in name:
            raise ConfigurationError(
                f"--auth-token-credential={name} is not the name of a credential; use one without "
                "slashes"
            )
        return Path(directory) / name


def _read_file(path: Path, option: str) -> str:
    where = f"{path}, which {option} names,"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TOKEN_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{where} {describe_read_error(error)}") from None
    if len(content) > MAX_TOKEN_FILE:
        raise ConfigurationError(f"{where} has more than {MAX_TOKEN_FILE} bytes")
    try:
        return _check_token(content.decode("utf-8"), where)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is not UTF-8") from None


def _check_token(text: str, where: str) -> str:
    """
    :raises kgd.errors.ConfigurationError: unless the text is a token that a client can send.
    """
    token = text.strip()
    if not token:
        raise ConfigurationError(f"{where} holds no token; put one there")
    if not token.isprintable():
        raise ConfigurationError(f"{where} must hold one line of printable characters")
    return token
