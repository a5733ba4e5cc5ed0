"""An index is checked and repaired: whatever was damaged, afterwards it is as a fresh one."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

from index.catalog.catalog import CatalogState
from index.errors import PhotoError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.vectors.current import CurrentVectors
from index.vectors.faiss_index import VectorIndex
from index.vectors.file import Stamp, read_header
from retrieval.indexing.check import check_index
from retrieval.models.model import Model, Outputs
from retrieval.pipeline.executor import Concurrency

Fc7 = Callable[..., Result]
NUMBER = 12


@pytest.fixture
def index(fc7: Fc7, make_photo: Callable[..., Path], tmp_path: Path) -> Path:
    for number in range(NUMBER):
        make_photo(f"photos/{number:02}.png", ("red", "green", "blue")[number % 3], seed=number)
    assert fc7("index", tmp_path / "photos").exit_code == 0
    return tmp_path / "index"


@contextmanager
def catalogue(index: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(index / "catalog.db")) as connection, connection:
        yield connection


def set_labels(index: Path, value: str) -> None:
    with catalogue(index) as connection:
        connection.execute("UPDATE photos SET labels = ? WHERE id = 3", (value,))


def set_embedding(index: Path, value: bytes) -> None:
    with catalogue(index) as connection:
        connection.execute("UPDATE photos SET embedding = ? WHERE id = 3", (value,))


def rewrite_vectors(index: Path, change: Callable[[VectorIndex], object]) -> None:
    vectors = VectorIndex.load(index / "vectors.faiss")
    change(vectors)
    vectors.save(index / "vectors.faiss")


def other_vector(vectors: VectorIndex) -> None:
    vectors.remove([5])
    vectors.add([5], np.eye(1, vectors.dim))


def foreign_stamp(vectors: VectorIndex) -> None:
    vectors.stamp = Stamp("another", 1)


def misdirect_an_index(index: Path) -> None:
    with catalogue(index) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, '(generation)', '(size)') WHERE name = 'photos_embedded'"
        )


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not finite": (lambda index: set_embedding(index, b"\x00\x7e" * 16), "02.png: its embedding is not finite"),
    "not of unit length": (lambda index: set_embedding(index, b"\x00\x3c" * 16), "embedding has length 4.000, not 1"),
    "cut": (lambda index: set_embedding(index, b"\x00\x3c"), "its embedding does not have 16 values"),
    "no vectors": (lambda index: (index / "vectors.faiss").unlink(), "vectors.faiss: cannot be used"),
    "vectors cut": (lambda index: os.truncate(index / "vectors.faiss", 99), "vectors.faiss: cannot be used"),
    "vectors of another": (lambda index: rewrite_vectors(index, foreign_stamp), "not made from this catalogue"),
    "a vector too few": (lambda index: rewrite_vectors(index, lambda v: v.remove([5])), "lacks the vectors of 1"),
    "a vector too many": (
        lambda index: rewrite_vectors(index, lambda v: v.add([99], np.eye(1, v.dim))),
        "holds 1 vectors of no photo",
    ),
    "another vector": (lambda index: rewrite_vectors(index, other_vector), "other vectors than the catalogue for 1"),
    "another embedding": (
        lambda index: set_embedding(index, np.eye(1, 16).astype("<f2").tobytes()),
        "holds other vectors than the catalogue for 1",
    ),
    "labels that are no JSON": (lambda index: set_labels(index, '["a", null, 0.5]]'), "02.png: its labels cannot be"),
    "labels of another shape": (
        lambda index: set_labels(index, '[["a", null, "much"]]'),
        "02.png: its labels cannot be",
    ),
    "an index of the database": (misdirect_an_index, "catalog.db: "),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_repaired(fc7: Fc7, index: Path, tmp_path: Path, damage: str) -> None:
    before = fc7("search", tmp_path / "photos", "--format", "json").stdout
    do_damage, said = DAMAGE[damage]
    do_damage(index)
    done = fc7("check")
    assert done.exit_code == 1
    assert said in done.stdout
    assert "fc7 check --repair" in done.stderr
    repaired = fc7("check", "--repair")
    assert (repaired.exit_code, repaired.stderr) == (0, "")
    assert fc7("check").exit_code == 0
    assert fc7("index").exit_code == 0
    with PhotoIndex.open(index) as opened:
        assert opened.summary().photos == NUMBER
    assert fc7("check").stdout == f"{NUMBER} photos, {NUMBER} of them embedded again: nothing is wrong\n"
    assert fc7("search", tmp_path / "photos", "--format", "json").stdout == before


def test_a_whole_index_is_left_as_it_is(fc7: Fc7, index: Path) -> None:
    stamp, modified = read_header(index / "vectors.faiss").stamp, (index / "vectors.faiss").stat().st_mtime_ns
    for arguments in (("check",), ("check", "--sample", 0), ("check", "--repair")):
        assert fc7(*arguments).exit_code == 0
    assert read_header(index / "vectors.faiss").stamp == stamp
    assert (index / "vectors.faiss").stat().st_mtime_ns == modified


def test_photos_that_are_not_what_was_indexed(fc7: Fc7, index: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos/04.png"
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    changed_since = tmp_path / "photos/05.png"
    changed_since.write_bytes(data)
    (tmp_path / "photos/06.png").unlink()
    gone, checked = fc7("check").stdout.splitlines()
    assert gone.startswith(f"1 photo of {tmp_path / 'photos'} is not there any more; `fc7 index ")
    assert checked == f"{NUMBER} photos, {NUMBER - 3} of them embedded again: nothing is wrong"
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = fc7("check")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0].startswith(f"{path}: its content is another one")


def test_a_bad_embedding_of_the_right_shape_is_found_by_embedding_again(fc7: Fc7, index: Path) -> None:
    set_embedding(index, np.eye(1, 16).astype("<f2").tobytes())
    with IndexWriter.open_to_edit(index) as opened:
        opened.rebuild()
    done = fc7("check")
    assert done.exit_code == 1
    assert "02.png: embedded again it is another vector (cosine" in done.stdout


def test_a_catalogue_beyond_repair_is_named(fc7: Fc7, index: Path) -> None:
    with (index / "catalog.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 4)
    for arguments in (("check",), ("check", "--repair")):
        done = fc7(*arguments)
        assert done.exit_code == 1
        assert "catalog.db" in done.output


def test_an_empty_index_is_whole(fc7: Fc7, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fc7("index", tmp_path / "empty")
    assert fc7("check").stdout == "0 photos, 0 of them embedded again: nothing is wrong\n"
    shutil.rmtree(tmp_path / "index")
    assert "There is no index" in fc7("check").stderr


def test_a_large_sample_is_embedded_in_batches_side_by_side(index: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "photos/06.png").unlink()
    path = tmp_path / "photos/04.png"
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    calls: list[tuple[int, int]] = []
    batches: list[int] = []
    model = Model.load(tiny_model, threads=1)
    run = model.run

    def counted(pixels: Sequence[NDArray[np.uint8]]) -> Outputs:
        batches.append(len(pixels))
        return run(pixels)

    with PhotoIndex.open(index) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "run", counted)
        report = check_index(
            opened, model, sample=NUMBER, progress=lambda *call: calls.append(call), concurrency=Concurrency(2, 4, 2)
        )
    assert (report.photos, report.embedded) == (NUMBER, NUMBER - 2)
    assert [problem.photo for problem in report.problems] == [path]
    assert calls == sorted(calls)
    assert calls[-1] == (NUMBER, NUMBER)
    assert max(batches) > 1
    assert sum(batches) == NUMBER - 2


def test_photos_that_cannot_be_read_now_stay_in_the_index(
    fc7: Fc7, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = tmp_path / "photos/04.png"

    def no_permission(path: Path) -> bytes:
        if path == unreadable:
            raise PhotoError("permission denied")
        return path.read_bytes()

    monkeypatch.setattr("retrieval.indexing.check.read_photo", no_permission)
    for arguments in (["check"], ["check", "--repair"]):
        done = fc7(*arguments)
        assert done.exit_code == 0
        assert done.stdout == f"{NUMBER} photos, {NUMBER - 1} of them embedded again: nothing is wrong\n"
        assert done.stderr == f"Skipped {unreadable}: permission denied\n"
    with PhotoIndex.open(index) as opened:
        assert opened.photos.at(unreadable) is not None


def test_what_another_process_writes_meanwhile_is_no_problem(
    fc7: Fc7, index: Path, tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo("photos/new.png", seed=99)
    load_verified = CurrentVectors.load_verified
    written: list[int] = []

    def after_another(current: CurrentVectors, state: CatalogState) -> VectorIndex:
        if not written:
            written.append(fc7("index").exit_code)
        return load_verified(current, state)

    monkeypatch.setattr(CurrentVectors, "load_verified", after_another)
    with PhotoIndex.open(index) as opened:
        assert opened.problems() == []
    assert written == [0]
