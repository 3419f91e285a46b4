"""
The daemon as those see it who run it: systemd, draining, metrics, logs, the audit log.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from kgd.observability.throttle import MOST_A_SECOND
from tests.support.gateway import (
    GatewayProcess,
    GatewayTestCase,
    Response,
    alive,
    children_of,
    http,
    raw,
    stdout,
    until,
    watchdogs_of,
)
from tests.support.metrics import read_metrics
from tests.support.notebooks import notebook

# Runs the command that comes after it, and sends it a signal as soon as it can be sent one.
EARLY = """
import os, sys
del sys.argv[1:4]
import kgd.cli.main
os.kill(os.getpid(), %d)
kgd.cli.main.main()
"""


class SystemdTests(GatewayTestCase):
    """
    Telling systemd.
    """

    async def test_notify(self) -> None:
        """
        It is told when the gateway answers, that it is alive, when it reloads and when it stops, on
        both kinds of sockets. Kernels know nothing of that.
        """
        for address in (str(self.runtime / "notify"), f"@kgd-{os.getpid()}-{id(self)}"):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self.addCleanup(listener.close)
            listener.bind(address.replace("@", "\0"))
            said: list[bytes] = []

            def heard(what: bytes, listener: Any = listener, said: Any = said) -> bool:
                with contextlib.suppress(BlockingIOError):
                    said.append(listener.recv(1000))
                return any(each.startswith(what) for each in said)

            gateway = await self.gateway(
                env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": ""}
            )
            await until(lambda: heard(b"READY=1"), "it is ready")
            kernel_id = await self.start_kernel(gateway.port)
            client = await self.connect(gateway.port, kernel_id)
            env = json.loads(stdout(await client.execute('{"do": "env"}')))
            self.assertEqual(
                [name for name in env if name.startswith(("NOTIFY_", "WATCHDOG_"))], []
            )
            said.clear()
            gateway.kill(signal.SIGHUP)
            await until(lambda: heard(b"RELOADING=1\nMONOTONIC_USEC="), "it reloads")
            await until(lambda: heard(b"READY=1"), "it is ready again")
            said.clear()
            await until(lambda: heard(b"WATCHDOG=1"), "it is alive")
            gateway.kill(signal.SIGTERM)
            await until(lambda: heard(b"STOPPING=1"), "it stops")
            self.assertEqual(await gateway.ended(), 0)

    async def test_reload_while_starting(self) -> None:
        """
        Being told to reload before it is ready does not make it ready, nor does it end it.
        """
        self.add_spec("mute", [sys.executable, "-c", "import signal; signal.pause()"])
        address = str(self.runtime / "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(listener.close)
        listener.bind(address)
        gateway = self.launch(
            "--port=0",
            "--default-kernel-name=mute",
            "--prespawn-count=1",
            env={"NOTIFY_SOCKET": address},
        )
        pid = gateway.transport.pid  # type: ignore[union-attr]
        await until(lambda: children_of(pid) or gateway.status is not None, "a kernel starts")
        gateway.kill(signal.SIGHUP)
        # They are taken in the order of their numbers.
        gateway.kill(signal.SIGTERM)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        self.assertEqual(listener.recv(1000), b"STOPPING=1")
        self.assertRaises(BlockingIOError, listener.recv, 1000)

    async def test_gone(self) -> None:
        """
        When nobody listens, that is a line in the log and no more.
        """
        gateway = await self.gateway(env={"NOTIFY_SOCKET": str(self.runtime / "nobody")})
        await until(lambda: "cannot notify systemd of READY=1" in gateway.output, "it says so")
        self.assertEqual(await gateway.stop(), 0)
        self.assertNotIn("Traceback", gateway.output)


class DrainTests(GatewayTestCase):
    """
    Ending in good order.
    """

    async def test_signal(self) -> None:
        """
        After SIGUSR1 nothing new is begun, clients go on, new ones may come to their kernels, and
        the gateway ends with 0 when the last kernel has gone; who had it stopped gets an answer.
        """
        gateway = await self.gateway("--prespawn-count=1")
        port = gateway.port
        kernel_id = await self.start_kernel(port)
        client = await self.connect(port, kernel_id)
        gateway.kill(signal.SIGUSR1)
        await until(lambda: "draining: " in gateway.output, "it is drained")
        self.assertEqual((await http(port, "GET", "/readyz")).code, 503)
        self.assertEqual((await http(port, "GET", "/healthz")).code, 200)
        refused = await http(port, "POST", "/api/kernels", {})
        self.assertEqual(refused.code, 503)
        self.assertIn("retry-after", refused.headers)
        self.assertEqual(stdout(await client.execute("hello")), "hello")
        other = await self.connect(port, kernel_id)
        self.assertEqual(stdout(await other.execute("hello")), "hello")
        stopped = await http(port, "DELETE", f"/api/kernels/{kernel_id}")
        self.assertEqual(stopped.code, 204)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        self.assertIn("drained: ", gateway.output)
        self.assertNotIn("Traceback", gateway.output)
        self.assertEqual(self.leftovers(), [])

    async def test_before_there_is_anything(self) -> None:
        """
        What it is told while it is being loaded it does later, instead of ending at once.
        """
        for signum in (signal.SIGHUP, signal.SIGUSR1):
            gateway = self.launch(
                "--port=0",
                "--default-kernel-name=tiny",
                through=(sys.executable, "-c", EARLY % signum),
            )
            await gateway.ready()
            if signum == signal.SIGHUP:
                await gateway.stop()
            self.assertEqual(await gateway.ended(), 0, gateway.output)
            self.assertEqual("drained: " in gateway.output, signum == signal.SIGUSR1)

    async def test_deadline(self) -> None:
        """
        What takes too long is stopped.
        """
        gateway = await self.gateway("--drain-timeout=0.3", "--drain-endpoint")
        await self.start_kernel(gateway.port)
        (pid,) = children_of(gateway.transport.pid)  # type: ignore[union-attr]
        self.assertEqual((await http(gateway.port, "POST", "/api/drain")).code, 202)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        self.assertIn("draining took longer than 0.3 s", gateway.output)
        self.assertFalse(alive(pid))

    async def test_nothing_to_do(self) -> None:
        """
        A gateway that has nothing to do ends at once, even if it has only just begun. To be
        stopped while it is drained is nothing special.
        """
        gateway = await self.gateway()
        gateway.kill(signal.SIGUSR1)
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        gateway = await self.gateway()
        await self.start_kernel(gateway.port)
        gateway.kill(signal.SIGUSR1)
        await until(lambda: "draining: " in gateway.output, "it is drained")
        self.assertEqual(await gateway.stop(), 0)
        self.assertNotIn("Traceback", gateway.output)


class MetricsTests(GatewayTestCase):
    """
    What is counted while it is relayed.
    """

    async def test_relay(self) -> None:
        """
        Messages, bytes and clients in each direction, and the time until a kernel could be used.
        """
        gateway = await self.gateway()
        port = gateway.port

        async def metrics() -> dict[str, float]:
            return read_metrics((await http(port, "GET", "/metrics")).body.decode())

        kernel_id = await self.start_kernel(port)
        client = await self.connect(port, kernel_id, query="?session_id=s")
        # As long as it does not answer, it is asked again and again.
        await client.execute("ready")
        before = await metrics()
        self.assertEqual(before['kgd_attachments{state="present"}'], 1)
        # What the kernel says of itself has no parent, and may come at any time.
        answered = await client.execute("x" * 5000)
        after = await metrics()

        def grown(name: str) -> float:
            return after[name] - before[name]

        self.assertEqual(grown('kgd_websocket_messages_total{direction="from_clients"}'), 1)
        self.assertGreater(grown('kgd_websocket_bytes_total{direction="from_clients"}'), 5000)
        written = grown('kgd_websocket_messages_total{direction="to_clients"}')
        self.assertGreaterEqual(written, len(answered))
        self.assertGreater(grown('kgd_websocket_bytes_total{direction="to_clients"}'), 5000)
        self.assertEqual(grown('kgd_kernel_messages_total{direction="to_kernels"}'), 1)
        self.assertGreater(grown('kgd_kernel_bytes_total{direction="to_kernels"}'), 5000)
        self.assertGreaterEqual(
            grown('kgd_kernel_messages_total{direction="from_kernels"}'), len(answered)
        )
        self.assertEqual(after['kgd_kernels{execution_state="idle",kernel_name="tiny"}'], 1)
        self.assertEqual(after['kgd_kernel_start_seconds_count{kernel_name="tiny"}'], 1)
        channels = 'handler="/api/kernels/<kernel_id>/channels",method="GET",status_code="101"'
        self.assertEqual(after[f"http_request_duration_seconds_count{{{channels}}}"], 1)
        client.dropConnection(abort=True)
        found: list[dict[str, float]] = []

        async def is_away() -> bool:
            found.append(await metrics())
            return found[-1]['kgd_attachments{state="away"}'] == 1

        while not await is_away():
            self.assertLess(len(found), 1000)
        self.assertEqual(found[-1]["kgd_websocket_connections"], 0)

    async def test_dropped(self) -> None:
        """
        Output that a client is not sent is counted, with the reason.
        """
        gateway = await self.gateway("--limit-rate", "--iopub-msg-rate-limit=10")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute(json.dumps({"do": "flood", "n": 200, "size": 10}))
        metrics = read_metrics((await http(gateway.port, "GET", "/metrics")).body.decode())
        self.assertGreater(metrics['kgd_dropped_messages_total{reason="rate"}'], 100)
        self.assertGreater(metrics['kgd_dropped_bytes_total{reason="rate"}'], 1000)


class LogTests(GatewayTestCase):
    """
    What the daemon writes.
    """

    async def test_json(self) -> None:
        """
        Every line is a JSON object, from the first to the last. Those of a request have its id,
        which is in the answer, too.
        """
        gateway = await self.gateway("--log-format=json", "--access-log")
        response = await http(gateway.port, "POST", "/api/kernels", {}, {"X-Request-Id": "mine-1"})
        self.assertEqual(response.headers["x-request-id"], "mine-1")
        client = await self.connect(gateway.port, response.json["id"])
        await client.execute(json.dumps({"do": "log", "text": "one\nt\x1bwo"}))
        await until(lambda: "wo" in gateway.output.split('"one"', 1)[-1], "it is logged")
        await gateway.stop()
        lines = [json.loads(line) for line in gateway.output.splitlines()]
        for line in lines:
            self.assertLessEqual({"time", "level", "namespace", "message"}, line.keys())
        (available,) = [line for line in lines if "is available at " in line["message"]]
        self.assertTrue(available["message"].endswith(available["url"]))
        ours = [line["namespace"] for line in lines if line.get("request_id") == "mine-1"]
        self.assertEqual(ours, ["kgd.kernels.controller.KernelController", "kgd.web.access_log"])
        (opened,) = [line for line in lines if line.get("code") == 101]
        self.assertIn("/channels", opened["uri"])
        printed = [line["line"] for line in lines if "line" in line]
        self.assertEqual(printed, ["one", "t\\x1bwo"])

    async def test_file(self) -> None:
        """
        A daemon writes the same to a file, which others cannot read unless it was there before.
        """
        log = self.home / "the.log"
        await self.log_to(log)
        self.assertEqual(log.stat().st_mode & 0o777, 0o600)
        log.chmod(0o640)
        await self.log_to(log)
        self.assertEqual(log.stat().st_mode & 0o777, 0o640)

    async def log_to(self, log: Path) -> None:
        """
        Run a gateway that writes its log to a file.
        """
        before = log.stat().st_size if log.exists() else 0
        process = self.launch(
            "--port=0", "--default-kernel-name=tiny", "--log-format=json",
            twistd=("--pidfile=", f"--logfile={log}", "-n"), daemonize=True,
        )  # fmt: skip
        await until(
            lambda: log.exists() and "available at" in log.read_text()[before:], "it answers"
        )
        self.assertEqual(await process.stop(), 0)
        for line in log.read_text().splitlines():
            json.loads(line)

    async def test_flood(self) -> None:
        """
        Whoever asks for nonsense again and again does not fill the disk: so many lines are written,
        and how many were not.
        """
        gateway = await self.gateway()
        asked = 3 * MOST_A_SECOND
        one = f"GET /nonsense HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n\r\n"
        last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        answers = await raw(gateway.port, (one * (asked - 1) + last).encode())
        self.assertEqual(answers.count(b"HTTP/1.1 404 "), asked)

        def lines() -> tuple[int, int]:
            """
            Written, and left out.
            """
            written, left_out = 0, 0
            for line in gateway.output.splitlines():
                if "more lines like this were left out" in line:
                    left_out += int(line.split("] ")[1].split()[0])
                elif "404 GET /nonsense" in line:
                    written += 1
            return written, left_out

        await until(lambda: sum(lines()) == asked, lambda: f"all are told of: {lines()}")
        self.assertGreaterEqual(lines()[0], MOST_A_SECOND)
        self.assertGreater(lines()[1], 0)

    async def test_no_access_log(self) -> None:
        """
        Without an access log nothing is said of requests.
        """
        gateway = await self.gateway("--no-access-log", "--log-level=debug")
        await http(gateway.port, "GET", "/nonsense")
        await http(gateway.port, "GET", "/api")
        await gateway.stop()
        self.assertNotIn("nonsense", gateway.output)
        # The log has another path below /api in the line that says how to try the gateway.
        lines = [line for line in gateway.output.splitlines() if "try it: " not in line]
        self.assertNotIn("/api", "\n".join(lines))


class AuditTests(GatewayTestCase):
    """
    Who did what.
    """

    def events(self, path: Path) -> list[dict[str, Any]]:
        """
        What has been written.
        """
        return [json.loads(line) for line in path.read_text().splitlines()]

    async def test_audit(self) -> None:
        """
        What clients do to kernels is written down with who they are, but neither their code nor the
        token; questions are not. What the gateway does by itself is, too.
        """
        path = self.home / "audit.log"
        gateway = await self.gateway(
            f"--audit-log={path}",
            "--cull-idle-timeout=0.5",
            "--cull-interval=0.1",
            "--cull-connected",
            env={"KG_AUTH_TOKEN": "sesame-sesame"},
        )
        port, auth = gateway.port, {"Authorization": "token sesame-sesame"}
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        started = await http(port, "POST", "/api/kernels", {}, {**auth, "X-Request-Id": "r1"})
        kernel_id = started.json["id"]
        await http(port, "POST", "/api/kernels", {})
        client = await self.connect(port, kernel_id, query="?session_id=s1", headers=auth)
        code = json.dumps({"do": "env"})
        msg_id = (await client.execute(code))[0].parent["msg_id"]
        await client.answered(client.request("kernel_info_request", {}))
        for action in ("interrupt", "restart"):
            await http(port, "POST", f"/api/kernels/{kernel_id}/{action}", headers=auth)
        await until(lambda: "kernel_culled" in path.read_text(), "it is culled")
        events = self.events(path)
        self.assertEqual(
            [(each["event"], each["by"]) for each in events],
            [
                ("kernel_started", "client"),
                ("executed", "client"),
                ("kernel_interrupted", "client"),
                ("kernel_restarted", "client"),
                ("kernel_culled", "gateway"),
            ],
        )
        self.assertEqual({each["kernel_id"] for each in events}, {kernel_id})
        first, executed = events[:2]
        self.assertEqual((first["request_id"], first["peer"]), ("r1", "127.0.0.1"))
        self.assertEqual(executed["session_id"], "s1")
        self.assertEqual((executed["msg_type"], executed["msg_id"]), ("execute_request", msg_id))
        self.assertGreater(executed["size"], len(code))
        self.assertEqual(len({each["token"] for each in events[:4]}), 1)
        self.assertNotIn("sesame", path.read_text())
        self.assertNotIn("do", executed)
        self.assertNotIn("code", executed)
        self.assertIn("it was unused", events[-1]["reason"])

    async def test_code_and_rotation(self) -> None:
        """
        The code is written if that is wanted. After SIGHUP, a file that was moved away is written
        no more.
        """
        path = self.home / "audit.log"
        gateway = await self.gateway(f"--audit-log={path}", "--audit-code")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("first é")
        moved = path.rename(self.home / "audit.log.1")
        gateway.kill(signal.SIGHUP)
        await until(path.exists, "there is a new file")
        await client.execute("second")
        self.assertEqual([each.get("code") for each in self.events(moved)], [None, "first é"])
        self.assertEqual([each["code"] for each in self.events(path)], ["second"])
        await gateway.stop()
        (_, stopped) = self.events(path)
        self.assertEqual((stopped["event"], stopped["by"]), ("kernel_stopped", "gateway"))

    async def test_impossible(self) -> None:
        """
        A file that cannot be written keeps the gateway from starting.
        """
        gateway = self.launch("--port=0", "--audit-log=/no/such/place/audit.log")
        self.assertEqual(await gateway.ended(), 1)
        self.assertIn("cannot start: cannot open --audit-log=/no/such/place", gateway.output)
        self.assertNotIn("Traceback", gateway.output)


RIGHT = "right-s3cret+token"
WRONG = "wrong-s3cret+token"
PASSWORD = "p4ssw0rd-of-seed"
SECRETS = (RIGHT, WRONG, PASSWORD)


class SecretsTests(GatewayTestCase):
    """
    Secrets stay where they are.
    """

    def notebooks(self, content: bytes) -> int:
        """
        :return: The port of a server of notebooks that answers only who has the password.
        """

        class Guarded(Data):
            """
            One of them.
            """

            def render(self, request: Any) -> Any:
                if request.getPassword() != PASSWORD.encode():
                    request.setResponseCode(401)
                    return b""
                return super().render(request)

        root = Resource()
        root.putChild(b"seed.ipynb", Guarded(content, "application/json"))
        site: Any = Site(root)
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def assert_clean(self, what: str, text: str) -> None:
        """
        There is no secret in a text, however it may be spelled.
        """
        for secret in SECRETS:
            for spelling in (secret, quote(secret, safe=""), secret.replace("+", " ")):
                self.assertNotIn(spelling, text, what)

    async def use(self, gateway: GatewayProcess) -> list[Response]:
        """
        Use tokens wherever that is possible.

        :return: The answers.
        """
        port, answers = gateway.port, []
        quoted = {token: quote(token, safe="") for token in (RIGHT, WRONG)}
        for path in ("/api", "/api/kernels", "/nope", "/_api/spec/swagger.json", "/metrics"):
            for token in (RIGHT, WRONG):
                for query, headers in (
                    (f"?token={quoted[token]}", {}),
                    (f"?x=1&TOKEN={quoted[token]}", {}),
                    (f"?t%6Fken={quoted[token]}", {}),
                    ("", {"Authorization": f"token {token}"}),
                    ("", {"Authorization": f"Bearer {token}", "Origin": "http://evil"}),
                    ("", {"Authorization": f"Basic {token}"}),
                    ("", {"Referer": f"http://x/?token={quoted[token]}", "Cookie": token}),
                ):
                    answers += [
                        await http(port, method, path + query, None, headers)
                        for method in ("GET", "POST")
                    ]
        upgrade = {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": WRONG,
        }  # fmt: skip
        for token in (WRONG, RIGHT + "x"):
            for query, headers in (
                (f"?token={token}", {}),
                ("", {"Authorization": f"Bearer {token}"}),
            ):
                path = f"/api/kernels/1-2-3-4-5/channels{query}"
                answers.append(await http(port, "GET", path, None, {**upgrade, **headers}))
                self.assertEqual(answers[-1].code, 401)
        auth = {"Authorization": f"token {RIGHT}"}
        for body in (b'{"token": "%b' % RIGHT.encode(), {"env": {RIGHT: 1}}, {"name": [RIGHT]}):
            # What a client sends to itself it may get back; the log shall not have it.
            await http(port, "POST", "/api/kernels", body, auth)
        answers.append(await http(port, "GET", "/metrics", None, auth))
        self.assertEqual(answers[-1].code, 200)
        # Absolute targets, and what is no HTTP.
        for request in (
            f"GET http://me:{RIGHT}@x/api?token={quoted[WRONG]} HTTP/1.1",
            f"GET /api?token={RIGHT} {RIGHT} HTTP/9",
        ):
            rest = "\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = await raw(port, (request + rest).encode())
            answers.append(Response(0, {}, answer))
        return answers

    async def test_everywhere(self) -> None:
        """
        A run that uses tokens everywhere, with everything logged, leaves none in the logs, in
        answers, in metrics, in children's environments or in command lines.
        """
        content = notebook(("code", "seeded"), kernel="tiny")
        seed = f"http://me:{PASSWORD}@127.0.0.1:{self.notebooks(content)}/seed.ipynb"
        audit = self.home / "audit.log"
        file = self.home / "token"
        file.write_text(f"{RIGHT}\n")
        by_variable, by_file = {"KG_AUTH_TOKEN": RIGHT}, {"KG_AUTH_TOKEN_FILE": str(file)}
        for extra, env in (
            (("--log-format=json",), by_variable),
            (("--trust-xheaders",), by_file),
            (("--log-format=text", f"--seed-uri={seed}x"), by_variable),
        ):
            gateway = self.launch(
                "--port=0", "--default-kernel-name=tiny", "--list-kernels", "--access-log",
                "--log-level=debug", "--audit-code", f"--audit-log={audit}", "--metrics", *extra,
                env={**env, "KGD_SEED_URI": seed},
            )  # fmt: skip
            if "--log-format=text" in extra:
                # This notebook cannot be had, which is said.
                self.assertEqual(await gateway.ended(), 1)
                self.assertIn("seed.ipynbx cannot be fetched", gateway.output)
                self.assert_clean("the log", gateway.output)
                continue
            await gateway.ready()
            port, auth = gateway.port, {"Authorization": f"token {RIGHT}"}
            answers = await self.use(gateway)
            for body in ({}, {"env": {"KERNEL_X": "1"}}):
                answers.append(await http(port, "POST", "/api/kernels", body, auth))
                self.assertEqual(answers[-1].code, 201, answers[-1].body)
                kernel_id = answers[-1].json["id"]
                query = f"?token={quote(RIGHT, safe='')}"
                client = await self.connect(port, kernel_id, query=query)
                printed = stdout(await client.execute('{"do": "env"}'))
                self.assert_clean("a kernel's environment", printed)
            assert gateway.transport is not None
            children = children_of(gateway.transport.pid)
            self.assertGreaterEqual(len(children), 2)
            watchdogs = watchdogs_of(gateway.transport.pid)
            self.assertEqual(len(watchdogs), 1)
            for pid in children + watchdogs:
                for name in ("environ", "cmdline", "comm"):
                    shown = Path(f"/proc/{pid}/{name}").read_bytes()
                    self.assert_clean(name, shown.decode())
            for name in ("cmdline", "comm"):
                title = Path(f"/proc/{gateway.transport.pid}/{name}").read_bytes()
                self.assert_clean(f"its own {name}", title.decode())
            for path in self.runtime.rglob("*.json"):
                self.assert_clean("a connection file", path.read_text())
            await gateway.stop()
            for answer in answers:
                text = f"{answer.headers} {answer.body.decode('utf-8', 'replace')}"
                self.assert_clean("an answer", text)
            self.assertIn("token=***", gateway.output)
            self.assert_clean("the log", gateway.output)
            self.assert_clean("the audit log", audit.read_text())
            self.assertIn('"token": "', audit.read_text())
