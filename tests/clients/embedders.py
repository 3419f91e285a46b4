"""
Programs that run models' code, with a kernel gateway that they start themselves. Their own code
starts it, finds it, uses it and ends it; what they start is called as they call it.

Arguments: which of them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import tempfile


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def autogen_local() -> None:
    """
    AutoGen 0.2 starts the gateway as a process, and reads from its stderr where it is.
    """
    from autogen.coding import CodeBlock
    from autogen.coding.jupyter import JupyterCodeExecutor, LocalJupyterServer

    for port in (None, free_port()):
        with tempfile.TemporaryDirectory() as output, LocalJupyterServer(port=port) as server:
            assert port in (None, server.port)
            with JupyterCodeExecutor(server, output_dir=output) as executor:
                result = executor.execute_code_blocks(
                    [
                        CodeBlock(language="python", code="import os; x = 6"),
                        CodeBlock(
                            language="python", code="print('KG_AUTH_TOKEN' in os.environ, x * 7)"
                        ),
                    ]
                )
                assert (result.exit_code, result.output.strip()) == (0, "False 42"), result
                result = executor.execute_code_blocks([CodeBlock(language="python", code="1/0")])
                assert "ZeroDivisionError" in result.output, result
                executor.restart()
                result = executor.execute_code_blocks([CodeBlock(language="python", code="x")])
                assert "NameError" in result.output, result
        status = server._subprocess.returncode
        assert status == 0, f"it ended with {status}"


async def _autogen_docker() -> None:
    from autogen_core import CancellationToken
    from autogen_core.code_executor import CodeBlock
    from autogen_ext.code_executors.docker_jupyter import (
        DockerJupyterCodeExecutor,
        DockerJupyterServer,
    )

    async with DockerJupyterServer() as server, DockerJupyterCodeExecutor(server) as executor:
        result = await executor.execute_code_blocks(
            [CodeBlock(language="python", code="print(6 * 7)")], CancellationToken()
        )
        assert (result.exit_code, result.output.strip()) == (0, "42"), result


def autogen_docker() -> None:
    """
    Its successor starts it in a container.
    """
    asyncio.run(_autogen_docker())


def smolagents_docker() -> None:
    """
    smolagents starts it in a container, with a variable for the token, and opens a WebSocket for
    each piece of code.
    """
    from smolagents import AgentLogger
    from smolagents.remote_executors import DockerExecutor

    executor = DockerExecutor([], AgentLogger(), port=free_port())
    try:
        executor.run_code_raise_errors("x = 6")
        assert executor.run_code_raise_errors("print(x * 7)").logs.strip() == "42"
        said = ""
        try:
            executor.run_code_raise_errors("1/0")
        except Exception as error:
            said = str(error)
        assert "ZeroDivisionError" in said, said
    finally:
        executor.cleanup()


logging.basicConfig(level=logging.INFO)
{"autogen": autogen_local, "autogen-docker": autogen_docker, "smolagents": smolagents_docker}[
    sys.argv[1]
]()
print("All is well.")
