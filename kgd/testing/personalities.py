"""
A contract suite that every personality passes, and a gateway in memory to run it with.
"""

# mypy: allow-untyped-calls
# (trial's assertions have no types)

from __future__ import annotations

import re
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kgd.auth.token import AuthToken
from kgd.errors import GatewayError
from kgd.interfaces import (
    Access,
    IGateway,
    IKernel,
    IPersonality,
    IPersonalityMaker,
    PersonalityOption,
)
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.open_files import FileBudget
from kgd.personalities.loader import make
from kgd.protocol.outputs import Outputs
from kgd.settings import Settings
from kgd.shutdown import Draining, OpenSockets
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import MemoryClient
from kgd.web.operations.routes import Operations

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase
else:
    # The suite is mixed into test cases.
    SynchronousTestCase = object

TOKEN = "a token of the contract's"  # noqa: S105
_STRANGE_PATHS = ("/", "//", "/%ff", "/%2f..%2f", "/no/such/thing", "/a//b", "/" + 3000 * "x")


@implementer(IGateway)
@attrs.define
class MemoryGateway:
    """
    A gateway without processes and files.

    :ivar reactor: A clock.
    :ivar outputs: The outputs of the code that is run next, in order; exceptions fail it. Without
        any, the code never ends.
    :ivar ran: The kernel and the source of each code that was run.
    """

    settings: Settings = attrs.field(factory=Settings)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    reactor: Clock = attrs.field(factory=Clock)
    kernel_specs: FakeKernelSpecs = attrs.field(factory=FakeKernelSpecs)
    kernels: MemoryKernels = attrs.field()
    draining: Draining = attrs.field(factory=Draining)
    counters: Counters = attrs.field(factory=Counters)
    audit: AuditLog = attrs.field(factory=AuditLog)
    open_sockets: OpenSockets = attrs.field(factory=OpenSockets)
    files: FileBudget = attrs.field(factory=FileBudget)
    token: AuthToken = attrs.Factory(lambda self: AuthToken(self.settings), takes_self=True)
    outputs: list[Outputs | Exception] = attrs.field(factory=list)
    ran: list[tuple[IKernel, str]] = attrs.field(factory=list)
    operations: Operations = attrs.Factory(Operations, takes_self=True)

    @kernels.default
    def _kernels(self) -> MemoryKernels:
        return MemoryKernels(self.settings, self.kernel_specs)

    def run(self, kernel: IKernel, source: str) -> Deferred[Outputs]:
        """
        Record the code, and fire with the next of :py:attr:`outputs`.
        """
        self.ran.append((kernel, source))
        done: Deferred[Outputs] = Deferred()
        if self.outputs:
            outcome = self.outputs.pop(0)
            if isinstance(outcome, Exception):
                done.errback(outcome)
            else:
                done.callback(outcome)
        return done

    def private_directory(self, name: str) -> Path:
        """
        :return: A new temporary directory, which is not removed.
        """
        return Path(tempfile.mkdtemp(prefix=f"kgd-{name}-"))

    def hand_over(self, *paths: Path) -> None:
        """
        Do nothing: no kernel runs as another user.
        """

    def as_kernel_user(self) -> AbstractContextManager[None]:
        """
        :return: Changes nothing.
        """
        return nullcontext()


