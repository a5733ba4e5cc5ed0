"""The catalogue: its format, its migrations, its roots and its transactions."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from photo_samples import DIM, SampleFile, embed, hash_of, new_photo
from told import told

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.changes import change_photos, claim_root, known_files, remove_below, row_with_content
from index.catalog.queries import ids_touched_since, photo_at, skipped_photos, vectors_since
from index.catalog.rows import PhotoRow
from index.catalog.schema import APPLICATION_ID, MIGRATIONS, VERSION_1, migrate, read_version
from index.errors import IndexFormatError, IndexNotFoundError
from index.records import FileStamp

FIRST = CatalogState.fresh(model_name="sample", fingerprint="abc", dim=DIM)

# A catalogue as version 1 wrote it, by SQL of its own: it must be readable for ever.
VERSION_1_CONTENTS = """
    INSERT INTO meta VALUES ('identity', 'c0ffee'), ('generation', 2), ('model_name', 'sample'),
        ('fingerprint', 'abc'), ('dim', 2), ('created', '2026-01-02T03:04:05+00:00');
    INSERT INTO roots VALUES (1, CAST('/photos' AS BLOB));
    INSERT INTO photos VALUES
        (1, 1, CAST('cat.jpg' AS BLOB), 10, 20, x'aabb', 640, 480, x'003c0000', '[["cat", "n1", 0.5]]', NULL, 1),
        (3, 1, CAST('bad.jpg' AS BLOB), 11, 21, NULL, NULL, NULL, NULL, NULL, 'empty file', 2);
    INSERT INTO removed VALUES (2, 2);
