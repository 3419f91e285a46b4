"""
The personality ``notebook_http`` serves annotated notebooks as HTTP APIs.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from kgd.interfaces import IGateway, IPersonality, IPersonalityMaker


@implementer(IPlugin, IPersonalityMaker)
class NotebookHTTPMaker:
    """
    Makes the personality ``notebook_http``.
    """

    name = "notebook_http"

    def make(self, gateway: IGateway) -> IPersonality:
        """
        :raises kgd.errors.ConfigurationError: when there is no notebook to serve.
        """
        # Importing this takes memory that gateways of other personalities do not need.
        from kgd.personalities.notebook_http.personality import NotebookHTTP

        return NotebookHTTP(gateway)


maker = NotebookHTTPMaker()
