"""The tables of the catalogue, and the migrations from older versions."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from index.errors import IndexFormatError

# "fc7i": distinguishes our files from those of other programs that use SQLite.
APPLICATION_ID = 0x66633769

Migration = tuple[str, ...]

VERSION_1: Migration = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    # Paths are bytes, as in the file system (os.fsencode), because not every file name is text.
    "CREATE TABLE roots (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE)",
    """
    CREATE TABLE photos (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused
        root_id INTEGER NOT NULL REFERENCES roots (id),
        path BLOB NOT NULL,  -- relative to the root
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        content_hash BLOB,  -- NULL where the file could not be read
        width INTEGER,
        height INTEGER,
        embedding BLOB,  -- float16, little-endian, of unit length
        labels TEXT,  -- JSON: [[label, id, probability], ...]
        skipped TEXT,  -- why there is no embedding
        generation INTEGER NOT NULL,  -- when the embedding was last set
        UNIQUE (root_id, path),
        CHECK ((embedding IS NULL) <> (skipped IS NULL))
    )
    """,
    "CREATE INDEX photos_content_hash ON photos (content_hash)",
    # Finds what has changed since a generation, and counts the embeddings, without reading the photos.
    "CREATE INDEX photos_embedded ON photos (generation) WHERE embedding IS NOT NULL",
    # Photos that have no embedding any more, whether or not the photo is still there.
    "CREATE TABLE removed (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL)",
    "CREATE INDEX removed_generation ON removed (generation)",
)

# The model file that the index was made with (os.fsencode), empty for the built-in model.
VERSION_2: Migration = ("INSERT INTO meta (key, value) VALUES ('model_path', x'')",)

# A copy of the labels in `photos`, by class (WordNet id, or name where there is none). With it a class is found without
# reading the labels of every photo. Triggers keep it up to date. Labels that are not valid JSON, as with NaN, are left
# out.
_LABELS = "json_each(CASE WHEN json_valid({row}.labels) THEN {row}.labels ELSE '[]' END) AS label"
_CLASS = "coalesce(json_extract(label.value, '$[1]'), json_extract(label.value, '$[0]'))"
_PROBABILITY = "sum(json_extract(label.value, '$[2]'))"
_PUT_LABELS = f"INSERT INTO labels SELECT {_CLASS}, NEW.id, {_PROBABILITY} FROM {_LABELS.format(row='NEW')} GROUP BY 1"
_DROP_LABELS = (
    f"DELETE FROM labels WHERE photo_id = OLD.id AND class IN (SELECT {_CLASS} FROM {_LABELS.format(row='OLD')})"
)
VERSION_3: Migration = (
    """
    CREATE TABLE labels (
        class TEXT NOT NULL,
        photo_id INTEGER NOT NULL,
        probability REAL NOT NULL,
        PRIMARY KEY (class, photo_id)
    ) WITHOUT ROWID
    """,
    f"CREATE TRIGGER photo_inserted AFTER INSERT ON photos BEGIN {_PUT_LABELS}; END",
    f"CREATE TRIGGER photo_labelled AFTER UPDATE OF labels ON photos BEGIN {_DROP_LABELS}; {_PUT_LABELS}; END",
    f"CREATE TRIGGER photo_deleted AFTER DELETE ON photos BEGIN {_DROP_LABELS}; END",
    f"INSERT INTO labels SELECT {_CLASS}, photos.id, {_PROBABILITY} FROM photos, {_LABELS.format(row='photos')}"
    " GROUP BY 1, 2",
)

# The kind of FAISS index that the user asked for, or auto.
VERSION_4: Migration = ("INSERT INTO meta (key, value) VALUES ('kind', 'auto')",)

# Without skipped photos: 100,000 empty files have the same content, and each would be compared with all others.
VERSION_5: Migration = (
    "DROP INDEX photos_content_hash",
    "CREATE INDEX photos_content_hash ON photos (content_hash) WHERE embedding IS NOT NULL",
)

# What photos are compared by when copies are looked for, by the content of the file: copies share one.
_DROP_THUMBNAIL = (
    "DELETE FROM thumbnails WHERE content_hash = OLD.content_hash AND NOT EXISTS"
    " (SELECT 1 FROM photos WHERE content_hash = OLD.content_hash AND embedding IS NOT NULL)"
)
VERSION_6: Migration = (
    # A JPEG of 128 × 128 grey pixels, see retrieval/photos/thumbnail.py.
    "CREATE TABLE thumbnails (content_hash BLOB PRIMARY KEY, jpeg BLOB NOT NULL)",
    f"CREATE TRIGGER photo_with_thumbnail_deleted AFTER DELETE ON photos BEGIN {_DROP_THUMBNAIL}; END",
    f"CREATE TRIGGER photo_with_thumbnail_changed AFTER UPDATE OF content_hash, embedding ON photos"
    f" BEGIN {_DROP_THUMBNAIL}; END",
)

OWN = "own:"
"""Before the name of a label of the user's own, where the table `labels` has a class."""

