"""
An application with two gateways in it: ``PORTAL_TOKEN=... python portal.py --port=8000``.

Below ``/kernels`` people work with kernels, with the token; below ``/reports`` everybody may ask
what a notebook answers; everything else is the application's own. ``portal.tac`` is the same for
twistd.
"""

import argparse
import os
import sys
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from twisted.web.server import Site

import kgd

HERE = Path(__file__).resolve().parent


class Home(Resource):
    """
    A page of the application's own.
    """

    def render_GET(self, request):
        """
        :return: The page.
        """
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return b"Kernels are at /kernels, reports at /reports.\n"


class Portal(MultiService):
    """
    The application: its pages, and its gateways, which start and stop with it.

    :ivar site: What to listen with.
    """

    def __init__(self, reactor, token):
        super().__init__()
        self.kernels = kgd.Gateway(
            reactor, kgd.Settings(auth_token=token, list_kernels=True, max_kernels=5)
        )
        self.reports = kgd.Gateway(
            reactor,
            kgd.Settings(api="notebook_http", seed_uri=(str(HERE / "reports.ipynb"),)),
        )
        for gateway in (self.kernels, self.reports):
            gateway.setServiceParent(self)
        root = Resource()
        root.putChild(b"", Home())
        root.putChild(b"kernels", self.kernels.resource)
        root.putChild(b"reports", self.reports.resource)
        self.site = Site(root)

    async def ready(self):
        """
        Wait until both gateways can be used; until then they answer 503.
        """
        await self.kernels.when_ready()
        await self.reports.when_ready()


async def main(reactor, port, token):
    """
    Serve until somebody says stop.
    """
    portal = Portal(reactor, token)
    portal.startService()
    reactor.addSystemEventTrigger("before", "shutdown", portal.stopService)
    await portal.ready()
    endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
    listening = await endpoint.listen(portal.site)
    print(f"http://127.0.0.1:{listening.getHost().port}/", flush=True)
    await Deferred()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    # Others could see it on the command line; kernels find what is left in the environment.
    token = os.environ.pop("PORTAL_TOKEN", "")
    react(lambda reactor: main(reactor, given.port, token))
