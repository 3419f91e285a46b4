"""
The pages that document notebooks' endpoints and the API of kernels, in a headless Chromium.

The browser comes out of an npm package; nothing else is asked for one.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.clients.programs import PYTHON, TOKEN, NodeTestCase
from tests.support.notebooks import notebook

# Each cell begins with a line that says of which kind it is.
WEATHER = """\
%% markdown
# Weather

Stations and what they have measured.
%% code
import json
import struct
import zlib
from pathlib import Path

from IPython.display import HTML, Image

READINGS = [4.1, 6.3, 9.8, 13.2, 17.5, 20.9, 22.4, 21.8, 17.9, 12.6, 7.7, 4.9]
STATION = {"name": "Kiel", "height": 5, "serial": 12345678901234567890}
%% code
def chart(values):
    # A PNG with a bar for each.
    width, height, bar = 40 * len(values), 200, 40
    rows = b""
    for y in range(height):
        row = b""
        for x in range(width):
            inside = 6 <= x % bar < bar - 6 and height - y < values[x // bar] * 8
            row += bytes((47, 95 + y // 2, 208)) if inside else bytes((255, 255, 255))
        rows += bytes(1) + row

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", checksum)

    header = chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))
    image = header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return bytes.fromhex("89504e470d0a1a0a") + image
%% markdown
One station, as `json`

Everything that is known of it:

- its `name`, as on the map
- its height in metres

That is:

1. all
2. **nothing else**

Names are *not* <b>case-sensitive</b>; 2 * 3 * 4 is 24, as it was in
1999. So it is.

```json response
{"name": "Kiel", "height": 5}
```
%% code
# GET /stations/:name as application/json
print(json.dumps({"station": STATION, "request": json.loads(REQUEST)}))
%% markdown
Add a station

```json request
{"name": "List", "height": 26.0, "serial": 12345678901234567891}
```

```json request
{"name": "Husum"}
```
%% code
# POST /stations as application/json
seen = json.loads(REQUEST)
%% code
# POST /stations
print(json.dumps({"request": seen}))
%% code
# ResponseInfo POST /stations
print(json.dumps({"status": 201}))
%% markdown
## The year as a picture

The monthly means, drawn anew for every request.

### Colours

Blue is warm, and green is cold.
%% code
# GET /chart as image/png
Image(chart(READINGS))
%% markdown
The year as a table
%% code
# GET /table as text/html
HTML("<table><tr><td id=first>January</td><td>4.1</td></tr></table>")
%% markdown
Readings as they come
%% code
# GET /readings streamed
print("4.1 °", end="", flush=True)
try:
    with open("valve") as valve:
        valve.readline()
except KeyboardInterrupt:
    Path("interrupted").touch()
    raise
print("C\\nthe end")
"""

TOOLS = """\
%% code
import json
from pathlib import Path
%% markdown
Let the readings go on,
wherever they are.
%% code
# POST /release
with open("valve", "w") as valve:
    valve.write("go\\n")
print("released")
%% markdown
Fails
%% code
# GET /broken
print("one")
raise ValueError("broken")
%% markdown
Fails later
%% code
# GET /cut streamed
print("one", flush=True)
with open("valve") as valve:
    valve.readline()
1 / 0
%% markdown
Many characters that need two bytes
%% code
# GET /degrees
print("C" + "°" * 200_000, end="")
%% markdown
Take files

```multipart/form-data request
note=a note
```
%% code
# PUT /upload as application/json
request = json.loads(REQUEST)
for file in sum(request["files"].values(), []):
    file["length"] = len(Path(file.pop("path")).read_bytes())
print(json.dumps(request))
"""


def written(text: str) -> bytes:
    """
    :return: The notebook.
    """
    _, *pieces = re.split(r"^%% (\w+)\n", text, flags=re.MULTILINE)
    sources = (source.rstrip("\n") for source in pieces[1::2])
    return notebook(*zip(pieces[::2], sources, strict=True))


class DocsPageTests(NodeTestCase):
    """
    What a person sees and does.
    """

    async def test_everything(self) -> None:
        """
        All endpoints are listed and can be tried: answers, pictures and streams are shown, errors
        too, and nothing happens that the page's policy forbids.
        """
        picture = Path(self.mktemp()).resolve().with_suffix(".png")
        work = self.home / "work"
        (work / "weather.ipynb").write_bytes(written(WEATHER))
        (work / "tools.ipynb").write_bytes(written(TOOLS))
        self.valve("work/valve")
        gateway = await self.gateway(
            "--api=notebook_http", "--base-url=/base", f"--auth-token={TOKEN}",
            "--seed-uri=/weather=weather.ipynb", "--seed-uri=/tools=tools.ipynb",
            "--prespawn-count=2",
        )  # fmt: skip
        await self.run_chromium(
            "docs_page.js",
            f"http://127.0.0.1:{gateway.port}/base",
            TOKEN,
            str(picture),
            str(work / "interrupted"),
        )
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))
        self.assert_no_traceback(gateway)

    async def test_kernels(self) -> None:
        """
        The calls of the API of kernels can be tried, with the token that one enters: kernels are
        started, code is run, its outputs are read as they come, and it gets its input.
        """
        picture = Path(self.mktemp()).resolve().with_suffix(".png")
        gateway = await self.gateway(
            PYTHON, "--base-url=/base", "--list-kernels", env={"KGD_AUTH_TOKEN": TOKEN}
        )
        await self.run_chromium(
            "docs_kernels.js", f"http://127.0.0.1:{gateway.port}/base", TOKEN, str(picture)
        )
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))
        self.assert_no_traceback(gateway)