"""


def row(path: bytes, content: bytes = b"content") -> PhotoRow:
    return PhotoRow.from_photo(new_photo(path, SampleFile(content)), path)


def write_version_1(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in VERSION_1:
            connection.execute(statement)
        connection.executescript(VERSION_1_CONTENTS)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")


def test_a_catalogue_of_version_1_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    write_version_1(path)
    with closing(Catalog.open(path)) as catalog:
        assert catalog.state() == CatalogState("c0ffee", 2, "sample", "abc", 2, "2026-01-02T03:04:05+00:00")
        photo = photo_at(catalog, Path("/photos/cat.jpg"), dim=2)
        assert photo is not None
        assert photo.labels is not None
        assert photo.embedding is not None
        assert (photo.id, photo.stamp, photo.width, photo.height) == (1, FileStamp(10, 20), 640, 480)
        assert (photo.embedding.tolist(), photo.labels[0].label) == ([1, 0], "cat")
        assert [(photo.path, photo.reason) for photo in skipped_photos(catalog)] == [
            (Path("/photos/bad.jpg"), "empty file")
        ]
        assert catalog.rows("SELECT * FROM labels") == [("n1", 1, 0.5)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


@pytest.mark.parametrize("version", [1, 2])
def test_labels_of_older_catalogues_are_listed_by_class(tmp_path: Path, version: int) -> None:
    path = tmp_path / "catalog.db"
    write_version_1(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, 1, migrations=MIGRATIONS[:version])
        connection.executemany(
            "INSERT INTO photos VALUES (?, 1, ?, 1, 1, NULL, 4, 3, x'003c0000', ?, NULL, 2)",
            [
                (5, b"5", '[["cat", "n1", 0.75], ["mine", null, 0.25]]'),
                (6, b"6", '[["cat", "n1", NaN]]'),
                (7, b"7", None),
                (8, b"8", '[["cat", "n1", 0.5], ["cat", "n1", 0.25]]'),
            ],
        )
    with closing(Catalog.open(path)) as catalog:
        expected = [("mine", 5, 0.25), ("n1", 1, 0.5), ("n1", 5, 0.75), ("n1", 8, 0.75)]
        assert catalog.rows("SELECT * FROM labels") == expected
        assert catalog.rows("PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_labels_that_are_no_json_do_not_stop_anything(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")
        for labels in ('[["cat", "n1", NaN]]', '[["cat", "n1", 0.5]]', '[["cat", "n1", Infinity]]'):
            change_photos(catalog, root_id, put=[replace(row(b"a.jpg"), labels=labels)])
            assert catalog.rows("SELECT * FROM labels") == ([("n1", 1, 0.5)] if "0.5" in labels else [])
        assert remove_below(catalog, b"/photos") == 1


def test_migrations_are_done_once_each_and_keep_what_is_there(tmp_path: Path) -> None:
    later = (*MIGRATIONS, ("ALTER TABLE photos ADD COLUMN later TEXT", "CREATE INDEX photos_later ON photos (later)"))
    write_version_1(tmp_path / "catalog.db")
    with closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as connection:
        migrate(connection, 1, migrations=later)
        assert read_version(connection, Path(), newest=len(later)) == len(later)
        migrate(connection, len(later), migrations=later)
        assert connection.execute("SELECT id, later FROM photos").fetchall() == [(1, None), (3, None)]


def test_a_catalogue_that_is_not_there_or_still_empty_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "with space" / "catalog.db"
    for _ in range(2):
        with told(IndexNotFoundError, match=r"fc7 index FOLDER --index '.*/with space'"):
            Catalog.open(path)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    # As a writer leaves it that is killed before its first transaction.
    Catalog.open_for_writing(path, first=FIRST).close()
    with closing(Catalog.open(path)) as catalog:
        assert catalog.state() == FIRST


def test_a_newer_catalogue_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Catalog.open_for_writing(path, first=FIRST).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    for open_catalog in (Catalog.open, Catalog.open_for_writing):
        with told(IndexFormatError, match=r"newer fc7 \(format 99.*pip install --upgrade fc7"):
            open_catalog(path)
    assert path.read_bytes() == before


def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")
    before = path.read_bytes()
    for open_catalog in (Catalog.open, Catalog.open_for_writing):
        with told(IndexFormatError, match="another program"):
            open_catalog(path)
    path.write_text("Not a database, but long enough to be one." * 100)
    for open_catalog in (Catalog.open, Catalog.open_for_writing):
        with told(IndexFormatError, match="damaged or not a catalogue"):
            open_catalog(path)
    path.write_bytes(before)


def test_a_damaged_catalogue_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(Catalog.open_for_writing(path, first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")
        change_photos(catalog, root_id, put=[row(b"%d.jpg" % number, b"%d" % number) for number in range(500)])
    damaged = bytearray(path.read_bytes())
    begin = len(damaged) // 8192 * 4096  # behind the schema, whatever that grows to
    damaged[begin:] = b"\xa5" * (len(damaged) - begin)
    path.write_bytes(damaged)
    with closing(Catalog.open(path)) as catalog, told(IndexFormatError, match="move it away, then run"):
        list(vectors_since(catalog, 0, dim=DIM))


def test_roots_never_lie_inside_each_other(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        inner, below = claim_root(catalog, b"/photos/2024/may")
        assert below == b""
        change_photos(catalog, inner, put=[row(b"a.jpg", b"a")])
        other, _ = claim_root(catalog, b"/photos2")
        change_photos(catalog, other, put=[row(b"b.jpg", b"b")])
        outer, below = claim_root(catalog, b"/photos")
        assert below == b""
        assert catalog.roots() == [(outer, b"/photos"), (other, b"/photos2")]
        assert list(known_files(catalog, outer, b"")) == [b"2024/may/a.jpg"]
        assert claim_root(catalog, b"/photos/2024") == (outer, b"2024/")
        assert list(known_files(catalog, outer, b"2024/")) == [b"may/a.jpg"]
        top, _ = claim_root(catalog, b"/")
        assert catalog.roots() == [(top, b"/")]
        assert sorted(known_files(catalog, top, b"")) == [b"photos/2024/may/a.jpg", b"photos2/b.jpg"]
        assert photo_at(catalog, Path("/photos2/b.jpg"), dim=8) is not None


def test_a_generation_is_a_transaction_that_changed_an_embedding(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")

        def generation() -> int:
            return catalog.state().generation

        def touched(since: int) -> list[int]:
            return sorted(ids_touched_since(catalog, since).tolist())

        change_photos(catalog, root_id, put=[row(b"a.jpg", b"a"), row(b"b.jpg", b"b"), row(b"c.jpg", b"bad")])
        assert (generation(), touched(0)) == (1, [1, 2])
        change_photos(catalog, root_id, moved=[(1, b"d.jpg", FileStamp(5, 5))])
        change_photos(catalog, root_id, put=[row(b"e.jpg", b"bad too")], removed=[3])
        assert (generation(), touched(1)) == (1, [])
        change_photos(catalog, root_id, put=[row(b"b.jpg", b"bad now")])
        assert (generation(), touched(1)) == (2, [2])
        change_photos(catalog, root_id, put=[row(b"b.jpg", b"good again")])
        change_photos(catalog, root_id, removed=[1])
        assert (generation(), touched(2), touched(3)) == (4, [1, 2], [1])
        [(ids, embeddings)] = vectors_since(catalog, 0, dim=DIM)
        assert ids.tolist() == [2]
        np.testing.assert_allclose(embeddings[0], embed(b"good again"), rtol=0, atol=1e-3)


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")
        change_photos(catalog, root_id, put=[row(b"a.jpg")])
        change_photos(catalog, root_id, removed=[1])
        change_photos(catalog, root_id, put=[row(b"a.jpg")])
        assert [file.id for file in known_files(catalog, root_id, b"").values()] == [2]


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")
        change_photos(catalog, root_id, put=[row(b"a.jpg", b"a"), row(b"b.jpg", b"b")])
        before = catalog.state(), known_files(catalog, root_id, b"")
        with pytest.raises(sqlite3.IntegrityError):
            change_photos(
                catalog, root_id, put=[row(b"c.jpg", b"c")], removed=[2], moved=[(1, b"b.jpg", FileStamp(1, 1))]
            )
        assert (catalog.state(), known_files(catalog, root_id, b"")) == before


def test_what_changed_is_found_without_reading_the_photos(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        for sql in (
            "SELECT id, embedding FROM photos WHERE embedding IS NOT NULL AND generation > 1",
            "SELECT id FROM removed WHERE generation > 1",
            "SELECT count(*) FROM photos WHERE embedding IS NOT NULL",
            "SELECT path FROM photos WHERE content_hash = x'00' AND embedding IS NOT NULL LIMIT 1",
        ):
            [(*_, plan)] = catalog.rows(f"EXPLAIN QUERY PLAN {sql}")
            assert "INDEX" in plan
        [(definition,)] = catalog.rows("SELECT sql FROM sqlite_master WHERE name = 'photos_content_hash'")
        assert definition.endswith("WHERE embedding IS NOT NULL")


def test_content_is_found_by_its_hash(tmp_path: Path) -> None:
    with closing(Catalog.open_for_writing(tmp_path / "catalog.db", first=FIRST)) as catalog:
        root_id, _ = claim_root(catalog, b"/photos")
        change_photos(catalog, root_id, put=[row(b"a.jpg", b"a"), row(b"b.jpg", b"bad")])
        assert row_with_content(catalog, hash_of(b"a")) == row(b"a.jpg", b"a")
        assert row_with_content(catalog, hash_of(b"bad")) is None
