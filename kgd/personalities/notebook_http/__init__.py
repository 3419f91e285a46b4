"""
Annotated notebooks as HTTP APIs.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from kgd.interfaces import IGateway, IPersonality, IPersonalityMaker


@implementer(IPlugin, IPersonalityMaker)
class NotebookHTTPMaker:
    """
    Makes the personality.
    """

    name = "notebook_http"

    def make(self, gateway: IGateway) -> IPersonality:
        """
        :return: The personality.
        :raises kgd.errors.ConfigurationError: when there is nothing to serve.
        """
        # What it is made of takes memory that a gateway of another kind can do without.
        from kgd.personalities.notebook_http.personality import NotebookHTTP

        return NotebookHTTP(gateway)


maker = NotebookHTTPMaker()
