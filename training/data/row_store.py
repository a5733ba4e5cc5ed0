"""Arrays of one row a picture in a file, filled once and kept: decoded pictures, and what a teacher says of them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from index.files import replacing
from retrieval.pipeline.progress import Progress
from training.errors import RunError

BLOCK = 1024
"""Rows between two notes of how far it is, which is what a kill can lose."""


def split_key(paths: Sequence[Path], root: Path, *settings: object) -> str:
    """Return a SHA-256 over the pictures' paths below a root, their sizes, times and order, and over `settings`."""
    digest = hashlib.sha256(json.dumps([str(setting) for setting in settings]).encode())
    for path in paths:
        try:
            found = path.stat()
            stamp = found.st_size, found.st_mtime_ns
        except OSError:
            stamp = -1, -1  # it will be listed as unreadable
        digest.update(b"%s\0%d\0%d\n" % (os.fsencode(os.path.relpath(path, root)), *stamp))
    return digest.hexdigest()


class RowStore:
    """An array (n, *shape) on the disk under a `key`; what is not filled yet, `fill` asks for.

    `rows` is for reading alone. `problems` has the rows for which there was nothing, with the reason. Raises RunError
    where the folder cannot be written.
    """

    def __init__(self, folder: Path, kind: str, key: str, n: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._data, self._note = (folder / f"{kind}-{key[:16]}.{suffix}" for suffix in ("rows", "json"))
        self._wanted = {"key": key, "rows": n, "shape": list(shape), "dtype": np.dtype(dtype).str}
        self._folder, self._kind = folder, kind
        self._row_size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.problems: dict[int, str] = {}
        self._done = 0
        if not n:  # an empty file cannot be mapped
            self.rows: NDArray[Any] = np.empty((0, *shape), dtype)
            return
        with self._told():
            folder.mkdir(parents=True, exist_ok=True)
            if not self._read_note():
                # Not emptied: another run may be filling it with the same.
                with self._data.open("ab") as file:
                    file.truncate(n * self._row_size)
            self.rows = np.memmap(self._data, dtype, "r", shape=(n, *shape))

    @property
    def filled(self) -> bool:
        """Whether all rows are there."""
        return self._done == len(self.rows)

    def fill(
        self,
        compute: Callable[[range], tuple[NDArray[Any], dict[int, str]]],
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Fill the rows that are missing, in order, until `stop` says so.

        After a kill the next run resumes at the block that was lost.

        `compute` returns the rows of a range, and why some of them are empty, by number. It is asked again for rows
        that were empty in an earlier run: a decoder may be there now. Raises RunError.
        """
        for row in sorted(self.problems):
            if stop():
                return
            values, problems = compute(range(row, row + 1))
            if not problems:
                self._write(row, values)
                del self.problems[row]
                self._write_note()
        while not self.filled and not stop():
            block = range(self._done, min(self._done + BLOCK, len(self.rows)))
            values, problems = compute(block)
            self._write(block.start, values)
            self.problems.update(problems)
            self._done = block.stop
            self._write_note()
            if progress is not None:
                progress(self._done, len(self.rows))

    def _write(self, start: int, values: NDArray[Any]) -> None:
        # Not through the mapping: on a full disk that would end the process, without a word.
        with self._told(), self._data.open("r+b") as file:
            file.seek(start * self._row_size)
            file.write(np.ascontiguousarray(values, self.rows.dtype).data)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn an OSError into a RunError that says what to do."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self._folder} cannot keep {self._kind} ({error.strerror})",
                hint="make room, or name another folder with --cache",
            ) from error

    def _read_note(self) -> bool:
        try:
            note = json.loads(self._note.read_text())
            if any(note[name] != value for name, value in self._wanted.items()):
                return False
            done, problems = int(note["done"]), {int(row): str(why) for row, why in note["problems"].items()}
            size = self._data.stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False
        rows = int(note["rows"])
        if size != rows * self._row_size or not 0 <= done <= rows or not all(0 <= row < done for row in problems):
            return False
        self._done, self.problems = done, problems
        return True

    def _write_note(self) -> None:
        note = {**self._wanted, "done": self._done, "problems": self.problems}
        with self._told(), replacing(self._note) as file:
            file.write(json.dumps(note).encode())
