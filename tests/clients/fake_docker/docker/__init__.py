"""
As much of Docker as those need who have a gateway in a container: the command of the Dockerfile
runs on this machine, on its loopback interface, and on the port that Docker would forward.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import uuid
from typing import Any

from docker import errors as errors

LOOPBACK = "127.0.0.1"
_PORT = "8888"
_EVERYWHERE = "0.0.0.0"


def from_env() -> Client:
    """
    The one client.
    """
    return _client


def command_of(dockerfile: str) -> list[str]:
    """
    :return: What a container runs.
    """
    text = re.sub(r"\\\n\s*", " ", dockerfile)
    (command,) = re.findall(r"^\s*CMD (.*)$", text, re.MULTILINE)
    return list(json.loads(command)) if command[0] == "[" else ["/bin/sh", "-c", f"exec {command}"]


class Container:
    """
    A process.
    """

    def __init__(self, command: list[str], port: int, environment: dict[str, str]) -> None:
        self.id = uuid.uuid4().hex
        self.short_id = self.id[:10]
        self.status = "created"
        command = [
            word.replace(f"port={_PORT}", f"port={port}").replace(_EVERYWHERE, LOOPBACK)
            for word in command
        ]
        print("runs", shlex.join(command), flush=True)
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            # Nobody reads further than to the line below, as with those who start it themselves.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "is available at" in line:
                self.status = "running"
                real = line.rpartition(":")[2].strip()
                self.ports = {f"{_PORT}/tcp": [{"HostIp": LOOPBACK, "HostPort": real}]}
                break

    def reload(self) -> None:
        """
        Nothing has changed.
        """

    def stop(self) -> None:
        """
        What Docker does.
        """
        self.process.send_signal(signal.SIGTERM)
        print("ended with", self.process.wait(10), flush=True)
        self.status = "exited"

    def remove(self) -> None:
        """
        Nothing is left.
        """
        del _client.containers.known[self.id]


class Images:
    """
    Dockerfiles by tag.
    """

    def __init__(self) -> None:
        self.built: dict[str, str] = {}

    def get(self, tag: str) -> str:
        """
        Find one.
        """
        try:
            return self.built[tag]
        except KeyError:
            raise errors.ImageNotFound(tag) from None

    def build(self, *, fileobj: Any, tag: str, **_more: Any) -> tuple[str, list[Any]]:
        """
        Keep one.
        """
        self.built[tag] = fileobj.read().decode()
        return tag, []


class Containers:
    """
    Containers by their id.
    """

    def __init__(self, images: Images) -> None:
        self.known: dict[str, Container] = {}
        self._images = images

    def run(
        self, image: str, *, environment: Any = None, ports: Any = None, **_more: Any
    ) -> Container:
        """
        Run what the Dockerfile says.
        """
        _, port = (ports or {}).get(f"{_PORT}/tcp", (LOOPBACK, 0))
        container = Container(command_of(self._images.get(image)), port, environment or {})
        self.known[container.id] = container
        return container

    def get(self, container_id: str) -> Container:
        """
        Find one.
        """
        return self.known[container_id]


class Client:
    """
    What ``from_env`` gives.
    """

    def __init__(self) -> None:
        self.images = Images()
        self.containers = Containers(self.images)


_client = Client()
