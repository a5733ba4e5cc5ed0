"""One writer at a time."""

import os
from pathlib import Path
from types import TracebackType

from index.catalog.database import no_locks
from index.errors import IndexLockedError
from index.file_lock import lock, unlock


class WriterLock:
    """The right to write the index in a folder. The system releases it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises IndexLockedError, which names the process that holds it, IndexStorageError where there are no locks, and
        OSError.
        """
        self._file = (folder / "catalog.lock").open("a+", encoding="ascii")
        try:
            taken = lock(self._file)
        except OSError as error:
            self._file.close()
            # ENOLCK, EOPNOTSUPP and others: folders of other machines do not always have locks.
            raise no_locks(folder, error.strerror or str(error)) from error
        if not taken:
            self._file.seek(0)
            holder = self._file.read(20).strip()
            self._file.close()
            raise IndexLockedError(
                f"The index in {folder} is being written by another fc7"
                + (f" (process {holder})" if holder.isdigit() else "")
                + "; run the same command again when it has ended."
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Release the lock; a second time does nothing."""
        if not self._file.closed:
            unlock(self._file)
            self._file.close()

    def __enter__(self) -> "WriterLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
