"""Looks for copies in the background: one search at a time, whose answer is kept until the index changes."""

import asyncio
from dataclasses import dataclass

from index.milvus.place import IndexLocation
from index.open_index import open_index
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

    def __init__(self, place: IndexLocation) -> None:
        self._place = place
        self._answers: dict[object, Groups] = {}
        self._task: asyncio.Task[None] | None = None
        self._asked: object = None
        self._progress = Running(0, 0)

    async def ask(self, likeness: Likeness, *, wait: float) -> Groups | Running:
        """Return the groups, or after `wait` seconds how far the search is.

        Raises what ended the search where it was not an answer, so that nobody waits for one that never comes.
        """
        key = (likeness, await asyncio.to_thread(self._state))
        if key not in self._answers:
            if self._task is None or (self._task.done() and self._asked != key):
                self._asked, self._progress = key, Running(0, 0)
                self._task = asyncio.create_task(self._search(key, likeness))
                self._task.add_done_callback(_has_ended)
            task = self._task
            await asyncio.wait([task], timeout=wait)
            if task.done() and self._asked == key:
                # It may have failed while nobody waited; the next one who asks after that has it begun again.
                if self._task is task:
                    self._task = None
                task.result()
        return self._answers.get(key, self._progress)

    async def close(self) -> None:
        """Wait for no answer any more."""
        if self._task is not None:
            self._task.cancel()

    async def _search(self, key: object, likeness: Likeness) -> None:
        self._answers[key] = await asyncio.to_thread(self._find, likeness)
        while len(self._answers) > KEPT:
            del self._answers[next(iter(self._answers))]

    def _find(self, likeness: Likeness) -> Groups:
        def progress(done: int, total: int) -> None:
            self._progress = Running(done, total)

        with open_index(self._place) as index:
            found = find_duplicates(index, likenesses=[likeness], progress=progress)
        return Groups(found.groups, found.left_out)

    def _state(self) -> object:
        with open_index(self._place) as index:
            return index.summary().state, frozenset(index.copies.different())


def _has_ended(task: asyncio.Task[None]) -> None:
    """Look at a failure, which asyncio complains of if nobody asks any more."""
    if not task.cancelled():
        task.exception()
