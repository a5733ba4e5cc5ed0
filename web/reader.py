"""An index that is read in a thread of its own, opened again when another process has put another one in its place."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from index.errors import IndexFormatError, IndexStorageError
from index.milvus.place import IndexLocation, MilvusPlace
from index.photo_index import CATALOG, PhotoIndex
from index.searchable import SearchableIndex

Result = TypeVar("Result")
REFRESHED_EVERY = 2.0
"""Seconds after which folders and model of an index in Milvus are read again."""


class Reader:
    """One index; calls wait for each other, as its database connection belongs to one thread."""

    def __init__(self, place: IndexLocation, *, device: str = "cpu") -> None:
        self._place = place
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fc7-index")
        self._index: SearchableIndex | None = None
        self._opened_as: tuple[object, str | None] = (None, None)
        self._refreshed = 0.0

    async def call(self, work: Callable[[SearchableIndex], Result], *, fingerprint: str | None = None) -> Result:
        """Return what `work` does with the index, which must be of the model with this fingerprint if one is given.

        Raises ModelMismatchError where another process has rebuilt it with another model, and what `work` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, work, fingerprint)

    def _call(self, work: Callable[[SearchableIndex], Result], fingerprint: str | None) -> Result:
        known = self._index is not None
        try:
            return work(self._current(fingerprint))
        except (IndexFormatError, IndexStorageError):
            # The file may have been replaced while it was read; a new one says whether the trouble stays.
            self._close()
            if not known:
                raise
            return work(self._current(fingerprint))

    def _current(self, fingerprint: str | None) -> SearchableIndex:
        if isinstance(self._place, MilvusPlace):
            return self._in_milvus(self._place, fingerprint)
        opened_as = (_identity(self._place / CATALOG), fingerprint)
        if self._index is None or self._opened_as != opened_as:
            self._close()
            self._index = PhotoIndex.open(self._place, fingerprint=fingerprint, device=self._device)
            self._opened_as = opened_as
        return self._index

    def _in_milvus(self, place: MilvusPlace, fingerprint: str | None) -> SearchableIndex:
        from index.milvus.milvus_index import MilvusIndex  # most have none

        if not isinstance(self._index, MilvusIndex) or self._opened_as != (place, fingerprint):
            self._close()
            self._index = MilvusIndex.open(place, fingerprint=fingerprint)
            self._opened_as = (place, fingerprint)
        elif time.monotonic() - self._refreshed > REFRESHED_EVERY:
            self._index.refresh()
        else:
            return self._index
        self._refreshed = time.monotonic()
        return self._index

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

    def close(self) -> None:
        """Finish what is running, and close the index."""
        self._thread.submit(self._close)
        self._thread.shutdown()


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell which file has a name now: another process may have put another there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
