"""Folders of real small pictures brought into a real index with a small real model."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from photo_samples import embedding_of
from PIL import Image

from index.errors import PhotoError, UserError
from index.index_writer import IndexWriter
from index.records import NewPhoto, SkippedPhoto, SyncCounts
from index.vectors import building, sections
from retrieval.indexing.index_folders import FolderReport, index_folders
from retrieval.models.model import Model, Outputs
from retrieval.photos.decode import open_photo
from retrieval.photos.files import read_stamped
from retrieval.photos.scan import scan_folder
from retrieval.pipeline.executor import Concurrency


class WatchedModel(Model):
    """A model that notes how many pictures each batch had, and is interrupted after `batches_left`."""

    def __init__(self, model: Model) -> None:
        super().__init__(model._session, model.spec)
        self.batches: list[int] = []
        self.batches_left = -1

    def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
        if self.batches_left == 0:
            raise KeyboardInterrupt
        self.batches_left -= 1
        self.batches.append(len(pixels))
        return super().run(pixels)


@pytest.fixture
def model(tiny_model: Path) -> WatchedModel:
    return WatchedModel(Model.load(tiny_model, device="cpu", threads=1))


@pytest.fixture
def index(tmp_path: Path, model: WatchedModel) -> Iterator[IndexWriter]:
    spec = model.spec
    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        yield index


@pytest.fixture
def photos(make_photo: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder of ten photos."""
    for number in range(10):
        make_photo(f"photos/{'abc'[number % 3]}/{number}.png", ("red", "green", "blue")[number % 3], seed=number)
    return tmp_path / "photos"


def run(index: IndexWriter, model: Model, folder: Path, *, batch_size: int = 32, workers: int = 1) -> FolderReport:
    (report,) = index_folders(
        index, model, [folder], concurrency=Concurrency.chosen(model, workers=workers, batch_size=batch_size)
    )
    return report


