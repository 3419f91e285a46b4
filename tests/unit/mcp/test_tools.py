"""
The tools of agents: what they take, what they do, and what they tell.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from kgd import errors
from tests.support.agents import AgentTestCase
from tests.support.api import UNKNOWN


class DescriptionTests(AgentTestCase):
    """
    What clients are told of the tools.
    """

    def test_schemas(self) -> None:
        """
        They are whole schemas of objects, whose fields are explained, without Python's names.
        """
        for tool in self.stateless("tools/list").message["result"]["tools"]:
            self.assertRegex(tool["name"], r"^[a-z_]+$")
            self.assertTrue(tool["title"])
            self.assertTrue(tool["description"])
            for key in ("inputSchema", "outputSchema"):
                schema = tool[key]
                Draft202012Validator.check_schema(schema)
                self.assertEqual(schema["type"], "object")
                self.assertNotIn("$ref", str(schema))
                self.assertNotIn("title", schema)
            self.assertIs(tool["inputSchema"]["additionalProperties"], False)
            for field in tool["inputSchema"]["properties"].values():
                self.assertTrue(field["description"])
            self.assertIn("readOnlyHint", tool["annotations"])

    def test_limits(self) -> None:
        """
        A model reads how long code may run, and when kernels end.
        """
        for settings, told, untold in (
            ({}, ("3600 s", "600 s"), ()),
            ({"mcp_session_timeout": 7.0, "max_execute_timeout": 8.0}, ("7 s", "8 s"), ()),
            ({"mcp_session_timeout": 0.0, "max_execute_timeout": 0.0}, ("goes on",), (" s.",)),
            ({"mcp_keep_kernels": True}, ("goes on",), ("3600 s",)),
        ):
            self.serve(**settings)
            tools = self.stateless("tools/list").message["result"]["tools"]
            for text in told:
                self.assertIn(text, tools[0]["description"])
            for text in untold:
                self.assertNotIn(text, tools[0]["description"])


class KernelTests(AgentTestCase):
    """
    Tools for kernels.
    """

    def setUp(self) -> None:
        super().setUp()
        described = self.stateless("tools/list").message["result"]["tools"]
        self.outputs = {tool["name"]: tool["outputSchema"] for tool in described}

    def done(self, name: str, session_id: str = "", /, **arguments: Any) -> Any:
        """
        :return: The structured content of a tool that has worked, which is what its schema says.
        """
        result = self.call(name, session_id, **arguments)
        self.assertIs(result["isError"], False, result)
        Draft202012Validator(self.outputs[name]).validate(result["structuredContent"])
        return result["structuredContent"]

    def failed(self, name: str, text: str, session_id: str = "", /, **arguments: Any) -> None:
        """
        A tool fails with a text for the model.
        """
        result = self.call(name, session_id, **arguments)
        self.assertIs(result["isError"], True, result)
        self.assertIn(text, result["content"][0]["text"])
        self.assertNotIn("structuredContent", result)

    def test_start(self) -> None:
        """
        A kernel is started as it is asked for.
        """
        told = self.done("start_kernel", name="python3", path="a", env={"KERNEL_A": "b"})
        kernel = self.kernels.get(told["kernel_id"])
        request = kernel.request
        self.assertEqual((request.name, request.path), ("python3", "a"))
        self.assertEqual(request.env, {"KERNEL_A": "b"})
        self.assertEqual(told["name"], "python3")
        self.assertEqual(told["execution_state"], "starting")

    def test_start_fails(self) -> None:
        """
        The model is told why, and what to do.
        """
        self.failed("start_kernel", "unknown", name="unknown")
        self.kernels.error = errors.KernelStartFailed("it is broken")
        self.failed("start_kernel", "it is broken")
        self.serve(max_kernels=1)
        self.done("start_kernel")
        self.failed("start_kernel", "stop_kernel")
        self.kernels.draining.ask()
        self.failed("start_kernel", "draining")

    def test_list(self) -> None:
        """
        All kernels are listed, if the gateway lists them at all; otherwise a session's own.
        """
        session, other = self.initialize(), self.initialize()
        kernel_id = self.done("start_kernel", session)["kernel_id"]
        self.done("start_kernel", other)
        listed = self.done("list_kernels", session)["kernels"]
        self.assertEqual([kernel["kernel_id"] for kernel in listed], [kernel_id])
        self.failed("list_kernels", "--list-kernels")
        self.serve(list_kernels=True)
        self.done("start_kernel")
        kernel_id = self.start()
        listed = self.done("list_kernels")["kernels"]
        self.assertEqual(listed[1]["kernel_id"], kernel_id)

    def test_named(self) -> None:
        """
        A kernel that is named, which may be one that was started otherwise.
        """
        kernel_id = self.start()
        told = self.done("interrupt", kernel_id=kernel_id)
        self.assertEqual(told, {"kernel_id": kernel_id, "done": "interrupted"})
        self.assertEqual(self.kernels.interrupted, [kernel_id])
        self.assertEqual(self.done("restart", kernel_id=kernel_id)["kernel_id"], kernel_id)
        self.assertEqual(self.kernels.restarted, [kernel_id])
        told = self.done("stop_kernel", kernel_id=kernel_id)
        self.assertEqual(told, {"kernel_id": kernel_id, "done": "stopped"})
        self.assertEqual(self.kernel_ids(), [])
        for name in ("interrupt", "restart", "stop_kernel"):
            self.failed(name, "does not exist", kernel_id=kernel_id)

    def test_restart_fails(self) -> None:
        """
        The reason is told.
        """
        kernel_id = self.start()
        self.kernels.error = errors.RestartFailed("it does not start")
        self.failed("restart", "it does not start", kernel_id=kernel_id)

    def test_own(self) -> None:
        """
        Without a name it is the session's, once that has one.
        """
        session = self.initialize()
        for name in ("interrupt", "restart", "stop_kernel"):
            self.failed(name, "kernel_id is missing", session)
            self.failed(name, "kernel_id is missing")
        self.in_session(session, "tools/call", 7, name="run_code", arguments={"code": "x"})
        (kernel_id,) = self.kernel_ids()
        for name in ("interrupt", "restart", "stop_kernel"):
            self.assertEqual(self.done(name, session)["kernel_id"], kernel_id)
        self.failed("interrupt", "kernel_id is missing", session)

    def test_expiry_of_named_kernels(self) -> None:
        """
        A kernel of a client without a session ends when nobody has used it for a while.
        """
        self.serve(mcp_session_timeout=100.0)
        used, unused = (self.done("start_kernel")["kernel_id"] for _ in range(2))
        self.clock.advance(60)
        exchange = self.stateless(
            "tools/call", name="run_code", arguments={"code": "x", "kernel_id": used}
        )
        script = self.script(used)
        script.end(script.take())
        self.assertEqual(exchange.response.code, 200)
        self.clock.advance(60)
        self.assertEqual(self.kernel_ids(), [used])
        self.failed("run_code", "leave kernel_id out", code="x", kernel_id=unused)
        self.clock.advance(60)
        self.assertEqual(self.kernel_ids(), [])

    def test_wrong_arguments(self) -> None:
        """
        The text names the tool and the field.
        """
        for name, text, arguments in (
            ("run_code", "code", {}),
            ("run_code", "code", {"code": 1}),
            ("run_code", "code", {"code": None}),
            ("run_code", "source", {"code": "x", "source": "y"}),
            ("run_code", "timeout", {"code": "x", "timeout": "1"}),
            ("run_code", "timeout", {"code": "x", "timeout": 0}),
            ("run_code", "timeout", {"code": "x", "timeout": -1}),
            ("run_code", "timeout", {"code": "x", "timeout": 601}),
            ("run_code", "max_text_bytes", {"code": "x", "max_text_bytes": 1}),
            ("run_code", "max_text_bytes", {"code": "x", "max_text_bytes": 1.5}),
            ("run_code", "kernel_id", {"code": "x", "kernel_id": 1}),
            ("start_kernel", "env", {"env": []}),
            ("start_kernel", "env", {"env": {"A": 1}}),
            ("start_kernel", "env", {"env": {"A=B": "1"}}),
            ("list_kernels", "all", {"all": True}),
            ("interrupt", "kernel_id", {"kernel_id": []}),
        ):
            self.failed(name, text, **arguments)
        self.assertEqual(self.kernel_ids(), [])
        others: tuple[Any, ...] = ([], "x", 1)
        for wrong in others:
            exchange = self.stateless("tools/call", name="list_kernels", arguments=wrong)
            self.assertIs(exchange.message["result"]["isError"], True)
        self.failed("interrupt", "does not exist", kernel_id=UNKNOWN)
