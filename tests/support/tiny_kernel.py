"""
A kernel for the tests: the protocol, and a few commands instead of a language.

Code that is a JSON object with a key ``do`` is a command; everything else is printed.
"""

import hashlib
import hmac
import json
import os
import signal
import sys
import time

import zmq

DELIMITER = b"<IDS|MSG>"


class TinyKernel:
    """
    One kernel.
    """

    def __init__(self, connection_file):
        with open(connection_file) as file:
            self.info = json.load(file)
        self.key = self.info["key"].encode()
        self.serial = 0
        self.interrupted = False
        context = zmq.Context()
        self.sockets = {
            name: self.bind(context, kind, f"{name}_port")
            for name, kind in (
                ("iopub", zmq.XPUB),
                ("stdin", zmq.ROUTER),
                ("control", zmq.ROUTER),
                ("hb", zmq.REP),
                ("shell", zmq.ROUTER),
            )
        }

    def bind(self, context, kind, port):
        socket = context.socket(kind)
        socket.linger = 1000
        socket.sndhwm = 0
        if "curve_secretkey" in self.info:
            socket.curve_secretkey = self.info["curve_secretkey"].encode()
            socket.curve_publickey = self.info["curve_publickey"].encode()
            socket.curve_server = True
        transport = self.info["transport"]
        separator = ":" if transport == "tcp" else "-"
        socket.bind(f"{transport}://{self.info['ip']}{separator}{self.info[port]}")
        return socket

    def frames(self, msg_type, parent, content, buffers=()):
        self.serial += 1
        header = {
            "msg_id": f"{os.getpid()}-{self.serial}",
            "msg_type": msg_type,
            "username": "tiny",
            "session": "tiny",
            "date": "2026-01-01T00:00:00.000000Z",
            "version": "5.4",
        }
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        parts = [json.dumps(header).encode(), parent, b"{}", content]
        digest = hmac.new(self.key, b"".join(parts), hashlib.sha256).hexdigest().encode()
        return [DELIMITER, digest, *parts, *buffers]

    def publish(self, msg_type, parent, content, buffers=()):
        frames = self.frames(msg_type, parent, content, buffers)
        self.sockets["iopub"].send_multipart([msg_type.encode(), *frames])

    def print(self, parent, text):
        self.publish("stream", parent, {"name": "stdout", "text": text})

    def handle(self, channel):
        frames = self.sockets[channel].recv_multipart()
        at = frames.index(DELIMITER)
        identity, signature, parts = frames[:at], frames[at + 1], frames[at + 2 : at + 6]
        digest = hmac.new(self.key, b"".join(parts), hashlib.sha256).hexdigest().encode()
        if digest != signature:
            print("a request has a wrong signature", file=sys.stderr, flush=True)
            return
        header, content = json.loads(parts[0]), json.loads(parts[3])
        msg_type, parent = header["msg_type"], parts[0]
        self.publish("status", parent, {"execution_state": "busy"})
        reply = {"status": "ok"}
        if msg_type == "execute_request":
            reply |= {"execution_count": 1, "user_expressions": {}, "payload": []}
            self.execute(identity, parent, content)
        elif msg_type == "kernel_info_request":
            reply |= {"protocol_version": "5.4", "implementation": "tiny", "banner": "",
                      "language_info": {"name": "x"}, "help_links": []}  # fmt: skip
        elif msg_type == "shutdown_request":
            reply["restart"] = content["restart"]
        elif msg_type == "comm_msg":
            self.publish("comm_msg", parent, content, frames[at + 6 :])
        if msg_type.endswith("_request"):
            answer = self.frames(msg_type.replace("request", "reply"), parent, reply)
            self.sockets[channel].send_multipart([*identity, *answer])
        self.publish("status", parent, {"execution_state": "idle"})
        if msg_type == "shutdown_request":
            sys.exit(0)

    def execute(self, identity, parent, content):
        try:
            command = json.loads(content["code"])
            action = getattr(self, "do_" + command.pop("do"))
        except (ValueError, KeyError, TypeError, AttributeError):
            self.print(parent, content["code"])
            return
        action(identity, parent, **command)

    def do_die(self, identity, parent, code=1):
        os._exit(code)

    def do_sleep(self, identity, parent, seconds):
        # Until then, or until an interrupt.
        self.interrupted = False
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.interrupted:
            signal.sigtimedwait([], 0.005)
        self.print(parent, "interrupted" if self.interrupted else "slept")

    def do_flood(self, identity, parent, n, size):
        for number in range(n):
            self.print(parent, f"{number} " + "x" * size)

    def do_input(self, identity, parent, prompt=""):
        request = self.frames("input_request", parent, {"prompt": prompt, "password": False})
        self.sockets["stdin"].send_multipart([*identity, *request])
        frames = self.sockets["stdin"].recv_multipart()
        value = json.loads(frames[frames.index(DELIMITER) + 5])["value"]
        self.print(parent, value)

    def do_comm(self, identity, parent, buffers):
        content = {"comm_id": "c", "data": {}}
        self.publish("comm_msg", parent, content, [os.urandom(size) for size in buffers])

    def do_nan(self, identity, parent):
        data = b'{"data": {"x": NaN, "y": "NaN"}, "metadata": {}, "transient": {}}'
        self.publish("display_data", parent, data)

    def do_env(self, identity, parent):
        self.print(parent, json.dumps(dict(os.environ)))

    def do_cwd(self, identity, parent):
        self.print(parent, os.getcwd())

    def do_pid(self, identity, parent):
        self.print(parent, str(os.getpid()))

    def do_log(self, identity, parent, text):
        print(text, file=sys.stderr, flush=True)

    def run(self):
        self.publish("status", b"{}", {"execution_state": "starting"})
        poller = zmq.Poller()
        for name in ("control", "shell", "hb", "iopub"):
            poller.register(self.sockets[name], zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            for name in ("control", "shell"):
                if self.sockets[name] in ready:
                    self.handle(name)
            if self.sockets["hb"] in ready:
                self.sockets["hb"].send(self.sockets["hb"].recv())
            if self.sockets["iopub"] in ready and self.sockets["iopub"].recv()[:1] == b"\x01":
                self.publish("iopub_welcome", b"{}", {"subscription": ""})


if __name__ == "__main__":
    kernel = TinyKernel(sys.argv[sys.argv.index("-f") + 1])

    def interrupted(signum, frame):
        kernel.interrupted = True

    signal.signal(signal.SIGINT, interrupted)
    if "--deaf-to-sigterm" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kernel.run()
