"""
The Swagger document of a notebook's endpoints.

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

from typing import Any

from kgd.notebook.api import NotebookAPI
from kgd.notebook.endpoints import shadowed
from kgd.notebook.paths import parameters, template


def title_of(uri: str) -> str:
    """
    :param uri: Of the notebook.
    :return: Its base name up to the first dot; all of it when it begins with that.
    """
    name = uri.rpartition("/")[2]
    return name.partition(".")[0] or name


def swagger(api: NotebookAPI, title: str, base_path: str) -> dict[str, Any]:
    """
    :param title: For a document that has none.
    :param base_path: What is in front of the endpoints' paths; the slash at its end does not
        count.
    :return: The document that the notebook brings along, or a minimal one.
    """
    minimal = {"version": "0.0.0", "title": title}
    if api.document is not None:
        info = api.document.get("info", minimal)
        if isinstance(info, dict):
            info = {"title": title, **info}
        return {**api.document, "info": info}
    hidden = shadowed(endpoint.path for endpoint in api.endpoints)
    paths: dict[str, Any] = {}
    for endpoint in api.endpoints:
        if endpoint.path in hidden:
            continue
        item: dict[str, Any] = {
            verb.lower(): {"responses": {"200": {"description": "Success"}}}
            for verb in endpoint.handlers
        }
        names = parameters(endpoint.path)
        if names:
            item["parameters"] = [
                {"name": name, "in": "path", "required": True, "type": "string"} for name in names
            ]
        paths.setdefault(template(endpoint.path), item)
    base = base_path.rstrip("/")
    return {
        "swagger": "2.0",
        "paths": paths,
        "info": minimal,
        **({"basePath": base} if base else {}),
    }
