"""The catalogue of an index, in SQLite: the truth about which photos are known and what is known of them."""

import secrets
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.catalog.database import open_database, prepare_for_writing, storage_errors, transaction
from index.catalog.lock import WriterLock
from index.catalog.rows import PhotoRow
from index.catalog.schema import MIGRATIONS, migrate, read_version
from index.errors import IndexNotFoundError
from index.files import path_below
from index.records import FileStamp
from index.sync.plan import KnownFile
from index.vectors.kinds import AUTO

PUT_PHOTO = """
    INSERT INTO photos
        (root_id, path, size, mtime_ns, content_hash, width, height, embedding, labels, skipped, generation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (root_id, path) DO UPDATE SET
        size = excluded.size, mtime_ns = excluded.mtime_ns, content_hash = excluded.content_hash,
        width = excluded.width, height = excluded.height, embedding = excluded.embedding,
        labels = excluded.labels, skipped = excluded.skipped, generation = excluded.generation
"""
# What vectors.faiss has to forget; completed by the condition that finds the photo.
LOG_REMOVED = "INSERT OR REPLACE INTO removed SELECT id, ? FROM photos WHERE embedding IS NOT NULL AND "


@dataclass(frozen=True, slots=True)
class CatalogState:
    """What the catalogue says of itself; `generation` counts the transactions that changed an embedding.

    `model_path` is the absolute path (os.fsencode) of the model file, b"" for the built-in model; `kind` is the kind of
    FAISS index that was asked for, as a factory string, or auto.
    """

    identity: str
    generation: int
    model_name: str
    fingerprint: str
    dim: int
    created: str
    model_path: bytes = b""
    kind: str = AUTO

    @classmethod
    def fresh(
        cls, *, model_name: str, fingerprint: str, dim: int, model_path: bytes = b"", kind: str = AUTO
    ) -> "CatalogState":
        """Begin a catalogue; its identity tells it from every other, one remade in the same folder among them."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        name = model_name.encode("utf-8", "backslashreplace").decode()  # a file name need not be text
        return cls(secrets.token_hex(8), 0, name, fingerprint, dim, now, model_path, kind)


class Catalog:
    """The file `catalog.db`: for one thread, and for one writer at a time (see `index.catalog.lock`)."""

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
                    f"There is no index in {path.parent}: make one with `fc7 index FOLDER --index {place}`."
                )
            with WriterLock(path.parent):
                cls.open_for_writing(path).close()
            return cls.open(path)

    @classmethod
    def open_for_writing(cls, path: Path, *, first: CatalogState | None = None) -> "Catalog":
        """Open a catalogue, begun as `first` where there is none. Raises IndexFormatError and IndexStorageError."""
        with storage_errors(path.parent):
            connection, version = _connect(path, writable=True)
            catalog = cls(path, connection)
            try:
                prepare_for_writing(connection)
                if version < len(MIGRATIONS):
                    # Tables and state in one transaction: a kill leaves an empty file or a whole catalogue.
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
        """See one state of the catalogue throughout the block, whatever another process commits meanwhile."""
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
        """Read what the catalogue says of itself."""
        return CatalogState(**dict(self.rows("SELECT key, value FROM meta")))

    def set_model_path(self, path: bytes) -> None:
        """Remember where the model lies now."""
        with self._writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'model_path'", (path,))

    def set_kind(self, kind: str) -> None:
        """Remember the kind of FAISS index that was asked for."""
        with self._writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'kind'", (kind,))

    def become(self, other: "Catalog") -> None:
        """Take over all that another catalogue holds, in one transaction: readers see what was, or what is."""
        with storage_errors(self.path.parent):
            other._connection.backup(self._connection)

    def roots(self) -> list[tuple[int, bytes]]:
        """List the folders that were indexed, id and absolute path; none lies inside another."""
        return self.rows("SELECT id, path FROM roots ORDER BY path")

    def claim_root(self, folder: bytes) -> tuple[int, bytes]:
        """Find the root that `folder` (absolute) is or lies in, and where in it; make it a root where there is none.

        Roots inside `folder` become part of it: every file has one row, however the folders of a user overlap.
        """
        roots = self.roots()
        for root_id, root in roots:
            if (inside := path_below(folder, root)) is not None:
                return root_id, inside and inside + b"/"
        with self._writing() as connection:
            root_id = connection.execute("INSERT INTO roots (path) VALUES (?)", (folder,)).lastrowid or 0
            for inner_id, inner in roots:
                if (inside := path_below(inner, folder)) is not None:
                    connection.execute(
                        "UPDATE photos SET root_id = ?, path = CAST(? || path AS BLOB) WHERE root_id = ?",
                        (root_id, inside + b"/", inner_id),
                    )
                    connection.execute("DELETE FROM roots WHERE id = ?", (inner_id,))
        return root_id, b""

    def files(self, root_id: int, below: bytes) -> dict[bytes, KnownFile]:
        """Read what is known of the files of a root whose path begins with `below`, by their path from there on."""
        condition, values = _below(root_id, below.rstrip(b"/"))
        rows = self.rows(
            "SELECT substr(path, ?), id, size, mtime_ns, content_hash, skipped IS NOT NULL FROM photos"
            f" WHERE {condition}",
            (len(below) + 1, *values),
        )
        return {
            path: KnownFile(id, FileStamp(size, mtime_ns), content_hash, bool(skipped))
            for path, id, size, mtime_ns, content_hash, skipped in rows
        }

    def row_with_content(self, content_hash: bytes) -> PhotoRow | None:
        """Find a photo with an embedding whose file had this content."""
        rows = self.rows(
            "SELECT path, size, mtime_ns, content_hash, width, height, embedding, labels, skipped FROM photos"
            " WHERE content_hash = ? AND embedding IS NOT NULL LIMIT 1",
            (content_hash,),
        )
        return next((PhotoRow(path, FileStamp(size, mtime_ns), *rest) for path, size, mtime_ns, *rest in rows), None)

    def apply(
        self,
        root_id: int,
        *,
        put: Sequence[PhotoRow] = (),
        moved: Sequence[tuple[int, bytes, FileStamp]] = (),
        removed: Sequence[int] = (),
    ) -> None:
        """Change photos of a root in one transaction: all of it or nothing.

        A row that is put takes the place of the one with the same path and keeps its id; `moved` are ids, perhaps
        of another root, with their new path and stamp.
        """
        with self._writing() as connection:
            [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
            connection.executemany(
                "UPDATE photos SET root_id = ?, path = ?, size = ?, mtime_ns = ? WHERE id = ?",
                [(root_id, path, stamp.size, stamp.mtime_ns, id) for id, path, stamp in moved],
            )
            before = connection.total_changes
            connection.executemany(LOG_REMOVED + "id = ?", [(generation, id) for id in removed])
            connection.executemany(
                LOG_REMOVED + "root_id = ? AND path = ?",
                [(generation, root_id, row.path) for row in put if row.embedding is None],
            )
            vectors_changed = connection.total_changes > before or any(row.embedding is not None for row in put)
            connection.executemany("DELETE FROM photos WHERE id = ?", [(id,) for id in removed])
            connection.executemany(PUT_PHOTO, [(root_id, *row.columns(), generation) for row in put])
            if vectors_changed:
                connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))

    def forget(self, path: bytes) -> int:
        """Forget the photos at or below an absolute path, and the roots there; return how many photos that were."""
        with self._writing() as connection:
            [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
            roots = self.roots()
            condition, values = at_or_below(roots, path)
            if connection.execute(LOG_REMOVED + condition, (generation, *values)).rowcount:
                connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
            forgotten = connection.execute(f"DELETE FROM photos WHERE {condition}", values).rowcount
            inner = [(root_id,) for root_id, root in roots if path_below(root, path) is not None]
            connection.executemany("DELETE FROM roots WHERE id = ?", inner)
        return forgotten

    def reindex(self) -> None:
        """Make the indexes of the database anew from its tables, where these are whole."""
        with suppress(sqlite3.IntegrityError), self._writing() as connection:
            connection.execute("REINDEX")

    def prune_removed(self, generation: int) -> None:
        """Drop the list of what was removed up to a generation, once vectors.faiss is of that generation."""
        if self.rows("SELECT 1 FROM removed WHERE generation <= ? LIMIT 1", (generation,)):
            with self._writing() as connection:
                connection.execute("DELETE FROM removed WHERE generation <= ?", (generation,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with storage_errors(self.path.parent), transaction(self._connection, writing=True):
            yield self._connection

    def _set_state(self, state: CatalogState) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", asdict(state).items())


def at_or_below(roots: Iterable[tuple[int, bytes]], path: bytes) -> tuple[str, list[int | bytes]]:
    """Make the condition for photos at or below an absolute path; the index over root and path serves it."""
    terms, values = list[str](), list[int | bytes]()
    for root_id, root in roots:
        inside = b"" if path_below(root, path) is not None else path_below(path, root)
        if inside is None:
            continue
        if inside:
            terms.append("root_id = ? AND path = ?")
            values += [root_id, inside]
        condition, below = _below(root_id, inside)
        terms.append(condition)
        values += below
    return f"({' OR '.join(terms) or '0'})", values


def _below(root_id: int, folder: bytes) -> tuple[str, list[int | bytes]]:
    if not folder:
        return "root_id = ?", [root_id]
    # All that begins with "folder/" lies before "folder0": the next character is 0.
    return "root_id = ? AND path >= ? AND path < ?", [root_id, folder + b"/", folder + b"0"]


def _connect(path: Path, *, writable: bool) -> tuple[sqlite3.Connection, int]:
    connection = open_database(path, writable=writable)
    try:
        return connection, read_version(connection, path)
    except BaseException:
        connection.close()
        raise
