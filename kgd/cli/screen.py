"""
Shows outputs of code: in colours and with a progress bar on a terminal, and as they are in a pipe.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

#: Which file a picture becomes; the first that a display has is taken.
PICTURES: Mapping[str, str] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "application/pdf": ".pdf",
}
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# Seconds of silence before progress is shown, and between looks at that.
_SILENCE, _PERIOD = 1.0, 0.2


class Progressing:
    """
    A progress bar that shows itself while nothing else is printed. It is removed before anything
    is.

    :param stream: A terminal.
    :param total: How many steps there are, or ``None`` for one that takes unknown time.
    """

    def __init__(self, stream: TextIO, total: int | None) -> None:
        self._console = Console(file=stream)
        self._columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *((BarColumn(), MofNCompleteColumn()) if total else ()),
            TimeElapsedColumn(),
        )
        self._total = total
        self._began = time.monotonic()
        self._last = self._began
        self._is_at_line_start = True
        self._description, self._completed = "starting", 0
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def update(self, description: str, completed: int = 0) -> None:
        """
        Show something else.
        """
        with self._lock:
            self._description, self._completed = description, completed
            if self._progress is not None:
                (task,) = self._progress.tasks
                self._progress.update(task.id, description=description, completed=completed)

    def write(self, stream: TextIO, text: str) -> None:
        """
        Print something.
        """
        with self._lock:
            self._hide()
            stream.write(text)
            stream.flush()
            self._last = time.monotonic()
            if text and stream.isatty():
                self._is_at_line_start = text.endswith("\n")

    def pause(self) -> None:
        """
        Stay hidden until something is printed again.
        """
        with self._lock:
            self._hide()
            self._is_at_line_start = False

    def close(self) -> None:
        """
        Remove it for good.
        """
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._hide()

    def _watch(self) -> None:
        while not self._ended.wait(_PERIOD):
            with self._lock:
                is_silent = time.monotonic() - self._last > _SILENCE
                if is_silent and self._is_at_line_start and self._progress is None:
                    self._show()

    def _show(self) -> None:
        self._progress = Progress(*self._columns, console=self._console, transient=True,
                                  redirect_stdout=False, redirect_stderr=False)  # fmt: skip
        self._progress.add_task(self._description, total=self._total, completed=self._completed)
        # The time counts from the beginning, not from when it is shown.
        self._progress.tasks[0].start_time = self._progress.get_time() - (
            time.monotonic() - self._began
        )
        self._progress.start()

    def _hide(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Screen:
    """
    Where outputs are shown.

    :ivar wants_colors: Whether outputs may have colours.
    :param pictures: The directory for pictures.
    :param steps: How many steps there are, if that is known.
    """

    def __init__(
        self,
        pictures: Path,
        steps: int | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._pictures = pictures
        self._has_shown_error = False
        is_terminal = self._stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.wants_colors = is_terminal and self._stdout.isatty() and not os.environ.get("NO_COLOR")
        self._progressing = Progressing(self._stderr, steps) if is_terminal else None

    def close(self) -> None:
        """
        Remove what only shows progress.
        """
        if self._progressing is not None:
            self._progressing.close()

    def pause(self) -> None:
        """
        Hide the progress bar while the user types.
        """
        if self._progressing is not None:
            self._progressing.pause()

    def progress(self, description: str, completed: int = 0) -> None:
        """
        Show what is being done.

        :param completed: How many steps have been.
        """
        if self._progressing is not None:
            self._progressing.update(description, completed)

    def output(self, output: Mapping[str, Any]) -> None:
        """
        Show an output, in the form of nbformat.
        """
        kind = output["output_type"]
        if kind == "stream":
            self._write(
                self._stderr if output["name"] == "stderr" else self._stdout, output["text"]
            )
        elif kind == "error":
            self._has_shown_error = True
            self.error(output["ename"], output["evalue"], output["traceback"])
        elif kind in ("execute_result", "display_data", "update_display_data"):
            self._display(output["data"])

    def failure(self, ename: str, evalue: str, traceback: Any) -> None:
        """
        Show an error, unless it was among the outputs.
        """
        if not self._has_shown_error:
            self.error(ename, evalue, traceback)

    def error(self, ename: str, evalue: str, traceback: Any) -> None:
        """
        Show an error.
        """
        text = "\n".join([*traceback] or [f"{ename}: {evalue}"])
        self._write(self._stderr, (text if self.wants_colors else _COLORS.sub("", text)) + "\n")

    def note(self, text: str) -> None:
        """
        Say something that does not come from the code.
        """
        self._write(self._stderr, f"{text}\n")

    def _write(self, stream: TextIO, text: str) -> None:
        if self._progressing is not None:
            self._progressing.write(stream, text)
        else:
            stream.write(text)
            stream.flush()

    def _display(self, data: Mapping[str, Any]) -> None:
        for media_type, suffix in PICTURES.items():
            if media_type in data:
                self._picture(media_type, suffix, data[media_type])
                return
        plain = data.get("text/plain")
        if isinstance(plain, str):
            self._write(self._stdout, plain if plain.endswith("\n") else f"{plain}\n")

    def _picture(self, media_type: str, suffix: str, value: Any) -> None:
        try:
            content = (
                str(value).encode() if suffix == ".svg" else base64.b64decode(value, validate=False)
            )
            path = self._new_file(suffix, content)
        except (OSError, binascii.Error, TypeError) as error:
            self.note(f"a picture ({media_type}) could not be written: {error}")
        else:
            self.note(f"picture written to {path}")

    def _new_file(self, suffix: str, content: bytes) -> Path:
        self._pictures.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = self._pictures / f"kgd-{number}{suffix}"
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                continue
            return path
        raise AssertionError
