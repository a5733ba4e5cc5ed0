"""Thumbnails in the catalogue: one for each content, gone with the last photo of it, made up for in older indexes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from older_catalog import make_older
from PIL import Image

from index.catalog.schema import MIGRATIONS, VERSION_6
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import FileStamp, IndexedFile
from retrieval.duplicates import compare, remembered
from retrieval.duplicates import pictures as looked_at
from retrieval.duplicates.find import find_duplicates
from retrieval.duplicates.likeness import Found, locate
from retrieval.duplicates.quality import Quality, quality_of
from retrieval.duplicates.register import Pictures
from retrieval.duplicates.remembered import SMALL
from retrieval.duplicates.windows import Grid
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.photos.files import read_stamped
from retrieval.photos.thumbnail import SIDE, decode, encode, thumbnail


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu", threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "rocket"):
        Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((160, 120)).save(folder / f"{name}.png")
    (folder / "again.png").write_bytes((folder / "coffee.png").read_bytes())
    Image.open(folder / "coffee.png").resize((80, 60)).save(folder / "half.png")
    return folder


def open_index(folder: Path, model: Model) -> IndexWriter:
    spec = model.spec
    return IndexWriter.open_for_writing(folder, fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim)


@pytest.fixture
def place(tmp_path: Path, photos: Path, model: Model) -> Path:
    with open_index(tmp_path / "index", model) as index:
        index_folders(index, model, [photos])
    return tmp_path / "index"


def count(place: Path, table: str = "thumbnails") -> int:
    connection = sqlite3.connect(place / "catalog.db")
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}")
    connection.close()
    return int(rows)


@contextmanager
def counted() -> Iterator[tuple[list[int], list[Path]]]:
    """Count the pairs that are looked for in each other, and the files that are judged."""
    compared: list[int] = []
    judged: list[Path] = []

    def locating(pictures: Pictures, pairs: NDArray[np.int64], grid: Grid) -> Found:
        compared.append(len(pairs))
        return locate(pictures, pairs, grid)

    def judging(file: IndexedFile) -> Quality:
        judged.append(file.path)
        return quality_of(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "locate", locating)
        patch.setattr(remembered, "quality_of", judging)
        yield compared, judged


def drop_all(place: Path) -> None:
    """Leave the catalogue as the version before thumbnails did."""
    make_older(place / "catalog.db", MIGRATIONS.index(VERSION_6))


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []

    def reading(path: Path) -> tuple[bytes, FileStamp]:
        read.append(path)
        return read_stamped(path)

    monkeypatch.setattr(looked_at, "read_stamped", reading)
    return read


def test_each_content_has_one_thumbnail_of_its_picture(place: Path, photos: Path) -> None:
    assert count(place) == 3
    with PhotoIndex.open(place) as index:
        stored = index.copies.thumbnails(index.photos.ids())
        names = {file.id: file.path.name for file in index.photos.files(index.photos.ids())}
    by_name = {names[id]: decode(data) for id, data in stored.items()}
    assert by_name.keys() == {"coffee.png", "again.png", "rocket.png", "half.png"}
    for name, picture in by_name.items():
        assert picture is not None
        expected = thumbnail(Image.open(photos / name).convert("RGB")).astype(int)
        assert np.abs(picture - expected).mean() < 3


def test_it_stays_as_long_as_a_photo_has_that_content(place: Path, photos: Path, model: Model) -> None:
    (photos / "again.png").unlink()
    (photos / "coffee.png").rename(photos / "moved.png")
    with open_index(place, model) as index:
        index_folders(index, model, [photos])
    assert count(place) == 3
    (photos / "moved.png").unlink()
    Image.effect_noise((90, 60), 40).save(photos / "half.png")
    with open_index(place, model) as index:
        index_folders(index, model, [photos])
        assert set(index.copies.thumbnails(index.photos.ids())) == set(index.photos.ids().tolist())
    assert count(place) == 2
    with IndexWriter.open_to_edit(place) as index:
        index.forget([photos])
    assert count(place) == 0


def test_an_older_index_is_read_once(place: Path, photos: Path, files_read: list[Path]) -> None:
    with PhotoIndex.open(place) as index:
        expected = find_duplicates(index).groups
    assert files_read == []
    drop_all(place)
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).groups == expected
    # Of the copies of the same bytes one is enough.
    assert len(files_read) == 3
    assert count(place) == 3
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).groups == expected
    assert len(files_read) == 3


def test_an_index_that_cannot_be_written_now_is_compared_all_the_same(
    place: Path, model: Model, files_read: list[Path]
) -> None:
    with PhotoIndex.open(place) as index:
        expected = find_duplicates(index).groups
    drop_all(place)
    with open_index(place, model), PhotoIndex.open(place) as index:
        assert not index.copies.keep_thumbnails([(b"x" * 16, b"")])
        assert find_duplicates(index).groups == expected
    assert len(files_read) == 3
    assert count(place) == 0


def test_a_damaged_thumbnail_is_made_again(place: Path, files_read: list[Path]) -> None:
    with PhotoIndex.open(place) as index:
        expected = find_duplicates(index).groups
    connection = sqlite3.connect(place / "catalog.db", isolation_level=None)
    connection.execute("UPDATE thumbnails SET jpeg = CAST('no picture' AS BLOB)")
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).groups == expected
    assert files_read == []  # all is remembered
    connection.execute("DELETE FROM measured WHERE kind != ?", (SMALL,))
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).groups == expected
    assert len(files_read) > 0
    connection.execute("UPDATE thumbnails SET jpeg = CAST('no picture' AS BLOB)")
    connection.execute("DELETE FROM measured")
    connection.close()
    files_read.clear()
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).groups == expected
    assert len(files_read) == 3


def test_a_thumbnail_of_a_photo_that_is_not_indexed_is_not_kept(place: Path) -> None:
    with PhotoIndex.open(place) as index:
        assert index.copies.keep_thumbnails([(b"x" * 16, b"jpeg")])
    assert count(place) == 3


def test_what_is_no_thumbnail_is_not_decoded() -> None:
    picture = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    whole = encode(picture)
    assert decode(whole) is not None
    assert decode(b"") is decode(b"no picture") is decode(whole[: len(whole) // 2]) is None
    assert decode(encode(picture[:64])) is None


def test_what_was_compared_is_not_compared_again(place: Path, photos: Path, model: Model) -> None:
    Image.open(photos / "rocket.png").convert("L").resize((90, 70)).save(photos / "grey.png")
    with open_index(place, model) as index:
        index_folders(index, model, [photos])
    with counted() as (compared, judged), PhotoIndex.open(place) as index:
        first = find_duplicates(index)
        assert sum(compared) >= 2
        assert len(judged) >= 4
        compared.clear()
        judged.clear()
        assert find_duplicates(index) == first
        assert (sum(compared), judged) == (0, [])
    Image.open(photos / "rocket.png").resize((100, 75)).save(photos / "new.png")
    with counted() as (compared, judged):
        with open_index(place, model) as index:
            index_folders(index, model, [photos])
        with PhotoIndex.open(place) as index:
            second = find_duplicates(index)
    assert [path.name for path in judged] == ["new.png"]
    assert 0 < sum(compared) <= 4
    assert any({path.name for path in group.paths} >= {"rocket.png", "new.png"} for group in second.groups)


def test_what_was_measured_goes_with_the_photo(place: Path, photos: Path) -> None:
    with PhotoIndex.open(place) as index:
        find_duplicates(index)
    assert count(place, "measured") > 0
    with IndexWriter.open_to_edit(place) as index:
        index.forget([photos])
    assert count(place, "measured") == 0


def test_a_remembered_photo_that_has_changed_since_is_left_out(place: Path, photos: Path) -> None:
    with PhotoIndex.open(place) as index:
        assert find_duplicates(index).left_out == 0
        Image.effect_noise((90, 60), 40).save(photos / "half.png")
        found = find_duplicates(index)
    assert found.left_out == 1
    assert all(path.name != "half.png" for group in found.groups for path in group.paths)
