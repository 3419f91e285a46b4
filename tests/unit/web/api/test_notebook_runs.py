"""
Notebooks that are run over HTTP, in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat

from kgd.errors import Unavailable
from kgd.execution.queue import ExecutionQueue
from kgd.interfaces import StartRequest
from kgd.notebook.parameters import INJECTED_TAG
from kgd.testing.web import Response
from tests.support.running_code import CodeTestCase, PendingRequest

PATH = "/api/notebooks/run"
IPYNB = "application/x-ipynb+json"


def notebook(*sources: str, tags: tuple[str, ...] = (), **metadata: Any) -> dict[str, Any]:
    """
    :param tags: Those of the first cell.
    :return: A notebook of cells with code.
    """
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources
    ]
    cells[0]["metadata"]["tags"] = list(tags)
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells}


class RunTests(CodeTestCase):
    """
    ``POST /api/notebooks/run``.
    """

    def run_it(self, content: Any, body: Any = None, **headers: str) -> PendingRequest:
        """
        Send a request.
        """
        return self.post(PATH, {"notebook": content, **(body or {})}, **headers)

    def executed(self, response: Response) -> dict[str, Any]:
        """
        :return: The notebook in an answer, which is valid.
        """
        self.assertEqual(response.code, 200, response.body)
        found: dict[str, Any] = response.json
        nbformat.validate(nbformat.from_dict(found), relax_add_props=False)
        self.assertEqual(list(self.kernels.list()), [])
        return found

    def test_answer(self) -> None:
        """
        Cells run one after the other, and the answer is the notebook with their outputs and times.
        """
        pending = self.run_it(notebook("1", "", "2"))
        self.assertEqual(self.code(), ["1"])
        self.publish(("status", {"execution_state": "busy"}), ("execute_input", {}))
        self.finish("one")
        self.assertEqual(pending.received, b"")
        self.assertEqual(self.code(), ["1", "2"])
        self.finish("two")
        self.assertEqual(pending.response.headers["content-type"], IPYNB)
        found = self.executed(pending.response)
        first, empty, second = found["cells"]
        self.assertEqual(first["outputs"][0]["text"], "one")
        self.assertEqual((second["outputs"][0]["text"], second["execution_count"]), ("two", 1))
        self.assertEqual(
            [*first["metadata"]["execution"]],
            [
                "iopub.status.busy",
                "iopub.execute_input",
                "shell.execute_reply",
                "iopub.status.idle",
            ],
        )
        for time in first["metadata"]["execution"].values():
            self.assertRegex(time, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
        self.assertEqual((empty["execution_count"], empty["metadata"]), (None, {}))
        told = found["metadata"]["kgd"]
        self.assertEqual((told["status"], told["error"], told["parameters"]), ("ok", None, {}))
        self.assertEqual(found["metadata"]["kernelspec"]["name"], "python3")

    def test_forms(self) -> None:
        """
        A notebook may be the whole body, and the answer has the type that the client likes.
        """
        for accept, kind in (("*/*", IPYNB), ("application/json", "application/json")):
            raw = json.dumps(notebook("1")).encode()
            pending = self.post(PATH, raw, content_type=f"{IPYNB}; charset=utf-8", accept=accept)
            self.finish()
            self.assertEqual(pending.response.headers["content-type"], kind)
            self.executed(pending.response)

    def test_parameters(self) -> None:
        """
        They are set by a cell after that of the defaults, which is in the answer.
        """
        pending = self.run_it(
            notebook("a = 1", "a", tags=("parameters",)), {"parameters": {"a": 0.5}}
        )
        self.finish()
        self.assertEqual(self.code()[-1], "# Parameters\na = 0.5")
        self.finish()
        self.finish()
        found = self.executed(pending.response)
        self.assertEqual(len(found["cells"]), 3)
        self.assertEqual(found["cells"][1]["metadata"]["tags"], [INJECTED_TAG])
        self.assertEqual(found["metadata"]["kgd"]["parameters"], {"a": 0.5})

    def test_kernel(self) -> None:
        """
        The kernel is that of the request, or the notebook's, or the default one.
        """
        spec: dict[str, Any] = {"kernelspec": {"name": "python3", "display_name": "x"}}
        for content, body in (
            (notebook("1", **spec), {}),
            (notebook("1", kernelspec={"name": "cobol"}), {"kernel_name": "python3"}),
            (notebook("1"), {}),
        ):
            pending = self.run_it(content, body)
            self.assertEqual(self.kernel().request, StartRequest(name="python3"))
            self.finish()
            self.executed(pending.response)
        response = self.run_it(notebook("1", kernelspec={"name": "cobol"})).response
        self.assertError(response, 404)
        self.assertIn("cobol", response.json["message"])

    def test_error(self) -> None:
        """
        The first error ends it, unless it is expected, or the client wants something else. The
        answer is a notebook all the same.
        """
        error: dict[str, Any] = {"ename": "ValueError", "evalue": "no"}
        for tags, on_error, runs, status in (
            ((), "stop", ["1"], "error"),
            ((), "continue", ["1", "2"], "error"),
            (("raises-exception",), "stop", ["1", "2"], "ok"),
        ):
            pending = self.run_it(notebook("1", "2", tags=tags), {"on_error": on_error})
            kernel = self.kernel()
            self.finish("before", **error)
            self.assertEqual(self.code(kernel) if len(runs) > 1 else ["1"], runs)
            if len(runs) > 1:
                self.finish("after")
            found = self.executed(pending.response)
            told = found["metadata"]["kgd"]
            self.assertEqual(told["status"], status)
            self.assertEqual(told["error"], None if status == "ok" else {"cell": 0, **error})
            outputs = found["cells"][0]["outputs"]
            self.assertEqual([each["output_type"] for each in outputs], ["stream", "error"])
            self.assertEqual(len(found["cells"][1]["outputs"]), len(runs) - 1)

    def test_ends(self) -> None:
        """
        After a timeout, or without the kernel, nothing else can be run.
        """
        body = {"on_error": "continue", "timeout": 2}
        pending = self.run_it(notebook("1", "2", tags=("raises-exception",)), body)
        self.advance(2)
        self.finish("so far", ename="KeyboardInterrupt", evalue="")
        found = self.executed(pending.response)
        self.assertEqual(found["metadata"]["kgd"]["status"], "timeout")
        self.assertEqual(found["cells"][0]["outputs"][0]["text"], "so far")
        pending = self.run_it(notebook("1", "2"), body)
        self.finish()
        self.kernel().channels.disconnect("KernelDied", "it was killed")
        told = self.executed(pending.response)["metadata"]["kgd"]
        self.assertEqual(
            (told["status"], told["error"]),
            ("died", {"cell": 1, "ename": "KernelDied", "evalue": "it was killed"}),
        )
        self.serve(max_response_size=1000)
        pending = self.run_it(notebook("1", "2", "3"))
        self.finish("x" * 600)
        self.finish("x" * 600)
        told = self.executed(pending.response)["metadata"]["kgd"]
        self.assertEqual((told["status"], told["error"]["ename"]), ("error", "OutputTooLarge"))

    def test_defects(self) -> None:
        """
        A run ends whatever goes wrong.
        """
        for error, logged in ((Unavailable("too many", 1), 0), (ZeroDivisionError("oops"), 1)):
            pending = self.run_it(notebook("1", "2"))

            def submit(*_: object, error: Exception = error) -> None:
                raise error

            with patch.object(ExecutionQueue, "submit", submit):
                self.finish()
            told = self.executed(pending.response)["metadata"]["kgd"]
            self.assertEqual((told["status"], told["error"]["evalue"]), ("error", str(error)))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), logged)

    def test_nothing_to_run(self) -> None:
        """
        A notebook without code is run at once.
        """
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
        found = self.executed(self.run_it(content).response)
        self.assertEqual(found["metadata"]["kgd"]["status"], "ok")
        found = self.executed(self.post(PATH, {"notebook": notebook(" ")}).response)
        self.assertEqual(found["cells"][0]["outputs"], [])

    def test_display_of_an_earlier_cell(self) -> None:
        """
        A display that a later cell updates is as it was in the end.
        """
        pending = self.run_it(notebook("1", "2"))
        transient = {"display_id": "d"}
        for kind, text in (("display_data", "old"), ("update_display_data", "new")):
            shown = {"data": {"text/plain": text}, "metadata": {}, "transient": transient}
            self.publish((kind, shown))
            self.finish()
        found = self.executed(pending.response)
        self.assertEqual(found["cells"][0]["outputs"][0]["data"], {"text/plain": "new"})
        self.assertEqual(found["cells"][1]["outputs"], [])

    def test_stream(self) -> None:
        """
        A stream tells how far it is, and ends with the notebook.
        """
        pending = self.run_it(notebook("1", "2"), accept="application/x-ndjson")
        self.finish("one")
        self.assertIn(b'"one"', pending.received)
        self.finish(ename="ValueError", evalue="no")
        events = pending.events
        self.assertEqual(
            [(event["event"], event.get("cell")) for event in events],
            [
                ("accepted", None),
                ("cell_started", 0),
                ("cell_output", 0),
                ("cell_ended", 0),
                ("cell_started", 1),
                ("cell_output", 1),
                ("cell_ended", 1),
                ("result", None),
            ],
        )
        self.assertEqual(events[0]["cells"], 2)
        self.assertEqual(events[2]["output"]["text"], "one")
        self.assertEqual((events[3]["status"], events[6]["status"]), ("ok", "error"))
        self.assertEqual(events[6]["error"]["ename"], "ValueError")
        self.assertEqual(events[7]["status"], "error")
        nbformat.validate(nbformat.from_dict(events[7]["notebook"]))
        pending = self.run_it(notebook("1"), accept="text/event-stream")
        self.finish()
        self.assertIn(b"\nevent: cell_started\ndata: {", pending.received)

    def test_hang_up(self) -> None:
        """
        When its client leaves, nothing goes on, unless the client wants that.
        """
        for accept in (IPYNB, "application/x-ndjson"):
            self.run_it(notebook("1", "2"), accept=accept).hang_up()
            self.assertEqual(list(self.kernels.list()), [])
        self.run_it(notebook("1", "2"), {"on_disconnect": "continue"}).hang_up()
        self.finish()
        self.assertEqual(self.code(), ["1", "2"])
        self.finish()
        self.assertEqual(list(self.kernels.list()), [])

    def test_key(self) -> None:
        """
        With an ``Idempotency-Key`` it is run once.
        """
        first = self.run_it(notebook("1"), idempotency_key="a")
        second = self.run_it(notebook("1"), idempotency_key="a")
        first.hang_up()
        self.finish("x")
        third = self.run_it(notebook("1"), idempotency_key="a")
        self.assertEqual(second.response.body, third.response.body)
        self.executed(third.response)

    def test_uri(self) -> None:
        """
        The gateway reads a notebook that the operator allows, and no other.
        """
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "a.ipynb").write_text(json.dumps(notebook("1")))
        (folder / "wrong.ipynb").write_text("{")
        forbidden = (
            "uri: the gateway may not read it; send the notebook itself, or ask the gateway's "
            "operator to allow it with --notebook-uris"
        )
        body = {"uri": f"{folder}/a.ipynb"}
        self.assertError(self.post(PATH, body).response, 403, forbidden)
        self.serve(notebook_uris=(str(folder),), max_seed_size=1000)
        pending = self.post(PATH, body)
        self.finish()
        self.executed(pending.response)
        for uri in ("/etc/passwd", f"{folder}/../x", str(folder), "https://host/a.ipynb", ""):
            self.assertError(self.post(PATH, {"uri": uri}).response, 403, forbidden)
        for name in ("missing.ipynb", "wrong.ipynb"):
            self.assertError(self.post(PATH, {"uri": f"{folder}/{name}"}).response, 400)
        (folder / "a.ipynb").write_text(json.dumps(notebook("x" * 2000)))
        self.assertError(self.post(PATH, body).response, 400)
        self.assertError(self.run_it(notebook("x" * 2000)).response, 413)

    def test_limit(self) -> None:
        """
        At the limit of kernels it is refused.
        """
        self.serve(max_kernels=0)
        self.assertError(self.run_it(notebook("1")).response, 403, "Resource Limit")

    def test_wrong_use(self) -> None:
        """
        What is wrong is refused before a kernel starts, and the error says where it is.
        """
        good = notebook("1")
        for body, named in (
            (b"", "JSON body"),
            ({}, "one of notebook and uri"),
            ({"notebook": good, "uri": "x"}, "one of notebook and uri"),
            ({"notebook": "x"}, "notebook"),
            ({"notebook": {}}, "nbformat"),
            ({"notebook": {"nbformat": 4, "cells": [1]}}, "cell 1"),
            ({"notebook": {**good, "nbformat": 3, "worksheets": []}}, "format 3"),
            ({"notebook": {**good, "metadata": {"kernelspec": {"name": 1}}}}, "kernelspec"),
            ({"notebook": good, "parameters": []}, "parameters"),
            ({"notebook": good, "parameters": {"a b": 1}}, "'a b'"),
            ({"notebook": good, "timeout": -1}, "timeout"),
            ({"notebook": good, "timeout": 601}, "timeout"),
            ({"notebook": good, "on_error": "ignore"}, "on_error"),
            ({"notebook": good, "kernel": "x"}, "kernel"),
            ({"uri": 1}, "uri"),
        ):
            response = self.request("POST", PATH, body)
            self.assertError(response, 400)
            self.assertIn(named, response.json["message"])
        for raw in (b"", b"{", b"[]", b"\xff"):
            response = self.request("POST", PATH, raw, content_type=IPYNB)
            self.assertError(response, 400)
        both = "application/x-ndjson, text/event-stream"
        self.assertError(self.run_it(good, accept=both).response, 400)
        self.assertError(self.run_it(good, accept="text/html").response, 406)
        self.assertError(self.request("GET", PATH), 405)
        self.assertEqual(list(self.kernels.list()), [])
