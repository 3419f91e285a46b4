"""
An agent's work with the official SDK of the Model Context Protocol; ends with status 0 if it works.

    python sdk.py URL TOKEN legacy|auto
"""

import asyncio
import sys

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

URL, TOKEN, MODE = sys.argv[1:]
PICTURE = """
import base64
from IPython.display import Image, display
display(Image(data=base64.b64decode("iVBORw0KGgo="), format="png"))
print("shown")
"""
ENDLESS = """
import time
print("begun", flush=True)
while True:
    time.sleep(0.1)
"""


async def run(client, code, **more):
    """
    Run code.
    """
    return await client.call_tool("run_code", {"code": code, **more})


async def cancelled(client, kernel):
    """
    A call that is cancelled is interrupted, so that the kernel is free for the next one.
    """
    begun = asyncio.Event()

    async def progress(_number, _total, message):
        assert message == "begun\n", message
        begun.set()

    call = asyncio.create_task(
        client.call_tool(
            "run_code", {"code": ENDLESS, "kernel_id": kernel}, progress_callback=progress
        )
    )
    await begun.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert (await run(client, "x", kernel_id=kernel)).structured_content["result"] == "20"


async def work(client):
    """
    All tools.
    """
    modern = client.protocol_version >= "2026"
    assert modern == (MODE == "auto"), client.protocol_version
    names = {tool.name for tool in (await client.list_tools()).tools}
    assert {"run_code", "read_file"} <= names, names
    result = await run(client, "x = 20\nprint('hello')\nx + 1")
    assert not result.is_error, result
    told = result.structured_content
    assert (told["stdout"], told["result"], told["new_kernel"]) == ("hello\n", "21", True), told
    kernel = told["kernel_id"]
    assert "hello\n21" in result.content[0].text
    result = await run(client, PICTURE, kernel_id=kernel)
    assert [each.type for each in result.content] == ["image", "text"], result
    assert result.content[0].data == "iVBORw0KGgo="
    result = await run(client, "1 / 0", kernel_id=kernel)
    assert result.is_error
    assert result.structured_content["error"]["ename"] == "ZeroDivisionError"
    if not modern:
        assert (await run(client, "x")).structured_content["kernel_id"] == kernel
    await cancelled(client, kernel)
    named = {"kernel_id": kernel}
    path = f"written-{MODE}.txt"
    result = await client.call_tool("write_file", {"path": path, "content": "abc", **named})
    assert result.structured_content["created"], result
    result = await run(client, f"open({path!r}).read()", kernel_id=kernel)
    assert result.structured_content["result"] == "'abc'", result
    result = await client.call_tool("read_file", {"path": path, **named})
    assert result.content[0].text == "abc", result
    result = await client.call_tool("list_files", named)
    assert path in [each["name"] for each in result.structured_content["entries"]], result
    result = await client.call_tool("list_kernels", {})
    assert kernel in [each["kernel_id"] for each in result.structured_content["kernels"]]
    other = (await client.call_tool("start_kernel", {})).structured_content["kernel_id"]
    assert (await client.call_tool("interrupt", {"kernel_id": other})).is_error is False
    assert (await client.call_tool("restart", {"kernel_id": other})).is_error is False
    result = await run(client, "x", kernel_id=other)
    assert result.structured_content["error"]["ename"] == "NameError", result
    await client.call_tool("stop_kernel", {"kernel_id": other})
    assert (await run(client, "x", kernel_id=other)).is_error
    result = await client.call_tool("run_code", {"source": "x"})
    assert result.is_error
    assert "source" in result.content[0].text, result
    told = ""
    try:
        await client.call_tool("nothing", {})
    except MCPError as error:
        told = str(error)
    assert "Unknown tool" in told, told
    if modern:
        # A session does that by itself.
        await client.call_tool("stop_kernel", named)


async def main():
    """
    Connect, work, and leave.
    """
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{URL}/mcp", http_client=http)
        async with Client(transport, mode=MODE) as client:
            await work(client)
    print("All is well.")


asyncio.run(main())
