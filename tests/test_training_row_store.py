"""Rows that are computed once: kept through kills and full disks, and asked for again where they are not whole."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from permissions import as_an_ordinary_user
from told import told
from training_samples import as_split, write_shapes

from training.data.dataset import Split
from training.data.pictures import MemoryPictures, StoredPictures
from training.data.row_store import RowStore, split_key
from training.errors import RunError

ROWS, WIDTH, BLOCK = 20, 3, 6
KEY = "ab" * 32
CPU = torch.device("cpu")

FILLING = """
import sys, time
from pathlib import Path
import numpy as np
import training.data.row_store
from test_training_row_store import BLOCK, KEY, ROWS, WIDTH, values
training.data.row_store.BLOCK = BLOCK

def compute(rows):
    print(rows.start, flush=True)
    if rows.start >= 2 * BLOCK:
        time.sleep(300)
    return values(rows), {}

training.data.row_store.RowStore(Path(sys.argv[1]), "numbers", KEY, ROWS, (WIDTH,), np.float32).fill(compute)
"""


def values(rows: range) -> NDArray[np.float32]:
    return np.array([[row * 10 + column for column in range(WIDTH)] for row in rows], np.float32)


class Asked(list[range]):
    """Computes rows, and remembers which."""

    def __init__(self, problems: dict[int, str] | None = None) -> None:
        self.problems = problems or {}

    def __call__(self, rows: range) -> tuple[NDArray[np.float32], dict[int, str]]:
        self.append(rows)
        found = {row: why for row, why in self.problems.items() if row in rows}
        return np.where([[row in found] for row in rows], 0, values(rows)), found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.row_store.BLOCK", BLOCK)


def store_in(folder: Path, *, key: str = KEY, n: int = ROWS, width: int = WIDTH, dtype: Any = np.float32) -> RowStore:
    return RowStore(folder, "numbers", key, n, (width,), dtype)


def filled_in(folder: Path, asked: Asked | None = None) -> RowStore:
    store = store_in(folder)
    store.fill(Asked() if asked is None else asked)
    return store


def note_of(folder: Path) -> Path:
    [note] = folder.glob("*.json")
    return note


def data_of(folder: Path) -> Path:
    [data] = folder.glob("*.rows")
    return data


def test_rows_are_computed_once_and_kept(tmp_path: Path) -> None:
    asked = Asked()
    told: list[tuple[int, int]] = []
    store = store_in(tmp_path / "made" / "here")
    store.fill(asked, progress=lambda done, total: told.append((done, total)))
    assert asked == [range(6), range(6, 12), range(12, 18), range(18, 20)]
    assert told == [(6, 20), (12, 20), (18, 20), (20, 20)]
    assert store.filled
    again = Asked()
    kept = filled_in(tmp_path / "made" / "here", again)
    assert again == []
    for found in (store, kept):
        np.testing.assert_array_equal(found.rows, values(range(ROWS)))
    assert sorted(path.name for path in (tmp_path / "made" / "here").iterdir()) == [
        "numbers-abababababababab.json",
        "numbers-abababababababab.rows",
    ]


@pytest.mark.slow
def test_after_a_kill_the_rest_is_computed(tmp_path: Path) -> None:
    places = os.pathsep.join(str(Path(__file__).parent / place) for place in (".", "..", "../benchmarks"))
    with subprocess.Popen(
        [sys.executable, "-c", FILLING, tmp_path / "killed"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": places},
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(3)] == ["0", "6", "12"]
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    asked = Asked()
    store = filled_in(tmp_path / "killed", asked)
    assert asked == [range(12, 18), range(18, 20)]
    whole = filled_in(tmp_path / "whole")
    np.testing.assert_array_equal(store.rows, whole.rows)
    for of in (note_of, data_of):
        assert of(tmp_path / "killed").read_bytes() == of(tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("changed", [{"key": "cd" * 32}, {"n": 19}, {"width": 4}, {"dtype": np.float16}])
def test_what_belongs_to_other_rows_is_left(tmp_path: Path, changed: dict[str, Any]) -> None:
    filled_in(tmp_path)
    assert not store_in(tmp_path, **changed).filled


def cut(folder: Path) -> None:
    os.truncate(data_of(folder), 100)


def grow(folder: Path) -> None:
    os.truncate(data_of(folder), 1000)


def lose_data(folder: Path) -> None:
    data_of(folder).unlink()


def lose_note(folder: Path) -> None:
    note_of(folder).unlink()


def write_note(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        note_of(folder).write_text(text)

    return write


def change_note(**changed: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        note = json.loads(note_of(folder).read_text())
        note_of(folder).write_text(json.dumps(note | changed))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        *(cut, grow, lose_data, lose_note),
        *(write_note(text) for text in ("", "{", "[]", "null", "{}", '"key"')),
        *(change_note(done=done) for done in (-1, ROWS + 1, "many", None)),
        *(change_note(problems=value) for value in (None, "", {"x": "y"}, {"-1": "y"}, {str(ROWS): "y"})),
        change_note(key="ab" * 16),
    ],
)
def test_what_is_damaged_is_computed_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled_in(tmp_path)
    damage(tmp_path)
    asked = Asked()
    store = filled_in(tmp_path, asked)
    assert sum(map(len, asked)) == ROWS
    np.testing.assert_array_equal(store.rows, values(range(ROWS)))
    assert filled_in(tmp_path, again := Asked()).filled
    assert again == []


def test_two_runs_may_fill_the_same(tmp_path: Path) -> None:
    first = store_in(tmp_path)
    second: list[RowStore] = []

    def compute(rows: range) -> tuple[NDArray[np.float32], dict[int, str]]:
        if not second:
            second.append(filled_in(tmp_path))
        return values(rows), {}

    first.fill(compute)
    for store in (first, *second):
        np.testing.assert_array_equal(store.rows, values(range(ROWS)))


def test_a_stop_ends_the_asking_for_rows_that_were_empty(tmp_path: Path) -> None:
    filled_in(tmp_path, Asked({3: "no decoder", 7: "truncated JPEG"}))
    asked = Asked()
    store_in(tmp_path).fill(asked, stop=lambda: bool(asked))
    assert asked == [range(3, 4)]


def test_rows_that_were_empty_are_asked_for_again_another_time(tmp_path: Path) -> None:
    store = filled_in(tmp_path, Asked({3: "no decoder", 7: "truncated JPEG"}))
    assert store.problems == {3: "no decoder", 7: "truncated JPEG"}
    assert not store.rows[[3, 7]].any()
    asked = Asked({7: "truncated JPEG"})
    store = filled_in(tmp_path, asked)
    assert asked == [range(3, 4), range(7, 8)]
    assert store.problems == {7: "truncated JPEG"}
    np.testing.assert_array_equal(store.rows[3], values(range(3, 4))[0])
    filled_in(tmp_path, asked := Asked({7: "truncated JPEG"}))
    assert asked == [range(7, 8)]


def test_no_rows_need_no_file(tmp_path: Path) -> None:
    store = store_in(tmp_path / "none", n=0)
    store.fill(Asked())
    assert store.filled
    assert store.rows.shape == (0, WIDTH)
    assert not (tmp_path / "none").exists()


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_what_was_kept_is_resumed(tmp_path: Path) -> None:
    message = r"cannot keep numbers \(File too large\); make room, or name another folder with --cache"
    with full_at(100), told(RunError, message):
        store_in(tmp_path)
    store, asked = store_in(tmp_path), Asked()
    with full_at(200), told(RunError, message):  # in the midst of the third block
        store.fill(asked)
    assert asked == [range(6), range(6, 12), range(12, 18)]
    whole = filled_in(tmp_path, asked := Asked())
    assert asked == [range(12, 18), range(18, 20)]
    np.testing.assert_array_equal(whole.rows, values(range(ROWS)))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach, which is not so of pytest's."""
    with tempfile.TemporaryDirectory(prefix="fc7-") as home:
        os.chmod(home, 0o755)
        folder = Path(home) / "folder"
        folder.mkdir()
        yield folder


