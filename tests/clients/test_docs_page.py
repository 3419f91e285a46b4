"""
The page that documents notebooks' endpoints, in a headless Chromium.

The browser comes out of an npm package; nothing else is asked for one.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from kgd.web.docs_page import HEADERS, asset, page
from tests.clients.programs import NODE_SCRIPTS, TOKEN, NodeTestCase
from tests.support.gateway import until

CHROMIUM = Path(__file__).with_name("node_chromium")
BASE = "/base"
READINGS = [4.1, 6.3, 9.8, 13.2, 17.5, 20.9, 22.4, 21.8, 17.9, 12.6, 7.7, 4.9]
STATION = {"name": "Kiel", "height": 5, "serial": 12345678901234567890}


def chart() -> bytes:
    """
    :return: A PNG of the readings, as bars.
    """
    width, height, bar = 480, 200, 40
    rows = b""
    for y in range(height):
        row = b""
        for x in range(width):
            inside = 6 <= x % bar < bar - 6 and height - y < READINGS[x // bar] * 8
            row += bytes((47, 95 + y // 2, 208)) if inside else b"\xff\xff\xff"
        rows += b"\0" + row

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", checksum)

    header = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + image + chunk(b"IEND", b"")


def operation(
    summary: str,
    produces: str,
    cells: list[int],
    description: str = "",
    *,
    streamed: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """
    :return: What a document says of one verb of one path.
    """
    parameters = more.pop("parameters", [])
    example = more.pop("example", None)
    content = {produces: {} if example is None else {"example": example}}
    return {
        "operationId": re.sub(r"\W+", "_", summary),
        "summary": summary,
        "description": description,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ],
        "responses": {"200": {"description": "What the cell prints", "content": content}},
        "x-kgd-cells": cells,
        "x-kgd-streamed": streamed,
        **more,
    }


def document(title: str, base: str, description: str, paths: dict[str, Any]) -> dict[str, Any]:
    """
    :return: What is said of a notebook.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0", "description": description},
        "servers": [{"url": base}],
        "paths": paths,
    }


WEATHER = document(
    "weather",
    f"{BASE}/weather",
    "Stations and what they have measured. `REQUEST` is explained in the notebook.",
    {
        "/stations/{name}": {
            "get": operation(
                "One station",
                "application/json",
                [4],
                "Everything that is known of a station:\n\n- its `name`, as on the map\n"
                "- its height in metres\n\nNames are *not* <b>case-sensitive</b>.",
                parameters=["name"],
                example={"name": "Kiel", "height": 5},
            ),
        },
        "/stations": {
            "post": operation(
                "Add a station",
                "application/json",
                [5, 6],
                requestBody={
                    "content": {"application/json": {"example": {"name": "List", "height": 26}}}
                },
            ),
        },
        "/chart": {
            "get": operation(
                "The year as a picture",
                "image/png",
                [8],
                "The monthly means, drawn anew for every request.\n\n"
                "### Colours\n\nBlue is cold, and so is green.",
            ),
        },
        "/table": {"get": operation("The year as a table", "text/html", [9])},
        "/readings": {
            "get": operation("Readings as they come", "text/plain", [11], streamed=True),
        },
    },
)
TOOLS = document(
    "tools",
    f"{BASE}/tools",
    "",
    {
        "/release": {"post": operation("Let the readings go on", "text/plain", [2])},
        "/broken": {"get": operation("Fails", "text/plain", [3])},
        "/upload": {
            "put": operation(
                "Take files", "application/json", [4],
                requestBody={"content": {"multipart/form-data": {"example": "note=a note"}}},
            ),
        },
    },
)  # fmt: skip
APIS = [("weather", f"{BASE}/weather", WEATHER), ("tools", f"{BASE}/tools", TOOLS)]


