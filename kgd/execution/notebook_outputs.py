"""
The outputs of code as a notebook shows them: printed text joined, displays updated, cleared output
gone.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import attrs
import msgspec

from kgd.execution.artifacts import ArtifactLinks
from kgd.execution.execution import read_content
from kgd.protocol.messages import Buffer, KernelMessage

Output = dict[str, Any]

# Escape sequences of terminals (ECMA-48): colours and cursor movements, titles, and single ones.
_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_OVERWRITES = re.compile(r"[\r\b]")


@attrs.frozen(kw_only=True)
class OutputOptions:
    """
    How outputs are prepared for a program.

    :ivar strip_ansi: Whether to remove colours and other escape sequences from text.
    :ivar max_text_bytes: How many bytes of each text are kept, half of them from its beginning and
        half from its end; 0 is no limit.
    :ivar mime: Preferred media types. Of each display only the first of them that it has is kept;
        one that has none of them is kept whole.
    :ivar artifacts: Replaces outputs that are big or not text, if that is wanted.
    """

    strip_ansi: bool = False
    max_text_bytes: int = 0
    mime: Sequence[str] = ()
    artifacts: ArtifactLinks | None = None


def strip_ansi(text: str) -> str:
    """
    :return: The text without escape sequences of terminals.
    """
    return _ANSI.sub("", text) if "\x1b" in text else text


def resolve_overwrites(text: str) -> str:
    """
    Carry out carriage returns and backspaces as a terminal does: what follows overwrites.
    """
    if not _OVERWRITES.search(text):
        return text
    return "\n".join(map(_overwritten, text.split("\n")))


def _overwritten(line: str) -> str:
    if not _OVERWRITES.search(line):
        return line
    shown: list[str] = []
    at = 0
    for piece in re.split(r"([\r\b])", line):
        if piece == "\r":
            at = 0
        elif piece == "\b":
            at = max(0, at - 1)
        else:
            shown[at : at + len(piece)] = piece
            at += len(piece)
    return "".join(shown)


def cut_text(text: str, limit: int) -> str:
    """
    :param limit: In bytes of UTF-8; 0 is no limit.
    :return: The text, or its head and its tail with a line between them that says what is missing.
    """
    if not limit or len(text) * 4 <= limit:
        return text
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    head = encoded[: (limit + 1) // 2].decode("utf-8", "ignore")
    tail = encoded[len(encoded) - limit // 2 :].decode("utf-8", "ignore")
    missing = len(encoded) - len(head.encode()) - len(tail.encode())
    return f"{head}\n[kgd: {missing} bytes cut]\n{tail}"


class _Stream(msgspec.Struct):
    text: str = ""
    name: str = "stdout"


class _Bundle(msgspec.Struct):
    data: Any = None
    metadata: Any = None
    transient: Any = None
    execution_count: Any = None


class _Error(msgspec.Struct):
    ename: Any = ""
    evalue: Any = ""
    traceback: Any = None


class _Clear(msgspec.Struct):
    wait: Any = False


_STREAM = msgspec.json.Decoder(_Stream)
_BUNDLE = msgspec.json.Decoder(_Bundle)
_ERROR = msgspec.json.Decoder(_Error)
_CLEAR = msgspec.json.Decoder(_Clear)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Text:
    """
    Printed text, of which only head and tail are kept when there is too much.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = ""
        self._tail: list[str] = []
        self._tail_size = 0
        self._dropped = 0

    def add(self, text: str) -> None:
        self._tail.append(text)
        self._tail_size += len(text)
        if self._limit and self._tail_size > 4 * self._limit:
            # What overwrites a line is carried out before anything is cut.
            joined = resolve_overwrites("".join(self._tail))
            if not self._head:
                self._head, joined = joined[: self._limit], joined[self._limit :]
            kept = joined[max(0, len(joined) - self._limit) :]
            self._dropped += len(joined) - len(kept)
            self._tail = [kept]
            self._tail_size = len(kept)

    def shown(self, options: OutputOptions) -> str:
        text = self._head + "".join(self._tail)
        if options.strip_ansi:
            text = strip_ansi(text)
        text = resolve_overwrites(text)
        if not self._dropped:
            return cut_text(text, self._limit)
        cut = cut_text(text, self._limit)
        marker = re.search(r"\n\[kgd: (\d+) bytes cut\]\n", cut)
        if marker is None:
            return cut
        missing = int(marker[1]) + self._dropped
        return f"{cut[: marker.start()]}\n[kgd: {missing} bytes cut]\n{cut[marker.end() :]}"


