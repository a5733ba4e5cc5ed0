"""Vectors by id, against numpy; their file, against truncation and flipped bits."""

import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.vectors.faiss_index import VectorIndex
from index.vectors.file import PREFIX, Section, Stamp, VectorFileError, Write, read_header, write_vector_file
from index.vectors.kinds import Built
from index.vectors.sections import read_exact, save_exact

DIM = 5


def vectors_of(ids: list[int], *, dim: int = DIM) -> np.ndarray:
    """Make vectors (n, dim) that depend on the id alone."""
    return np.array([np.random.default_rng(id).normal(size=dim) for id in ids], dtype=np.float32).reshape(-1, dim)


def filled(ids: list[int]) -> VectorIndex:
    vectors = VectorIndex(DIM)
    vectors.add(ids, vectors_of(ids))
    return vectors


def answers(vectors: VectorIndex, k: int = 10) -> list[tuple[list[int], list[float]]]:
    scores, ids = vectors.search(vectors_of([1001, 1002]), k)
    return [(row.tolist(), np.round(score, 5).tolist()) for row, score in zip(ids, scores, strict=True)]


@pytest.mark.parametrize("queries", [1, 7, 50])
@pytest.mark.parametrize("k", [1, 10, 300, 1000])
def test_search_is_a_product_and_a_sort(queries: int, k: int) -> None:
    ids = list(range(0, 900, 3))
    asked = vectors_of(list(range(2000, 2000 + queries)))
    scores, found = filled(ids).search(asked, k)
    product = asked.astype(np.float64) @ vectors_of(ids).astype(np.float64).T
    best = -np.sort(-product, axis=1)[:, :k]
    np.testing.assert_allclose(scores, best, rtol=0, atol=1e-5)
    # By score rather than by id: two that differ in the last digit may change places.
    np.testing.assert_allclose(np.take_along_axis(product, found // 3, axis=1), best, rtol=0, atol=1e-5)
    assert all(len(np.unique(row)) == best.shape[1] for row in found)
    assert scores.dtype == np.float32
    assert found.dtype == np.int64


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(51, 99)))
@settings(max_examples=50)
def test_add_then_remove_is_identity(first: set[int], second: set[int]) -> None:
    vectors = filled(sorted(first))
    before = answers(vectors)
    vectors.add(sorted(second), vectors_of(sorted(second)))
    assert len(vectors) == len(first) + len(second)
    assert vectors.remove(sorted(second | {1_000_000})) == len(second)
    assert answers(vectors) == before


@given(st.sets(st.integers(0, 2**62), max_size=30), st.integers(0, 2**60))
@settings(max_examples=25)
def test_save_then_load_is_identity(tmp_path_factory: pytest.TempPathFactory, ids: set[int], generation: int) -> None:
    path = tmp_path_factory.mktemp("vectors") / "vectors.faiss"
    vectors = filled(sorted(ids))
    vectors.stamp = Stamp("catalog", generation)
    vectors.save(path)
    loaded = VectorIndex.load(path)
    assert (loaded.dim, loaded.stamp, len(loaded)) == (DIM, vectors.stamp, len(ids))
    assert answers(loaded) == answers(vectors)
    assert read_header(path).stamp == vectors.stamp
    assert [file.name for file in path.parent.iterdir()] == ["vectors.faiss"]


def test_what_was_loaded_can_be_changed(tmp_path: Path) -> None:
    filled([1, 2, 3]).save(tmp_path / "v")
    loaded = VectorIndex.load(tmp_path / "v")
    loaded.add([4], vectors_of([4]))
    assert loaded.remove([1]) == 1
    assert answers(loaded) == answers(filled([2, 3, 4]))


def test_an_empty_index_finds_nothing() -> None:
    scores, ids = VectorIndex(DIM).search(vectors_of([1, 2]), 3)
    assert scores.shape == ids.shape == (2, 0)


def test_an_id_is_added_only_once() -> None:
    vectors = filled([1, 2])
    for ids in ([2, 3], [3, 3]):
        with pytest.raises(ValueError, match="only once"):
            vectors.add(ids, vectors_of(ids))
    assert len(vectors) == 2


def test_shapes_must_fit() -> None:
    vectors = filled([1])
    with pytest.raises(ValueError, match="do not go with"):
        vectors.add([2, 3], vectors_of([2]))
    with pytest.raises(ValueError, match="no search for"):
        vectors.search(np.zeros((1, DIM + 1)), 1)
    with pytest.raises(ValueError, match="no search for"):
        vectors.search(np.zeros((1, DIM)), 0)


def test_no_damage_goes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "vectors.faiss"
    filled([1, 2, 3]).save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(VectorFileError):
            VectorIndex.load(path)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(VectorFileError):
            VectorIndex.load(path)
    path.unlink()
    with pytest.raises(VectorFileError):
        VectorIndex.load(path)


def serialize(data: NDArray[np.uint8], write: Write) -> None:
    write(data.data)


def test_a_sound_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.faiss"
    nothing, rubbish = np.empty(0, np.uint8), np.arange(40, dtype=np.uint8)
    other = faiss.serialize_index(faiss.IndexFlatIP(DIM + 1))
    for number, contents in enumerate(
        [
            [nothing],
            [rubbish, nothing, nothing, nothing],
            [nothing, rubbish, nothing, nothing],
            [nothing, nothing, rubbish, nothing],
            [nothing, nothing, nothing, rubbish],
            [rubbish, nothing, nothing, faiss.serialize_index(faiss.IndexFlatIP(DIM))],
            [nothing, nothing, nothing, other],
        ]
    ):
        sections = [Section(str(number), partial(serialize, data)) for data in contents]
        write_vector_file(path, sections, dim=DIM, stamp=Stamp(), built=Built())
        with pytest.raises(VectorFileError):
            VectorIndex.load(path)


def test_without_faiss_the_message_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['faiss'] = None\nfrom index.vectors.faiss_index import VectorIndex\nVectorIndex(3)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    last = done.stderr.splitlines()[-1]
    assert "MissingPackageError" in last
    assert "pip install 'fc7[cpu]'" in last
    assert "'fc7[gpu]'" in last


def test_a_file_whose_parts_lie_anywhere_is_read(tmp_path: Path) -> None:
    vectors, path = filled([1, 2, 3]), tmp_path / "v"
    vectors.save(path)
    whole = path.read_bytes()
    magic, length, _ = PREFIX.unpack(whole[: PREFIX.size])
    header, parts = whole[PREFIX.size :][:length].rstrip(), whole[PREFIX.size + length :]
    for spaces in range(9):
        padded = header + b" " * spaces
        path.write_bytes(PREFIX.pack(magic, len(padded), zlib.crc32(padded)) + padded + parts)
        assert answers(VectorIndex.load(path)) == answers(vectors)


@given(st.lists(st.integers(0, 12), max_size=6))
@settings(max_examples=25)
def test_vectors_written_in_batches_are_those_that_are_saved(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    ids = np.arange(10, 10 + sum(sizes))
    vectors = filled(ids.tolist())
    vectors.save(folder / "saved")
    batches = np.split(vectors_of(ids.tolist()), np.cumsum(sizes))
    save_exact(folder / "written", ids, batches, dim=DIM, stamp=Stamp(), built=Built())
    assert (folder / "written").read_bytes() == (folder / "saved").read_bytes()
    assert read_exact(folder / "written") == read_header(folder / "saved")
