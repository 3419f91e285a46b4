"""
Notebooks as parsers get them, and strategies that make them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from kgd.notebook.annotation_parser import (
    AnnotationParser,
)
from kgd.notebook.api import Cell, NotebookAPI, NotebookSource

EXAMPLES = """\
## Say hello

To somebody.

```json request
{"name": "Ada"}
```

```python
print("not an example")
```

~~~~ response
hello
~~~
Ada
~~~~
"""


def notebook(*sources: str | tuple[str, str], prefix: str = "#") -> NotebookSource:
    """
    :param sources: Code, or a cell's kind and its source.
    """
    cells = [source if isinstance(source, tuple) else ("code", source) for source in sources]
    return NotebookSource(
        title="test",
        language="python",
        comment_prefix=prefix,
        cells=tuple(
            Cell(number=number, kind=kind, source=source)
            for number, (kind, source) in enumerate(cells, 1)
        ),
    )


def parse(*sources: str | tuple[str, str], prefix: str = "#") -> NotebookAPI:
    """
    Parse a :py:func:`notebook`.
    """
    return AnnotationParser().parse(notebook(*sources, prefix=prefix))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(["get", "operationId", "parameters", "name", "in", "$ref", "/{a}"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def markdown(document: Any) -> tuple[str, str]:
    """
    :return: A cell with this document.
    """
    return "markdown", f"Our API:\n\n```json\n{json.dumps(document)}\n```\n"


def document(paths: Any = None, **more: Any) -> dict[str, Any]:
    """
    :return: A Swagger document.
    """
    return {"swagger": "2.0", **({} if paths is None else {"paths": paths}), **more}


#: Paths that an author could write.
annotated = st.lists(
    st.sampled_from(["a", "b", ":x", ":y", ":z-1", ".*", "f.txt", ":1", "c d", "é", "%20", "{q}"]),
    max_size=4,
    unique=True,
).map(lambda segments: "/" + "/".join(segments))
