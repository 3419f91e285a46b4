"""
A client in the manner of the gateway examples of 2015: no session, one constant id, buffers as an
object, and a parent expected of every message.

    python classic_tornado.py HOST [TOKEN]
"""

import json
import sys

from tornado import gen
from tornado.escape import json_decode, json_encode, url_escape
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

HOST = sys.argv[1]
HEADERS = {"Authorization": f"token {sys.argv[2]}"} if sys.argv[2:] else {}
MSG_ID = "test-msg"


@gen.coroutine
def main():
    response = yield AsyncHTTPClient().fetch(
        f"http://{HOST}/api/kernels", method="POST", body="{}", headers=HEADERS
    )
    kernel = json_decode(response.body)
    ws_url = f"ws://{HOST}/api/kernels/{url_escape(kernel['id'])}/channels"
    ws = yield websocket_connect(HTTPRequest(ws_url, headers=HEADERS) if HEADERS else ws_url)
    header = {"username": "", "version": "5.0", "session": "", "msg_id": MSG_ID,
              "msg_type": "execute_request"}  # fmt: skip
    content = {"code": 'print("Hello world!")', "silent": False, "store_history": False,
               "user_expressions": {}}  # fmt: skip
    ws.write_message(
        json_encode(
            {
                "header": header,
                "parent_header": {},
                "channel": "shell",
                "content": content,
                "metadata": {},
                "buffers": {},
            }
        )
    )
    text = ""
    while True:
        msg = yield ws.read_message()
        msg = json_decode(msg)
        parent_msg_id = msg["parent_header"]["msg_id"]
        if msg["msg_type"] == "stream" and parent_msg_id == MSG_ID:
            text += msg["content"]["text"]
        if msg["msg_type"] == "execute_reply":
            break
    ws.close()
    yield AsyncHTTPClient().fetch(
        f"http://{HOST}/api/kernels/{kernel['id']}", method="DELETE", headers=HEADERS
    )
    return text


if __name__ == "__main__":
    print(json.dumps(IOLoop.current().run_sync(main)))
