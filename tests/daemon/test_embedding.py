"""
Gateways within an application, which here is the test itself.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from klein import Klein
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.utils import getProcessOutput
from twisted.logger import formatEventAsClassicLogText, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data
from zope.interface import implementer

import kgd
from kgd.errors import ConfigurationError, InvalidRequest
from kgd.interfaces import Access, IDrainable, IPersonality
from tests.support.gateway import GatewayTestCase, alive, children_of, http, stdout, until
from tests.support.personalities import Maker, Plain, PlainResource

TOKEN = {"Authorization": "token secret"}


def process_wide() -> list[Any]:
    """
    :return: What belongs to the application, and no gateway may change.
    """
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)
    return [
        [signal.getsignal(each) for each in signals],
        resource.getrlimit(resource.RLIMIT_NOFILE),
        gc.get_freeze_count(),
        os.getcwd(),
        dict(os.environ),
        socket.getdefaulttimeout(),
    ]


class EmbeddingTests(GatewayTestCase):
    """
    One process, some gateways, real connections.
    """

    def setUp(self) -> Any:
        """
        An application whose server is Twisted's own.
        """
        waiting = super().setUp()
        patch = mock.patch.dict(os.environ, self.environment())
        patch.start()
        self.addCleanup(patch.stop)
        self.application = MultiService()
        self.application.startService()
        self.root = Resource()
        self.root.putChild(b"own", Data(b"the application's", "text/plain"))
        self.addCleanup(self.application.stopService)
        return waiting

    def settings(self, **more: Any) -> kgd.Settings:
        """
        :return: Settings for tiny kernels.
        """
        usual: dict[str, Any] = {"default_kernel_name": "tiny", "list_kernels": True}
        return kgd.Settings(**(usual | more))

    async def listen(self) -> None:
        """
        Let the application listen.
        """
        self.access_log = Path(self.mktemp())
        site = Site(self.root, logPath=str(self.access_log).encode())
        endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        listening = await endpoint.listen(site)
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port

    async def gateway_at(self, *path: bytes, **settings: Any) -> kgd.Gateway:
        """
        :return: A gateway that can be used, mounted there.
        """
        gateway = kgd.Gateway(reactor, self.settings(**settings))
        gateway.setServiceParent(self.application)
        node = self.root
        for name in path[:-1]:
            below = Resource()
            node.putChild(name, below)
            node = below
        node.putChild(path[-1], gateway.resource)
        await gateway.when_ready()
        return gateway

    async def test_behind_a_proxy(self) -> None:
        """
        A mounted gateway, too, believes a trusted proxy.
        """
        await self.gateway_at(b"plain")
        await self.gateway_at(b"trusting", trust_xheaders=True)
        await self.listen()
        headers = {
            "Host": "localhost",
            "Origin": "https://localhost",
            "X-Forwarded-Proto": "https",
            "X-Real-Ip": "10.1.2.3",
        }
        for path, code in (("/plain/api", 404), ("/trusting/api", 200)):
            self.assertEqual((await http(self.port, "GET", path, headers=headers)).code, code)
        await until(lambda: "/trusting" in self.access_log.read_text(), "it is logged")
        plain, trusting = self.access_log.read_text().splitlines()
        self.assertTrue(plain.startswith('"127.0.0.1" '), plain)
        self.assertTrue(trusting.startswith('"10.1.2.3" '), trusting)

    async def test_two(self) -> None:
        """
        Two gateways know nothing of each other, and change nothing of the process's.
        """
        before = process_wide()
        await self.listen()
        await self.gateway_at(b"one")
        await self.gateway_at(b"some folder", b"two", auth_token="secret", max_kernels=1)
        one, two = "/one", "/some%20folder/two"
        kernel_id = await self.start_kernel(self.port, base=one)
        response = await http(self.port, "POST", f"{two}/api/kernels", {}, TOKEN)
        self.assertEqual(response.code, 201, response.body)
        other = response.json["id"]
        self.assertEqual(response.headers["location"], f"{two}/api/kernels/{other}")
        self.assertEqual((await http(self.port, "POST", f"{two}/api/kernels", {}, TOKEN)).code, 403)
        self.assertEqual((await http(self.port, "GET", f"{two}/api/kernels")).code, 401)
        for base, only in ((one, kernel_id), (two, other)):
            listed = await http(self.port, "GET", f"{base}/api/kernels", headers=TOKEN)
            self.assertEqual([each["id"] for each in listed.json], [only])
            described = await http(self.port, "GET", f"{base}/api/swagger.json")
            self.assertEqual(described.json["basePath"], base)
        for v1 in (False, True):
            client = await self.connect(self.port, kernel_id, base=one, v1=v1)
            self.assertEqual(stdout(await client.execute("hello")), "hello")
        client = await self.connect(self.port, other, base=two, query="?token=secret")
        self.assertEqual(stdout(await client.execute("hello")), "hello")
        # What is beside them is the application's.
        self.assertEqual((await http(self.port, "GET", "/own")).body, b"the application's")
        self.assertEqual((await http(self.port, "GET", "/api/kernels")).code, 404)
        self.assertEqual((await http(self.port, "GET", "/one/own")).json["reason"], "Not Found")
        self.assertEqual(process_wide(), before)

    async def test_life(self) -> None:
        """
        A gateway starts and stops with the application, tells those who come too early or too late,
        and can be started again.
        """
        await self.listen()
        gateway = kgd.Gateway(reactor, self.settings())
        self.root.putChild(b"k", gateway.resource)
        early = await http(self.port, "GET", "/k/api")
        self.assertEqual((early.code, early.headers["retry-after"]), (503, "1"))
        self.assertIn("not been started", early.json["message"])
        for _ in range(2):
            gateway.startService()
            await gateway.when_ready()
            await gateway.when_ready()
            kernel_id = await self.start_kernel(self.port, base="/k")
            client = await self.connect(self.port, kernel_id, base="/k")
            await client.execute("x")
            (pid,) = children_of(os.getpid())
            stopping = gateway.stopService()
            late = await http(self.port, "GET", "/k/api")
            self.assertEqual((late.code, late.json["reason"]), (503, "Service Unavailable"))
            await stopping
            code, reason = await client.when_closed()
            self.assertEqual((code, "shutting down" in reason), (1001, True))
            self.assertFalse(alive(pid))
            self.assertEqual(self.leftovers(), [])

    async def test_stopped_while_starting(self) -> None:
        """
        One that is stopped before it is ready never becomes so, and leaves nothing behind.
        """
        gateway = kgd.Gateway(reactor, self.settings(prespawn_count=1))
        waiting = gateway.when_ready()
        gateway.startService()
        await until(lambda: children_of(os.getpid()), "the kernel's process is there")
        self.assertFalse(waiting.called)
        await gateway.stopService()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual((children_of(os.getpid()), self.leftovers()), ([], []))

    async def test_in_a_hurry(self) -> None:
        """
        Nobody has to wait: what is said last holds, and what was said before is brought to its end.
        """
        await self.listen()
        gateway = kgd.Gateway(reactor, self.settings(prespawn_count=1))
        self.root.putChild(b"k", gateway.resource)
        gateway.startService()
        await until(lambda: children_of(os.getpid()), "the kernel's process is there")
        first = gateway.stopService()
        gateway.startService()
        await first
        await gateway.when_ready()
        stops = [gateway.stopService(), gateway.stopService()]
        gateway.startService()
        await gateway.when_ready()
        self.assertTrue(all(stop.called for stop in stops))
        kernel_id = await self.start_kernel(self.port, base="/k")
        client = await self.connect(self.port, kernel_id, base="/k")
        self.assertEqual(stdout(await client.execute("hello")), "hello")
        stops = [gateway.stopService(), gateway.stopService()]
        gateway.startService()
        last = gateway.stopService()
        for stop in (*stops, last):
            await stop
        self.assertEqual((await http(self.port, "GET", "/k/api")).code, 503)
        self.assertEqual((children_of(os.getpid()), self.leftovers()), ([], []))

    async def test_stopped_while_failing(self) -> None:
        """
        One that is stopped while it undoes a start that failed goes on doing so, in peace.
        """
        undoing: list[Deferred[None]] = []

        @implementer(IPersonality)
        class Failing(Plain):
            """
            Fails, and then takes its time.
            """

            def start(self) -> Deferred[None]:
                return fail(ConfigurationError("it fails"))

            def stop(self) -> Deferred[None]:
                undoing.append(Deferred())
                return undoing[-1]

        module: Any = ModuleType("failing")
        module.maker = Maker(Failing())
        self.patch(sys, "modules", sys.modules | {"failing": module})
        gateway = kgd.Gateway(reactor, self.settings(api="failing"))
        waiting = gateway.when_ready()
        gateway.startService()
        await until(lambda: undoing, "it has failed")
        stopped = gateway.stopService()
        self.assertFalse(stopped.called)
        undoing[0].callback(None)
        await stopped
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual(len(undoing), 1)
        self.assertEqual((children_of(os.getpid()), self.leftovers()), ([], []))

    async def test_answers_later(self) -> None:
        """
        A personality that fails when Twisted's server has it does so in the gateway's way.
        """
        app = Klein()

        @app.route("/invalid")
        async def invalid(request: Any) -> None:
            raise InvalidRequest("it is")

        personality: Any = PlainResource()
        personality.access = lambda path: Access.PUBLIC
        personality.resource = lambda: app
        module: Any = ModuleType("of_somebody")
        module.maker = Maker(personality)
        sys.modules["of_somebody"] = module
        self.addCleanup(sys.modules.pop, "of_somebody")
        await self.listen()
        await self.gateway_at(b"k", api="of_somebody")
        answer = await http(self.port, "GET", "/k/invalid")
        self.assertEqual((answer.code, answer.json["message"]), (400, "it is"))

    async def test_drain_fails(self) -> None:
        """
        A personality that fails to drain is drained when its kernels are gone.
        """

        @implementer(IDrainable)
        class Failing(Plain):
            """
            Has a mistake in it.
            """

            def drain(self) -> Deferred[None]:
                raise ValueError("a mistake")

        module: Any = ModuleType("failing_to_drain")
        module.maker = Maker(Failing())
        sys.modules["failing_to_drain"] = module
        self.addCleanup(sys.modules.pop, "failing_to_drain")
        gateway = await self.gateway_at(b"k", api="failing_to_drain")
        drained = gateway.when_drained()
        gateway.drain()
        await drained
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_cannot_start(self) -> None:
        """
        One that cannot start says so to the application, and harms nobody else.
        """
        await self.listen()
        await self.gateway_at(b"good")
        with self.assertRaises(ConfigurationError):
            await self.gateway_at(b"bad", api="notebook_http")
        self.assertEqual((await http(self.port, "GET", "/good/api")).code, 200)
        self.assertEqual((await http(self.port, "GET", "/bad/api")).code, 503)
        # If nobody asks, it is in the log.
        events: list[str] = []
        observer: Any = lambda event: events.append(str(event.get("reason")))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        kgd.Gateway(reactor, self.settings(api="none")).setServiceParent(self.application)
        await until(lambda: any("--api=none" in each for each in events), "it is logged")

    async def test_server_of_twisted(self) -> None:
        """
        What Twisted's own server does otherwise does not matter: it reads forms, and writes a log.
        """
        await self.listen()
        await self.gateway_at(b"k", auth_token="secret", max_body_size=1000)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for body, headers, code in (
            (b"token=secret", {}, 401),
            (b"token=wrong", TOKEN, 400),
            (b"x" * 1001, TOKEN, 413),
        ):
            response = await http(self.port, "POST", "/k/api/kernels", body, form | headers)
            self.assertEqual((response.code, body[:12]), (code, body[:12]))
            self.assertEqual(response.headers["content-type"], "application/json")
        for query in ("?token=secret", "?a=b&token=secret&c=d", "?Token=x&to%6Ben=secret"):
            response = await http(
                self.port, "GET", f"/k/api/kernels{query}", headers={"Referer": f"http://x/{query}"}
            )
            self.assertEqual(response.code, 200)
        for query in ("?token=", "?token=wrong&token=secret"):
            refused = await http(self.port, "GET", f"/k/api/me{query}", headers=TOKEN)
            self.assertEqual(refused.code, 401)
        started = await http(self.port, "POST", "/k/api/kernels?token=secret", {})
        deleted = await http(
            self.port, "DELETE", f"/k/api/kernels/{started.json['id']}", headers=TOKEN
        )
        self.assertEqual((deleted.code, "content-type" in deleted.headers), (204, False))
        log = self.access_log.read_text()
        self.assertEqual(log.count("GET /k/api/kernels"), 3)
        self.assertNotIn("secret", log)

    async def test_tokens(self) -> None:
        """
        A token may be in the settings or in a file, which is read again when the application says
        so; neither is in the application's logs, nor in a kernel's environment.
        """
        written: list[str] = []

        observer: Any = lambda event: written.append(str(formatEventAsClassicLogText(event)))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.listen()
        file = self.home / "token"
        file.write_text("first-s3cret\n")
        await self.gateway_at(b"one", auth_token="other-s3cret", access_log=True)
        gateway = await self.gateway_at(b"two", auth_token_file=str(file), access_log=True)
        tokens = {"one": "other-s3cret", "two": "first-s3cret"}
        for name, other in (("one", "two"), ("two", "one")):
            for token, code in ((tokens[name], 200), (tokens[other], 401), ("", 401)):
                for query, headers in (
                    (f"?token={token}", {}),
                    ("", {"Authorization": f"Bearer {token}"}),
                ):
                    answer = await http(self.port, "GET", f"/{name}/api{query}", None, headers)
                    self.assertEqual(answer.code, code, (name, token))
            auth = {"Authorization": f"token {tokens[name]}"}
            kernel_id = await self.start_kernel(self.port, base=f"/{name}", headers=auth)
            query = f"?token={tokens[name]}"
            client = await self.connect(self.port, kernel_id, base=f"/{name}", query=query)
            self.assertNotIn("s3cret", stdout(await client.execute('{"do": "env"}')))
        file.write_text("second-s3cret\n")
        await gateway.reload()
        self.assertEqual((await client.when_closed())[0], 1008)
        for token, code in (("first-s3cret", 401), ("second-s3cret", 200)):
            answer = await http(self.port, "GET", f"/two/api?token={token}")
            self.assertEqual(answer.code, code)
        file.unlink()
        await gateway.reload()
        self.assertEqual((await http(self.port, "GET", "/two/api?token=second-s3cret")).code, 200)
        self.assertTrue(any("the token stays as it is" in line for line in written))
        self.assertNotIn("s3cret", "".join(written))
        self.assertNotIn("s3cret", self.access_log.read_text())

    async def test_listens(self) -> None:
        """
        A gateway may have a port of its own, beside or instead of the application's; there its base
        URL is that of its settings.
        """
        gateway = kgd.Gateway(
            reactor, self.settings(port=0, base_url="/b", listen=("tcp:0:interface=127.0.0.1",)),
            listens=True,
        )  # fmt: skip
        self.root.putChild(b"k", gateway.resource)
        gateway.setServiceParent(self.application)
        await gateway.when_ready()
        await self.listen()
        (own,) = gateway.ports
        kernel_id = await self.start_kernel(own.getHost().port, base="/b")
        self.assertEqual((await http(own.getHost().port, "GET", "/k/api")).code, 404)
        listed = await http(self.port, "GET", "/k/api/kernels")
        self.assertEqual([each["id"] for each in listed.json], [kernel_id])

    async def test_drained(self) -> None:
        """
        One that is drained begins nothing new and says when it is done; the others go on, and
        started again it is as before. Whatever was refused meanwhile is in its metrics.
        """
        await self.listen()
        gateway = await self.gateway_at(b"k", metrics=True)
        await self.gateway_at(b"other")
        for times in (1, 2):
            kernel_id = await self.start_kernel(self.port, base="/k")
            drained = gateway.when_drained()
            gateway.drain()
            refused = await http(self.port, "POST", "/k/api/kernels", {})
            self.assertEqual((refused.code, "draining" in refused.json["message"]), (503, True))
            self.assertRegex(refused.headers["x-request-id"], r"^[0-9a-f]{16}$")
            self.assertEqual((await http(self.port, "GET", "/k/readyz")).code, 503)
            self.assertEqual((await http(self.port, "GET", "/other/readyz")).code, 200)
            self.assertFalse(drained.called)
            metrics = (await http(self.port, "GET", "/k/metrics")).body.decode()
            for method, handler in (("GET", "/readyz"), ("POST", "/api/kernels")):
                labels = f'handler="{handler}",method="{method}",status_code="503"'
                self.assertIn(f"http_request_duration_seconds_count{{{labels}}} {times}.0", metrics)
            await http(self.port, "DELETE", f"/k/api/kernels/{kernel_id}")
            await drained
            await gateway.stopService()
            late = await http(self.port, "GET", "/k/api/kernels")
            self.assertEqual((late.code, late.headers["server"]), (503, "kgd"))
            self.assertRegex(late.headers["x-request-id"], r"^[0-9a-f]{16}$")
            gateway.startService()
            await gateway.when_ready()
        self.assertEqual((await http(self.port, "GET", "/k/readyz")).code, 200)
        metrics = (await http(self.port, "GET", "/k/metrics")).body.decode()
        labels = 'handler="unknown",method="GET",status_code="503"'
        self.assertIn(f"http_request_duration_seconds_count{{{labels}}} 2.0", metrics)

    async def test_environment(self) -> None:
        """
        Kernels find the environment that the application gives them.
        """
        await self.listen()
        gateway = kgd.Gateway(reactor, self.settings(), environ={"PATH": "/bin", "OURS": "1"})
        gateway.setServiceParent(self.application)
        await gateway.when_ready()
        self.root.putChild(b"k", gateway.resource)
        await self.start_kernel(self.port, base="/k")
        (pid,) = children_of(os.getpid())
        found = Path(f"/proc/{pid}/environ").read_text().split("\0")
        self.assertIn("OURS=1", found)
        self.assertNotIn("HOME", " ".join(found))

    async def test_cheap_import(self) -> None:
        """
        Importing kgd imports nothing else; what it has for applications chooses no reactor.
        """
        code = (
            "import sys, kgd; print('twisted' in sys.modules, 'kgd.settings' in sys.modules);"
            "kgd.Gateway, kgd.Settings; print('twisted.internet.reactor' in sys.modules);"
            "print(hasattr(kgd, 'nothing'))"
        )
        printed = await getProcessOutput(
            sys.executable, ["-c", code], env=self.environment(), errortoo=True, reactor=reactor
        )
        self.assertEqual(printed.decode().split(), ["False", "False", "False", "False"])
