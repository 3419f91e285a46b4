"""
How kernels and kernelspecs look in JSON.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from kgd.interfaces import IKernel, KernelSpec, Session
from kgd.protocol.timestamps import timestamp


def kernel_model(kernel: IKernel) -> dict[str, Any]:
    """
    :return: What ``/api/kernels`` shows of a kernel.
    """
    model = {
        "id": kernel.kernel_id,
        "name": kernel.name,
        "last_activity": timestamp(kernel.last_activity),
        "execution_state": kernel.execution_state,
        "connections": kernel.connections,
    }
    if kernel.reason:
        model["reason"] = kernel.reason
    return model


def session_model(session: Session) -> dict[str, Any]:
    """
    :return: What ``/api/sessions`` shows of a session; ``notebook`` is for old clients.
    """
    return {
        "id": session.session_id,
        "path": session.path,
        "name": session.name,
        "type": session.type,
        "kernel": kernel_model(session.kernel),
        "notebook": {"path": session.path, "name": session.name},
    }


def kernelspec_model(spec: KernelSpec, base: str) -> dict[str, Any]:
    """
    :return: What ``/api/kernelspecs`` shows of a kernelspec.
    """
    return {
        "name": spec.name,
        "spec": {
            "argv": list(spec.argv),
            "env": dict(spec.env),
            "display_name": spec.display_name,
            "language": spec.language,
            "interrupt_mode": spec.interrupt_mode,
            "metadata": dict(spec.metadata),
            "kernel_protocol_version": spec.kernel_protocol_version,
        },
        "resources": {
            key: f"{base}/kernelspecs/{quote(spec.name)}/{quote(file)}"
            for key, file in spec.resources.items()
        },
    }


def _object(required: str, **types: Any) -> dict[str, Any]:
    """
    :param required: Names of fields, with spaces between them.
    :param types: What each field is: the name of a type, or a schema.
    """
    properties = {
        name: {"type": kind} if isinstance(kind, str) else kind for name, kind in types.items()
    }
    schema = {"type": "object", "properties": properties}
    # The format has no empty list of required fields.
    return schema | {"required": required.split()} if required else schema


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}"}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    """
    An object whose names may be any.
    """
    return {"type": "object", "additionalProperties": schema}


_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_NOTEBOOK = _object("", path="string", name="string")
DEFINITIONS = {
    "Error": _object("reason message", reason="string", message="string", short_message="string"),
    "ApiInfo": _object("version", version="string", kgd="string"),
    "Kernel": _object(
        "id name last_activity execution_state connections",
        id="string",
        name="string",
        last_activity=_TIME,
        execution_state="string",
        connections="integer",
        reason="string",
    ),
    "KernelSpec": _object(
        "name spec resources",
        name="string",
        spec=_ref("KernelSpecFile"),
        resources=_values(_TEXT),
    ),
    "KernelSpecFile": _object(
        "argv display_name language",
        argv={"type": "array", "items": _TEXT},
        display_name="string",
        language="string",
        env=_values(_TEXT),
        interrupt_mode="string",
        metadata="object",
        kernel_protocol_version="string",
    ),
    "Session": _object(
        "id path name type kernel notebook",
        id="string",
        path="string",
        name="string",
        type="string",
        kernel=_ref("Kernel"),
        notebook=_NOTEBOOK,
    ),
}
ERROR = _ref("Error")
_SPECS = _object("default kernelspecs", default="string", kernelspecs=_values(_ref("KernelSpec")))
_STATUS = _object(
    "connections kernels last_activity started",
    connections="integer",
    kernels="integer",
    last_activity=_TIME,
    started=_TIME,
)
_DRAIN = _object("draining kernels", draining="boolean", kernels="integer")
_ME = {"identity": _values({}), "permissions": _values({"type": "array", "items": _TEXT})}
_START = _object("", name="string", path="string", env=_values(_TEXT), kernel_id="string")
_WANTED = {
    "path": "string",
    "type": "string",
    "name": "string",
    "kernel": _object("", id="string", name="string"),
}
# Bodies of requests: what they hold, and whether they have to be sent.
BODIES: dict[tuple[str, str], tuple[dict[str, Any], bool]] = {
    ("POST", "/api/kernels"): (_START, False),
    ("POST", "/api/sessions"): (_object("path type", **_WANTED), True),
    ("PATCH", "/api/sessions/<session_id>"): (_object("", **_WANTED), True),
}
# Successful answers: the status, and what they hold if that is JSON.
ANSWERS: dict[tuple[str, str], tuple[HTTPStatus, dict[str, Any] | None]] = {
    ("GET", "/api"): (HTTPStatus.OK, _ref("ApiInfo")),
    ("GET", "/api/status"): (HTTPStatus.OK, _STATUS),
    ("POST", "/api/drain"): (HTTPStatus.ACCEPTED, _DRAIN),
    ("GET", "/api/me"): (HTTPStatus.OK, _object("identity permissions", **_ME)),
    ("GET", "/api/kernels"): (HTTPStatus.OK, _list("Kernel")),
    ("POST", "/api/kernels"): (HTTPStatus.CREATED, _ref("Kernel")),
    ("GET", "/api/kernels/<kernel_id>"): (HTTPStatus.OK, _ref("Kernel")),
    ("DELETE", "/api/kernels/<kernel_id>"): (HTTPStatus.NO_CONTENT, None),
    ("POST", "/api/kernels/<kernel_id>/interrupt"): (HTTPStatus.NO_CONTENT, None),
    ("POST", "/api/kernels/<kernel_id>/restart"): (HTTPStatus.OK, _ref("Kernel")),
    ("GET", "/api/kernels/<kernel_id>/channels"): (HTTPStatus.SWITCHING_PROTOCOLS, None),
    ("GET", "/api/kernelspecs"): (HTTPStatus.OK, _SPECS),
    ("GET", "/api/kernelspecs/<spec_name>"): (HTTPStatus.OK, _ref("KernelSpec")),
    ("GET", "/api/sessions"): (HTTPStatus.OK, _list("Session")),
    ("POST", "/api/sessions"): (HTTPStatus.CREATED, _ref("Session")),
    ("GET", "/api/sessions/<session_id>"): (HTTPStatus.OK, _ref("Session")),
    ("PATCH", "/api/sessions/<session_id>"): (HTTPStatus.OK, _ref("Session")),
    ("DELETE", "/api/sessions/<session_id>"): (HTTPStatus.NO_CONTENT, None),
}
