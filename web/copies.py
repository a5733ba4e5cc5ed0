"""Looks for copies in the background: one search at a time, whose answer is kept until the index changes."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from index.errors import PhotoIndexError
from index.photo_index import PhotoIndex
from retrieval.duplicates.find import find_duplicates
from retrieval.duplicates.keep import DuplicateGroup, Likeness

KEPT = 8
"""Answers, of different questions."""


@dataclass(frozen=True)
class Running:
    """A search that has not ended: photos done, and in all."""

    done: int
    total: int


@dataclass(frozen=True)
class Groups:
    """Groups of copies, and how many photos were left out because their files have changed."""

    groups: tuple[DuplicateGroup, ...]
    left_out: int


class CopySearch:
    """The searches for copies of one index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: dict[object, Groups] = {}
        self._task: asyncio.Task[None] | None = None
        self._asked: object = None
        self._failed: PhotoIndexError | None = None
        self._progress = Running(0, 0)

    async def ask(self, likeness: Likeness, *, wait: float) -> Groups | Running:
        """Return the groups, or after `wait` seconds how far the search is. Raises PhotoIndexError."""
        key = (likeness, await asyncio.to_thread(self._state))
        if key not in self._answers:
            if self._task is None or self._task.done():
                self._asked, self._failed, self._progress = key, None, Running(0, 0)
                self._task = asyncio.create_task(self._search(key, likeness))
            await asyncio.wait([self._task], timeout=wait)
            if self._asked == key and self._failed is not None:
                raise self._failed
        return self._answers.get(key, self._progress)

    async def close(self) -> None:
        """Wait for no answer any more."""
        if self._task is not None:
            self._task.cancel()

    async def _search(self, key: object, likeness: Likeness) -> None:
        try:
            found = await asyncio.to_thread(self._find, likeness)
        except PhotoIndexError as error:
            self._failed = error
            return
        self._answers[key] = found
        while len(self._answers) > KEPT:
            del self._answers[next(iter(self._answers))]

    def _find(self, likeness: Likeness) -> Groups:
        def progress(done: int, total: int) -> None:
            self._progress = Running(done, total)

        with PhotoIndex.open(self._folder) as index:
            found = find_duplicates(index, likenesses=[likeness], progress=progress)
        return Groups(found.groups, found.left_out)

    def _state(self) -> object:
        with PhotoIndex.open(self._folder) as index:
            return index.summary().generation, frozenset(index.copies.different())
