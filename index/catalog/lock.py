"""One writer at a time."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from index.catalog.database import no_locks
from index.errors import IndexLockedError


class WriterLock:
    """The right to write the index in a folder. The system releases it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises IndexLockedError, which names the process that holds it, IndexStorageError where there are no locks, and
        OSError.
        """
        # The file is never removed: another process may just have locked it.
        self._file = (folder / "catalog.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(20).strip()
            self._file.close()
            raise IndexLockedError(
                f"The index in {folder} is being written by another fc7"
                + (f" (process {holder})" if holder.isdigit() else "")
                + "; run the same command again when it has ended."
            ) from None
        except OSError as error:
            self._file.close()
            # ENOLCK, EOPNOTSUPP and others: folders of other machines do not always have locks.
            raise no_locks(folder, error.strerror or str(error)) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Release the lock; a second time does nothing."""
        if self._file.closed:
            return
        # Closing alone is not enough: a process that another thread is starting has the file too, until it runs.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()

    def __enter__(self) -> "WriterLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
