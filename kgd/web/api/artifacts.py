"""
``/api/kernels/<kernel_id>/artifacts``: outputs that clients get as URLs.
"""

from __future__ import annotations

import os
from typing import Any

import attrs

from kgd.errors import NoSuchArtifact
from kgd.execution.artifacts import Artifact, ArtifactLimits, ArtifactStores
from kgd.interfaces import IGateway, IKernels
from kgd.web.confined import FileInfo, OpenedFile
from kgd.web.downloads import in_thread, send_file
from kgd.web.routes import Route


def artifact_stores(gateway: IGateway) -> ArtifactStores:
    """
    :return: A place for the artifacts of all kernels.
    """
    settings = gateway.settings
    limits = ArtifactLimits(
        threshold=settings.artifact_threshold,
        space=settings.artifact_space,
        lifetime=settings.artifact_lifetime,
    )
    return ArtifactStores(gateway.reactor, lambda: gateway.private_directory("artifacts"), limits)


@attrs.frozen
class ArtifactsAPI:
    """
    Artifacts over HTTP.
    """

    _reactor: Any
    _kernels: IKernels
    _stores: ArtifactStores

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api/kernels/<kernel_id>/artifacts/<artifact>",
                ("GET",),
                self.show,
                summary="Get an output that was replaced by its URL",
                scope="kernels:read",
            )
        ]

    async def show(self, request: Any, kernel_id: str, artifact: str) -> bytes:
        """
        ``GET /api/kernels/<kernel_id>/artifacts/<artifact>``.
        """
        self._kernels.get(kernel_id)
        found = self._stores.find(kernel_id, artifact)
        await found.when_written()
        file = await in_thread(self._reactor, _open, found)
        media_type = found.media_type
        if media_type.startswith("text/") and "charset" not in media_type:
            media_type += "; charset=utf-8"
        request.setHeader(b"Cache-Control", b"private, no-cache")
        return await send_file(self._reactor, request, file, media_type)


def _open(artifact: Artifact) -> OpenedFile:
    try:
        descriptor = os.open(artifact.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise NoSuchArtifact(f"The artifact {artifact.name} has just expired") from None
    info = FileInfo.of(os.fstat(descriptor))
    return OpenedFile(descriptor, attrs.evolve(info, tag=f'"{artifact.sha256}"'))
