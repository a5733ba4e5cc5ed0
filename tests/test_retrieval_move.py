"""Copies are moved so that nothing is lost, whenever it ends, and moved back."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from told import told

from index.errors import UserError
from retrieval.duplicates import move as moving
from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
from retrieval.duplicates.move import Move, Moved, move_copies, plan_moves, undo_moves


def put(path: Path, content: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1000, 1000))
    return path


def as_found(path: Path) -> DuplicatePhoto:
    status = os.stat(path)
    return DuplicatePhoto(path, 1, 1, status.st_size, status.st_mtime_ns, False, path.is_symlink())


def group(*paths: Path) -> DuplicateGroup:
    return DuplicateGroup("exact", tuple(map(as_found, paths)))


def contents(*folders: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("undo-")
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.jpg", "x/b.jpg", "x/y/c.jpg"):
        put(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def planned(photos: Path, copies: Path) -> list[Move]:
    return plan_moves([group(photos / "a.jpg", photos / "x/b.jpg", photos / "x/y/c.jpg")], [photos], copies)


@pytest.fixture(params=["one file system", "two file systems"])
def across(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let moves between folders fail as they do between file systems."""
    if request.param == "two file systems":
        really_replace = os.replace

        def replace(source: Path, target: Path) -> None:
            if Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            really_replace(source, target)

        monkeypatch.setattr("retrieval.duplicates.move.os.replace", replace)


@pytest.mark.usefixtures("across")
def test_copies_keep_their_path_and_come_back(photos: Path, copies: Path) -> None:
    before = contents(photos)
    moved = move_copies(planned(photos, copies), copies)
    assert [target for _, target in moved.photos] == [copies / "photos/x/b.jpg", copies / "photos/x/y/c.jpg"]
    assert (moved.bytes, moved.left, moved.interrupted) == (14, [], False)
    assert contents(photos) == {str(photos / "a.jpg"): b"picture"}
    assert contents(copies).keys() == {str(target) for _, target in moved.photos}
    assert (copies / "photos/x/b.jpg").stat().st_mtime == 1000
    back = undo_moves(moved.undo_file)
    assert (len(back.photos), back.left) == (2, [])
    assert contents(photos) == before
    assert (photos / "x/b.jpg").stat().st_mtime == 1000
    assert list(copies.iterdir()) == [], "neither empty folders nor the undo file are left"


