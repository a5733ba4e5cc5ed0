"""Bringing a folder up to date: whatever happened to it, the index ends as a fresh one would be."""

import shutil
import tempfile
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_samples import DIM, SampleFile, bring_up_to_date, contents_of, embed, hash_of, new_photo, open_for_writing

from index.photo_index import PhotoIndex
from index.records import NewPhoto, SyncCounts

ROOT = Path("/photos")
# Where waiting for the disk costs nothing, if the system has such a place.
MEMORY = Path("/dev/shm")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(4)])

paths = st.sampled_from([b"a.jpg", b"b.jpg", b"c.jpg", b"sub/a.jpg", b"sub/b.jpg", b"sub/deep/a.jpg", b"\xfe\n.jpg"])
contents = st.sampled_from([b"one", b"two", b"three", b"four", b"bad one", b"bad two"])


writes = st.builds(lambda to, content: ("write", to, content), paths, contents)
others = st.tuples(st.sampled_from(["move", "copy", "copy as new", "delete"]), paths, paths)
edits = st.lists(writes | others, max_size=6)
mishaps = st.sampled_from(["", "break off", "lose vectors", "damage vectors", "old vectors"])


class ChangingFolder:
    """A folder of files in which every write has its own time."""

    def __init__(self) -> None:
        self.files: dict[bytes, SampleFile] = {}
        self.clock = 0

    def write(self, path: bytes, content: bytes) -> None:
        self.clock += 1
        self.files[path] = SampleFile(content, self.clock)

    def edit(self, what: str, path: bytes, other: bytes) -> None:
        if what == "write":
            self.write(path, other)
        elif path in self.files and what == "move":
            self.files[other] = self.files.pop(path)
        elif path in self.files and what == "copy":
            self.files[other] = self.files[path]
        elif path in self.files and what == "copy as new":
            self.write(other, self.files[path].content)
        elif path in self.files:
            del self.files[path]


def happen(mishap: str, folder: Path, files: dict[bytes, SampleFile]) -> None:
    """Let something go wrong between two runs."""
    vectors, old = folder / "vectors.faiss", folder.with_name("old vectors")
    if mishap == "break off":
        with open_for_writing(folder) as index:
            bring_up_to_date(index, ROOT, files, stop_after=1, batch_size=2)
    elif mishap == "lose vectors":
        vectors.unlink(missing_ok=True)
    elif mishap == "damage vectors" and vectors.exists():
        vectors.write_bytes(vectors.read_bytes()[:-1])
    elif mishap == "old vectors" and old.exists():
        shutil.copy(old, vectors)
    if vectors.exists():
        shutil.copy(vectors, old)


@pytest.mark.slow
@given(rounds=st.lists(st.tuples(edits, mishaps), min_size=1, max_size=5), batch_size=st.integers(1, 4))
@settings(max_examples=25)
def test_whatever_happens_the_index_ends_as_a_fresh_one(
    rounds: list[tuple[list[tuple[str, bytes, bytes]], str]], batch_size: int
) -> None:
    changing = ChangingFolder()
    with tempfile.TemporaryDirectory(prefix="fc7-", dir=MEMORY if MEMORY.is_dir() else None) as home:
        folder = Path(home) / "index"
        for edits_of_round, mishap in rounds:
            for edit in edits_of_round:
                changing.edit(*edit)
            happen(mishap, folder, changing.files)
            with open_for_writing(folder) as index:
                counts, embedded = bring_up_to_date(index, ROOT, changing.files, batch_size=batch_size)
                assert counts is not None
                all_found = replace(counts, removed=0)
                assert sum(astuple(all_found)) == len(changing.files)
                assert 0 <= len(embedded) - counts.new - counts.skipped <= counts.changed
                # And there is nothing left to do.
                bad = sum(file.content.startswith(b"bad") for file in changing.files.values())
                unchanged = SyncCounts(unchanged=len(changing.files) - bad, still_skipped=bad)
                assert bring_up_to_date(index, ROOT, changing.files) == (unchanged, [])
        with open_for_writing(Path(home) / "fresh") as fresh, PhotoIndex.open(folder, fingerprint="abc") as index:
            bring_up_to_date(fresh, ROOT, changing.files)
            assert contents_of(index) == contents_of(fresh)
            for k in (1, 3, 100):
                assert index.search(QUERIES, k) == fresh.search(QUERIES, k)
        assert {file.name for file in folder.iterdir()} <= {"catalog.db", "vectors.faiss", "catalog.lock"}