class PersonalityContract(SynchronousTestCase):
    """
    What every personality promises, in either form. Mix it into a ``SynchronousTestCase``; its
    kernels do nothing.
    """

    #: Paths that are served, percent-encoded and without queries.
    served: Sequence[str] = ()
    #: Those of them that need no token.
    public: Sequence[str] = ()

    @abstractmethod
    def make_maker(self) -> IPersonalityMaker:
        """
        :return: The maker that ``--api`` names.
        """

    def make_settings(self, **more: Any) -> Settings:
        """
        :param more: Settings that a test needs.
        :return: Settings with which the personality works.
        """
        return Settings(**more)

    def make_personality(self, **settings: Any) -> IPersonality:
        """
        :return: A new personality, which has not been started.
        """
        self.gateway = MemoryGateway(self.make_settings(**settings))
        return make(self.make_maker(), self.gateway)

    def result_of(self, method: Any) -> Any:
        """
        :return: The result of a method that returns a value, a Deferred or a coroutine.
        """
        return self.successResultOf(maybeDeferred(method))

    def start(self, **settings: Any) -> IPersonality:
        """
        :return: A started personality, which is stopped after the test.
        """
        personality = self.make_personality(**settings)
        self.result_of(personality.start)
        self.addCleanup(self.result_of, personality.stop)
        return personality

    def serve(self, **settings: Any) -> MemoryClient:
        """
        :return: A client of a started personality.
        """
        personality = self.start(**settings)
        client = MemoryClient(
            self.gateway.settings, personality, operations=self.gateway.operations
        )
        self.addCleanup(client.close)
        return client

    def methods_of(self, client: MemoryClient, path: str) -> list[str]:
        """
        :return: The methods that ``OPTIONS`` names for a path.
        """
        allowed = client.request("OPTIONS", path).headers["allow"].split(", ")
        return [each for each in allowed if each != "OPTIONS"]

    def test_provides_the_interfaces(self) -> None:
        """
        The maker, its options and the personality provide their interfaces.
        """
        maker = self.make_maker()
        verifyObject(IPersonalityMaker, maker)
        self.assertTrue(re.fullmatch("[a-z][a-z0-9_]*", maker.name), maker.name)
        for row in getattr(maker, "options", ()):
            self.assertIsInstance(row, PersonalityOption)
            self.assertTrue(re.fullmatch("[a-z][a-z0-9-]*", row.name), row.name)
            self.assertTrue(row.help)
        verifyObject(IPersonality, self.make_personality())

    def test_several(self) -> None:
        """
        A maker makes a new personality each time; several work side by side.
        """
        self.assertIsNot(self.start(), self.start())

    def test_stops(self) -> None:
        """
        It can be stopped before it was started, and twice; no timer is left.
        """
        self.result_of(self.make_personality().stop)
        personality = self.make_personality()
        self.result_of(personality.start)
        for _ in range(2):
            self.result_of(personality.stop)
        self.result_of(self.gateway.kernels.stop_all)
        self.assertEqual(self.gateway.reactor.getDelayedCalls(), [])

    def test_reloads(self) -> None:
        """
        A reload without changes has no effect.
        """
        personality = self.start()
        self.result_of(personality.reload)
        for path in self.served:
            self.assertIsNotNone(personality.match("GET", path), path)

    def test_serves(self) -> None:
        """
        Each served path has methods, in upper case, and an access.
        """
        personality = self.start()
        self.assertTrue(self.served, "name some paths")
        for path in self.served:
            match = personality.match("OPTIONS", path)
            assert match is not None, path
            self.assertIsInstance(match.access, Access)
            self.assertIsNot(match.access, Access.UNKNOWN, path)
            self.assertEqual(match.access is Access.PUBLIC, path in self.public, path)
            self.assertTrue(match.methods, path)
            self.assertEqual([each.upper() for each in match.methods], list(match.methods))
            self.assertIsInstance(match.scope, str)
            for method in {*match.methods} - {"OPTIONS"}:
                again = personality.match(method, path)
                assert again is not None, (method, path)
                self.assertIs(again.access, match.access, (method, path))
                self.assertIn(method, again.methods, path)

    def test_strange_paths(self) -> None:
        """
        Every path can be matched; the served ones have methods.
        """
        personality = self.start()
        for path in _STRANGE_PATHS:
            try:
                match = personality.match("OPTIONS", path)
            except GatewayError:
                continue
            if match is not None:
                self.assertIsInstance(match.access, Access)
                self.assertIsNot(match.access, Access.UNKNOWN, path)
                self.assertTrue(match.methods, path)

    def test_other_methods(self) -> None:
        """
        A method that a path does not support is a 405 that names the supported ones.
        """
        client = self.serve()
        for path in self.served:
            methods = self.methods_of(client, path)
            response = client.request("BREW", path)
            self.assertEqual(response.code, 405, path)
            allowed = set(response.headers["allow"].split(", "))
            self.assertLessEqual({*methods, "OPTIONS"}, allowed, path)

    def test_monitoring(self) -> None:
        """
        The gateway serves its probes, with what the personality adds to them, unless the
        personality serves these paths.
        """
        client = self.serve(metrics_public=True)
        for path in ("/healthz", "/readyz", "/metrics"):
            if path not in self.served:
                self.assertEqual(client.request("GET", path).code, 200, path)

    def test_unknown_path(self) -> None:
        """
        A path that is not served is a 404 in JSON, without a token.
        """
        response = self.serve(auth_token=TOKEN).request("GET", "/no/such/thing/here")
        self.assertEqual((response.code, response.json["reason"]), (404, "Not Found"))

    def test_token(self) -> None:
        """
        Without the token, only public paths are served.
        """
        client = self.serve(auth_token=TOKEN)
        for path in self.served:
            for method in self.methods_of(client, path):
                if path not in self.public:
                    self.assertEqual(client.request(method, path, b"").code, 401, path)
        self.assertEqual(self.gateway.ran, [])

    def test_options(self) -> None:
        """
        The gateway answers preflight requests, without the token, and nothing runs.
        """
        client = self.serve(auth_token=TOKEN)
        for path in self.served:
            preflight = {"Access-Control-Request-Method": "GET"}
            self.assertEqual(client.request("OPTIONS", path, headers=preflight).code, 200)
            self.assertTrue(self.methods_of(client, path))
        self.assertEqual(self.gateway.ran, [])

    def test_below_a_base_url(self) -> None:
        """
        All paths are below the base URL, and none is beside it.
        """
        client = self.serve(base_url="/some/base", auth_token=TOKEN)
        for path in self.served:
            self.assertEqual(client.request("OPTIONS", path).headers.get("allow"), None)
            self.assertTrue(self.methods_of(client, f"/some/base{path}"))
