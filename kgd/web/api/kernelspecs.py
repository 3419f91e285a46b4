"""
``/api/kernelspecs`` and ``/kernelspecs``: the installed kernelspecs, and their files.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.web.resource import IResource

from kgd import errors
from kgd.interfaces import Access, IKernelSpecs, KernelSpec
from kgd.settings import Settings
from kgd.web.files import file_resource
from kgd.web.models import KernelSpecs, kernelspec_model
from kgd.web.mounted import base_url
from kgd.web.responses import json_answer
from kgd.web.routes import Route

ONE_MONTH = 30 * 24 * 60 * 60


@attrs.frozen
class KernelSpecsAPI:
    """
    Kernelspecs over HTTP.
    """

    _settings: Settings
    _specs: IKernelSpecs

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API. Logos may be shown by pages of any origin that
            have the token.
        """
        return [
            Route(
                "/api/kernelspecs",
                ("GET",),
                self.list,
                summary="List the kernelspecs",
                scope="kernelspecs:read",
            ),
            Route(
                "/api/kernelspecs/<spec_name>",
                ("GET",),
                self.show,
                summary="Show a kernelspec",
                scope="kernelspecs:read",
            ),
            Route(
                "/kernelspecs/<spec_name>/<path:file>",
                ("GET",),
                self.file,
                access=Access.ANY_ORIGIN,
                summary="A file of a kernelspec",
                scope="kernelspecs:read",
            ),
        ]

    def list(self, request: Any) -> bytes:
        """
        ``GET /api/kernelspecs``.
        """
        specs = self._specs.all()
        base = base_url(request)
        model = KernelSpecs(
            default=self._settings.default_kernel_name,
            kernelspecs={name: kernelspec_model(spec, base) for name, spec in specs.items()},
        )
        return json_answer(request, model)

    def show(self, request: Any, spec_name: str) -> bytes:
        """
        ``GET /api/kernelspecs/<spec_name>``.
        """
        spec = self._find(spec_name)
        return json_answer(request, kernelspec_model(spec, base_url(request)))

    def file(self, request: Any, spec_name: str, file: str) -> IResource:
        """
        ``GET /kernelspecs/<spec_name>/<path:file>``.
        """
        resource = file_resource(self._find(spec_name).directory, file)
        if file.endswith(".png"):
            request.setHeader(b"Cache-Control", f"max-age={ONE_MONTH}".encode())
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        return resource

    def _find(self, spec_name: str) -> KernelSpec:
        try:
            return self._specs.find(spec_name)
        except errors.NoSuchKernelSpec:
            raise errors.NoSuchKernelSpec(f"Kernel spec {spec_name} not found") from None
