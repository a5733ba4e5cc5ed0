"""Bringing a folder up to date: whatever happened to it, the index ends as a fresh one would be."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from photo_samples import DIM, SampleFile, bring_up_to_date, contents_of, embed, hash_of, new_photo, open_for_writing

from index.photo_index import PhotoIndex
from index.records import NewPhoto, SyncCounts

ROOT = Path("/photos")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(4)])

paths = st.sampled_from([b"a.jpg", b"b.jpg", b"c.jpg", b"sub/a.jpg", b"sub/b.jpg", b"sub/deep/a.jpg", b"\xfe\n.jpg"])
contents = st.sampled_from([b"one", b"two", b"three", b"four", b"bad one", b"bad two"])


class ChangingFolder(RuleBasedStateMachine):
    """A folder whose files are written, touched, moved, copied and deleted between runs, some of which break off."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="fc7-"))
        self.folder = self.home / "index"
        self.old_vectors = self.home / "old vectors"
        self.files: dict[bytes, SampleFile] = {}
        self.clock = 0

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    @initialize(files=st.dictionaries(paths, contents))
    def fill(self, files: dict[bytes, bytes]) -> None:
        for path, content in files.items():
            self.write(path, content)

    @rule(path=paths, content=contents)
    def write(self, path: bytes, content: bytes) -> None:
        self.clock += 1
        self.files[path] = SampleFile(content, self.clock)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=paths)
    def move(self, data: st.DataObject, to: bytes) -> None:
        path = data.draw(st.sampled_from(sorted(self.files)))
        self.files[to] = self.files.pop(path)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=paths, keep_time=st.booleans())
    def copy(self, data: st.DataObject, to: bytes, keep_time: bool) -> None:
        file = self.files[data.draw(st.sampled_from(sorted(self.files)))]
        self.write(to, file.content)
        if keep_time:
            self.files[to] = file

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        del self.files[data.draw(st.sampled_from(sorted(self.files)))]

    @rule()
    def lose_vectors(self) -> None:
        (self.folder / "vectors.faiss").unlink(missing_ok=True)

    @rule()
    def keep_vectors(self) -> None:
        if (self.folder / "vectors.faiss").exists():
            shutil.copy(self.folder / "vectors.faiss", self.old_vectors)

    @rule()
    def put_back_old_vectors(self) -> None:
        if self.old_vectors.exists():
            shutil.copy(self.old_vectors, self.folder / "vectors.faiss")

    @rule(batches=st.integers(0, 3), batch_size=st.integers(1, 3))
    def break_off(self, batches: int, batch_size: int) -> None:
        with open_for_writing(self.folder) as index:
            bring_up_to_date(index, ROOT, self.files, stop_after=batches, batch_size=batch_size)

    @rule()
    def search_while_out_of_date(self) -> None:
        with open_for_writing(self.folder) as index:
            index.search(QUERIES, 3)

    @rule(batch_size=st.integers(1, 4))
    def bring_up_to_date(self, batch_size: int) -> None:
        with open_for_writing(self.folder) as index:
            counts, embedded = bring_up_to_date(index, ROOT, self.files, batch_size=batch_size)
            assert counts is not None
            found = counts.new + counts.changed + counts.moved + counts.copied + counts.unchanged + counts.skipped
            assert found == len(self.files)
            assert 0 <= len(embedded) - counts.new - counts.skipped <= counts.changed
            assert bring_up_to_date(index, ROOT, self.files) == (SyncCounts(unchanged=len(self.files)), [])
        self.compare_with_a_fresh_index()

    def compare_with_a_fresh_index(self) -> None:
        with tempfile.TemporaryDirectory(prefix="fc7-") as folder, open_for_writing(Path(folder)) as fresh:
            bring_up_to_date(fresh, ROOT, self.files)
            with PhotoIndex.open(self.folder, fingerprint="abc") as index:
                assert contents_of(index) == contents_of(fresh)
                for k in (1, 3, 100):
                    assert index.search(QUERIES, k) == fresh.search(QUERIES, k)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if self.folder.exists():
            left = {file.name for file in self.folder.iterdir()}
            assert left <= {"catalog.db", "vectors.faiss", "lock"}


ChangingFolder.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestChangingFolder = pytest.mark.slow(ChangingFolder.TestCase)


def files_of(**contents: bytes) -> dict[bytes, SampleFile]:
    return {f"{name}.jpg".encode(): SampleFile(content, 1) for name, content in contents.items()}


def ids_of(index: PhotoIndex) -> dict[str, int]:
    return {
        path.stem: int(id) for photos in index.embeddings() for path, id in zip(photos.paths, photos.ids, strict=True)
    }


def test_only_what_is_new_is_embedded(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        assert bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2", c=b"bad")) == (
            SyncCounts(new=2, skipped=1),
            [b"a.jpg", b"b.jpg", b"c.jpg"],
        )
        assert bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2", c=b"bad", d=b"4")) == (
            SyncCounts(new=1, unchanged=3),
            [b"d.jpg"],
        )


def test_a_touched_file_is_not_embedded_again(tmp_path: Path) -> None:
    touched = {b"a.jpg": SampleFile(b"1", 99)}
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1"))
        assert bring_up_to_date(index, ROOT, touched) == (SyncCounts(unchanged=1), [])
        photo = index.photo(ROOT / "a.jpg")
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
        copy = index.photo(Path("/more/c.jpg"))
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
        assert bring_up_to_date(index, ROOT, bad) == (SyncCounts(unchanged=1), [])
        assert bring_up_to_date(index, ROOT, bad, retry_skipped=True) == (SyncCounts(skipped=1), [b"a.jpg"])
        assert [(photo.path, photo.reason) for photo in index.skipped()] == [(ROOT / "a.jpg", "not a picture")]
        good = {b"a.jpg": SampleFile(b"good", 2)}
        assert bring_up_to_date(index, ROOT, good) == (SyncCounts(changed=1), [b"a.jpg"])
        assert index.skipped() == []


def test_a_photo_that_becomes_unreadable_is_no_longer_found(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        bring_up_to_date(index, ROOT, {**files_of(b=b"2"), b"a.jpg": SampleFile(b"bad", 2)})
        assert [result.path.stem for result in index.search(embed(b"1")[None], 5)[0]] == ["b"]


def test_photos_below_a_folder_that_could_not_be_listed_stay(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, {b"a.jpg": SampleFile(b"1"), b"sub/b.jpg": SampleFile(b"2")})
        sync = index.begin_sync(ROOT, {}, unlisted=[b"sub"])
        assert sync.missing == 1
        assert sync.finish() == SyncCounts(removed=1)
        assert list(contents_of(index)) == [ROOT / "sub/b.jpg"]


def test_a_sync_that_does_not_finish_removes_nothing(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_of(a=b"1", b=b"2"))
        assert index.begin_sync(ROOT, {}).missing == 2
    with PhotoIndex.open(tmp_path) as index:
        assert len(contents_of(index)) == 2


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


def test_many_moves_share_a_transaction(tmp_path: Path) -> None:
    before = {b"a%04d.jpg" % number: SampleFile(b"%d" % number) for number in range(1200)}
    after = {b"b" + path[1:]: file for path, file in before.items()}
    with open_for_writing(tmp_path) as index:
        sync = index.begin_sync(ROOT, {path: file.stamp for path, file in before.items()})
        sync.add([new_photo(path, file) for path, file in before.items()])
        sync.finish()
        assert bring_up_to_date(index, ROOT, after) == (SyncCounts(moved=1200), [])
        assert index.summary().generation == 1
