"""
What an agent gets of code that has run: text and pictures for its model, and the same as fields.

Format: https://modelcontextprotocol.io/specification/2026-07-28/server/tools#tool-result
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from kgd.execution.notebook_outputs import Output
from kgd.execution.submitted import SubmittedExecution
from kgd.web.models import ExecutionError

#: Media types of pictures that models can see.
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
# Of what is not a picture, what models read best.
_TEXTS = (
    "text/markdown",
    "text/plain",
    "text/latex",
    "application/json",
    "image/svg+xml",
    "text/html",
)


class CodeResult(Struct, kw_only=True):
    """
    What has become of code.
    """

    status: Literal["ok", "error", "timeout", "interrupted", "died"]
    kernel_id: Annotated[str, Meta(description="The kernel; name it to use its variables again")]
    new_kernel: Annotated[
        bool, Meta(description="Whether the kernel was started for this call, without variables")
    ]
    execution_id: str
    execution_count: int | None
    stdout: str
    stderr: str
    result: Annotated[str | None, Meta(description="The value of the last expression, as text")]
    displays: Annotated[list[str], Meta(description="What was displayed, as text")]
    images: Annotated[int, Meta(description="How many pictures are in the content")]
    error: ExecutionError | None
    ended_by: Annotated[
        str | None, Meta(description="What it took to end the code: interrupt, or restart")
    ]
    duration: Annotated[float | None, Meta(description="Seconds")]


class TextContent(Struct, tag="text"):
    """
    Text for the model.
    """

    text: str


class ImageContent(Struct, tag="image", rename={"media_type": "mimeType"}):
    """
    A picture for the model.

    :ivar data: In base64.
    """

    data: str
    media_type: str


Content = TextContent | ImageContent


class ToolResult(Struct, rename="camel"):
    """
    The result of ``tools/call``.

    :ivar structured_content: What the tool's output schema says; missing if the tool has failed.
    """

    content: list[Content]
    structured_content: Any | UnsetType = UNSET
    is_error: bool = False


@attrs.define
class _Shown:
    """
    Outputs, sorted by what they are.
    """

    content: list[Content] = attrs.field(factory=list)
    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    displays: list[str] = attrs.field(factory=list)
    images: int = 0

    def add_text(self, text: str) -> None:
        last = self.content[-1] if self.content else None
        if isinstance(last, TextContent):
            separator = "" if last.text.endswith("\n") else "\n"
            last.text += separator + text
        elif text:
            self.content.append(TextContent(text))

    def add(self, output: Output) -> None:
        kind = output["output_type"]
        if kind == "stream":
            if output["name"] == "stderr":
                self.stderr += output["text"]
            else:
                self.stdout += output["text"]
            self.add_text(output["text"])
        elif kind == "error":
            self.add_text("\n".join(output["traceback"]) or _brief(output))
        else:
            self._add_bundle(output["data"], is_result=kind == "execute_result")

    def _add_bundle(self, data: Mapping[str, Any], *, is_result: bool) -> None:
        image = next((kind for kind in IMAGES if isinstance(data.get(kind), str)), None)
        text = text_of(data)
        if is_result:
            self.result = text
        elif image is None and text is not None:
            self.displays.append(text)
        if image is not None:
            self.images += 1
            # Kernels break lines in base64, which not every client skips.
            self.content.append(ImageContent("".join(data[image].split()), image))
        elif text is not None:
            self.add_text(text)


def text_of(data: Mapping[str, Any]) -> str | None:
    """
    :param data: A display in several media types.
    :return: The one that models read best.
    """
    kind = next((kind for kind in _TEXTS if kind in data), None)
    if kind is None:
        return None
    value = data[kind]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _brief(error: Mapping[str, Any]) -> str:
    return f"{error['ename']}: {error['evalue']}"


def code_result(submitted: SubmittedExecution, kernel_id: str, *, new_kernel: bool) -> ToolResult:
    """
    :param submitted: An execution that has ended.
    :param new_kernel: Whether the kernel was started for it.
    """
    shown = _Shown()
    outputs = submitted.outputs.shown()
    for output in outputs:
        shown.add(output)
    error = submitted.error
    if error is not None and not any(each["output_type"] == "error" for each in outputs):
        shown.add_text("\n".join(error["traceback"]) or _brief(error))
    elif submitted.status in ("timeout", "died") and error is not None:
        shown.add_text(_brief(error))
    if not shown.content:
        shown.add_text("[kgd: no output]")
    if submitted.ended_by == "restart":
        shown.add_text("[kgd: the kernel was restarted, its variables are gone]")
    if new_kernel:
        shown.add_text(f"[kgd: this ran in the new kernel {kernel_id}]")
    result = CodeResult(
        status=submitted.status,  # type: ignore[arg-type]
        kernel_id=kernel_id,
        new_kernel=new_kernel,
        execution_id=submitted.execution_id,
        execution_count=submitted.execution_count,
        stdout=shown.stdout,
        stderr=shown.stderr,
        result=shown.result,
        displays=shown.displays,
        images=shown.images,
        error=None if error is None else ExecutionError(**error),
        ended_by=submitted.ended_by or None,
        duration=submitted.duration,
    )
    return ToolResult(shown.content, result, submitted.status != "ok")


def plain_result(value: Any) -> ToolResult:
    """
    :param value: What the tool's output schema says; models get the same as text.
    """
    return ToolResult([TextContent(msgspec.json.encode(value).decode())], value)


def failed_result(text: str) -> ToolResult:
    """
    :param text: What is wrong, and what to do about it, for the model.
    """
    return ToolResult([TextContent(text)], is_error=True)
