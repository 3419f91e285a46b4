"""
Notebooks for the tests.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st


def notebook(
    *cells: tuple[str, str], kernel: str | None = "python3", language: str | None = None
) -> bytes:
    """
    A notebook file.

    :param cells: Type and source of each.
    """
    metadata: dict[str, Any] = {}
    if kernel:
        metadata["kernelspec"] = {"name": kernel, "display_name": "K"}
    if language:
        metadata["language_info"] = {"name": language}
    outputs: dict[str, Any] = {"outputs": [], "execution_count": None}
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 4,
            "metadata": metadata,
            "cells": [
                {"cell_type": kind, "metadata": {}, "source": source}
                | (outputs if kind == "code" else {})
                for kind, source in cells
            ],
        }
    ).encode()


def python_notebook(*sources: str) -> bytes:
    """
    A notebook of Python code.
    """
    return notebook(*(("code", source) for source in sources), language="python")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


_ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 5),
    st.sampled_from([1.5, 2**70, "", "x", "python3", "code", "# GET /x", "\ud800", "4"]),
    st.sampled_from([[], [[]], ["x"], ["# GET /x\n", 1], [None], {}, {"name": None}, {"a": {}}]),
).map(copy.deepcopy)


@st.composite
def mutations(draw: st.DrawFn, content: Any) -> Any:
    """
    :param content: JSON.
    :return: The same, after some values have been replaced by others or removed.
    """
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(content))))
        if not path:
            continue
        owner = content
        for key in path[:-1]:
            owner = owner[key]
        if draw(st.booleans()):
            del owner[path[-1]]
        else:
            owner[path[-1]] = draw(_ODD_VALUES)
    return content


KERNEL_API = python_notebook(
    "import os, json",
    "hello_message = 'hello {}'",
    "people = ['Corey', 'Nitin', 'Pete']",
    "import sys",
    "REQUEST = json.dumps({'args': {'person': ['World']}})",
    "# GET /hello\nprint(hello_message.format('world'))",
    "# GET /hello/person\nargs = json.loads(REQUEST)['args']\n"
    "print(hello_message.format(args['person'][0]))",
    "# GET /hello/persons\nargs = json.loads(REQUEST)['args']\n"
    "print(hello_message.format(', '.join(args['person'])))",
    "# GET /hello/people\nprint(hello_message.format(', '.join(people)))",
    "# GET /hello/:person\nprint(hello_message.format(json.loads(REQUEST)['path']['person']))",
    "# GET /message\nprint(hello_message)",
    "# PUT /message\nhello_message = json.loads(REQUEST)['body']",
    "# GET /people\nprint(json.dumps(people))",
    "# POST /people\npeople = json.loads(REQUEST)['body']\nprint(json.dumps(people))",
    "# PUT /people\npeople.append(json.loads(REQUEST)['body'])",
    "# DELETE /people/:index\ndel people[int(json.loads(REQUEST)['path']['index'])]\n"
    "print(json.dumps(people))",
    "# GET /error\nthis is no Python",
    "# GET /stderr\nprint('I am text on stdout')\nprint('I am not', file=sys.stderr)",
    "# GET /sleep/:time\nimport time\ntime.sleep(float(json.loads(REQUEST)['path']['time']))",
    "# GET /execute_result\n1 + 1",
    "# GET /content-type\nprint(json.loads(REQUEST)['headers']['Content-Type'], end='')",
    "# GET /etag\nprint(json.loads(REQUEST)['headers']['If-None-Match'], end='')",
    "# GET /multi\nx = 1",
    "# GET /multi\nprint(f'x is {x}')",
    "# GET /env_kernel_gateway\nprint('KERNEL_GATEWAY is', os.environ['KERNEL_GATEWAY'])",
)

RESPONSES = python_notebook(
    "import json",
    "# GET /json\nprint(json.dumps({'hello': 'world'}))",
    "# ResponseInfo GET /json\nprint(json.dumps({'headers': "
    "{'Content-Type': 'application/json'}}))",
    "# GET /nocontent",
    "# ResponseInfo GET /nocontent\nprint(json.dumps({'status': 204}))",
    "# GET /etag\nprint(json.dumps({'hello': 'world'}))",
    "# ResponseInfo GET /etag\nprint(json.dumps({'headers': "
    "{'Content-Type': 'application/json', 'Etag': '1234567890'}}))",
)

SIMPLE_API = python_notebook(
    "import json\nname = 'Test Name'",
    "# GET /name\nprint(name)",
    "# POST /name\nname = json.loads(REQUEST)['body']\nprint(name)",
)

UNKNOWN_KERNEL = notebook(
    ("code", "# GET /fakeprint 'I am not a real lang!'"),
    ("code", "# GET /print\nprint('I am')"),
    kernel="fakelang2000",
    language="fakelang",
)