def test_new_photos_are_embedded_and_found(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    report = run(index, model, photos, batch_size=4)
    assert report == FolderReport(photos, SyncCounts(new=10), ())
    assert model.batches == [4, 4, 2]
    for path in photos.rglob("*.png"):
        (query,) = model.embed([open_photo(path)])
        (results,) = index.search(query[None], 3)
        assert results[0].path == path
        assert results[0].score == pytest.approx(1, abs=1e-3)
    stored = index.photos.at(photos / "a" / "0.png")
    assert stored is not None
    assert (stored.width, stored.height) == (64, 64)
    assert stored.labels is not None
    assert stored.labels[0].label == "red"


def test_a_second_run_looks_at_nothing(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    run(index, model, photos)
    model.batches.clear()
    assert run(index, model, photos) == FolderReport(photos, SyncCounts(unchanged=10), ())
    assert model.batches == []


def test_what_happened_to_files_is_recognised(
    index: IndexWriter, model: WatchedModel, photos: Path, make_photo: Callable[..., Path]
) -> None:
    run(index, model, photos)
    model.batches.clear()
    make_photo("photos/new.png", "blue", seed=77)
    make_photo("photos/a/0.png", "green", seed=78)
    (photos / "a" / "3.png").rename(photos / "moved.png")
    shutil.copy(photos / "b" / "1.png", photos / "copied.png")
    (photos / "b" / "4.png").unlink()
    os.utime(photos / "b" / "7.png", ns=(5, 5))
    (photos / "c" / "2.png").write_bytes(b"no picture any more")
    report = run(index, model, photos)
    assert report.counts == SyncCounts(new=1, changed=1, moved=1, copied=1, removed=1, unchanged=6, skipped=1)
    assert report.skipped == (SkippedPhoto(photos / "c" / "2.png", "not a photo"),)
    assert model.batches == [2]


def test_bad_photos_are_skipped_and_never_move_another_ones_row(
    index: IndexWriter, model: WatchedModel, photos: Path
) -> None:
    for name, data in {
        "a/1.5.png": b"",
        "b/0.jpg": b"text",
        "c/9.jpg": (photos / "a" / "0.png").read_bytes()[:90],
    }.items():
        (photos / name).write_bytes(data)
    report = run(index, model, photos, batch_size=3)
    assert report.counts == SyncCounts(new=10, skipped=3)
    assert [(photo.path.name, photo.reason) for photo in report.skipped] == [
        ("1.5.png", "empty file"),
        ("0.jpg", "not a photo"),
        ("9.jpg", "truncated PNG"),
    ]
    assert index.photos.skipped() == list(report.skipped)
    for path in set(photos.rglob("*.png")) - {photos / "a" / "1.5.png"}:
        embedding = embedding_of(index, path)
        assert embedding is not None
        np.testing.assert_allclose(embedding, model.embed([open_photo(path)])[0], atol=2e-3)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_photo_that_the_model_finds_nothing_in_is_skipped(
    index: IndexWriter, tiny_model: Path, photos: Path, value: float
) -> None:
    class Silent(WatchedModel):
        def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
            outputs = super().run(pixels)
            outputs.embedding[1] = value
            return outputs

    model = Silent(Model.load(tiny_model, device="cpu", threads=1))
    report = run(index, model, photos, batch_size=5)
    assert report.counts == SyncCounts(new=8, skipped=2)
    assert {photo.reason for photo in report.skipped} == {"the model finds nothing in it"}
    assert index.photos.skipped() == list(report.skipped)
    assert run(index, model, photos).counts == SyncCounts(unchanged=8, still_skipped=2)


def test_embeddings_do_not_depend_on_the_batches(model: WatchedModel, photos: Path, tmp_path: Path) -> None:
    found = []
    for size in (1, 7):
        with IndexWriter.open_for_writing(
            tmp_path / str(size), fingerprint=model.spec.fingerprint, model_name="tiny", dim=model.spec.dim
        ) as index:
            run(index, model, photos, batch_size=size, workers=size)
            found.append([embedding_of(index, path) for path in sorted(photos.rglob("*.png"))])
    np.testing.assert_allclose(np.array(found[0]), np.array(found[1]), atol=1e-3)


def test_an_interruption_keeps_the_batches_before_it(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    model.batches_left = 2
    with pytest.raises(KeyboardInterrupt):
        run(index, model, photos, batch_size=3)
    assert index.summary().photos == 6
    model.batches_left = -1
    model.batches.clear()
    assert run(index, model, photos, batch_size=3).counts == SyncCounts(new=4, unchanged=6)
    assert model.batches == [3, 1]


def test_a_folder_that_went_away_keeps_its_photos(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    make_photo("others/1.png", seed=99)
    run(index, model, photos)
    photos.rename(tmp_path / "unplugged")
    gone, there = index_folders(index, model, [photos, tmp_path / "others"])
    assert gone == FolderReport(
        photos, None, (SkippedPhoto(photos, "cannot be searched (no such file); its photos stay indexed"),)
    )
    assert there.counts == SyncCounts(new=1)
    photos.mkdir()  # what is left of a drive's mount point
    report = run(index, model, photos)
    assert report.counts is None
    assert "empty, perhaps because its drive is not there; 10 photos of it stay indexed" in report.skipped[0].reason
    assert index.summary().photos == 11


def test_an_empty_folder_inside_keeps_its_photos_until_it_is_removed(
    index: IndexWriter, model: WatchedModel, photos: Path, make_photo: Callable[..., Path]
) -> None:
    make_photo("photos/usb/deep/1.png", seed=50)
    run(index, model, photos)
    (photos / "usb").rename(photos.parent / "unplugged")
    (photos / "usb").mkdir()
    report = run(index, model, photos)
    assert report.counts == SyncCounts(unchanged=10, skipped=1)
    forget = f"fc7 forget {photos / 'usb'} --index {index.folder}"
    reason = f"empty, perhaps because its drive is not there; 1 photo of it stay indexed, until `{forget}`"
    assert report.skipped == (SkippedPhoto(photos / "usb", reason),)
    assert index.photos.at(photos / "usb/deep/1.png") is not None
    (photos / "usb").rmdir()
    assert run(index, model, photos) == FolderReport(photos, SyncCounts(unchanged=10, removed=1), ())
    assert index.photos.at(photos / "usb/deep/1.png") is None


def test_photos_moved_out_of_a_folder_leave_it(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    run(index, model, photos)
    for path in (photos / "c").iterdir():
        path.rename(photos / path.name)
    assert run(index, model, photos) == FolderReport(photos, SyncCounts(unchanged=7, moved=3), ())
    assert index.summary().photos == 10


def test_an_empty_folder_is_fine(index: IndexWriter, model: WatchedModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(index, model, tmp_path / "empty") == FolderReport(tmp_path / "empty", SyncCounts(), ())


def test_a_folder_that_never_was_is_an_error(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    for wrong in (photos / "nowhere", photos / "a" / "0.png"):
        with pytest.raises(UserError, match="is not a folder"):
            index_folders(index, model, [photos, wrong])
    assert index.summary().photos == 0


def test_what_could_not_be_read_is_tried_again(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    with (photos / "huge.jpg").open("wb") as file:
        file.truncate((1 << 30) + 1)
    for expected in (SyncCounts(new=10, skipped=1), SyncCounts(unchanged=10, skipped=1)):
        report = run(index, model, photos)
        assert report.counts == expected
        assert report.skipped == (SkippedPhoto(photos / "huge.jpg", "more than 1,024 MiB"),)
    assert index.photos.skipped() == []


def test_photos_skipped_for_want_of_a_package_are_tried_when_it_is_there(
    index: IndexWriter, model: WatchedModel, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif, the extra `heif`")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(photos / "phone.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert run(index, model, photos).counts == SyncCounts(new=10, skipped=1)
    assert run(index, model, photos).counts == SyncCounts(unchanged=10, still_skipped=1)
    monkeypatch.undo()
    counts = run(index, model, photos).counts
    assert counts is not None
    assert counts.skipped == 0
    assert index.photos.skipped() == []
    assert embedding_of(index, photos / "phone.heic") is not None


def test_progress_adds_up_over_folders(
    index: IndexWriter, model: WatchedModel, photos: Path, make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    make_photo("others/1.png", seed=99)
    calls: list[tuple[int, int]] = []
    index_folders(
        index,
        model,
        [photos, tmp_path / "others"],
        concurrency=Concurrency.chosen(model, batch_size=4),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == sorted(calls)
    assert calls[-1] == (11, 11)


def test_nothing_is_written_into_the_folder(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in [photos, *photos.rglob("*")]}

    before = state()
    run(index, model, photos)
    assert state() == before


def test_names_that_are_no_text(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    odd = photos / os.fsdecode(b"caf\xe9.png")
    try:
        (photos / "a" / "0.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes text only")
    run(index, model, photos)
    assert embedding_of(index, odd) is not None


@pytest.mark.parametrize("order", [("photos", "others"), ("others", "photos")])
def test_photos_that_moved_to_another_folder_are_not_embedded_again(
    index: IndexWriter,
    model: WatchedModel,
    photos: Path,
    make_photo: Callable[..., Path],
    tmp_path: Path,
    order: tuple[str, str],
) -> None:
    make_photo("others/there.png", seed=99)
    index_folders(index, model, [photos, tmp_path / "others"])
    before = index.photos.at(photos / "a" / "0.png")
    model.batches.clear()
    (photos / "a").rename(tmp_path / "others" / "a")
    reports = index_folders(index, model, [tmp_path / name for name in order])
    assert {report.folder.name: report.counts for report in reports} == {
        "photos": SyncCounts(unchanged=6),
        "others": SyncCounts(moved=4, unchanged=1),
    }
    assert model.batches == []
    after = index.photos.at(tmp_path / "others" / "a" / "0.png")
    assert before is not None
    assert after is not None
    assert after.id == before.id
    assert index.photos.at(before.path) is None
    assert len(index.search(np.ones((1, 16), np.float32), 99)[0]) == 11


def test_folders_inside_others_are_not_looked_at_twice(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    run(index, model, photos / "b")
    reports = index_folders(index, model, [photos / "a", photos, photos, photos / "b"])
    assert reports == [FolderReport(photos, SyncCounts(new=7, unchanged=3), ())]
    assert index.roots() == [photos]


def test_hard_links_share_an_embedding(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    run(index, model, photos)
    (photos / "z.png").hardlink_to(photos / "a" / "0.png")
    assert run(index, model, photos).counts == SyncCounts(copied=1, unchanged=10)
    [first, second, *_] = index.search(model.embed([open_photo(photos / "z.png")]), 3)[0]
    assert (first.path, second.path, first.score) == (photos / "a" / "0.png", photos / "z.png", second.score)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_never_opened(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    os.mkfifo(photos / "fifo.jpg")
    assert run(index, model, photos) == FolderReport(photos, SyncCounts(new=10), ())
    # One that takes the place of a photo after that was listed, too.
    (photos / "a" / "0.png").unlink()
    os.mkfifo(photos / "a" / "0.png")
    with pytest.raises(PhotoError, match="not a regular file"):
        read_stamped(photos / "a" / "0.png")


def test_devices_are_never_opened(
    index: IndexWriter, model: WatchedModel, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "zeros.jpg").symlink_to("/dev/zero")
    (photos / "a" / "terminal.png").symlink_to("/dev/tty")
    devices = {"zeros.jpg", "terminal.png"}
    really_open, opened = os.open, list[str]()

    def watched_open(path: object, *arguments: object, **options: object) -> int:
        opened.append(os.path.basename(os.fsdecode(path)))  # type: ignore[arg-type]
        return really_open(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("os.open", watched_open)
    assert run(index, model, photos) == FolderReport(photos, SyncCounts(new=10), ())
    # Nor when it is named itself, or has taken the place of a photo.
    for path in (photos / "zeros.jpg", Path("/dev/zero")):
        with pytest.raises(PhotoError, match="not a regular file"):
            read_stamped(path)
    assert {"0.png", "9.png"} < set(opened)
    assert not devices & set(opened)
    assert "zero" not in opened


@pytest.mark.slow
def test_a_hundred_thousand_files_in_one_folder(
    index: IndexWriter, model: WatchedModel, make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    many = make_photo("many/good.png", seed=1).parent
    names = [b"IMG_%06d.jpg" % number for number in range(100_000)]
    for name in names:
        os.close(os.open(os.path.join(os.fsencode(many), name), os.O_CREAT | os.O_WRONLY))
    # All but a thousand are known as what they are, empty.
    found = scan_folder(many).photos
    sync = index.begin_sync(many, {name: found[name] for name in names[1000:]})
    empty = blake2b(b"", digest_size=16).digest()
    sync.add([NewPhoto(name, found[name], empty, skipped="empty file") for name in names[1000:]])
    sync.finish()
    report = run(index, model, many)
    assert report.counts == SyncCounts(new=1, skipped=1000, still_skipped=99_000)
    assert {photo.reason for photo in report.skipped} == {"empty file"}
    (many / "IMG_050000.jpg").unlink()
    (many / "good.png").rename(many / "better.png")
    assert run(index, model, many).counts == SyncCounts(moved=1, removed=1, still_skipped=99_999)
    assert embedding_of(index, many / "better.png") is not None


def test_very_long_paths(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    longest = photos
    while len(os.fsencode(longest)) < 3700:
        longest = longest / ("long" * 60)
    longest.mkdir(parents=True)
    shutil.copy(photos / "a" / "0.png", longest / "deep.png")
    # Further down no path leads there that the system would take.
    below = os.open(longest, os.O_RDONLY)
    try:
        for _ in range(2):
            os.mkdir("x" * 250, dir_fd=below)
            inner = os.open("x" * 250, os.O_RDONLY, dir_fd=below)
            os.close(below)
            below = inner
    finally:
        os.close(below)
    report = run(index, model, photos)
    assert report.counts in (SyncCounts(new=11, skipped=1), SyncCounts(new=10, copied=1, skipped=1))
    assert [photo.reason for photo in report.skipped] == ["name too long"]
    assert embedding_of(index, longest / "deep.png") is not None


@pytest.mark.parametrize("changes", [1, 2])
def test_a_file_that_changes_while_it_is_read(
    index: IndexWriter, model: WatchedModel, photos: Path, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    victim, left, calls = photos / "a" / "0.png", [changes], [0]
    really_fstat = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = really_fstat(descriptor)
        if status.st_ino != victim.stat().st_ino:
            return status
        calls[0] += 1
        # The first call of each reading is the one before it.
        if calls[0] % 2 and left[0]:
            left[0] -= 1
            with victim.open("ab") as file:
                file.write(b"more")
        return status

    monkeypatch.setattr("retrieval.photos.files.os.fstat", fstat)
    report = run(index, model, photos)
    monkeypatch.undo()
    if changes == 1:
        assert report == FolderReport(photos, SyncCounts(new=10), ())
        stored = index.photos.at(victim)
        assert stored is not None
        assert stored.stamp.size == victim.stat().st_size
    else:
        assert report.counts == SyncCounts(new=9, skipped=1)
        assert report.skipped == (SkippedPhoto(victim, "it changes while it is read"),)
        assert run(index, model, photos).counts == SyncCounts(new=1, unchanged=9)


def test_real_photos(index: IndexWriter, model: WatchedModel, data_dir: Path) -> None:
    report = run(index, model, data_dir / "photos")
    assert report.counts == SyncCounts(new=125)
    path = data_dir / "photos" / "n02123159_tiger_cat.JPEG"
    embedding = embedding_of(index, path)
    assert embedding is not None
    assert index.search(embedding[None], 1)[0][0].path == path


def test_batches_are_computed_beside_each_other(index: IndexWriter, model: WatchedModel, photos: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    class Waiting(WatchedModel):
        def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
            if len(self.batches) < 2:
                self.batches.append(len(pixels))
                both.wait()  # fails unless another batch is under way
            return Model.run(self, pixels)

    waiting = Waiting(model)
    assert run(index, waiting, photos, batch_size=5, workers=2).counts == SyncCounts(new=10)
    assert waiting.batches == [5, 5]


def test_all_photos_that_move_to_another_indexed_folder_keep_their_rows(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    make_photo("others/1.png", seed=99)
    index_folders(index, model, [photos, tmp_path / "others"])
    for path in sorted(photos.rglob("*.png")):
        path.rename(tmp_path / "others" / f"from-{path.parent.name}-{path.name}")
    _, others = index_folders(index, model, [photos, tmp_path / "others"])
    assert others.counts == SyncCounts(unchanged=1, moved=10)
    assert index.summary().photos == 11


@pytest.mark.parametrize("named", ["link/..", "link/../c/.."])
def test_a_folder_above_a_link_is_that_of_its_target(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path, named: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(photos / "c")
    folder = Path(f"{tmp_path}/elsewhere/{named}")
    [report] = index_folders(index, model, [folder])
    assert report.folder == photos
    assert report.counts == SyncCounts(new=10)
    assert index.photos.knows(folder)


def test_over_many_folders_the_vectors_are_brought_up_to_date_once(
    index: IndexWriter,
    model: WatchedModel,
    make_photo: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A removal from each of many folders writes the file once, and a run without a change reads it once."""
    read, written = list[Path](), list[Path]()

    def counted(function: Callable[..., Any], calls: list[Path]) -> Callable[..., Any]:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            calls.append(path)
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr("index.vectors.cache.read_exact", counted(sections.read_exact, read))
    monkeypatch.setattr("index.vectors.cache.build_exact_file", counted(building.build_exact_file, written))
    folders = [tmp_path / "photos" / str(number) for number in range(12)]
    for number, folder in enumerate(folders):
        for name in "ab":
            make_photo(f"photos/{folder.name}/{name}.png", seed=2 * number + (name == "b"))
    index_folders(index, model, folders)
    assert (len(read), len(written)) == (1, 1)
    for folder in folders:
        (folder / "a.png").unlink()
    reports = index_folders(index, model, folders)
    assert [report.counts for report in reports] == [SyncCounts(unchanged=1, removed=1)] * 12
    assert (len(read), len(written)) == (2, 2)
    index_folders(index, model, folders)
    assert (len(read), len(written)) == (3, 2)
    assert index.problems() == []


def test_a_folder_that_is_reached_by_two_names_is_indexed_once(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "home").symlink_to(tmp_path)
    run(index, model, photos)
    for other in (tmp_path / "link", tmp_path / "link" / "a", tmp_path / "home" / "photos" / "b"):
        report = run(index, model, other)
        assert report.folder.is_relative_to(photos)
        assert (report.counts or SyncCounts()).new == 0
    assert index.roots() == [photos]
    assert index.summary().photos == 10


def test_a_folder_indexed_through_a_link_keeps_that_name(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(photos)
    reports = index_folders(index, model, [tmp_path / "link", photos, photos / "a"])
    assert reports == [FolderReport(tmp_path / "link", SyncCounts(new=10), ())]
    assert run(index, model, photos).counts == SyncCounts(unchanged=10)
    assert index.roots() == [tmp_path / "link"]
    assert index.forget([photos / "a"]) == [4]


def test_a_link_to_a_folder_around_an_indexed_one_takes_it_in(
    index: IndexWriter, model: WatchedModel, photos: Path, tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    make_photo("photos/top.png", seed=70)
    (tmp_path / "link").symlink_to(photos)
    run(index, model, photos / "a")
    assert run(index, model, tmp_path / "link").counts == SyncCounts(new=7, unchanged=4)
    assert index.roots() == [photos]


def test_a_folder_inside_is_looked_at_as_within_the_whole(
    index: IndexWriter, model: WatchedModel, photos: Path, make_photo: Callable[..., Path]
) -> None:
    """Its last photo is gone, and something else is left: it is no mount point."""
    run(index, model, photos)
    (photos / "b" / "notes.txt").write_text("no photo")
    for path in (photos / "b").glob("*.png"):
        path.unlink()
    assert run(index, model, photos / "b").counts == SyncCounts(removed=3)
    assert index.summary().photos == 7


def test_a_file_that_is_growing_is_left_alone(
    index: IndexWriter, model: WatchedModel, photos: Path, make_photo: Callable[..., Path]
) -> None:
    run(index, model, photos)
    known, new = photos / "a" / "0.png", make_photo("photos/a/new.png", seed=50)
    known.write_bytes(known.read_bytes()[:-30])
    reports = index_folders(index, model, [photos], growing=[known, new])
    assert reports == [FolderReport(photos, SyncCounts(unchanged=9), ())]
    assert index.photos.at(known) is not None
    assert index.photos.at(new) is None
