"""A real process keeps an index in step with real folders, until Ctrl-C."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from index.catalog.lock import WriterLock
from index.photo_index import PhotoIndex
from retrieval.indexing.watch import _Growing, touched

pytest.importorskip("watchfiles", reason="needs watchfiles, the extra `watch`")

FC7 = Path(sys.executable).with_name("fc7")
PATIENCE = 120.0
MakePhoto = Callable[..., Path]


class Watcher:
    """`fc7 index --watch` in a process of its own; `lines` are what it has printed, without the times of day."""

    def __init__(self, model: Path, index: Path, *folders: Path) -> None:
        command = [FC7, "index", *folders, "--watch", "-m", model, "--index", index, "--threads", "1"]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(re.sub(r"^\d\d:\d\d:\d\d ", "at a time: ", " ".join(line.split())))

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.lines, self.lines)

    def interrupt(self) -> str:
        """Press Ctrl-C, and return what was written to standard error."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0
        self._reader.join()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self._reader.join()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def wait_until(condition: Callable[[], bool], what: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def names(index: Path) -> set[str]:
    with PhotoIndex.open(index) as opened:
        return {path.name for photos in opened.photos.embeddings() for path in photos.paths}


def wait_for(index: Path, *expected: str) -> None:
    wait_until(lambda: names(index) == set(expected), expected)


@pytest.mark.slow
def test_an_index_keeps_in_step_until_ctrl_c(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    make_photo("photos/a.png")
    make_photo("more/b.png", seed=2)
    with Watcher(tiny_model, index, folder, tmp_path / "more") as watcher:
        watcher.wait_for(str(tmp_path / "more"))
        wait_for(index, "a.png", "b.png")
        for number in range(5):
            make_photo(f"photos/new/{number}.png", "blue", seed=10 + number)
        (folder / "notes.txt").write_text("no photo")
        wait_for(index, "a.png", "b.png", *(f"{number}.png" for number in range(5)))
        (folder / "a.png").rename(folder / "renamed.png")
        shutil.rmtree(folder / "new")
        wait_for(index, "renamed.png", "b.png")
        # A drive is unplugged, and plugged in again with another photo on it.
        (tmp_path / "more").rename(tmp_path / "elsewhere")
        make_photo("elsewhere/c.png", "green", seed=3)
        make_photo("photos/d.png", "green", seed=4)
        wait_for(index, "renamed.png", "b.png", "d.png")
        watcher.wait_for(f"at a time: - {tmp_path / 'more'}: cannot be seen now; what the index holds of it is kept")
        (tmp_path / "elsewhere").rename(tmp_path / "more")
        wait_for(index, "renamed.png", "b.png", "c.png", "d.png")
        make_photo("more/e.png", "green", seed=5)
        wait_for(index, "renamed.png", "b.png", "c.png", "d.png", "e.png")
        assert "Traceback" not in watcher.interrupt()
    assert sorted(path.name for path in index.iterdir()) == ["catalog.db", "catalog.lock", "vectors.faiss"]


@pytest.mark.slow
def test_a_burst_of_changes_is_one_sync(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    make_photo("photos/a.png")
    for number in range(20):
        make_photo(f"prepared/{number}.png", seed=20 + number)
    with Watcher(tiny_model, index, folder) as watcher:
        watcher.wait_for("1 new")
        (tmp_path / "prepared").rename(folder / "prepared")
        watcher.wait_for(f"at a time: new {folder / 'prepared' / '9.png'}")
        watcher.interrupt()
    numbers = sorted(map(str, range(20)))
    assert watcher.lines[:2] == [str(folder), "1 new"]
    assert watcher.lines[2:] == [f"at a time: new {folder / 'prepared' / f'{number}.png'}" for number in numbers]


@pytest.mark.slow
def test_others_may_write_the_index_between_changes(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    for name in ("photos/a.png", "photos/b.png", "more/c.png"):
        make_photo(name, seed=ord(name[-5]))
    options = ["--index", index, "-m", tiny_model]
    with Watcher(tiny_model, index, folder) as watcher:
        watcher.wait_for("2 new")
        (folder / "b.png").unlink()
        watcher.wait_for(f"at a time: removed {folder / 'b.png'}")
        for command in (["index", tmp_path / "more"], ["check", "--repair"]):
            subprocess.run([str(word) for word in (FC7, *command, *options)], check=True, stdout=subprocess.DEVNULL)
        assert names(index) == {"a.png", "c.png"}
        # While another one writes, changes wait.
        with WriterLock(index):
            make_photo("photos/d.png", seed=9)
            time.sleep(3)
            assert names(index) == {"a.png", "c.png"}
        wait_for(index, "a.png", "c.png", "d.png")
        assert watcher.interrupt() == ""


@pytest.mark.slow
def test_a_file_is_taken_in_when_it_has_grown(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    make_photo("photos/a.png")
    data = make_photo("elsewhere/b.png", "green", seed=2).read_bytes()
    with Watcher(tiny_model, index, folder) as watcher:
        watcher.wait_for("1 new")
        with (folder / "b.png").open("wb", buffering=0) as file:
            for part in range(20):
                file.write(data[part * len(data) // 20 : (part + 1) * len(data) // 20])
                time.sleep(0.15)
        watcher.wait_for(f"at a time: new {folder / 'b.png'}")
        assert names(index) == {"a.png", "b.png"}
        assert watcher.interrupt() == ""
    assert watcher.lines == [str(folder), "1 new", f"at a time: new {folder / 'b.png'}"]


def test_the_folders_that_something_happened_in(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "a" / "b", root / ".trash", other):
        folder.mkdir(parents=True)
    for path in (root / "a" / "1.jpg", root / "2.jpg"):
        path.touch()
    (root / "link").symlink_to(other)

    def of(*names: str) -> list[str]:
        found = touched([root, other], [str(tmp_path / name) for name in names])
        return [str(path.relative_to(tmp_path)) for path in found]

    assert of("root/a/1.jpg") == ["root/a"]
    assert of("root/a/1.jpg", "root/a/gone.jpg", "root/2.jpg") == ["root/a", "root"]
    assert of("root/a/b") == ["root/a/b"]
    assert of("root/gone/deeper/3.jpg") == ["root"]
    assert of("root/a/b/gone/3.jpg", "other/4.jpg") == ["root/a/b", "other"]
    assert of("root/link") == ["root"]
    assert of("root/.trash/1.jpg", "root/@eaDir/1.jpg") == []
    assert of("other") == ["other"]
    assert of("elsewhere/no text.jpg", "root/2.jpg") == ["root", "other"]
    assert of() == []


def test_a_file_grows_until_two_looks_are_the_same(tmp_path: Path) -> None:
    growing, photo = _Growing(), tmp_path / "a.jpg"
    photo.write_bytes(b"1")
    assert growing.look_at([str(photo)]) == []
    assert growing.files() == {photo}
    photo.write_bytes(b"12")
    assert growing.look_at([]) == []
    photo.write_bytes(b"123")
    assert growing.look_at([str(photo)]) == []
    assert growing.look_at([str(photo)]) == [str(photo)]
    assert (growing.look_at([]), growing.files()) == ([], frozenset())
    # Folders, and what is gone, do not grow.
    assert growing.look_at([str(tmp_path), str(tmp_path / "gone.jpg")]) == [str(tmp_path), str(tmp_path / "gone.jpg")]
    growing.look_at([str(photo)])
    photo.unlink()
    assert growing.look_at([]) == [str(photo)]


@pytest.mark.slow
def test_an_ignore_file_that_is_written_takes_effect(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder, index = tmp_path / "photos", tmp_path / "index"
    make_photo("photos/a.png")
    make_photo("photos/x/b.png", seed=2)
    with Watcher(tiny_model, index, folder) as watcher:
        watcher.wait_for(str(folder))
        wait_for(index, "a.png", "b.png")
        (folder / ".fc7ignore").write_text("x/\n")
        wait_for(index, "a.png")
        make_photo("photos/x/c.png", seed=3)
        make_photo("photos/#recycle/d.png", seed=4)
        make_photo("photos/e.png", seed=5)
        wait_for(index, "a.png", "e.png")
        (folder / ".fc7ignore").unlink()
        wait_for(index, "a.png", "b.png", "c.png", "e.png")
        assert watcher.interrupt() == ""
