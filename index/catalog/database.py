"""Opening the SQLite file of an index, and what its errors mean to the user."""

import errno
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.catalog.file_system import on_network_drive
from index.errors import IndexFormatError, IndexLockedError, IndexStorageError

BUSY_SECONDS = 10.0
# On a network drive a writer waits for all who read.
NETWORK_BUSY_SECONDS = 120
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What a reader gets on a full disk, where it cannot make the files that coordinate it with writers.
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_WRITE}
_NO_LOCKS = {
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_IOERR_UNLOCK,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
}
_NOT_ALLOWED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def open_database(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open a database, for reading also in a folder or on a disk that cannot be written. Raises sqlite3.Error."""
    if writable:
        return _connect(path, "mode=rwc")
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    left_behind = any(map(_holds_something, logs))
    # A reader of a WAL database needs write access for the files that coordinate it with writers.
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        connection.close()
        # Without write access the file is read as it is, unless a writer is at work or has left a log behind. If
        # another user, with write access, begins to write meanwhile, this answer can be wrong or fail. The next is not.
        refused = _primary_code(error) in _NOT_ALLOWED or getattr(error, "sqlite_errorcode", 0) in _NO_ROOM
        if not refused or left_behind:
            raise
        return _connect(path, "mode=ro&immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _holds_something(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except FileNotFoundError:  # a writer removes it when it has ended a transaction
        return False


def prepare_for_writing(connection: sqlite3.Connection, folder: Path) -> None:
    """Set up a connection for writing: commits survive a power cut, and readers do not have to wait.

    On a network drive they do: a write-ahead log needs memory that all programs share, and those of several machines
    share none (https://www.sqlite.org/wal.html). So there it is a rollback journal.
    """
    if on_network_drive(folder):
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"PRAGMA busy_timeout = {1000 * NETWORK_BUSY_SECONDS}")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
    # FULL and not NORMAL, because the catalogue must never fall back behind a vectors.faiss that was derived from it.
    # One fsync for a batch takes little time beside embedding it.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


@contextmanager
def transaction(connection: sqlite3.Connection, *, writing: bool) -> Iterator[None]:
    """Run the block in one transaction. A reader sees one state of the database in it."""
    connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk makes SQLite roll back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system that a user can act on into a UserError that names the folder."""
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code == sqlite3.SQLITE_FULL:
            raise _no_space(folder) from error
        if code in _NOT_ALLOWED:
            raise _not_allowed(folder, str(error)) from error
        if getattr(error, "sqlite_errorcode", 0) in _NO_LOCKS or code == sqlite3.SQLITE_PROTOCOL:
            raise no_locks(folder, str(error)) from error
        if code == sqlite3.SQLITE_IOERR:
            raise IndexStorageError(
                f"Reading or writing the index in {folder} failed ({error}); what was stored before is kept",
                hint="check that the disk is neither full nor faulty, then run the same command again",
            ) from error
        if code in _BUSY:
            raise IndexLockedError(
                f"The index in {folder} is in use by another program",
                hint="run the same command again in a moment",
            ) from error
        if code in _DAMAGED:
            raise IndexFormatError(
                f"{folder / 'catalog.db'} is damaged or not a catalogue of fc7 ({error})",
                hint=f"move it away, then run `fc7 index FOLDER --index {shlex.quote(str(folder))}`, or choose another "
                "place with --index",
            ) from error
        raise
    except BrokenPipeError:
        raise  # of whoever read what is printed meanwhile: not the index's
    except OSError as error:
        if error.errno in _FULL:
            raise _no_space(folder) from error
        raise _not_allowed(folder, error.strerror or str(error)) from error


def no_locks(folder: Path, reason: str) -> IndexStorageError:
    """Return the error for a folder in which no file can be locked, as on some network drives."""
    return IndexStorageError(
        f"The index in {folder} cannot be locked ({reason}), and without that programs would not see each other write",
        hint="keep the index on a disk of this machine: name another folder with --index",
    )


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the module itself, for instance after misuse, have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _no_space(folder: Path) -> IndexStorageError:
    return IndexStorageError(
        f"There is no space left for the index in {folder}; what was stored before is kept",
        hint="free some, then run the same command again",
    )


def _not_allowed(folder: Path, reason: str) -> IndexStorageError:
    return IndexStorageError(
        f"The index in {folder} cannot be read or written ({reason})",
        hint="check the permissions of this folder, or choose another with --index",
    )