# Labels that the user has taught. Their probabilities of photos lie in `labels`; index/catalog/own_labels.py puts them
# there.
_DROP_OWN = f"DELETE FROM labels WHERE photo_id = OLD.id AND class IN (SELECT '{OWN}' || name FROM own_labels)"
VERSION_7: Migration = (
    """
    CREATE TABLE own_labels (
        name TEXT PRIMARY KEY,
        weights BLOB NOT NULL,  -- float32, little-endian
        bias REAL NOT NULL,
        created TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE own_label_examples (
        name TEXT NOT NULL,
        path BLOB NOT NULL,  -- absolute; the photo need not be indexed
        positive INTEGER NOT NULL,
        embedding BLOB NOT NULL,  -- as in photos
        PRIMARY KEY (name, path)
    ) WITHOUT ROWID
    """,
    f"CREATE TRIGGER own_labels_outdated AFTER UPDATE OF embedding ON photos BEGIN {_DROP_OWN}; END",
    f"CREATE TRIGGER own_labels_dropped AFTER DELETE ON photos BEGIN {_DROP_OWN}; END",
)

# Patterns of files that are left out (os.fsencode), one a line. And photos that people said to be different, by their
# content; where this is the same, by their absolute paths, which are empty otherwise.
VERSION_8: Migration = (
    "INSERT INTO meta (key, value) VALUES ('exclude', x'')",
    """
    CREATE TABLE different (
        one BLOB NOT NULL,
        other BLOB NOT NULL,
        one_path BLOB NOT NULL,
        other_path BLOB NOT NULL,
        PRIMARY KEY (one, other, one_path, other_path)
    ) WITHOUT ROWID
    """,
)

# What was measured of photos when copies were looked for, by content. The name of a kind says how it was
# measured, so that a newer fc7 does not take it for what it measures itself.
_DROP_MEASURED = _DROP_THUMBNAIL.replace("thumbnails", "measured")
VERSION_9: Migration = (
    """
    CREATE TABLE measured (
        content_hash BLOB NOT NULL,
        kind TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (content_hash, kind)
    ) WITHOUT ROWID
    """,
    f"CREATE TRIGGER measured_photo_deleted AFTER DELETE ON photos BEGIN {_DROP_MEASURED}; END",
    f"CREATE TRIGGER measured_photo_changed AFTER UPDATE OF content_hash, embedding ON photos"
    f" BEGIN {_DROP_MEASURED}; END",
)

# When a photo was taken, by the clock of the camera: 2019-07-14T12:33:01. Empty where its file does not say so, NULL
# where nobody has looked yet, because an older fc7 indexed it.
VERSION_10: Migration = (
    "ALTER TABLE photos ADD COLUMN taken TEXT",
    "CREATE INDEX photos_taken ON photos (taken) WHERE embedding IS NOT NULL",
)

# One entry for each version ever released, oldest first; released entries are never changed.
MIGRATIONS: tuple[Migration, ...] = (
    *(VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9, VERSION_10),
)


def read_version(connection: sqlite3.Connection, path: Path, *, newest: int = len(MIGRATIONS)) -> int:
    """Read the version of the schema, 0 for an empty file. Raises IndexFormatError for one that is newer or foreign."""
    application_id, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id != APPLICATION_ID:
        if application_id == version == tables == 0:
            return 0
        raise IndexFormatError(
            f"{path} belongs to another program",
            hint="choose another folder with --index, or move that file away",
        )
    if version > newest:
        raise IndexFormatError(
            f"{path} was written by a newer fc7 (format {version}, this one knows formats up to {newest})",
            hint="run `pip install --upgrade fc7`, or choose another folder with --index",
        )
    return int(version)


def migrate(connection: sqlite3.Connection, version: int, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the schema from `version` to the newest, inside a transaction of the caller."""
    for migration in migrations[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
