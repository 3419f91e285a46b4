"""
The application of ``portal.py`` for twistd: ``PORTAL_TOKEN=... twistd -ny portal.tac``.
"""

import os
import sys
from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

sys.path.insert(0, str(Path(__file__).resolve().parent))

from portal import Portal

application = Application("portal")
# Taken out, because kernels find there what is in the environment.
portal = Portal(reactor, os.environ.pop("PORTAL_TOKEN", ""))
portal.setServiceParent(application)
port = os.environ.get("PORTAL_PORT", "8000")
endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
StreamServerEndpointService(endpoint, portal.site).setServiceParent(application)
