"""
What notebook_http can do that its predecessor could not, with the real ipykernel.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from tests.support.gateway import (
    Response,
    alive,
    pause,
    until,
)
from tests.support.notebook_gateway import HI, PID, PNG, SETUP, NotebookTestCase
from tests.support.notebooks import notebook, python_notebook


class EndTests(NotebookTestCase):
    """
    Every request ends.
    """

    async def test_time(self) -> None:
        """
        Code that takes too long is interrupted; code that does not heed that loses its kernel. What
        it had set is lost only then.
        """
        gateway = await self.serve(
            "kept = 0",
            "# GET /loop\nkept = 1\nwhile True: signal.pause()",
            "# GET /deaf\nwhile True:\n  try:\n    while True: signal.pause()\n"
            "  except KeyboardInterrupt: pass",
            "# GET /kept\nprint(kept, os.getpid())",
            options=("--request-timeout=0.5",),
        )
        for path, kept in (("/loop", "1"), ("/deaf", "0")):
            before = self.kernels(gateway)
            response = await self.get(path)
            self.assertEqual(response.code, 504)
            self.assertIn("--request-timeout", response.json["message"])

            async def answers() -> Response:
                while (response := await self.get("/kept")).code == 503:
                    await pause()
                return response

            response = await answers()
            self.assertEqual(response.body.decode().split()[0], kept)
            same = int(response.body.split()[1]) in before
            self.assertEqual(same, path == "/loop")
        await until(lambda: len(self.kernels(gateway)) == 1, "the deaf one is gone")

    async def test_output_without_end(self) -> None:
        """
        Code that never stops to print is stopped.
        """
        await self.serve(
            "# GET /flood\nwhile True: print('x' * 10_000)",
            "# GET /shower\nwhile True: display({'text/plain': 'x' * 10_000}, raw=True)",
            HI,
            options=("--max-response-size=1MiB",),
        )
        for path in ("/flood", "/shower"):
            response = await self.get(path)
            self.assertEqual(response.code, 500)
            self.assertIn("--max-response-size", response.json["message"])
            self.assertEqual((await self.get("/hi")).body, b"hi\n")

    async def test_death(self) -> None:
        """
        A kernel that dies is a 502 that says why; the next request finds another, seeded, and one
        that is killed between requests is replaced without anybody's noticing.
        """
        gateway = await self.serve("# GET /die\nos._exit(7)", PID)
        for _ in range(3):
            response = await self.get("/die")
            self.assertEqual(response.code, 502)
            self.assertIn("exit code 7", response.json["message"])
            pid, seeded = (await self.get("/pid")).body.split()
            self.assertEqual(seeded, b"True")
        os.kill(int(pid), signal.SIGKILL)
        await until(
            lambda: self.kernels(gateway) not in ([], [int(pid)]), "there is another kernel"
        )
        self.assertEqual((await self.get("/pid")).code, 200)

    async def test_goodbye(self) -> None:
        """
        A kernel that says goodbye, or that is killed between requests, is never handed out, whoever
        asks at the same time; code that ends less than the kernel keeps it.
        """
        gateway = await self.serve(
            PID,
            "# GET /quit\nwait()\nprint(os.getpid())\nquit()",
            "# GET /keep\nprint(os.getpid())\nexit(keep_kernel=True)",
            "# GET /exit\nsys.exit(3)",
            options=("--sticky=x-caller",),
        )
        pid = (await self.get("/pid")).body.split()[0]
        self.assertEqual((await self.get("/keep")).body.split()[0], pid)
        self.assertEqual((await self.get("/exit")).code, 500)
        self.assertEqual((await self.get("/pid")).body.split()[0], pid)

        callers: list[dict[str, str]] = [{}, {"X-Caller": "a"}, {"X-Caller": "b"}]
        valves = 0

        async def kills() -> set[bytes]:
            # Sent at once, when the gateway may not have noticed anything yet.
            os.kill(int(pid), signal.SIGKILL)
            return await several()

        async def several() -> set[bytes]:
            responses = await gatherResults(
                [self.asking("/pid", headers=caller) for caller in callers]
            )
            self.assertEqual({response.code for response in responses}, {200})
            return {response.body.split()[0] for response in responses}

        async def quits() -> set[bytes]:
            nonlocal valves
            valves += 1
            valve = self.valve(f"valve-{valves}")
            # Others may not overtake it.
            first = await self.running(valve, "/quit")
            responses = [first, self.asking("/pid"), self.asking("/pid")]
            valve.open()
            answered = await gatherResults(responses)
            self.assertEqual({response.code for response in answered}, {200})
            self.assertEqual(answered[0].body.split()[0], pid)
            return {response.body.split()[0] for response in answered[1:]} | await several()

        for ends in (quits, kills, quits, kills):
            self.assertNotIn(pid, await ends())
            ((pid, seeded),) = [(await self.get("/pid")).body.split()]
            self.assertEqual(seeded, b"True")
        self.assertNotIn("Traceback", gateway.output)
        # Only those that were killed have died, and nothing was put off.
        self.assertEqual(gateway.output.count(" died: signal"), 2)
        self.assertEqual(gateway.output.count(" died: "), 2)
        self.assertNotIn("trying again", gateway.output)

    async def test_cannot_be_replaced(self) -> None:
        """
        Without a kernel there is a 503, at once, until there is one again.
        """
        await self.serve(
            "if os.path.exists('stop'): raise ValueError('not now')",
            "# GET /die\nopen('stop', 'w').close(); os._exit(1)",
            HI,
        )
        self.assertEqual((await self.get("/die")).code, 502)
        response = await self.get("/hi")
        self.assertEqual(response.code, 503)
        self.assertIn("not now", response.json["message"])
        self.assertGreaterEqual(int(response.headers["retry-after"]), 1)
        (self.home / "work" / "stop").unlink()

        async def again() -> None:
            while (await self.get("/hi")).code != 200:
                await pause()

        await again()

    async def test_queue(self) -> None:
        """
        So many wait, and no more; those who wait are served.
        """
        valve = self.valve()
        await self.serve("# GET /wait\nwait()", HI, options=("--queue-limit=2",))
        first = await self.running(valve)
        waiting = [self.asking("/hi") for _ in range(3)]
        await until(lambda: [each for each in waiting if each.called], "one is answered")
        (refused,) = [each.result for each in waiting if each.called]
        assert isinstance(refused, Response)
        self.assertEqual(refused.code, 503)
        self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
        valve.open()
        self.assertEqual((await first).code, 200)
        codes = sorted(each.code for each in await gatherResults(waiting))
        self.assertEqual(codes, [200, 200, 503])

    async def test_not_needed_any_more(self) -> None:
        """
        Whoever hangs up while waiting is not served; whoever hangs up while code runs lets it run,
        unless the operator wants it interrupted.
        """
        valve, done = self.valve(), self.home / "work" / "done"
        await self.serve(f"# GET /wait\nwait()\nopen({str(done)!r}, 'a').write('x')", HI)
        running = await self.connect_raw(f"GET /wait?valve={valve.path}")
        await self.begun(valve)
        queued = await self.connect_raw(f"GET /wait?valve={valve.path}")
        last = self.asking("/hi")
        await self.queued(2)
        queued.transport.abortConnection()
        running.transport.abortConnection()
        await self.queued(1)
        valve.open()
        self.assertEqual((await last).code, 200)
        self.assertEqual(done.read_text(), "x")

    async def test_interrupted_by_hanging_up(self) -> None:
        """
        With the option, code ends with its client.
        """
        began = self.home / "work" / "began"
        await self.serve(
            "# GET /loop\nopen('began', 'w').close()\nwhile True: signal.pause()",
            HI,
            options=("--interrupt-on-disconnect",),
        )
        client = await self.connect_raw("GET /loop")
        await until(began.exists, "it runs")
        client.transport.abortConnection()
        self.assertEqual((await self.get("/hi")).body, b"hi\n")

    async def test_stop(self) -> None:
        """
        When the gateway stops, whoever waits is told, and nothing is left.
        """
        valve = self.valve()
        gateway = await self.serve("# GET /wait\nwait()", HI)
        running = await self.running(valve)
        client = await self.connect_raw("GET /hi")
        await self.queued()
        pids = self.kernels(gateway)
        self.assertEqual(await gateway.stop(), 0)
        self.assertIn((await running).code, (502, 503))
        await until(lambda: client.lost, "it is told")
        self.assertFalse([pid for pid in pids if alive(pid)])
        self.assertEqual(self.leftovers(), [])
        # A kernel that is interrupted by its end may complain of that; we must not.
        ours = [line for line in gateway.output.splitlines() if "local.process" not in line]
        self.assertNotIn("Traceback", "\n".join(ours))


class BodyTests(NotebookTestCase):
    """
    What comes in.
    """

    async def test_files(self) -> None:
        """
        Files and raw bytes are there while the cell runs, and gone afterwards; even when it
        dies, or cannot be stopped.
        """
        await self.serve(
            "# POST /files\nfiles = request()['files']\n"
            "print(json.dumps({field: [(each['name'], each['type'], each['size'], "
            "open(each['path'], 'rb').read().hex(), each['path']) for each in found] "
            "for field, found in files.items()}))",
            "# POST /die\nos._exit(1)",
            "# POST /deaf\nwhile True:\n  try:\n    while True: signal.pause()\n"
            "  except KeyboardInterrupt: pass",
            options=("--request-timeout=5",),
        )
        raw = b"\xff\x00\xfe"
        form = (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n'
            b"Content-Type: image/x-y\r\n\r\n" + raw + b"\r\n--b--\r\n"
        )
        paths = []
        for body, kind, expected in (
            (form, "multipart/form-data; boundary=b", ["f", "x.bin", "image/x-y"]),
            (raw, "application/octet-stream", ["body", "", "application/octet-stream"]),
            (raw * 700_000, "image/png", ["body", "", "image/png"]),
        ):
            response = await self.get("/files", "POST", body=body, headers={"Content-Type": kind})
            self.assertEqual(response.code, 200, response.body)
            ((field, ((name, media_type, size, content, path),)),) = response.json.items()
            self.assertEqual([field, name, media_type], expected)
            self.assertEqual(bytes.fromhex(content), raw if body is form else body)
            self.assertEqual(size, len(content) // 2)
            paths.append(path)
        headers = {"Content-Type": "application/octet-stream"}
        response = await self.get("/die", "POST", body=raw, headers=headers)
        self.assertEqual(response.code, 502)
        response = await self.get("/deaf", "POST", body=raw, headers=headers)
        self.assertEqual(response.code, 504)
        await until(lambda: not list(self.runtime.rglob("request-*")), "files are removed")
        for path in paths:
            self.assertFalse(Path(path).exists())
        for body in (b"\xff", form):
            self.assertEqual((await self.get("/files", "POST", body=body)).code, 400)

    async def test_waiting(self) -> None:
        """
        A file that has been written does not stay in memory as well, however long its request
        waits.
        """
        gateway = await self.serve(
            "# GET /wait\nwait()",
            "# POST /file\nprint(request()['files']['body'][0]['size'])",
        )
        assert gateway.transport is not None
        status = Path(f"/proc/{gateway.transport.pid}/status")

        def memory() -> int:
            return int(status.read_text().partition("VmRSS:")[2].split()[0]) * 1024

        valve = self.valve()
        running = await self.running(valve)
        before, size = memory(), 30_000_000
        headers = {"Content-Type": "application/octet-stream"}
        waiting = [
            self.asking("/file", method="POST", body=b"\xff" * size, headers=headers)
            for _ in range(3)
        ]

        def written() -> bool:
            sizes = [path.stat().st_size for path in self.runtime.rglob("request-*/*")]
            return sizes == [size] * 3

        await until(written, "all are on the disk")
        await until(lambda: memory() - before < size, "they are there only")
        valve.open()
        await running
        for each in waiting:
            self.assertEqual((await each).body, b"%d\n" % size)

    async def test_limits(self) -> None:
        """
        Bodies, parts and heads have bounds.
        """
        await self.serve("# POST /x", options=("--max-body-size=1000", "--max-parts=2"))
        response = await self.get("/x", "POST", body=b"x" * 1001)
        self.assertEqual(response.code, 413)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await self.get("/x", "POST", body=b"a&b&c", headers=form)
        self.assertEqual(response.code, 400)
        self.assertIn("2 parts", response.json["message"])


class AnswerTests(NotebookTestCase):
    """
    What goes out.
    """

    async def test_forms(self) -> None:
        """
        A route may promise media types; the client chooses among them.
        """
        await self.serve(
            f"# GET /plot as image/png, text/html\n"
            f"display({{'image/png': {PNG!r}, 'text/html': '<b>ü</b>'}}, raw=True)",
            "# GET /json as application/json\nprint(json.dumps([1, 2]))",
            "# GET /broken as image/png\nprint('no picture')",
            "# GET /inline\ndisplay({'application/vnd.kgd.response+json': "
            "{'status': 201, 'headers': {'X-A': ['1', '2']}, 'json': {'a': 1}}}, raw=True)",
            "# GET /html\ndisplay(HTML('<i>x</i>'))",
            "ran = 0",
            "# GET /refused as image/png\nran += 1",
            "# GET /ran\nprint(ran)",
        )
        for accept, kind, start in (
            ("*/*", "image/png", b"\x89PNG"),
            ("text/html", "text/html; charset=utf-8", "<b>ü</b>".encode()),
            ("text/html;q=0.5, image/*", "image/png", b"\x89PNG"),
        ):
            response = await self.get("/plot", headers={"Accept": accept})
            self.assertEqual((response.code, response.headers["content-type"]), (200, kind))
            self.assertTrue(response.body.startswith(start))
        self.assertEqual((await self.get("/json")).headers["content-type"], "application/json")
        broken = await self.get("/broken")
        self.assertEqual(broken.code, 500)
        self.assertIn(b"image/png", broken.body)
        inline = await self.get("/inline")
        self.assertEqual((inline.code, inline.json), (201, {"a": 1}))
        self.assertEqual((await self.get("/html")).json["text/html"], "<i>x</i>")
        response = await self.get("/refused", headers={"Accept": "text/html"})
        self.assertEqual((response.code, (await self.get("/ran")).body), (406, b"0\n"))

    async def test_rich(self) -> None:
        """
        With an option, all routes answer with what is displayed.
        """
        await self.serve(
            "# GET /html\ndisplay(HTML('<i>x</i>'))",
            f"# GET /png\nImage(data=base64.b64decode({PNG!r}))",
            HI,
            options=("--rich-responses",),
        )
        self.assertEqual((await self.get("/html")).body, b"<i>x</i>")
        self.assertTrue((await self.get("/png")).body.startswith(b"\x89PNG"))
        self.assertEqual((await self.get("/hi")).body, b"hi\n")

    async def test_methods(self) -> None:
        """
        HEAD comes with GET, PATCH may be annotated, and OPTIONS tells what there is, or runs.
        """
        await self.serve(
            HI, "# PATCH /hi\nprint('patched')", "# OPTIONS /o\nprint('mine')", "# GET /p/:x",
            options=("--auth-token=s", "--allow-origin=*"),
        )  # fmt: skip
        token = {"Authorization": "token s"}
        head = await self.get("/hi", "HEAD", headers=token)
        self.assertEqual((head.code, head.body, head.headers["content-length"]), (200, b"", "3"))
        self.assertEqual((await self.get("/hi", "PATCH", headers=token)).body, b"patched\n")
        options = await self.get("/hi", "OPTIONS")
        self.assertEqual((options.code, options.body), (200, b""))
        self.assertEqual(options.headers["allow"], "GET, HEAD, OPTIONS, PATCH")
        self.assertEqual((await self.get("/o", "OPTIONS")).code, 401)
        self.assertEqual((await self.get("/o", "OPTIONS", headers=token)).body, b"mine\n")
        preflight = {"Access-Control-Request-Method": "GET", "Origin": "http://x"}
        asked = await self.get("/o", "OPTIONS", headers=preflight)
        self.assertEqual((asked.code, asked.body), (200, b""))
        self.assertEqual((await self.get("/p/%ff")).code, 401)
        self.assertEqual((await self.get("/p/%ff", headers=token)).code, 400)
        wrong = await self.get("/hi", "DELETE", headers=token)
        self.assertEqual((wrong.code, wrong.headers["allow"]), (405, options.headers["allow"]))


class StreamTests(NotebookTestCase):
    """
    Answers as they are printed.
    """

    async def test_as_printed(self) -> None:
        """
        What is printed is sent while the cell still runs; what fails afterwards is not hidden.
        """
        valve = self.valve()
        await self.serve(
            "# GET /text streamed\nprint('one', flush=True)\nwait()\nprint('two')",
            "# GET /events streamed as text/event-stream\nprint('data: 1\\n')",
            "# GET /fails streamed\nprint('one', flush=True)\nwait()\n1 / 0",
            "# GET /at-once streamed\n1 / 0",
            "# GET /silent streamed",
        )
        client = await self.connect_raw(f"GET /text?valve={valve.path}")
        await until(lambda: b"one\n" in client.received, "the first line is there")
        self.assertIn(b"Transfer-Encoding: chunked", client.received)
        self.assertNotIn(b"two", client.received)
        valve.open()
        await until(lambda: client.received.endswith(b"two\n\r\n0\r\n\r\n"), "all is there")
        events = await self.get("/events")
        self.assertEqual(events.headers["content-type"], "text/event-stream")
        self.assertIn(b"data: 1\n\n", events.body)
        client = await self.connect_raw(f"GET /fails?valve={valve.path}")
        await until(lambda: b"one\n" in client.received, "the first line is there")
        valve.open()
        await until(lambda: client.lost, "the connection is cut")
        self.assertNotIn(b"\r\n0\r\n\r\n", client.received)
        failed = await self.get("/at-once")
        self.assertEqual(failed.code, 500)
        self.assertIn(b"ZeroDivisionError", failed.body)
        self.assertEqual((await self.get("/silent")).code, 200)

    async def test_slow_reader(self) -> None:
        """
        While the client does not read, the kernel stands still and the gateway keeps little; then
        all comes. When the client goes instead, the code ends.
        """
        gateway = await self.serve(
            "# GET /much streamed\nfor _ in range(60): print('z' * 1_000_000, flush=True)",
            "# GET /endless streamed\nwhile True: print('x' * 1_000_000, flush=True)",
            HI,
        )
        (pid,) = self.kernels(gateway)

        def state() -> str:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

        client = await self.connect_raw("GET /much")
        client.transport.pauseProducing()
        await until(lambda: state() == "T", "it stands still")
        client.transport.resumeProducing()
        await until(lambda: client.received.endswith(b"\r\n0\r\n\r\n"), "all is there")
        self.assertEqual(client.received.count(b"z"), 60_000_000)
        client = await self.connect_raw("GET /endless")
        client.transport.pauseProducing()
        await until(lambda: state() == "T", "it stands still")
        client.transport.abortConnection()
        self.assertEqual((await self.get("/hi")).body, b"hi\n")
        self.assertEqual(self.kernels(gateway), [pid])

    async def test_time(self) -> None:
        """
        A stream is in time as long as something comes.
        """
        await self.serve(
            "# GET /slow streamed\nfor _ in range(6):\n  print('x', flush=True); time.sleep(0.2)",
            "# GET /stuck streamed\nprint('x', flush=True)\nwhile True: signal.pause()",
            options=("--request-timeout=0.7",),
        )
        self.assertEqual((await self.get("/slow")).body.count(b"x"), 6)
        client = await self.connect_raw("GET /stuck")
        await until(lambda: client.lost, "it is cut")
        self.assertNotIn(b"\r\n0\r\n\r\n", client.received)


class ManyTests(NotebookTestCase):
    """
    Several notebooks, and several versions of one.
    """

    async def test_prefixes(self) -> None:
        """
        Each notebook has a prefix, kernels and a description of its own.
        """
        one = self.write(python_notebook("x = 1", "# GET /x\nprint(x)"), "one.ipynb")
        two = self.write(python_notebook("x = 2", "# GET /x\nprint(x)"), "two.ipynb")
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.add_spec("other", argv)
        three = self.write(
            notebook(
                ("code", "x = 3"), ("code", "# GET /x\nprint(x)"),
                kernel="other", language="python",
            ), "three.ipynb",
        )  # fmt: skip
        gateway = await self.gateway(
            "--api=notebook_http", "--base-url=/base", f"--seed-uri={one}",
            f"--seed-uri=/two={two}", f"--seed-uri=/a/three={three}",
        )  # fmt: skip
        self.port = gateway.port
        for prefix, expected in (("", b"1\n"), ("/two", b"2\n"), ("/a/three", b"3\n")):
            self.assertEqual((await self.get(f"/base{prefix}/x")).body, expected)
            spec = (await self.get(f"/base{prefix}/_api/spec/openapi.json")).json
            self.assertEqual(spec["servers"], [{"url": f"/base{prefix}"}])
            self.assertEqual(list(spec["paths"]), ["/x"])
            self.assertEqual((await self.get(f"/base{prefix}/_api/docs")).code, 200)
        for path in ("/x", "/base/a/x", "/base/two/y", "/base/twox", "/two/x"):
            self.assertEqual((await self.get(path)).code, 404, path)
        page = (await self.get("/base/_api/docs")).body
        for title in (b'"one"', b'"two"', b'"three"'):
            self.assertIn(title, page)
        self.assertEqual(len(self.kernels(gateway)), 3)

    async def test_reload(self) -> None:
        """
        A notebook that is changed takes over when it is ready; requests that run end on the older
        version; a broken one changes nothing but what is said of it.
        """
        valve = self.valve()
        cells = (SETUP, "# GET /wait\nwait()\nprint('old')")
        folder = self.home / "work" / "many"
        folder.mkdir()
        path = self.write(python_notebook(*cells, "# GET /v\nprint(1)"), "many/n.ipynb")
        gateway = await self.gateway(
            "--api=notebook_http", f"--seed-uri={folder}", "--reload", "--prespawn-count=2"
        )
        self.port = gateway.port
        running = await self.running(valve, "/n/wait")
        self.assertEqual(await self.version(b"1\n"), b"1\n")
        # Written elsewhere first, as careful programs do.
        new = self.write(python_notebook(SETUP, "# GET /v\nprint(2)"), "n.ipynb")
        new.replace(path)
        await self.version(b"2\n")
        self.assertEqual((await self.get("/n/wait")).code, 404)
        valve.open()
        self.assertEqual((await running).body, b"old\n")
        await until(lambda: len(self.kernels(gateway)) == 2, "the old kernels are gone")
        for broken, word in (
            (b"{", "is not a notebook"),
            (python_notebook("1 / 0", "# GET /v"), "ZeroDivisionError"),
            (python_notebook("x"), "annotations"),
        ):
            path.write_bytes(broken)
            await until(lambda word=word: word in gateway.output, "it is noticed")  # type: ignore[misc]
            await self.readiness(b"ok\n/n is out of date\n")
            self.assertEqual((await self.get("/n/v")).body, b"2\n")
        self.assertEqual(gateway.output.count("cannot be reloaded"), 3)
        self.assertNotIn("Traceback", gateway.output)
        path.write_bytes(python_notebook("# GET /v\nprint(3)"))
        await self.version(b"3\n")
        await self.readiness(b"ok\n")
        self.write(python_notebook("# GET /v\nprint(4)"), "many/m.ipynb")
        await self.version(b"4\n", "/m/v")
        other = self.write(b"{", "many/other.ipynb")
        await self.readiness(b"ok\n/other is out of date\n")
        other.unlink()
        await self.readiness(b"ok\n")
        path.unlink()
        await self.version(b'{"reason":"Not Found","message":""}', "/n/v")
        await until(lambda: len(self.kernels(gateway)) == 2, "its kernels are gone")

    async def version(self, body: bytes, path: str = "/n/v") -> bytes:
        """
        Wait until this is answered.
        """
        while (response := await self.get(path)).body != body:
            self.assertIn(response.code, (200, 404))
            await pause()
        return response.body

    async def readiness(self, body: bytes) -> None:
        """
        Wait until the gateway says this of itself.
        """
        while (response := await self.get("/readyz")).body != body:
            self.assertEqual(response.code, 200)
            await pause()

    async def test_hang_up_signal(self) -> None:
        """
        SIGHUP reloads without having been told to watch.
        """
        path = self.write(python_notebook("# GET /v\nprint(1)"))
        gateway = await self.gateway("--api=notebook-http", f"--seed-uri=/n={path}")
        self.port = gateway.port
        await self.version(b"1\n")
        path.write_bytes(python_notebook("# GET /v\nprint(2)"))
        gateway.kill(signal.SIGHUP)
        await self.version(b"2\n")
        path.unlink()
        gateway.kill(signal.SIGHUP)
        await self.readiness(b"ok\n/n is out of date\n")
        self.assertEqual((await self.get("/n/v")).body, b"2\n")


class PlaceTests(NotebookTestCase):
    """
    Which kernel serves whom.
    """

    COUNT = "# GET /count\ncount = globals().get('count', 0) + 1\nprint(count, os.getpid())"

    async def test_reset(self) -> None:
        """
        With the option no request sees what another has left.
        """
        gateway = await self.serve(self.COUNT, options=("--reset-kernels", "--prespawn-count=2"))
        seen = set()
        for _ in range(4):
            count, pid = (await self.get("/count")).body.split()
            self.assertEqual(count, b"1")
            seen.add(pid)
        self.assertEqual(len(seen), 4)
        await until(lambda: len(self.kernels(gateway)) == 2, "used ones are gone")

    async def test_sticky(self) -> None:
        """
        A caller with a cookie, or a header, comes to the same kernel.
        """
        for option in ("cookie", "X-Caller"):
            await self.serve(self.COUNT, options=(f"--sticky={option}", "--prespawn-count=2"))
            callers: list[dict[str, str]] = []
            for name in ("a", "b"):
                if option == "cookie":
                    response = await self.get("/count")
                    cookie = response.headers["set-cookie"].partition(";")[0]
                    self.assertIn("httponly", response.headers["set-cookie"].lower())
                    callers.append({"Cookie": cookie})
                else:
                    callers.append({option: name})
                    await self.get("/count", headers=callers[-1])
            pids = set()
            for expected in (b"2", b"3", b"4"):
                for headers in callers:
                    count, pid = (await self.get("/count", headers=headers)).body.split()
                    self.assertEqual(count, expected)
                    pids.add(pid)
            self.assertEqual(len(pids), 2)


class LoadTests(NotebookTestCase):
    """
    Many requests.
    """

    timeout = 180
    REQUESTS = 1000
    DEATHS = 10

    async def test_deaths(self) -> None:
        """
        Of many requests, some of which end their kernel, every one is answered, nothing is left,
        and memory stays what it is.
        """
        gateway = await self.serve(HI, "# GET /die\nos._exit(1)", options=("--prespawn-count=2",))
        assert gateway.transport is not None
        pid = gateway.transport.pid
        codes: dict[tuple[str, int], int] = {}
        numbers = iter(range(self.REQUESTS))

        async def caller() -> None:
            for number in numbers:
                dies = number % (self.REQUESTS // self.DEATHS) == 50
                path = "/die" if dies else "/hi"
                response = await self.get(path)
                key = (path, response.code)
                codes[key] = codes.get(key, 0) + 1

        def memory() -> int:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1])
            raise AssertionError("no such process")

        await self.get("/hi")
        before = memory()
        await gatherResults([Deferred.fromCoroutine(caller()) for _ in range(8)])
        self.assertEqual(
            codes, {("/hi", 200): self.REQUESTS - self.DEATHS, ("/die", 502): self.DEATHS}
        )
        await until(lambda: len(self.kernels(gateway)) == 2, "there are as many as before")
        self.assertLess(memory() - before, 10_000)
        self.assertEqual(await gateway.stop(), 0)
        self.assertEqual(self.leftovers(), [])