@pytest.mark.usefixtures("across")
def test_a_disk_that_keeps_no_permissions_takes_copies(
    photos: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("retrieval.duplicates.move.shutil.copystat", refused)
    moved = move_copies(planned(photos, copies), copies)
    assert (len(moved.photos), moved.left) == (2, [])


@pytest.mark.usefixtures("across")
def test_nothing_is_overwritten(photos: Path, copies: Path) -> None:
    put(copies / "photos/x/b.jpg", b"mine")
    put(copies / "photos/x/b (2).jpg", b"mine too")
    moved = move_copies(planned(photos, copies), copies)
    assert moved.photos[0][1] == copies / "photos/x/b (3).jpg"
    put(photos / "x/b.jpg", b"a new photo")
    back = undo_moves(moved.undo_file)
    assert [(left.path, "another file" in left.reason) for left in back.left] == [(moved.photos[0][1], True)]
    assert contents(photos) == {
        str(photos / "a.jpg"): b"picture",
        str(photos / "x/b.jpg"): b"a new photo",
        str(photos / "x/y/c.jpg"): b"picture",
    }
    assert (copies / "photos/x/b.jpg").read_bytes() == b"mine"
    (photos / "x/b.jpg").unlink()
    assert len(undo_moves(moved.undo_file).photos) == 1, "it may be called again"
    assert not moved.undo_file.exists()


@pytest.mark.usefixtures("across")
def test_a_link_is_moved_as_a_link(photos: Path, copies: Path, tmp_path: Path) -> None:
    there = put(tmp_path / "drive" / "d.jpg")
    (photos / "link.jpg").symlink_to(there)
    moved = move_copies(plan_moves([group(photos / "a.jpg", photos / "link.jpg")], [photos], copies), copies)
    assert os.readlink(copies / "photos/link.jpg") == str(there)
    assert there.exists()
    assert undo_moves(moved.undo_file).left == []
    assert (photos / "link.jpg").read_bytes() == b"picture"


def test_a_link_that_would_lead_nowhere_from_another_folder_stays(photos: Path, copies: Path, tmp_path: Path) -> None:
    put(tmp_path / "drive" / "d.jpg")
    (photos / "link.jpg").symlink_to("../drive/d.jpg")
    moved = move_copies(plan_moves([group(photos / "a.jpg", photos / "link.jpg")], [photos], copies), copies)
    assert [(left.path, "relative link" in left.reason) for left in moved.left] == [(photos / "link.jpg", True)]
    assert (photos / "link.jpg").read_bytes() == b"picture"


@pytest.mark.parametrize("which", ["kept", "copy"])
@pytest.mark.parametrize("what", ["gone", "changed"])
def test_what_is_not_as_it_was_compared_stays(photos: Path, copies: Path, which: str, what: str) -> None:
    moves = planned(photos, copies)
    path = photos / ("a.jpg" if which == "kept" else "x/b.jpg")
    path.unlink() if what == "gone" else path.write_bytes(b"something else")
    before = contents(photos)
    moved = move_copies(moves, copies)
    if which == "kept":
        assert (len(moved.left), moved.photos) == (2, [])
        assert contents(photos) == before
        assert "the photo to keep" in moved.left[0].reason
    else:
        assert [left.path for left in moved.left] == [path]
        assert len(moved.photos) == 1
    assert contents(copies) == {str(target): b"picture" for _, target in moved.photos}


def test_two_names_of_one_file_are_never_parted(photos: Path, copies: Path) -> None:
    os.link(photos / "a.jpg", photos / "same.jpg")
    moved = move_copies(plan_moves([group(photos / "a.jpg", photos / "same.jpg")], [photos], copies), copies)
    assert "the same file" in moved.left[0].reason
    assert (photos / "same.jpg").exists()


def test_a_copy_that_differs_from_its_original_is_thrown_away(
    photos: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def badly(source: object, target: object, length: int) -> None:
        target.write(b"pictvre")  # type: ignore[attr-defined]

    monkeypatch.setattr("retrieval.duplicates.move.os.replace", elsewhere)
    monkeypatch.setattr("retrieval.duplicates.move.shutil.copyfileobj", badly)
    before = contents(photos)
    moved = move_copies(planned(photos, copies), copies)
    assert len(moved.left) == 2
    assert contents(photos) == before
    assert contents(copies) == {}


@pytest.mark.parametrize("place", ["photos/copies", "photos", ".", "link/copies"])
def test_a_place_in_an_indexed_folder_is_refused(photos: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(photos)
    before = contents(photos)
    with told(UserError, match="indexed"):
        planned(photos, tmp_path / place)
    assert contents(photos) == before


def test_a_place_that_cannot_be_written_to_is_an_error(photos: Path, copies: Path) -> None:
    put(copies)
    with told(UserError, match="not a folder"):
        planned(photos, copies)
    with pytest.raises(UserError):
        move_copies([Move(as_found(photos / "a.jpg"), as_found(photos / "x/b.jpg"), copies / "b.jpg")], copies)


def test_names_that_are_no_text_come_back(tmp_path: Path, copies: Path) -> None:
    photos = tmp_path / "photos"
    name = os.fsdecode(b"caf\xe9\n.jpg")
    try:
        put(photos / name)
    except OSError:
        pytest.skip("this file system takes text only")
    put(photos / "a.jpg")
    moved = move_copies(plan_moves([group(photos / "a.jpg", photos / name)], [photos], copies), copies)
    assert moved.photos == [(photos / name, copies / "photos" / name)]
    assert undo_moves(moved.undo_file).photos == [(copies / "photos" / name, photos / name)]


def test_a_folder_that_is_not_there_is_not_made(photos: Path, copies: Path) -> None:
    moved = move_copies(planned(photos, copies), copies)
    photos.rename(photos.with_name("unplugged"))
    back = undo_moves(moved.undo_file)
    assert len(back.left) == 2
    assert not photos.exists()
    assert len(contents(copies)) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[1]\n", b'"x"\n', b"\xff\n", b"a song\n", b"my only note", b'{"a": 1}']
)
def test_what_is_no_undo_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = put(tmp_path / "x.jsonl", content)
    if content:
        with told(UserError, match="undo file"):
            undo_moves(file)
        assert file.read_bytes() == content
    with pytest.raises(UserError):
        undo_moves(tmp_path / "missing")


STEPS = ["_check", "_reserve", "_note", "_move", "_move_across", "_same_content"]


@pytest.mark.usefixtures("across")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_at_any_step_loses_nothing(
    photos: Path, copies: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    before = contents(photos)
    really = getattr(moving, step)
    calls: list[object] = []

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(None)
        if len(calls) != 2:
            return really(*arguments, **options)
        if after:
            really(*arguments, **options)
        raise KeyboardInterrupt

    moves = planned(photos, copies)
    with monkeypatch.context() as patched:
        patched.setattr(moving, step, interrupted)
        moved = move_copies(moves, copies)
    assert moved.interrupted == (len(calls) >= 2)
    # Every picture is in one of its places, and whole.
    for copy in moves:
        assert (copy.copy.path.exists() and copy.copy.path.read_bytes() == b"picture") or any(
            path.read_bytes() == b"picture" for path in copies.rglob(copy.copy.path.name)
        )
    assert undo_moves(moved.undo_file).left == []
    assert contents(photos) == before
    assert set(contents(copies).values()) <= {b""}, "at most a name that was reserved is left"


@pytest.mark.slow
@pytest.mark.parametrize("across", [False, True])
def test_a_process_that_is_killed_loses_nothing(tmp_path: Path, across: bool) -> None:
    photos, copies = tmp_path / "photos", tmp_path / "copies"
    content = os.urandom(300_000)
    paths = [put(photos / f"{number % 7}" / f"{number}.jpg", content) for number in range(150)]
    before = contents(photos)
    program = f"""
import os, sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}
from pathlib import Path
from test_retrieval_move import group
from retrieval.duplicates import move
really = os.replace
def elsewhere(source, target):
    if {across} and Path(source).parent != Path(target).parent:
        raise OSError(18, "elsewhere")
    really(source, target)
move.os.replace = elsewhere
photos, copies = Path({str(photos)!r}), Path({str(copies)!r})
paths = sorted(photos.rglob("*.jpg"), key=lambda path: (path != Path({str(paths[0])!r}), path))
moves = move.plan_moves([group(*paths)], [photos], copies)
print("ready", flush=True)
move.move_copies(moves, copies)
"""
    kills = 0
    for wait in (0.005, 0.02, 0.05, 0.1):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        kills += process.wait() == -signal.SIGKILL
        assert paths[0].read_bytes() == content
        # Beside a name that a killed process had reserved, a copy is called "7 (2).jpg".
        places = [path for path in [*photos.rglob("*.jpg"), *copies.rglob("[0-9]*.jpg")] if path.stat().st_size]
        names = {path.name.replace(" (2)", "").replace(" (3)", "") for path in places}
        assert names >= {path.name for path in paths}
    assert kills
    for undo_file in sorted(copies.glob("undo-*"), reverse=True):
        assert undo_moves(undo_file).left == []
    assert contents(photos) == before


def test_the_undo_file_tells_from_where_to_where(photos: Path, copies: Path) -> None:
    moved: Moved = move_copies(planned(photos, copies), copies)
    lines = [json.loads(line) for line in moved.undo_file.read_text().splitlines()]
    assert lines[0] == {"from": str(photos / "x/b.jpg"), "to": str(copies / "photos/x/b.jpg"), "bytes": 7}


def test_progress_ends_with_all_done(photos: Path, copies: Path) -> None:
    calls: list[tuple[int, int]] = []
    note: Callable[[int, int], None] = lambda done, total: calls.append((done, total))  # noqa: E731
    undo_moves(move_copies(planned(photos, copies), copies, progress=note).undo_file, progress=note)
    assert calls == [(1, 2), (2, 2)] * 2


def test_what_cannot_be_noted_is_not_moved(photos: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves, calls = planned(photos, copies), [False]

    def full(descriptor: int) -> None:
        calls.append(True)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("retrieval.duplicates.move.os.fsync", full)
    moved = move_copies(moves, copies)
    assert [left.path for left in moved.left] == [photos / "x/b.jpg"]
    assert len(moved.undo_file.read_text().splitlines()) == len(moved.photos) == 1
    assert contents(copies) == {str(copies / "photos/x/y/c.jpg"): b"picture"}
