"""
The daemon from outside: starting, stopping, options.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.utils import getProcessOutput

from tests.support.gateway import (
    GatewayTestCase,
    alive,
    children_of,
    http,
    raw,
    stdout,
    until,
)


def end(pid: int) -> None:
    """
    Kill a process that may be there no more.
    """
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


class StartTests(GatewayTestCase):
    """
    Starting, and failing to.
    """

    async def test_start_and_stop(self) -> None:
        """
        It answers when it says so; told to stop, it ends with 0 and leaves nothing.
        """
        for signum in (signal.SIGTERM, signal.SIGINT):
            gateway = await self.gateway()
            self.assertEqual((await http(gateway.port, "GET", "/api")).code, 200)
            self.assertEqual(await gateway.stop(signum), 0, gateway.output)
            self.assertEqual(self.leftovers(), [])
            self.assertNotIn("Traceback", gateway.output)

    async def test_garbage(self) -> None:
        """
        The garbage collector, which is off while the gateway starts, is on while it runs.
        """
        program = (
            "import atexit, gc, os, runpy, sys\n"
            "atexit.register(lambda: os.write(1, b'collects: %d\\n' % gc.isenabled()))\n"
            "sys.argv = sys.argv[3:]\n"
            "runpy.run_module('kgd', run_name='__main__', alter_sys=True)"
        )
        gateway = await self.gateway(through=(sys.executable, "-c", program))
        self.assertEqual(await gateway.stop(), 0)
        self.assertIn("collects: 1\n", gateway.output)

    async def test_asyncio(self) -> None:
        """
        It runs on asyncio's event loop, too.
        """
        gateway = await self.gateway("--debug", twistd=("--reactor=asyncio",))
        self.assertIn("AsyncioSelectorReactor", gateway.output)
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        self.assertEqual(stdout(await client.execute("hello")), "hello")
        self.assertEqual(await gateway.stop(), 0)
        self.assertEqual(self.leftovers(), [])

    async def test_daemonized(self) -> None:
        """
        As a daemon it has a pid file, starts kernels and relays after the fork, and cleans up.
        """
        work = self.home / "work"
        process = self.launch(
            "--port=0",
            "--default-kernel-name=tiny",
            twistd=("--pidfile=the.pid", "--logfile=the.log"),
            daemonize=True,
        )
        self.assertEqual(await process.ended(), 0, process.output)
        log = work / "the.log"
        await until(
            lambda: log.exists() and "is available at" in log.read_text(), "the daemon answers"
        )
        pid = int((work / "the.pid").read_text())
        self.addCleanup(end, pid)
        port = int(log.read_text().split("is available at http://127.0.0.1:")[1].split()[0])
        kernel_id = await self.start_kernel(port)
        client = await self.connect(port, kernel_id)
        self.assertEqual(stdout(await client.execute("hello")), "hello")
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not alive(pid), "the daemon ends")
        self.assertFalse((work / "the.pid").exists())
        self.assertEqual(self.leftovers(), [])

    async def test_port_taken(self) -> None:
        """
        A taken port is an error in one line, unless others may be tried.
        """
        first = await self.gateway()
        second = self.launch(f"--port={first.port}", "--port-retries=0")
        self.assertEqual(await second.ended(), 1)
        self.assertIn("cannot start: cannot listen on port", second.output)
        self.assertNotIn("Traceback", second.output)
        self.assertEqual(len([line for line in second.output.splitlines() if "cannot" in line]), 1)
        third = self.launch(f"--port={first.port}", "--port-retries=20")
        await third.ready()
        self.assertNotEqual(third.port, first.port)

    async def test_wrong_options(self) -> None:
        """
        What cannot be right is said in a line that names it, and nothing is started.
        """
        for options, env, expected in (
            (["--no-such-option"], {}, "no-such-option"),
            (["--port=abc"], {}, "--port=abc is not valid"),
            ([], {"KG_PORT": "abc"}, "--port=abc (set in the variable KG_PORT)"),
            ([], {"KGD_LIST_KERNELS": "maybe"}, "=maybe (set in the variable KGD_LIST_KERNELS)"),
            (["--root-dir=/no/such/directory"], {}, "--root-dir=/no/such/directory is not valid"),
            (["surplus"], {}, "'surplus' is not an option"),
        ):
            process = self.launch(*options, env=env)
            self.assertNotEqual(await process.ended(), 0, options)
            self.assertIn(expected, process.output)
            self.assertNotIn("Traceback", process.output)

    async def test_wrong_personality(self) -> None:
        """
        An unknown personality stops the start, and says which there are.
        """
        for name in ("notebook-gopher", "no.such.module"):
            process = self.launch("--port=0", f"--api={name}")
            self.assertEqual(await process.ended(), 1)
            self.assertIn(name, process.output)
            self.assertNotIn("Traceback", process.output)
        self.assertIn("cannot be imported", process.output)

    async def test_wrong_endpoint(self) -> None:
        """
        A description of an endpoint that makes no sense is an error in one line.
        """
        process = self.launch("--listen=nonsense:1")
        self.assertEqual(await process.ended(), 1)
        self.assertIn("--listen=nonsense:1", process.output)
        self.assertNotIn("Traceback", process.output)

    async def test_listen(self) -> None:
        """
        Endpoints are Twisted's; several may be given.
        """
        path = self.runtime / "socket"
        process = self.launch("--listen=tcp:0:interface=127.0.0.1", f"--listen=unix:{path}")
        await process.ready()
        self.assertEqual((await http(process.port, "GET", "/api")).code, 200)
        self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))

    async def test_tls(self) -> None:
        """
        An endpoint with a certificate is announced as such, and carries REST and WebSockets.
        """
        pem = self.home / "gateway.pem"
        pem.write_bytes(self_signed())
        process = self.launch(
            f"--listen=ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}",
            "--default-kernel-name=tiny",
        )
        await process.ready()
        self.assertTrue(process.url.startswith("https://127.0.0.1:"), process.url)
        printed = await getProcessOutput(
            sys.executable, ["-c", OVER_TLS, str(process.port)], env=os.environ, reactor=reactor
        )
        self.assertEqual(printed.strip(), b"1000000")

    async def test_default_kernel_missing(self) -> None:
        """
        A kernel that is not installed is no reason not to start, but is said.
        """
        for option in ("default", "force"):
            gateway = await self.gateway(f"--{option}-kernel-name=fake")
            self.assertIn("the kernel 'fake' is not installed", gateway.output)
            self.assertIn(f"another with --{option}-kernel-name", gateway.output)
            response = await http(gateway.port, "POST", "/api/kernels")
            self.assertEqual(response.json["message"], "No such kernel: fake")

    async def test_three_ways_to_start(self) -> None:
        """
        ``twistd -n kgd`` is what ``python -m kgd`` is; twistd lists the plug-in.
        """
        for option in ("--help", "-h"):
            process = self.launch(option, env={})
            self.assertEqual(await process.ended(), 0)
            self.assertIn("--max-kernels=", process.output)
        listing = self.launch(twistd=("--help",))
        await listing.ended()
        self.assertIn("Jupyter kernels over HTTP and WebSocket", listing.output)


# Blocking, and therefore a program of its own.
OVER_TLS = """
import json, ssl, sys, urllib.request, websocket
host = f"127.0.0.1:{sys.argv[1]}"
request = urllib.request.Request(f"https://{host}/api/kernels", b"{}", method="POST")
with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
    kernel_id = json.load(answer)["id"]
