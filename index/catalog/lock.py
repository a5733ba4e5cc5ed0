"""One writer at a time."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from index.errors import IndexLockedError


class WriterLock:
    """The right to write the index in a folder; the system gives it back when its holder dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        """Take it. Raises IndexLockedError, which names the process that has it, and OSError."""
        # The file stays when the lock is given back: whoever removed it could remove the one a third process just took.
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
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> "WriterLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