def test_a_folder_that_cannot_be_written_is_told(open_folder: Path, tmp_path: Path) -> None:
    open_folder.chmod(0o555)
    for folder in (open_folder, open_folder / "new"):
        with (
            as_an_ordinary_user(),
            told(RunError, r"cannot keep numbers \(Permission denied\); make room"),
        ):
            store_in(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file cannot keep numbers \(File exists\)"):
        store_in(tmp_path / "file")


def test_what_is_whole_can_be_read_where_nothing_can_be_written(open_folder: Path) -> None:
    filled_in(open_folder)
    os.chmod(open_folder, 0o555)
    for path in open_folder.iterdir():
        path.chmod(0o444)
    with as_an_ordinary_user():
        np.testing.assert_array_equal(filled_in(open_folder).rows, values(range(ROWS)))


def test_a_key_is_of_pictures_their_order_sizes_times_and_settings(tmp_path: Path) -> None:
    paths = [tmp_path / "data" / name for name in ("a.jpg", "b.jpg")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(b"abc")
    key = split_key(paths, tmp_path, 32)
    assert split_key(paths, tmp_path, 32) == key
    others = [
        split_key(paths, tmp_path, 64),
        split_key(paths, tmp_path, 3, 2),
        split_key(paths[::-1], tmp_path, 32),
        split_key(paths[:1], tmp_path, 32),
        split_key(paths, tmp_path / "data", 32),
    ]
    os.utime(paths[1], ns=(1, 1))  # as another picture of the same size has: a BMP, say
    others.append(split_key(paths, tmp_path, 32))
    paths[1].write_bytes(b"abcd")
    others.append(split_key(paths, tmp_path, 32))
    paths[1].unlink()
    others.append(split_key(paths, tmp_path, 32))
    assert len({key, *others}) == 9


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Nine pictures of three classes, of which one cannot be read."""
    found = as_split(write_shapes(tmp_path / "data", each=3))
    found.paths[4].write_bytes(b"")
    return found


def stored(split: Split, tmp_path: Path, *, size: int = 24) -> StoredPictures:
    return StoredPictures(split, size, root=tmp_path, folder=tmp_path / "cache", device=CPU)


def test_stored_pictures_are_those_in_memory(split: Split, tmp_path: Path) -> None:
    found, expected = stored(split, tmp_path), MemoryPictures(split, 24, device=CPU)
    assert len(found) == 9
    assert found.skipped == expected.skipped
    order = torch.tensor([8, 4, 0, 3, 3, 5, 1, 7, 4, 4, 2, 6])
    for size in (1, 2, 5, 20):
        ours, theirs = (list(pictures.batches(order, size)) for pictures in (found, expected))
        assert len(ours) == len(theirs)
        for (pixels, labels), (their_pixels, their_labels) in zip(ours, theirs, strict=True):
            assert torch.equal(pixels, their_pixels)
            assert torch.equal(labels, their_labels)
    assert list(found.batches(order[:0], 4)) == []


def test_a_loop_that_ends_early_leaves_no_thread(split: Split, tmp_path: Path) -> None:
    batches = stored(split, tmp_path).batches(torch.arange(9), 1)
    assert len(next(batches)[1]) == 1
    batches.close()  # type: ignore[attr-defined]


def test_stored_pictures_are_decoded_once(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(split, tmp_path)
    decoded: list[Path] = []

    def remember(path: Path, size: int, mode: str) -> NDArray[np.uint8]:
        decoded.append(path)
        return np.full((size, size, 3), 7, np.uint8)

    monkeypatch.setattr("training.data.pictures.square", remember)
    found = stored(split, tmp_path)
    assert decoded == [split.paths[4]], "what could not be read is tried again"
    assert found.skipped == []
    assert (next(found.batches(torch.tensor([4]), 1))[0] == 7).all()
    stored(split, tmp_path)
    assert len(decoded) == 1
    stored(split, tmp_path, size=16)
    split.paths[0].write_bytes(b"another size")
    stored(split, tmp_path)
    assert len(decoded) == 1 + 9 + 9
