"""Shards: what is written is read, damage loses nothing, and an index made through shards is the usual one."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_samples import assert_same, contents

from index.errors import ModelMismatchError, ShardError
from index.index_writer import IndexWriter
from index.records import FileStamp, NewPhoto, Prediction
from retrieval.indexing.index_folders import FolderReport, index_folders
from retrieval.indexing.update import open_for_model
from retrieval.models.model import Model
from retrieval.pipeline.stages import EmbeddedBatch
from retrieval.shards.engine import ShardEngine
from retrieval.shards.part import Listed, ShardJob, embed_here, parts_of
from retrieval.shards.place import ShardPlace
from retrieval.shards.shard import ShardHeader, photo_id, read_shard, shard_stamps, write_shard

pyarrow = pytest.importorskip("pyarrow", reason="shards need pyarrow")
MakePhoto = Callable[..., Path]
DIM = 4
HEADER = ShardHeader("tiny", "f" * 64, DIM, b"/photos/r\xff")

paths = st.binary(min_size=1, max_size=12)
reasons = st.text(max_size=10)
int64 = st.integers(-(2**63), 2**63 - 1)
stamps = st.builds(FileStamp, st.integers(0, 2**40), int64)
predictions = st.builds(
    Prediction, st.text(max_size=5), st.none() | st.just("n02123045"), st.floats(0, 1, width=32), st.just("")
)
vectors = st.lists(st.floats(-1, 1, width=32), min_size=DIM, max_size=DIM).filter(lambda v: np.linalg.norm(v) > 1e-3)


@st.composite
def batches(draw: st.DrawFn) -> EmbeddedBatch:
    photos = []
    names = draw(st.lists(paths, unique=True, max_size=6))
    for path in names:
        stamp, content = draw(stamps), draw(st.binary(min_size=16, max_size=16))
        if draw(st.booleans()):
            photos.append(NewPhoto(path, stamp, draw(st.none() | st.just(content)), skipped=draw(reasons)))
            continue
        photos.append(
            NewPhoto(
                path,
                stamp,
                content,
                draw(st.integers(1, 2**31 - 1)),
                draw(st.integers(1, 2**31 - 1)),
                np.array(draw(vectors), np.float32),
                draw(st.none() | st.lists(predictions, max_size=3).map(tuple)),
                None,
                draw(st.none() | reasons),
                draw(st.none() | st.binary(max_size=9)),
                taken=draw(st.none() | st.datetimes().map(lambda taken: taken.replace(microsecond=0))),
            )
        )
    later = draw(st.lists(st.tuples(paths.filter(lambda path: path not in names), reasons), max_size=2))
    return EmbeddedBatch(tuple(photos), tuple(later))


def values(batch: EmbeddedBatch) -> list[Any]:
    return [
        [
            value.tobytes() if isinstance(value, np.ndarray) else value
            for value in (getattr(photo, name) for name in NewPhoto.__slots__)
        ]
        for photo in batch.photos
    ] + [list(row) for row in batch.later]


@given(batches())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, batch: EmbeddedBatch) -> None:
    place = ShardPlace(str(tmp_path_factory.getbasetemp() / "shards"))
    place.prepare()
    write_shard(place, "a.parquet", HEADER, batch)
    assert values(read_shard(place, "a.parquet", HEADER)) == values(batch)
    rows = [(photo.path, photo.stamp) for photo in batch.photos]
    assert shard_stamps(place, "a.parquet", HEADER) == rows
    only = read_shard(place, "a.parquet", HEADER, only=rows[::2])
    assert values(only) == values(
        EmbeddedBatch(tuple(photo for photo in batch.photos if (photo.path, photo.stamp) in rows[::2]))
    )


def test_other_programs_see_plain_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    place = ShardPlace(str(tmp_path))
    embedded = NewPhoto(b"a.jpg", FileStamp(3, 5), b"h" * 16, 4, 2, np.full(DIM, 0.5, np.float32), ())
    skipped = NewPhoto(b"b.jpg", FileStamp(3, 5), b"h" * 16, skipped="not a picture")
    write_shard(place, "a.parquet", HEADER, EmbeddedBatch((embedded, skipped)))
    table = parquet.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("embedding").type) == f"fixed_size_list<element: float>[{DIM}]"
    assert table["embedding"].to_pylist() == [[0.5] * DIM, None]
    assert table["id"].to_pylist() == [photo_id(HEADER.root, b"a.jpg"), photo_id(HEADER.root, b"b.jpg")]
    assert table["root"].to_pylist() == [HEADER.root] * 2


def test_ids_are_the_same_everywhere() -> None:
    assert photo_id(b"/photos", b"a.jpg") == 8207715376049192077
    assert photo_id(b"/photos", b"a.jpg") != photo_id(b"/photos/a.jpg", b"")
    assert all(0 <= photo_id(b"/", bytes([n])) < 2**63 for n in range(256))


@given(st.integers(0, 20_000), st.integers(1, 300))
def test_parts_hold_each_file_once_and_are_neither_tiny_nor_huge(count: int, workers: int) -> None:
    files = [(b"%d" % n, FileStamp(n, n)) for n in range(count)]
    parts = list(parts_of(files, workers))
    assert [file for part in parts for file in part] == files
    assert all(16 <= len(part) <= 512 for part in parts[:-1])


@pytest.mark.parametrize("kept", [0, 3, 8, 0.5, 0.9])
def test_a_shard_cut_short_is_told(tmp_path: Path, kept: float) -> None:
    place = ShardPlace(str(tmp_path))
    photo = NewPhoto(
        b"a.jpg", FileStamp(3, 5), b"h" * 16, 4, 2, np.full(DIM, 0.5, np.float32), (), thumbnail=b"t" * 999
    )
    write_shard(place, "a.parquet", HEADER, EmbeddedBatch((photo,)))
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: int(kept * len(data) if kept < 1 else kept)])
    with pytest.raises(ShardError, match=r"a\.parquet is damaged, or no shard of fc7"):
        read_shard(place, "a.parquet", HEADER)


def test_a_changed_byte_of_the_columns_is_told(tmp_path: Path) -> None:
    place = ShardPlace(str(tmp_path))
    photo = NewPhoto(
        b"a.jpg", FileStamp(3, 5), b"h" * 16, 4, 2, np.full(DIM, 0.5, np.float32), (), thumbnail=b"t" * 999
    )
    write_shard(place, "a.parquet", HEADER, EmbeddedBatch((photo,)))
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[data.index(b"ttttt") + 100] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ShardError, match="is damaged"):
        read_shard(place, "a.parquet", HEADER)


def known(report: FolderReport) -> dict[str, int]:
    """Count what a run did; a new photo is a copy if the other one was stored before it, which is a matter of time."""
    assert report.counts is not None
    counts = asdict(report.counts)
    return counts | {"new": counts["new"] + counts.pop("copied")}


@pytest.fixture
def photos(make_photo: MakePhoto, tmp_path: Path) -> Path:
    """A folder of 50 photos, among them copies, one cut short, one that is none and one whose name is no text."""
    for n in range(46):
        make_photo(f"photos/{'ab'[n % 2]}/{n}.png", ("red", "green", "blue")[n % 3], seed=n // 2)
    folder = tmp_path / "photos"
    (folder / "none.jpg").write_bytes(b"no photo")
    (folder / "copy.png").write_bytes((folder / "a/0.png").read_bytes())
    whole = (folder / "b/1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    try:
        (folder / os.fsdecode(b"r\xff.png")).write_bytes(whole)
    except OSError:  # file names are UTF-8 on this file system
        (folder / "r.png").write_bytes(whole)
    return folder


def index_through(
    index: Path,
    model: Path,
    folder: Path,
    shards: Path | None,
    *,
    workers: Any = embed_here,
    kept: bool = True,
    warn: Any = None,
) -> FolderReport:
    """Index a folder, through shards where there is a folder for them."""
    loaded = Model.load(model, device="cpu", threads=1)
    engine = None if shards is None else ShardEngine(ShardPlace(str(shards)), workers, kept=kept, warn=warn)
    with open_for_model(index, loaded) as writer:
        [report] = index_folders(writer, loaded, [folder], engine=engine)
    return report


def test_an_index_through_shards_is_the_usual_one(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    usual = index_through(tmp_path / "usual", tiny_model, photos, None)
    through = index_through(tmp_path / "through", tiny_model, photos, tmp_path / "shards")
    assert_same(tmp_path / "usual", tmp_path / "through")
    assert (through.skipped, through.incomplete) == (usual.skipped, usual.incomplete)
    assert known(through) == known(usual)
    # What changes, moves and goes is followed too.
    (photos / "a").rename(photos / "c")
    (photos / "b/1.png").unlink()
    (photos / "b/3.png").write_bytes((photos / "c/4.png").read_bytes())
    usual = index_through(tmp_path / "usual", tiny_model, photos, None)
    through = index_through(tmp_path / "through", tiny_model, photos, tmp_path / "shards")
    assert_same(tmp_path / "usual", tmp_path / "through")
    assert known(through) == known(usual)
    assert known(usual)["moved"] == 23


def test_only_what_has_no_row_is_embedded_again(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    asked: list[list[bytes]] = []

    def stops(job: ShardJob, files: Sequence[Listed]) -> Iterator[str]:
        asked.append([path for path, _ in files])
        for done, name in enumerate(embed_here(job, files)):
            if len(asked) == 1 and done == 1:
                raise KeyboardInterrupt  # the second shard is written, and nobody has heard of it
            yield name

    with pytest.raises(KeyboardInterrupt):
        index_through(tmp_path / "index", tiny_model, photos, tmp_path / "shards", workers=stops)
    assert len(contents(tmp_path / "index")) == 16
    index_through(tmp_path / "index", tiny_model, photos, tmp_path / "shards", workers=stops)
    assert len(asked[0]) == 50
    assert asked[1] == asked[0][32:]
    index_through(tmp_path / "usual", tiny_model, photos, None)
    assert_same(tmp_path / "usual", tmp_path / "index")
    # Shards that were kept make another index without a photo being read.
    index_through(tmp_path / "another", tiny_model, photos, tmp_path / "shards", workers=stops)
    assert asked[2:] == []
    assert_same(tmp_path / "usual", tmp_path / "another")


def test_shards_that_are_not_kept_are_gone(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    index_through(tmp_path / "index", tiny_model, photos, tmp_path / "index/shards", kept=False)
    assert not (tmp_path / "index/shards").exists()
    assert len(contents(tmp_path / "index")) == 50


def test_several_folders_go_through_shards_that_are_not_kept(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    loaded = Model.load(tiny_model, device="cpu", threads=1)
    engine = ShardEngine(ShardPlace(str(tmp_path / "shards")), embed_here, kept=False)
    with open_for_model(tmp_path / "index", loaded) as writer:
        reports = index_folders(writer, loaded, [photos / "a", photos / "b"], engine=engine)
    assert [known(report)["new"] for report in reports] == [23, 23]
    assert not (tmp_path / "shards").exists()


def test_a_damaged_shard_costs_time_and_nothing_else(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    index_through(tmp_path / "first", tiny_model, photos, tmp_path / "shards")
    damaged = sorted((tmp_path / "shards").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-300])
    (tmp_path / "shards/other.parquet").write_bytes(b"PAR1 something else")
    warnings: list[str] = []
    index_through(tmp_path / "second", tiny_model, photos, tmp_path / "shards", warn=warnings.append)
    assert_same(tmp_path / "first", tmp_path / "second")
    assert len(warnings) == 2
    assert damaged.name in warnings[0]
    assert "its photos are embedded again" in warnings[0]
    assert (tmp_path / "shards/other.parquet").read_bytes() == b"PAR1 something else"


def test_shards_of_another_model_are_refused(tiny_model: Path, other_model: Path, photos: Path, tmp_path: Path) -> None:
    index_through(tmp_path / "index", other_model, photos, tmp_path / "shards")
    with pytest.raises(ModelMismatchError, match=r"fc7-\w+\.parquet was made with another model \(other\)"):
        index_through(tmp_path / "new", tiny_model, photos, tmp_path / "shards")
    assert contents(tmp_path / "new") == []
    assert len(list((tmp_path / "shards").iterdir())) == 4


def test_a_photo_that_is_gone_is_tried_again_later(tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    content = (photos / "a/0.png").read_bytes()

    def too_late(job: ShardJob, files: Sequence[Listed]) -> Iterator[str]:
        (photos / "a/0.png").unlink()
        yield from embed_here(job, files)

    report = index_through(tmp_path / "index", tiny_model, photos, tmp_path / "shards", workers=too_late)
    assert [photo.reason for photo in report.skipped if photo.path.name == "0.png"] == ["no such file"]
    assert len(contents(tmp_path / "index")) == 49
    (photos / "a/0.png").write_bytes(content)
    index_through(tmp_path / "index", tiny_model, photos, tmp_path / "shards")
    assert len(contents(tmp_path / "index")) == 50


@pytest.mark.parametrize("named", ["", "s3://", "s3:///x", "gs://?x", "http://me:sesame@host/x", "S3://bucket/x"])
def test_a_name_that_is_no_place_is_told(named: str) -> None:
    with pytest.raises(ShardError, match="is no place for embeddings") as refused:
        ShardPlace(named)
    assert "sesame" not in refused.value.with_hint


def test_keys_in_a_url_are_not_told() -> None:
    place = ShardPlace("s3://key:open/sesame@bucket/folder")
    assert place.shown == "s3://bucket/folder"
    with pytest.raises(ShardError, match="s3://bucket/folder cannot be used: it is no URL") as refused:
        place.names()
    assert "sesame" not in refused.value.with_hint
    assert ShardPlace("s3://key:secret@bucket/a@b").shown == "s3://bucket/a@b"
    assert ShardPlace("s3://bucket/a@b:c@d").shown == "s3://bucket/a@b:c@d"


def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(
    tiny_model: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match=r"file/shards cannot be used: not a directory"):
        index_through(tmp_path / "index", tiny_model, photos, tmp_path / "file/shards")
    with IndexWriter.open_to_edit(tmp_path / "index") as index:
        assert index.roots() == []