socket = websocket.create_connection(
    f"wss://{host}/api/kernels/{kernel_id}/channels", sslopt={"cert_reqs": ssl.CERT_NONE}
)
header = {"msg_id": "a", "msg_type": "execute_request"}
socket.send(json.dumps({"header": header, "content": {"code": "x" * 1000000}}))
size = 0
while True:
    message = json.loads(socket.recv())
    if message["msg_type"] == "stream":
        size += len(message["content"]["text"])
    if message["content"].get("execution_state") == "idle":
        break
socket.close()
print(size)
"""


def self_signed() -> bytes:
    """
    :return: A new key and a certificate for it, in PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


class StopTests(GatewayTestCase):
    """
    Stopping, and what is left.
    """

    async def test_twenty_kernels(self) -> None:
        """
        Twenty kernels are stopped at once, within five seconds, and nothing of them is left.
        """
        gateway = await self.gateway()
        starts = [ensureDeferred(self.start_kernel(gateway.port)) for _ in range(20)]
        for succeeded, result in await DeferredList(starts):
            self.assertTrue(succeeded, result)
        assert gateway.transport is not None
        kernels = children_of(gateway.transport.pid)
        self.assertEqual(len(kernels), 20)
        began = reactor.seconds()
        self.assertEqual(await gateway.stop(), 0)
        self.assertLess(reactor.seconds() - began, 5)
        self.assertEqual([pid for pid in kernels if alive(pid)], [])
        self.assertEqual(self.leftovers(), [])

    async def test_stubborn_kernel(self) -> None:
        """
        A kernel that is busy and deaf to SIGTERM is killed in time; a second signal does no harm.
        """
        self.add_spec("deaf", [sys.executable, "-c", DEAF, "{connection_file}"])
        gateway = await self.gateway()
        await self.start_kernel(gateway.port, name="deaf")
        assert gateway.transport is not None
        await until(lambda: "deaf now" in gateway.output, "the kernel is deaf")
        pids = children_of(gateway.transport.pid)
        began = reactor.seconds()
        gateway.kill(signal.SIGTERM)
        gateway.kill(signal.SIGTERM)
        self.assertEqual(await gateway.ended(), 0)
        self.assertLess(reactor.seconds() - began, 5)
        self.assertEqual([pid for pid in pids if alive(pid)], [])

    async def test_clients_are_told(self) -> None:
        """
        A client gets 1001 and a reason.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute("hello")
        self.assertEqual(await gateway.stop(), 0)
        code, reason = await client.when_closed()
        self.assertEqual(code, 1001)
        self.assertIn("shutting down", reason)


DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("deaf now", flush=True)
while True:
    signal.pause()
"""


