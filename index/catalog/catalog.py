"""The catalogue of an index, in SQLite: which photos are known, and what is known of them."""

import secrets
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.catalog.database import open_database, prepare_for_writing, storage_errors, transaction
from index.catalog.lock import WriterLock
from index.catalog.schema import MIGRATIONS, migrate, read_version
from index.errors import IndexLockedError, IndexNotFoundError, IndexStorageError
from index.files import path_below
from index.vectors.kinds import AUTO


@dataclass(frozen=True, slots=True)
class CatalogState:
    """What the catalogue stores about itself; `generation` counts the transactions that changed an embedding.

    `model_path` is the absolute path (os.fsencode) of the model file, b"" for the built-in model; `kind` is the kind of
    FAISS index that was chosen (`index.vectors.kinds.check_kind`).
    """

    identity: str
    generation: int
    model_name: str
    fingerprint: str
    dim: int
    created: str
    model_path: bytes = b""
    kind: str = AUTO
    exclude: bytes = b""

    @classmethod
    def fresh(
        cls, *, model_name: str, fingerprint: str, dim: int, model_path: bytes = b"", kind: str = AUTO
    ) -> "CatalogState":
        """Return the first state of a new catalogue, with an identity that no other catalogue has."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        name = model_name.encode("utf-8", "backslashreplace").decode()  # a file name need not be text
        return cls(secrets.token_hex(8), 0, name, fingerprint, dim, now, model_path, kind)


class Catalog:
    """The file `catalog.db`, for one thread and one writer at a time (see `index.catalog.lock`)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Catalog":
        """Open a catalogue for reading. Raises IndexNotFoundError, IndexFormatError and IndexStorageError."""
        with storage_errors(path.parent):
            version = 0
            if path.is_file():
                connection, version = _connect(path, writable=False)
                if version == len(MIGRATIONS):
                    return cls(path, connection)
                connection.close()
            if version == 0:
                place = shlex.quote(str(path.parent))
                raise IndexNotFoundError(
                    f"There is no index in {path.parent}", hint=f"make one with `fc7 index FOLDER --index {place}`"
                )
            with WriterLock(path.parent):
                cls.open_for_writing(path).close()
            return cls.open(path)

    @classmethod
    def open_for_writing(cls, path: Path, *, first: CatalogState | None = None) -> "Catalog":
        """Open a catalogue, or make one in the state `first`. Raises IndexFormatError and IndexStorageError."""
        with storage_errors(path.parent):
            connection, version = _connect(path, writable=True)
            catalog = cls(path, connection)
            try:
                prepare_for_writing(connection, path.parent)
                if version < len(MIGRATIONS):
                    # Tables and state in one transaction, so that a kill leaves an empty file or a complete catalogue.
                    with transaction(connection, writing=True):
                        migrate(connection, version)
                        if version == 0 and first is not None:
                            catalog._set_state(first)
            except BaseException:
                connection.close()
                raise
            return catalog

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the block see one state of the catalogue, whatever another process commits meanwhile."""
        with storage_errors(self.path.parent), transaction(self._connection, writing=False):
            yield

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read all rows of a query."""
        with storage_errors(self.path.parent):
            return self._connection.execute(sql, parameters).fetchall()

    def batches(self, sql: str, parameters: Sequence[Any] = (), *, size: int) -> Iterator[list[Any]]:
        """Read the rows of a query a batch at a time, all of one state of the catalogue."""
        with storage_errors(self.path.parent):
            cursor = self._connection.execute(sql, parameters)
            while rows := cursor.fetchmany(size):
                yield rows

    def state(self) -> CatalogState:
        """Read what the catalogue stores about itself."""
        return CatalogState(**dict(self.rows("SELECT key, value FROM meta")))

    def set_model_path(self, path: bytes) -> None:
        """Store where the model is now."""
        with self.writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'model_path'", (path,))

    def set_kind(self, kind: str) -> None:
        """Store the kind of FAISS index that was asked for."""
        with self.writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'kind'", (kind,))

    def set_exclude(self, patterns: bytes) -> None:
        """Store the patterns of what is left out of folders, one a line."""
        with self.writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'exclude'", (patterns,))

    def become(self, other: "Catalog") -> None:
        """Take over the content of another catalogue, in one transaction: readers see the old one or the new one."""
        with storage_errors(self.path.parent):
            other._connection.backup(self._connection)

    def roots(self) -> list[tuple[int, bytes]]:
        """List the folders that were indexed, id and absolute path; none lies inside another."""
        return self.rows("SELECT id, path FROM roots ORDER BY path")

    def reindex(self) -> None:
        """Rebuild the indexes of the database from its tables, unless these are damaged."""
        with suppress(sqlite3.IntegrityError), self.writing() as connection:
            connection.execute("REINDEX")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one transaction that may change the catalogue: all of it or nothing."""
        with storage_errors(self.path.parent), transaction(self._connection, writing=True):
            yield self._connection

    def _set_state(self, state: CatalogState) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", asdict(state).items())


def write_if_possible(path: Path, sql: str, rows: Iterable[Sequence[object]]) -> bool:
    """Run a statement for each row in the catalogue at `path`, at once; False where it cannot be written now."""
    try:
        with (
            storage_errors(path.parent),
            WriterLock(path.parent),
            closing(Catalog.open_for_writing(path)) as catalog,
            catalog.writing() as connection,
        ):
            connection.executemany(sql, rows)
    except (IndexLockedError, IndexStorageError):
        return False
    return True


def at_or_below(roots: Iterable[tuple[int, bytes]], path: bytes) -> tuple[str, list[int | bytes]]:
    """Make the condition for photos at or below an absolute path, which the index over root and path can answer."""
    terms, values = list[str](), list[int | bytes]()
    for root_id, root in roots:
        inside = b"" if path_below(root, path) is not None else path_below(path, root)
        if inside is None:
            continue
        if inside:
            terms.append("root_id = ? AND path = ?")
            values += [root_id, inside]
        condition, below = inside_root(root_id, inside)
        terms.append(condition)
        values += below
    return f"({' OR '.join(terms) or '0'})", values


def inside_root(root_id: int, folder: bytes) -> tuple[str, list[int | bytes]]:
    """Make the condition for photos below a folder of a root, which is b"" for all of them."""
    if not folder:
        return "root_id = ?", [root_id]
    # 0 is the character after the slash, so all that begins with "folder/" sorts before "folder0".
    return "root_id = ? AND path >= ? AND path < ?", [root_id, folder + b"/", folder + b"0"]


def _connect(path: Path, *, writable: bool) -> tuple[sqlite3.Connection, int]:
    connection = open_database(path, writable=writable)
    try:
        return connection, read_version(connection, path)
    except BaseException:
        connection.close()
        raise
