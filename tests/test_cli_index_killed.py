"""`fc7 index` killed at any moment, again and again: in the end its index is that of a run that nothing disturbed."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import indexing_process
import numpy as np
import pytest

from index.photo_index import PhotoIndex

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

KILLS = 100
MakePhoto = Callable[..., Path]
QUERIES = np.random.default_rng(5).standard_normal((5, 16)).astype(np.float32)


class Runner:
    """Starts indexing processes, and lets them end or kills them."""

    def __init__(self, model: Path, index: Path, *arguments: Path | str) -> None:
        self.index = index
        self._arguments = list(map(str, ["index", *arguments, "-m", model, "--index", index, "--threads", 1]))
        self._process = subprocess.Popen(
            [sys.executable, indexing_process.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, *, kill_after: float | None = None) -> bool:
        """Run one process, killed after some seconds if it has not ended by then; tell whether it ended by itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([self._arguments, kill_after]) + "\n")
        self._process.stdin.flush()
        status = int(self._read())
        assert status in (0, signal.SIGKILL)
        return status == 0

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class ChangingFolder:
    """Photos that come, change, move and go; every write has a time of its own, however coarse the system's clock."""

    def __init__(self, folder: Path, prepared: list[Path], chance: random.Random) -> None:
        self.folder = folder
        self._contents = [photo.read_bytes() for photo in prepared]
        self._chance = chance
        self._clock = 0
        for name in ("one", "two"):
            (folder / name).mkdir(parents=True)
            self._write(folder / name / "0.png", self._contents[0])

    def change(self) -> None:
        """Add, replace, delete, move and copy some photos, and spoil others."""
        chance = self._chance
        present = sorted(self.folder.rglob("*.png"))
        for content in chance.sample(self._contents, 6):
            self._write(self._somewhere(0, 60), content)
        for photo in chance.sample(present, min(6, len(present))):
            what = chance.randrange(4)
            if what == 0:
                photo.unlink()
            elif what == 1:
                photo.rename(self._somewhere(60, 90))
            elif what == 2:
                self._write(self._somewhere(60, 90), photo.read_bytes())
            else:
                self._write(photo, b"no photo any more" * chance.randrange(3))

    def _somewhere(self, first: int, last: int) -> Path:
        return self.folder / self._chance.choice(["one", "two"]) / f"{self._chance.randrange(first, last)}.png"

    def _write(self, path: Path, content: bytes) -> None:
        self._clock += 1
        path.write_bytes(content)
        os.utime(path, ns=(self._clock, self._clock))


def contents(index: Path) -> list[tuple[Any, ...]]:
    """Read all that the catalogue knows, but for ids and generations."""
    with closing(sqlite3.connect(index / "catalog.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(
            "SELECT roots.path, photos.path, size, mtime_ns, content_hash, width, height, embedding, labels, skipped"
            " FROM photos JOIN roots ON roots.id = root_id ORDER BY roots.path, photos.path"
        ).fetchall()


def test_a_hundred_kills_leave_no_trace(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    chance = random.Random(20)
    prepared = [make_photo(f"prepared/{n}.png", ("red", "green", "blue")[n % 3], seed=n) for n in range(80)]
    photos = ChangingFolder(tmp_path / "photos", prepared, chance)
    folders = (photos.folder / "one", photos.folder / "two")
    disturbed = Runner(tiny_model, tmp_path / "disturbed", *folders)
    undisturbed = Runner(tiny_model, tmp_path / "undisturbed", *folders)
    kills = 0
    try:
        started = time.monotonic()
        assert undisturbed.run()
        longest = time.monotonic() - started
        while kills < KILLS:
            if disturbed.run(kill_after=chance.uniform(0, longest)):
                # Too late for it: the next one shall have something to do.
                longest *= 0.9
            else:
                kills += 1
                longest *= 1.02
            photos.change()
        assert disturbed.run()
        assert undisturbed.run()
    finally:
        disturbed.close()
        undisturbed.close()
    assert contents(disturbed.index) == contents(undisturbed.index)
    with PhotoIndex.open(disturbed.index) as one, PhotoIndex.open(undisturbed.index) as other:
        assert one.problems() == []
        assert one.summary().photos > 20
        assert one.photos.skipped() == other.photos.skipped()
        for k in (1, 10, 1000):
            assert one.search(QUERIES, k) == other.search(QUERIES, k)


def test_a_rebuild_that_is_killed_again_and_again_is_the_old_index_or_the_new_one(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    chance = random.Random(21)
    for n in range(40):
        make_photo(f"photos/{n}.png", ("red", "green", "blue")[n % 3], seed=n)
    first = Runner(tiny_model, tmp_path / "index", tmp_path / "photos", "--kind", "IVF2,SQ8")
    again = Runner(tiny_model, tmp_path / "index", "--rebuild")
    kills = 0
    try:
        assert first.run()
        whole = contents(tmp_path / "index")
        started = time.monotonic()
        assert again.run()
        longest = time.monotonic() - started
        while kills < KILLS // 4:
            # Most of what can go wrong is in the last part, where the new one takes the place of the old one.
            kills += not again.run(kill_after=chance.uniform(0.3, 1.1) * longest)
            assert contents(tmp_path / "index") == whole
            with PhotoIndex.open(tmp_path / "index") as index:
                assert index.summary().chosen_kind == "IVF2,SQ8"
                assert len(index.search(QUERIES, 99)[0]) == len(whole)
        assert again.run()
    finally:
        first.close()
        again.close()
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [
        "catalog.db",
        "catalog.lock",
        "vectors.faiss",
    ]
    with PhotoIndex.open(tmp_path / "index") as index:
        assert index.problems() == []
        assert index.summary().kind == "IVF2,SQ8"