def files_of(**contents: bytes) -> dict[bytes, SampleFile]:
    return {f"{name}.jpg".encode(): SampleFile(content, 1) for name, content in contents.items()}


def ids_of(index: PhotoIndex) -> dict[str, int]:
    return {
        path.stem: int(id)
        for photos in index.photos.embeddings()
        for path, id in zip(photos.paths, photos.ids, strict=True)
    }


def test_only_what_is_new_is_embedded(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        assert bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2", c=b"bad")) == (
            SyncCounts(new=2, skipped=1),
            [b"a.jpg", b"b.jpg", b"c.jpg"],
        )
        assert bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2", c=b"bad", d=b"4")) == (
            SyncCounts(new=1, unchanged=2, still_skipped=1),
            [b"d.jpg"],
        )


def test_a_touched_file_is_not_embedded_again(tmp_path: Path) -> None:
    touched = {b"a.jpg": SampleFile(b"1", 99)}
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1"))
        assert bring_up_to_date(index, ROOT, touched) == (SyncCounts(unchanged=1), [])
        photo = index.photos.at(ROOT / "a.jpg")
        assert photo is not None
        assert photo.stamp == touched[b"a.jpg"].stamp


def test_a_moved_photo_keeps_its_id_and_is_not_embedded_again(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        assert bring_up_to_date(index, ROOT, files_of(c=b"1", b=b"2")) == (SyncCounts(moved=1, unchanged=1), [])
        assert ids_of(index) == {"c": 1, "b": 2}
        assert index.search(embed(b"1")[None], 1)[0][0].path == ROOT / "c.jpg"


def test_a_copy_shares_the_embedding(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1"))
        assert bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"1")) == (SyncCounts(copied=1, unchanged=1), [])
        assert [result.path.stem for result in index.search(embed(b"1")[None], 5)[0]] == ["a", "b"]
        # Also one from another folder.
        assert bring_up_to_date(index, Path("/more"), files_of(c=b"1")) == (SyncCounts(copied=1), [])
        copy = index.photos.at(Path("/more/c.jpg"))
        assert copy is not None
        assert copy.labels is not None
        assert (copy.width, copy.height) == (40, 30)


