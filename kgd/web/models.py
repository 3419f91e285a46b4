"""
How kernels and kernelspecs look in JSON.
"""

from __future__ import annotations

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
