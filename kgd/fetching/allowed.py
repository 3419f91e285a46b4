"""
Which notebooks clients may have the gateway read or fetch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from kgd.fetching.notebooks import is_remote, local_path


def allowed_uri(uri: str, allowed: Iterable[str]) -> str | None:
    """
    :param uri: What a client asks for: a path, or a URI of the schemes file, http or https.
    :param allowed: What the operator allows: files, directories, URLs, and URLs that others begin
        with, up to a slash.
    :return: The URI, or the path of the file without links; ``None`` if it is not allowed.
    """
    if is_remote(uri):
        found = any(is_remote(each) and _is_below(uri, each) for each in allowed)
        return uri if found else None
    path = os.path.realpath(local_path(uri)) if "\0" not in uri else ""
    for each in allowed:
        if is_remote(each):
            continue
        root = os.path.realpath(local_path(each))
        # Reading from a pipe or a device might take for ever.
        if (path == root or path.startswith(root.rstrip("/") + "/")) and (
            os.path.isfile(path) or not os.path.exists(path)
        ):
            return path
    return None


def _is_below(uri: str, prefix: str) -> bool:
    # Both could be read in another way by a server.
    if "\\" in uri or any(ord(char) <= 32 for char in uri):
        return False
    wanted, allowed = urlsplit(uri), urlsplit(prefix)
    if (wanted.scheme.lower(), wanted.netloc.lower()) != (
        allowed.scheme.lower(),
        allowed.netloc.lower(),
    ):
        return False
    path, root = wanted.path, allowed.path
    while (decoded := unquote(path)) != path:
        path = decoded
    if "\\" in path or any(segment in (".", "..") for segment in path.split("/")):
        return False
    # Compared as it is sent.
    return wanted.path == root or wanted.path.startswith(root.rstrip("/") + "/")