def test_a_changed_photo_keeps_its_id(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        changed = {b"a.jpg": SampleFile(b"3", 2), b"b.jpg": SampleFile(b"3", 2)}
        assert bring_up_to_date(index, ROOT, changed, batch_size=1) == (SyncCounts(changed=2), [b"a.jpg"])
        assert ids_of(index) == {"a": 1, "b": 2}
        assert index.search(embed(b"1")[None], 1)[0][0].score < 0.9


def test_two_photos_that_changed_places_keep_their_contents_apart(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        swapped = {b"a.jpg": SampleFile(b"2", 2), b"b.jpg": SampleFile(b"1", 2)}
        assert bring_up_to_date(index, ROOT, swapped) == (SyncCounts(changed=2), [])
        assert index.search(embed(b"2")[None], 1)[0][0].path == ROOT / "a.jpg"
        assert index.search(embed(b"1")[None], 1)[0][0].path == ROOT / "b.jpg"


def test_a_photo_moved_over_another_takes_its_place_and_its_id(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        assert bring_up_to_date(index, ROOT, {b"b.jpg": SampleFile(b"1", 2)}) == (SyncCounts(changed=1, removed=1), [])
        assert ids_of(index) == {"b": 2}
        assert index.search(embed(b"1")[None], 1)[0][0].score == pytest.approx(1, abs=1e-5)


def test_deleted_photos_go_and_those_of_other_folders_stay(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        bring_up_to_date(index, Path("/photos2"), files_of(a=b"3"))
        assert bring_up_to_date(index, ROOT, files_of(b=b"2")) == (SyncCounts(removed=1, unchanged=1), [])
        assert sorted(contents_of(index)) == [Path("/photos/b.jpg"), Path("/photos2/a.jpg")]
        assert len(index.search(QUERIES[:1], 9)[0]) == 2


def test_a_folder_inside_another_is_brought_up_to_date_alone(tmp_path: Path) -> None:
    whole = {b"a.jpg": SampleFile(b"1"), b"sub/b.jpg": SampleFile(b"2"), b"sub/c.jpg": SampleFile(b"3")}
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, whole)
        counts, _ = bring_up_to_date(index, ROOT / "sub", files_of(b=b"2", d=b"4"))
        assert counts == SyncCounts(new=1, removed=1, unchanged=1)
        assert index.roots() == [ROOT]
        assert sorted(contents_of(index)) == [ROOT / "a.jpg", ROOT / "sub/b.jpg", ROOT / "sub/d.jpg"]


def test_a_skipped_photo_is_tried_again_when_it_changes_or_when_asked(tmp_path: Path) -> None:
    bad = files_of(a=b"bad")
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, bad)
        assert bring_up_to_date(index, ROOT, bad) == (SyncCounts(still_skipped=1), [])
        assert bring_up_to_date(index, ROOT, bad, retry_skipped=True) == (SyncCounts(skipped=1), [b"a.jpg"])
        assert [(photo.path, photo.reason) for photo in index.photos.skipped()] == [(ROOT / "a.jpg", "not a picture")]
        good = {b"a.jpg": SampleFile(b"good", 2)}
        assert bring_up_to_date(index, ROOT, good) == (SyncCounts(changed=1), [b"a.jpg"])
        assert index.photos.skipped() == []


def test_a_photo_that_becomes_unreadable_is_no_longer_found(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        bring_up_to_date(index, ROOT, {**files_of(b=b"2"), b"a.jpg": SampleFile(b"bad", 2)})
        assert [result.path.stem for result in index.search(embed(b"1")[None], 5)[0]] == ["b"]


def test_photos_below_a_folder_that_could_not_be_listed_stay(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, {b"a.jpg": SampleFile(b"1"), b"sub/b.jpg": SampleFile(b"2")})
        sync = index.begin_sync(ROOT, {}, unlisted=[b"sub"])
        assert sync.finish() == SyncCounts(removed=1)
        assert list(contents_of(index)) == [ROOT / "sub/b.jpg"]


def test_a_sync_that_does_not_finish_removes_nothing(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        index.begin_sync(ROOT, {})
    with PhotoIndex.open(tmp_path) as index:
        assert len(contents_of(index)) == 2
    with open_for_writing(tmp_path) as index:
        assert index.begin_sync(ROOT, {}).finish() == SyncCounts(removed=2)


def test_a_file_whose_bytes_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    file = SampleFile(b"1")
    with open_for_writing(tmp_path) as index:
        sync = index.begin_sync(ROOT, {b"a.jpg": file.stamp})
        sync.add([NewPhoto(b"a.jpg", file.stamp, None, skipped="permission denied")])
        assert sync.finish() == SyncCounts(skipped=1)
        assert bring_up_to_date(index, ROOT, {b"b.jpg": file}) == (SyncCounts(new=1, removed=1), [b"b.jpg"])


def test_embeddings_must_fit_and_have_a_direction(tmp_path: Path) -> None:
    stamp = SampleFile(b"1").stamp
    with open_for_writing(tmp_path) as index:
        sync = index.begin_sync(ROOT, {b"a.jpg": stamp})
        for wrong in (np.ones(DIM + 1), np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf)):
            with pytest.raises(ValueError, match="embedding"):
                sync.add([NewPhoto(b"a.jpg", stamp, hash_of(b"1"), embedding=wrong.astype(np.float32))])
    with pytest.raises(ValueError, match="one of the two"):
        NewPhoto(b"a.jpg", stamp, hash_of(b"1"))


@pytest.mark.slow
def test_many_moves_share_a_transaction(tmp_path: Path) -> None:
    before = {b"a%04d.jpg" % number: SampleFile(b"%d" % number) for number in range(1200)}
    after = {b"b" + path[1:]: file for path, file in before.items()}
    with open_for_writing(tmp_path) as index:
        sync = index.begin_sync(ROOT, {path: file.stamp for path, file in before.items()})
        sync.add([new_photo(path, file) for path, file in before.items()])
        sync.finish()
        assert bring_up_to_date(index, ROOT, after) == (SyncCounts(moved=1200), [])
        assert index.summary().generation == 1
