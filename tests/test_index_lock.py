"""One writer at a time, whatever happens to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from index.catalog.lock import WriterLock
from index.errors import IndexLockedError


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with WriterLock(tmp_path), pytest.raises(IndexLockedError) as caught:
        WriterLock(tmp_path)
    assert f"process {os.getpid()}" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    with WriterLock(tmp_path):
        pass


def test_a_process_that_is_being_started_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Between fork and exec a child has the files of its parent."""
    lock = WriterLock(tmp_path)
    kept = os.dup(lock._file.fileno())
    try:
        lock.release()
        lock.release()
        with WriterLock(tmp_path):
            pass
    finally:
        os.close(kept)


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    program = "import sys\nfrom pathlib import Path\nfrom index.catalog.lock import WriterLock\n"
    program += "lock = WriterLock(Path(sys.argv[1]))\nprint('locked', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(IndexLockedError, match=f"process {holder.pid}"):
            WriterLock(tmp_path)
        holder.kill()
    with WriterLock(tmp_path):
        pass


def test_a_file_of_the_user_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")
    with WriterLock(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.lock", "lock"]
    assert (tmp_path / "lock").read_text() == "mine"