class Endpoints(Resource):
    """
    What a gateway would serve for such notebooks.

    :ivar reading: The requests for readings that are not answered to their end.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.reading: list[Any] = []
        self.chart = chart()

    def render(self, request: Any) -> Any:
        """
        Answer.
        """
        path = request.path.decode("ascii").removeprefix(BASE)
        found = asset(path.removeprefix("/_api/docs/"))
        if found is not None:
            return self.answer(request, 200, found[1], found[0])
        given = request.getHeader("Authorization") == f"token {TOKEN}"
        if not given and request.args.get(b"token") != [TOKEN.encode()]:
            return self.answer(request, 401, "application/json", b'{"reason":"Unauthorized"}')
        if path == "/_api/docs":
            for name, value in HEADERS:
                request.setHeader(name, value)
            return page(APIS, f"{BASE}/_api/docs")
        return self.endpoint(request, request.method.decode("ascii"), path)

    def answer(self, request: Any, status: int, content_type: str, body: bytes) -> bytes:
        """
        Answer at once.
        """
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", content_type.encode("ascii"))
        return body

    def endpoint(self, request: Any, method: str, path: str) -> Any:
        """
        Answer in a notebook's place.
        """
        body = request.content.read()
        match method, path:
            case "GET", "/weather/readings":
                request.setHeader(b"Content-Type", b"text/plain")
                # One of the two bytes of this character comes later.
                request.write("4.1 °".encode()[:-1])
                self.reading.append(request)
                request.notifyFinish().addBoth(lambda _: self.reading.remove(request))
                return NOT_DONE_YET
            case "POST", "/tools/release":
                for each in list(self.reading):
                    each.write("°".encode()[1:] + b"C\nthe end\n")
                    each.finish()
                return self.answer(request, 200, "text/plain", b"released")
            case "GET", "/weather/chart":
                return self.answer(request, 200, "image/png", self.chart)
            case "GET", "/weather/table":
                table = b"<table><tr><td id=first>January</td><td>4.1</td></tr></table>"
                return self.answer(request, 200, "text/html", table)
            case "GET", "/tools/broken":
                return self.answer(request, 500, "text/plain", b"Error ValueError: broken \n")
        seen = {
            "path": path,
            "args": {k.decode(): [v.decode() for v in vs] for k, vs in request.args.items()},
            "headers": {
                k.decode().lower(): vs[0].decode()
                for k, vs in request.requestHeaders.getAllRawHeaders()
            },
            "body": body.decode(),
            "station": STATION,
        }
        return self.answer(request, 200, "application/json", json.dumps(seen).encode())


class DocsPageTests(NodeTestCase):
    """
    What a person sees and does.
    """

    async def serve(self, endpoints: Endpoints) -> int:
        """
        :return: The port.
        """
        site = WrappingFactory(Site(endpoints))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        listening: Any = await endpoint.listen(site)

        async def stop() -> None:
            await listening.stopListening()
            for each in list(site.protocols):
                each.transport.abortConnection()
            await until(lambda: not site.protocols, "all connections are closed")

        self.addCleanup(stop)
        return int(listening.getHost().port)

    async def test_everything(self) -> None:
        """
        All endpoints are listed and can be tried: answers, pictures and streams are shown, errors
        too, and nothing happens that the page's policy forbids.
        """
        folder = await self.node_folder(CHROMIUM)
        # The package unpacks the browser there, anew each time: it would not notice half of one.
        unpacked = Path(self.mktemp()).resolve()
        unpacked.mkdir()
        self.addCleanup(shutil.rmtree, unpacked)
        picture = Path(self.mktemp()).resolve().with_suffix(".png")
        endpoints = Endpoints()
        port = await self.serve(endpoints)
        await self.run_node(
            str(NODE_SCRIPTS / "docs_page.js"),
            f"http://127.0.0.1:{port}{BASE}",
            TOKEN,
            str(picture),
            cwd=folder,
            TMPDIR=str(unpacked),
        )
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))
        await until(lambda: not endpoints.reading, "no stream goes on that was stopped")
