"""Killed at any moment, an index has lost nothing that was committed, and the next run goes on from there."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import index_process
import pytest
from index_process import BATCH, ENOUGH, FILES, QUERY, ROOT
from photo_samples import bring_up_to_date, contents_of, open_for_writing

from index.photo_index import PhotoIndex
from index.records import SyncCounts
from index.vectors.faiss_index import VectorIndex

pytestmark = pytest.mark.slow


def start(what: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, index_process.__file__, what, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def count_after_checking(folder: Path) -> int:
    """Count the photos of an index that must be whole and hold the first batches."""
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with PhotoIndex.open(folder, fingerprint="abc") as index:
        photos = index.summary().photos
        assert photos % BATCH == 0
        assert {path.name.encode() for path in contents_of(index)} == set(sorted(FILES)[:photos])
        assert len(index.search(QUERY, len(FILES))[0]) == photos
    return photos


def test_a_killed_writer_has_lost_nothing_that_it_stored(tmp_path: Path) -> None:
    stored = 0
    for batches in (0, 3, 20):
        with start("add", tmp_path) as process:
            assert read_line(process) == f"to read {len(FILES) - stored}"
            for _ in range(batches):
                assert read_line(process) == "stored"
            process.kill()
        after = count_after_checking(tmp_path)
        assert after >= stored + batches * BATCH
        stored = after
    with open_for_writing(tmp_path) as index:
        counts, embedded = bring_up_to_date(index, ROOT, dict(list(FILES.items())[: stored + 10]))
        assert counts == SyncCounts(new=10, unchanged=stored)
        assert len(embedded) == 10


def test_vectors_are_whole_whenever_their_writer_is_killed(tmp_path: Path) -> None:
    files = dict(list(FILES.items())[:3000])
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files, batch_size=1000)
    for _ in range(3):
        with start("save", tmp_path) as process:
            assert read_line(process) == "ready"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=random.uniform(0, 0.2))
            process.kill()
        assert len(VectorIndex.load(tmp_path / "vectors.faiss")) == len(files)
    with open_for_writing(tmp_path) as index:
        index.rebuild()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.db", "catalog.lock", "vectors.faiss"]


@pytest.mark.parametrize("how", ["add", "finish"])
def test_another_process_reads_while_one_writes(tmp_path: Path, how: str) -> None:
    open_for_writing(tmp_path).close()
    with start("read", tmp_path) as reader:
        assert read_line(reader) == "0"
        with start(how, tmp_path) as writer:
            output, _ = reader.communicate(timeout=120)
            writer.kill()
    assert reader.returncode == 0
    seen = [int(line) for line in output.split()]
    assert seen == sorted(seen)
    assert all(photos % BATCH == 0 for photos in seen)
    assert count_after_checking(tmp_path) >= ENOUGH
