"""A progress bar: one line of a terminal, drawn again as the work goes on."""

import os
import shutil
import time
from datetime import timedelta
from typing import TextIO

SECONDS_BETWEEN_DRAWINGS = 0.1
WIDTH = 20


class ProgressBar:
    """Called with how much is done and how much there is; draws on `stream` if that is a terminal and not `hidden`.

    A context manager: the line is gone when it ends, also by an exception.
    """

    def __init__(self, label: str, stream: TextIO, *, hidden: bool = False) -> None:
        self.label = label
        self._stream = stream
        self._shown = stream.isatty() and not hidden
        self._first: tuple[int, float] | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        # Time left is judged from what was done since the first call: an earlier run may have done the rest.
        first, start = self._first = self._first or (done, now)
        if not self._shown or (now - self._drawn < SECONDS_BETWEEN_DRAWINGS and done < total):
            return
        self._drawn = now
        share = done / total if total else 1.0
        left = timedelta(seconds=round((now - start) / (done - first) * (total - done))) if done > first else "…"
        bar = "#" * round(share * WIDTH)
        line = f"{self.label} [{bar:<{WIDTH}}] {share:4.0%}  {left} left  {done:,} of {total:,}  {note}"
        self._write("\r\x1b[K" + line[: self._columns() - 1])

    def say(self, text: str) -> None:
        """Show a text where nothing can be counted, until the next call."""
        if self._shown:
            self._drawn = time.monotonic()
            self._write("\r\x1b[K" + f"{self.label}: {text} …"[: self._columns() - 1])

    def clear(self) -> None:
        """Take the line away, so that something else can be written; the next call draws it again."""
        if self._drawn:
            self._drawn = 0.0
            self._write("\r\x1b[K")

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def _columns(self) -> int:
        # Of the terminal that is drawn on: results may go elsewhere, which is what shutil looks at.
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or shutil.get_terminal_size().columns
        except (OSError, ValueError):
            return shutil.get_terminal_size().columns

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
