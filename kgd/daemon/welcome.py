"""
What an operator sees first: how to try the gateway, after the line that says where it is available.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from kgd.observability.logs import is_logged
from kgd.personalities.loader import normalize_api_name
from kgd.settings import Settings

# Something to ask for that every personality has, and something more telling that some have.
_ALWAYS = "/healthz"
_PATHS = {"jupyter_websocket": "/api/kernelspecs"}
_LOOPBACK = (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:"))


def how_to_try(settings: Settings, url: str) -> str:
    """
    :param url: Where the gateway answers, from its log.
    :return: A command, or what to open in a browser. It has a placeholder for the token.
    """
    words, base = ["curl"], url
    for every, loopback in _LOOPBACK:
        base = base.replace(every, loopback)
    is_local = url.startswith("unix:")
    if is_local:
        words += ["--unix-socket", url.removeprefix("unix:")]
        base = f"http://localhost{settings.base_url}"
    if settings.client_ca and base.startswith("https:"):
        words += ["--cert", "YOUR_CERTIFICATE"]
    api = normalize_api_name(settings.api)
    if api == "notebook_http" and not is_local:
        if settings.needs_token:
            return f"open {base}/_api/docs?token= in a browser, with the token at its end"
        return f"open {base}/_api/docs in a browser"
    path = _PATHS.get(api, _ALWAYS)
    if settings.needs_token and path != _ALWAYS:
        # Not as a header: the log takes what follows "Authorization:" for a secret.
        words += ["--oauth2-bearer", "YOUR_TOKEN"]
    return shlex.join([*words, base + path])


def is_announced(settings: Settings, of_twistd: Mapping[str, Any]) -> bool:
    """
    Whether the log is on the terminal and has the line that says where the gateway is available.
    """
    elsewhere = any(of_twistd.get(name) for name in ("syslog", "logger", "logfile"))
    return is_logged("info") and settings.log_format == "text" and not elsewhere
