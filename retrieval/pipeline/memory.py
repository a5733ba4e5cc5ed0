"""A budget of memory for decoded pictures, over all threads: large ones wait for each other, small ones never."""

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from index.errors import OutOfMemoryError
from retrieval.photos.decode import Photo, load_photo
from retrieval.photos.limits import MAX_PIXELS
from retrieval.pipeline.machine import usable_memory

Result = TypeVar("Result")

SHARE = 4
"""One part in so many of the memory is for decoded pictures."""
_UNKNOWN = 4 << 30
_M_MMAP_THRESHOLD = -3
_LARGE_BLOCK = 4 << 20


class MemoryBudget:
    """Bytes that threads may claim together; a claim that does not fit waits, in the order of the claims.

    A claim of more than there is waits until it is alone.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def claims(self) -> Iterator[Callable[[int], None]]:
        """Give a function that claims bytes, and give back what it has claimed when the block ends.

        Whoever claims again gives back what it has before it waits for both, so that no two wait for each other.
        """
        held = 0

        def claim(count: int) -> None:
            nonlocal held
            turn = object()
            with self._changed:
                self._used -= held
                held += count
                count, held = held, 0
                self._waiting.append(turn)
                try:
                    self._changed.notify_all()
                    self._changed.wait_for(
                        lambda: self._waiting[0] is turn and (not self._used or self._used + count <= self._size)
                    )
                    self._used += count
                    held = count
                finally:
                    self._waiting.remove(turn)
                    self._changed.notify_all()

        try:
            yield claim
        finally:
            with self._changed:
                self._used -= held
                self._changed.notify_all()


@lru_cache(maxsize=1)
def give_back_large_blocks() -> None:
    """Let freed blocks of 4 MiB and more go back to the system at once, where the C library is glibc.

    It would keep them for each thread that has ever decoded a large picture: with 4 threads twice as much memory as the
    budget allows. mallopt(3): a threshold that is set no longer grows by itself.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


@lru_cache(maxsize=1)
def shared_budget() -> MemoryBudget:
    """Return the budget of this process: a quarter of the memory that it may use."""
    return MemoryBudget((usable_memory() or _UNKNOWN) // SHARE)


def decode_within_budget(
    source: Path | bytes,
    use: Callable[[Photo], Result],
    *,
    shorter_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    budget: MemoryBudget | None = None,
) -> Result:
    """Return what `use` makes of a photo, which is decoded as by `load_photo` when there is memory for it.

    The memory counts as used until `use` returns, so its result should not hold the picture. `budget` is by default
    that of the process. Raises PhotoError, and OutOfMemoryError where there is not enough memory all the same.
    """
    give_back_large_blocks()
    with (budget or shared_budget()).claims() as claim:
        try:
            return use(load_photo(source, shorter_side=shorter_side, max_pixels=max_pixels, claim=claim))
        except MemoryError:
            raise OutOfMemoryError from None
