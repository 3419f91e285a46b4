"""
Runs one piece of code on a kernel behind a gateway, with Tornado.

    python client.py 'print("Hello")'

GATEWAY_HOST says where the gateway is (127.0.0.1:8888), GATEWAY_TOKEN what it wants to see.
"""

import asyncio
import json
import os
import sys
import uuid

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

HOST = os.environ.get("GATEWAY_HOST", "127.0.0.1:8888")
TOKEN = os.environ.get("GATEWAY_TOKEN", "")
HEADERS = {"Authorization": f"token {TOKEN}"} if TOKEN else {}


def execute_request(code):
    """
    A request to run code, in the framing that needs no subprotocol: one JSON object.
    """
    return {
        "channel": "shell",
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": uuid.uuid4().hex,
            "username": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
        },
        "buffers": [],
    }


async def run(kernel_id, code):
    """
    Print what the code prints, until the kernel is idle again.
    """
    url = f"ws://{HOST}/api/kernels/{kernel_id}/channels"
    socket = await websocket_connect(HTTPRequest(url, headers=HEADERS))
    request = execute_request(code)
    await socket.write_message(json.dumps(request))
    while (frame := await socket.read_message()) is not None:
        message = json.loads(frame)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            print(content["text"], end="")
        elif message["msg_type"] in ("execute_result", "display_data"):
            print(content["data"].get("text/plain", ""))
        elif message["msg_type"] == "error":
            print("\n".join(content["traceback"]), file=sys.stderr)
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            break
    socket.close()


async def main():
    """
    Start a kernel, use it, and stop it.
    """
    client = AsyncHTTPClient()
    kernels = f"http://{HOST}/api/kernels"
    answer = await client.fetch(kernels, method="POST", headers=HEADERS, body="{}")
    kernel = json.loads(answer.body)
    try:
        await run(kernel["id"], sys.argv[1] if len(sys.argv) > 1 else 'print("Hello world!")')
    finally:
        await client.fetch(f"{kernels}/{kernel['id']}", method="DELETE", headers=HEADERS)


if __name__ == "__main__":
    asyncio.run(main())
