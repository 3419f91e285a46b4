"""
A tool for an agent of a language model: runs Python, and says what has come of it.
"""

import os
import sys

from kgd.client import Client, Kernel

TOOL = {
    "name": "run_python",
    "description": "Run Python code. Variables stay from one call to the next.",
    "input_schema": {
        "type": "object",
        "properties": {"code": {"type": "string"}},
        "required": ["code"],
    },
}


def run_python(kernel: Kernel, code: str) -> str:
    """
    Run code for at most a minute, and return at most 10 kB of text, which may be a traceback.
    """
    result = kernel.execute(code, timeout=60, outputs={"ansi": "strip", "max_text_bytes": 10_000})
    failure = "\n".join(result.error.traceback or [result.error.evalue]) if result.error else ""
    return result.text + result.stderr + failure or "(no output)"


if __name__ == "__main__":
    url, token = os.environ.get("GATEWAY", "http://127.0.0.1:8888"), os.environ.get("GATEWAY_TOKEN")
    with Client(url, token=token) as client, client.start_kernel("python3") as kernel:
        for each in sys.argv[1:]:
            print(run_python(kernel, each))
