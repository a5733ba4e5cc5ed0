"""Embeddings written to files and read back."""

import os
import sys
import weakref
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from index.errors import MissingPackageError, UserError
from retrieval.pipeline.embeddings_file import NothingEmbeddedError, write_embeddings

Row = tuple[str, NDArray[np.float32]]


def rows(count: int = 5) -> list[Row]:
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    return [(f"été/{number}.jpg", vector) for number, vector in enumerate(vectors)]


def names_of(file: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    return bytes(file["names"]).decode("utf-8", "surrogateescape").split("\0")


def test_npz_needs_nothing_but_numpy_to_be_read(tmp_path: Path) -> None:
    assert write_embeddings(tmp_path / "e.npz", iter(rows())) == 5
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert names_of(file) == [name for name, _ in rows()]
        assert file["embeddings"].dtype == np.float32
        np.testing.assert_array_equal(file["embeddings"], np.stack([vector for _, vector in rows()]))
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, the extra `parquet`")
    write_embeddings(tmp_path / "e.parquet", [*rows(), ("caf\udce9.jpg", np.zeros(8, np.float32))])
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table["name"].to_pylist() == [*(name for name, _ in rows()), "caf\\udce9.jpg"]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist()[:5]), np.stack([row for _, row in rows()]))


def test_rows_are_written_a_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no name costs more than its length, also where it is no text."""
    monkeypatch.setattr("retrieval.pipeline.embeddings_file.ROWS_AT_ONCE", 3)
    many = [*rows(20), ("long/" * 800, rows()[1][1]), ("caf\udce9.jpg", rows()[2][1])]
    alive: list[weakref.ref[NDArray[np.float32]]] = []
    most = 0

    def watched() -> Iterator[Row]:
        nonlocal most
        for name, vector in many:
            copy = vector.copy()
            alive.append(weakref.ref(copy))
            most = max(most, sum(ref() is not None for ref in alive))
            yield name, copy

    suffixes = [".npz"] + [".parquet"] * (find_spec("pyarrow") is not None)
    for suffix in suffixes:
        assert write_embeddings(tmp_path / f"e{suffix}", watched()) == 22
    assert most <= 2 * 3 + 1  # a block, and the one before
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert names_of(file) == [name for name, _ in many]
        assert file["names"].nbytes == sum(len(os.fsencode(name)) + 1 for name, _ in many) - 1
        np.testing.assert_array_equal(file["embeddings"], np.stack([vector for _, vector in many]))
    if ".parquet" in suffixes:
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(tmp_path / "e.parquet")["name"].to_pylist()[20] == "long/" * 800


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_no_rows_at_all(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow, the extra `parquet`")
    (tmp_path / f"e{suffix}").write_bytes(b"before")
    with pytest.raises(NothingEmbeddedError, match=r"nothing to write to .*, which is as it was"):
        write_embeddings(tmp_path / f"e{suffix}", [])
    assert (tmp_path / f"e{suffix}").read_bytes() == b"before"


def untouched() -> Iterator[Row]:
    yield from rows()
    raise AssertionError("rows were asked for")


def test_what_cannot_work_is_refused_before_the_first_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"neither \.npz nor .parquet"):
        write_embeddings(tmp_path / "e.csv", untouched())
    with pytest.raises(UserError, match="cannot be written"):
        write_embeddings(tmp_path / "no folder" / "e.npz", untouched())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"fc7\[parquet\]"):
        write_embeddings(tmp_path / "e.parquet", untouched())


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Row]:
        yield from rows(1)
        raise KeyboardInterrupt

    write_embeddings(tmp_path / "e.npz", rows(2))
    before = (tmp_path / "e.npz").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(tmp_path / "e.npz", failing())
    assert (tmp_path / "e.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]
