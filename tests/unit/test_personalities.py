"""
From a name to a personality.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from kgd.errors import ConfigurationError
from kgd.interfaces import Access, IGateway, IPersonality, IPersonalityMaker
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.loader import load
from kgd.parts import Parts
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels


@implementer(IPersonality)
class Plain:
    """
    A personality that serves nothing.
    """

    def start(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)

    def reload(self) -> Deferred[None]:
        """
        Nothing to do.
        """
        return succeed(None)

    def methods(self, path: str) -> tuple[str, ...]:
        """
        Nothing is there.
        """
        return ()

    def resource(self) -> IResource:
        """
        Nothing.
        """
        return Resource()

    def access(self, path: str) -> Access:
        """
        Nothing is there.
        """
        return Access.UNKNOWN


@implementer(IPersonalityMaker)
class Maker:
    """
    Makes what it is given.
    """

    name = "of_somebody"

    def __init__(self, made: Any) -> None:
        self._made = made

    def make(self, gateway: IGateway) -> Any:
        """
        Make it.
        """
        return self._made


class LoaderTests(SynchronousTestCase):
    """
    What ``--api`` may be.
    """

    def setUp(self) -> None:
        specs = FakeKernelSpecs()
        self.gateway = Parts(None, Settings(), MemoryKernels(), specs, None)
        self.module = ModuleType("a_module_of_somebody")
        self.patch(sys, "modules", sys.modules | {"a_module_of_somebody": self.module})

    def test_built_in(self) -> None:
        """
        All names of the built-in personality mean the same.
        """
        for api in ("jupyter_websocket", "jupyter-websocket", "kernel_gateway.jupyter_websocket"):
            self.assertIsInstance(load(api, self.gateway), JupyterWebsocket)

    def test_module(self) -> None:
        """
        A module that has a maker, or the maker itself, is named with its dots.
        """
        plain = Plain()
        setattr(self.module, "maker", Maker(plain))  # noqa: B010
        self.assertIs(load("a_module_of_somebody.maker", self.gateway), plain)

    def test_unknown(self) -> None:
        """
        An unknown name is an error that lists those which there are.
        """
        error = self.assertRaises(ConfigurationError, load, "notebook-gopher", self.gateway)
        self.assertIn("notebook-gopher", str(error))
        self.assertIn("jupyter_websocket", str(error))
        error = self.assertRaises(ConfigurationError, load, "no.such.module", self.gateway)
        self.assertIn("cannot be imported", str(error))

    def test_not_a_maker(self) -> None:
        """
        Something else under a name with dots is refused.
        """
        error = self.assertRaises(ConfigurationError, load, "os.path.join", self.gateway)
        self.assertIn("does not fit", str(error))

    def test_missing_member(self) -> None:
        """
        A personality that lacks something is refused, and what it lacks is named.
        """

        plain: Any = type("Lacking", (), {name: vars(Plain)[name] for name in ("start", "stop")})
        setattr(self.module, "maker", Maker(implementer(IPersonality)(plain)()))  # noqa: B010
        error = self.assertRaises(
            ConfigurationError, load, "a_module_of_somebody.maker", self.gateway
        )
        self.assertIn("access", str(error))
        self.assertIn("resource", str(error))