class SecrecyTests(GatewayTestCase):
    """
    Tokens and keys stay where they belong.
    """

    async def test_token(self) -> None:
        """
        The token is demanded, and appears neither in the log nor in a kernel.
        """
        token = "s3cr3t-t0k3n"
        gateway = await self.gateway("--log-level=debug", env={"KG_AUTH_TOKEN": token})
        port = gateway.port
        self.assertEqual((await http(port, "GET", "/api")).code, 401)
        self.assertEqual((await http(port, "GET", f"/api?token={token}x")).code, 401)
        self.assertEqual((await http(port, "GET", f"/api?token={token}")).code, 200)
        for scheme in ("token", "Bearer"):
            headers = {"Authorization": f"{scheme} {token}"}
            response = await http(port, "POST", "/api/kernels", headers=headers)
            self.assertEqual(response.code, 201)
        kernel_id = response.json["id"]
        client = await self.connect(port, kernel_id, query=f"?token={token}", v1=True)
        printed = stdout(await client.execute('{"do": "env"}'))
        environment = json.loads(printed)
        self.assertEqual(environment["KERNEL_GATEWAY"], "1")
        self.assertNotIn(token, printed)
        await gateway.stop()
        self.assertNotIn(token, gateway.output)

    async def test_files(self) -> None:
        """
        Connection files are readable by their owner only, and so is their directory.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        (path,) = [path for path in self.runtime.rglob("*.json") if kernel_id in path.name]
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        key = json.loads(path.read_text())["key"]
        await gateway.stop()
        self.assertNotIn(key, gateway.output)


class FailingKernelTests(GatewayTestCase):
    """
    Kernelspecs that do not work.
    """

    async def nothing_left(self, port: int) -> None:
        """
        Wait until no kernel, no process and no file is there.
        """
        listed = await http(port, "GET", "/api/kernels")
        self.assertEqual(listed.json, [])
        self.assertEqual([name for name in self.leftovers() if "kernel-" in name], [])

    async def test_missing_executable(self) -> None:
        """
        Starting it is an error that names what is missing.
        """
        self.add_spec("missing", ["/no/such/program", "{connection_file}"])
        gateway = await self.gateway()
        response = await http(gateway.port, "POST", "/api/kernels", {"name": "missing"})
        self.assertEqual(response.code, 500)
        self.assertIn("/no/such/program", response.json["message"])
        await self.nothing_left(gateway.port)
        self.assertNotIn("Traceback", gateway.output)

    async def test_exits_at_once(self) -> None:
        """
        Clients see it dead, and are closed and told why, with what it printed; those that do not
        wait for it see it restarted before.
        """
        why = "import sys; print('no package called X, token=abc', file=sys.stderr); sys.exit(3)"
        self.add_spec("exits", [sys.executable, "-c", why, "{connection_file}"])
        gateway = await self.gateway("--ws-start-wait=0")
        kernel_id = await self.start_kernel(gateway.port, name="exits")
        client = await self.connect(gateway.port, kernel_id)
        await client.status("dead")
        code, reason = await client.when_closed()
        self.assertEqual(code, 1011)
        self.assertIn("exit code 3", reason)
        response = await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")
        self.assertEqual(response.code, 404)
        self.assertIn("exit code 3", response.json["message"])
        says = "exit code 3 (restarted once)\nno package called X, token=***"
        self.assertIn(says, response.json["message"])
        states = [each.content for each in client.messages if each.type == "status"]
        self.assertEqual([each["execution_state"] for each in states], ["restarting", "dead"])
        self.assertEqual(states[-1]["reason"], says)
        # Of a kernelspec that cannot be used, its file is told; the others are still listed.
        (self.specs / "bad").mkdir()
        (self.specs / "bad" / "kernel.json").write_text('{"argv": ["x"],}')
        response = await http(gateway.port, "POST", "/api/kernels", {"name": "bad"})
        self.assertEqual(response.code, 500)
        self.assertIn(str(self.specs / "bad" / "kernel.json"), response.json["message"])
        wanted = {"path": "a", "type": "notebook", "kernel": {"name": "bad"}}
        response = await http(gateway.port, "POST", "/api/sessions", wanted)
        self.assertEqual(response.code, 500)
        self.assertIn(str(self.specs / "bad" / "kernel.json"), response.json["message"])
        response = await http(gateway.port, "GET", "/api/kernelspecs")
        self.assertIn("exits", response.json["kernelspecs"])
        self.assertNotIn("Traceback", gateway.output)
        await self.nothing_left(gateway.port)

    async def test_never_opens_its_ports(self) -> None:
        """
        It is ended after its time, and clients are told what to do about it.
        """
        self.add_spec("mute", [sys.executable, "-c", DEAF, "{connection_file}"])
        gateway = await self.gateway("--kernel-info-timeout=1")
        kernel_id = await self.start_kernel(gateway.port, name="mute")
        client = await self.connect(gateway.port, kernel_id)
        code, reason = await client.when_closed()
        self.assertEqual(code, 1011)
        self.assertIn("--kernel-info-timeout", reason)
        await self.nothing_left(gateway.port)


class HTTPTests(GatewayTestCase):
    """
    HTTP at its limits.
    """

    async def test_body_limit(self) -> None:
        """
        A body beyond the limit is refused in JSON, announced or in chunks; smaller ones are fine.
        """
        gateway = await self.gateway("--max-body-size=1000", "--allow-origin=*")
        big = await http(gateway.port, "POST", "/api/kernels", b"x" * 200_000)
        self.assertEqual(big.code, 413)
        self.assertEqual(big.json["reason"], "Request Entity Too Large")
        self.assertEqual(big.headers["access-control-allow-origin"], "*")
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        answer = await raw(
            gateway.port,
            b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunk * 5
            + b"0\r\n\r\n",
        )
        self.assertIn(b"HTTP/1.1 413", answer)
        small = await http(gateway.port, "POST", "/api/kernels", b'{"name": "%b"}' % (b"x" * 900))
        self.assertEqual(small.code, 404)

    async def test_file_of_a_kernelspec(self) -> None:
        """
        A file comes with its type, whole, in ranges, and conditionally.
        """
        image = b"\x89PNG" + bytes(100_000)
        (self.specs / "tiny" / "logo-64x64.png").write_bytes(image)
        gateway = await self.gateway()
        listed = (await http(gateway.port, "GET", "/api/kernelspecs")).json["kernelspecs"]["tiny"]
        path = listed["resources"]["logo-64x64"]
        self.assertEqual(path, "/kernelspecs/tiny/logo-64x64.png")
        response = await http(gateway.port, "GET", path)
        self.assertEqual((response.code, response.body), (200, image))
        self.assertEqual(response.headers["content-type"], "image/png")
        self.assertIn("max-age=2592000", response.headers["cache-control"])
        part = await http(gateway.port, "GET", path, headers={"Range": "bytes=1-3"})
        self.assertEqual((part.code, part.body), (206, b"PNG"))
        since = {"If-Modified-Since": response.headers["last-modified"]}
        self.assertEqual((await http(gateway.port, "GET", path, headers=since)).code, 304)

    async def test_malformed_frames(self) -> None:
        """
        Garbage on a WebSocket is answered with a close code and a reason, without a traceback, and
        the kernel goes on.
        """
        gateway = await self.gateway("--max-message-size=100KiB")
        kernel_id = await self.start_kernel(gateway.port)
        for v1, payload, is_binary, expected in (
            (False, b"{", False, 1007),
            (False, b"[]", False, 1007),
            (False, b'{"header": {}}', False, 1007),
            (False, b'{"header": "in binary"}', True, 1007),
            (False, b"\xff" * 12, True, 1007),
            (False, b"x" * 200_000, False, 1009),
            (True, b"garbage", True, 1007),
            (True, b"\0" * 64, True, 1007),
            (True, b"{}", False, 1003),
        ):
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            client.sendMessage(payload, is_binary)
            code, reason = await client.when_closed()
            self.assertEqual(code, expected, payload[:20])
            self.assertTrue(reason)
        client = await self.connect(gateway.port, kernel_id)
        self.assertEqual(stdout(await client.execute("still there")), "still there")
        self.assertNotIn("Traceback", gateway.output)

    async def test_pings(self) -> None:
        """
        The gateway pings; it answers pings with what they hold.
        """
        gateway = await self.gateway("--ws-ping-interval=0.2")
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        pongs: list[bytes] = []
        self.patch(client, "onPong", pongs.append)
        client.sendPing(b"abc")
        await until(lambda: client.pings >= 2 and pongs, "pings and a pong come")
        self.assertEqual(pongs, [b"abc"])

    async def test_kernel_output_is_logged(self) -> None:
        """
        What a kernel prints itself is in the log, with its id.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        await client.execute(json.dumps({"do": "log", "text": "one\nt\x1bwo"}))
        await until(lambda: "wo" in gateway.output.split("one", 1)[-1], "both lines are logged")
        lines = [line for line in gateway.output.splitlines() if kernel_id in line]
        self.assertTrue(any(line.endswith("one") for line in lines), lines)
        self.assertNotIn("\x1b", gateway.output)

    async def test_bare_words(self) -> None:
        """
        NaN, which JSON does not know, reaches clients that read JSON as null.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        client = await self.connect(gateway.port, kernel_id)
        messages = await client.execute('{"do": "nan"}')
        (shown,) = [each for each in messages if each.type == "display_data"]
        self.assertEqual(shown.content["data"], {"x": None, "y": "NaN"})

    async def test_prompt_at_once(self) -> None:
        """
        A prompt reaches a client whose first request asks for it, on a connection a moment old.
        """
        gateway = await self.gateway()
        kernel_id = await self.start_kernel(gateway.port)
        for v1 in (False, True) * 5:
            client = await self.connect(gateway.port, kernel_id, v1=v1)
            msg_id = client.request("execute_request", {"code": '{"do": "input"}'})
            await until(lambda: client.of(msg_id, "input_request"), "the prompt")  # noqa: B023
            client.request("input_reply", {"value": "typed"}, "stdin")
            self.assertEqual(stdout(await client.answered(msg_id)), "typed")