class NotebookOutputs:
    """
    The outputs of one execution so far.

    :ivar size: How many bytes of output came, whether or not they are still shown.
    :ivar is_complete: Whether all outputs are kept.
    :ivar is_final: Whether nothing more comes; to be set by who knows.
    :param max_size: How many bytes of output are kept; what is more is not. 0 is no limit.
    :param displays: The displays of the same kernel by their ids, which code can update later; to
        be shared by its executions.
    """

    def __init__(
        self,
        options: OutputOptions,
        max_size: int = 0,
        displays: MutableMapping[str, list[Output]] | None = None,
    ) -> None:
        self.size = 0
        self.is_complete = True
        self.is_final = False
        self._max_size = max_size
        self._options = options
        self._outputs: list[Output] = []
        self._texts: dict[int, _Text] = {}
        self._displays = {} if displays is None else displays
        self._clears_next = False
        # What stands for printed text that is big.
        self._references: dict[int, dict[str, Any]] = {}

    def received(self, message: KernelMessage) -> Output | None:
        """
        Take a message from iopub.

        :return: What it adds, for a client that reads outputs as they come: an output in the form
            of nbformat, or an object whose ``output_type`` is ``clear_output`` or
            ``update_display_data``; ``None`` for other messages.
        """
        msg_type, content = message.header.msg_type, message.parts[3]
        take = self._TAKERS.get(msg_type)
        if take is None:
            return None
        self.size += len(content)
        output: Output | None = take(self, content)
        if self._max_size and self.size > self._max_size and self._outputs:
            self.is_complete = False
            self._forget(self._outputs[-1])
        return output

    def _stream(self, content: Buffer) -> Output | None:
        stream = read_content(_STREAM, content, _Stream())
        if not stream.text:
            return None
        self._clear_if_due()
        last = self._outputs[-1] if self._outputs else {}
        if last.get("output_type") != "stream" or last["name"] != stream.name:
            last = {"output_type": "stream", "name": stream.name, "text": ""}
            self._outputs.append(last)
            self._texts[id(last)] = _Text(self._options.max_text_bytes)
        self._texts[id(last)].add(stream.text)
        text = strip_ansi(stream.text) if self._options.strip_ansi else stream.text
        return {"output_type": "stream", "name": stream.name, "text": text}

    def _display(self, content: Buffer) -> Output:
        return self._show("display_data", content)

    def _result(self, content: Buffer) -> Output:
        return self._show("execute_result", content)

    def _show(self, output_type: str, content: Buffer) -> Output:
        bundle = read_content(_BUNDLE, content, _Bundle())
        output: Output = {
            "output_type": output_type,
            "data": self._chosen(_mapping(bundle.data)),
            "metadata": _mapping(bundle.metadata),
        }
        if output_type == "execute_result":
            count = bundle.execution_count
            output["execution_count"] = count if isinstance(count, int) else None
        self._clear_if_due()
        self._outputs.append(output)
        display_id = _mapping(bundle.transient).get("display_id")
        if isinstance(display_id, str):
            self._displays.setdefault(display_id, []).append(output)
            return {**output, "display_id": display_id}
        return output

    def _update(self, content: Buffer) -> Output | None:
        bundle = read_content(_BUNDLE, content, _Bundle())
        display_id = _mapping(bundle.transient).get("display_id")
        if not isinstance(display_id, str):
            return None
        change = {
            "data": self._chosen(_mapping(bundle.data)),
            "metadata": _mapping(bundle.metadata),
        }
        for output in self._displays.get(display_id, ()):
            output.update(change)
        return {"output_type": "update_display_data", "display_id": display_id, **change}

    def _error(self, content: Buffer) -> Output:
        error = read_content(_ERROR, content, _Error())
        self._clear_if_due()
        lines = error.traceback if isinstance(error.traceback, list) else []
        output: Output = {
            "output_type": "error",
            "ename": self.prepared(str(error.ename)),
            "evalue": self.prepared(str(error.evalue)),
            "traceback": [self.prepared(str(line)) for line in lines],
        }
        self._outputs.append(output)
        return output

    def _clear(self, content: Buffer) -> Output:
        wait = bool(read_content(_CLEAR, content, _Clear()).wait)
        self._clears_next = wait
        if not wait:
            self._forget_all()
        return {"output_type": "clear_output", "wait": wait}

    def _clear_if_due(self) -> None:
        if self._clears_next:
            self._clears_next = False
            self._forget_all()

    def _forget(self, output: Output) -> None:
        self._outputs.remove(output)
        self._texts.pop(id(output), None)

    def _forget_all(self) -> None:
        self._outputs.clear()
        self._texts.clear()

    _TAKERS: ClassVar = {
        "stream": _stream,
        "display_data": _display,
        "execute_result": _result,
        "update_display_data": _update,
        "error": _error,
        "clear_output": _clear,
    }

    def _chosen(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """
        :return: The representations of a display that the client wants.
        """
        wanted = next((kind for kind in self._options.mime if kind in data), None)
        kept = data if wanted is None else {wanted: data[wanted]}
        return {kind: self._data(kind, value) for kind, value in kept.items()}

    def _data(self, kind: str, value: Any) -> Any:
        if self._options.artifacts is not None:
            reference = self._options.artifacts.reference(kind, value)
            if reference is not None:
                return reference
        return self.prepared(value) if isinstance(value, str) and _is_text(kind) else value

    def prepared(self, text: str) -> str:
        """
        :return: The text as the client wants it.
        """
        if self._options.strip_ansi:
            text = strip_ansi(text)
        return cut_text(text, self._options.max_text_bytes)

    def shown(self) -> list[Output]:
        """
        :return: The outputs as a notebook would show them now.
        """
        return [
            self._shown_text(output) if output["output_type"] == "stream" else output
            for output in self._outputs
        ]

    def _shown_text(self, output: Output) -> Output:
        text = self._texts[id(output)].shown(self._options)
        links = self._options.artifacts
        if links is None or not self.is_final:
            return {**output, "text": text}
        reference = self._references.get(id(output)) or links.reference("text/plain", text)
        if reference is None:
            return {**output, "text": text}
        self._references[id(output)] = reference
        return {**output, "text": cut_text(text, max(links.threshold, 2)), "artifact": reference}


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in (
        "application/javascript",
        "image/svg+xml",
    )
