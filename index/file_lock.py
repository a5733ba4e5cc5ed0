"""Exclusive locks on open files. The system releases them when the process ends, however it ends.

`fcntl.flock` is used where there is one, and the same lock by `msvcrt` on Windows.
"""

from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt
    import os

    # Windows lets no other process read what is locked. So that it can read who has the lock, a byte far behind is.
    _PLACE = 1 << 30

    def _change(descriptor: int, mode: int) -> None:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, mode, 1)  # type: ignore[attr-defined,unused-ignore]
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)

    def _lock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_NBLCK)  # type: ignore[attr-defined,unused-ignore]

    def _unlock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_UNLCK)  # type: ignore[attr-defined,unused-ignore]

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock(file: IO[Any]) -> bool:
    """Lock a file, which must be open for writing, and tell whether that was possible: False if it is locked already.

    The file must not be removed later, because another process may just have opened it. Raises OSError where the file
    system has no locks.
    """
    try:
        _lock(file.fileno())
    except (BlockingIOError, PermissionError):  # flock; Windows
        return False
    return True


def unlock(file: IO[Any]) -> None:
    """Release the lock.

    To close the file is not enough: a process that another thread is starting has the file too, until it runs.
    """
    _unlock(file.fileno())
