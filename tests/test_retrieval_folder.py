"""Searching folders."""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from index.records import FileStamp, SkippedPhoto
from retrieval.photos.files import stamp_of
from retrieval.photos.scan import LINK, expand_paths, scan_folder


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_photos_are_found_in_all_folders_sorted(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a/z.png", "a/b/c.HEIC", "a.jpeg", "notes.txt", "film.mp4", "jpg", "c.jpg.part")
    scan = scan_folder(tmp_path)
    assert list(scan.photos) == [b"a.jpeg", b"a/b/c.HEIC", b"a/z.png", b"b.JPG"]
    assert scan.unlisted == {}


def test_stamps_are_size_and_time(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    assert scan_folder(tmp_path).photos == {b"a.jpg": FileStamp(5, 1_234_567_890_123_456_789)}


def test_hidden_and_machine_made_folders_are_left_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        ".hidden.jpg",
        ".git/a.jpg",
        "@eaDir/a.jpg",
        "x/@eaDir/b.jpg",
        "node_modules/c.jpg",
        "._d.jpg",
        "e.jpg",
    )
    assert list(scan_folder(tmp_path).photos) == [b"e.jpg"]


def test_a_hidden_folder_can_be_searched_by_name(tmp_path: Path) -> None:
    make(tmp_path, ".hidden/a.jpg")
    assert list(scan_folder(tmp_path / ".hidden").photos) == [b"a.jpg"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    (tmp_path / "photos/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/round.jpg").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/broken.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "photos/loop.jpg").symlink_to(tmp_path / "photos/loop.jpg")
    scan = scan_folder(tmp_path / "photos")
    assert list(scan.photos) == [b"a.jpg", b"link.jpg"]
    assert scan.unlisted == {b"folder": LINK}, "what leads out of the folder is told, what leads back is found anyway"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_no_photo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert scan_folder(tmp_path).photos == {}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = b"caf\xe9 \xff.jpg"
    try:
        Path(tmp_path, os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system takes text only")
    assert list(scan_folder(tmp_path).photos) == [name]
    assert expand_paths([tmp_path]) == [tmp_path / os.fsdecode(name)]


def test_folders_that_cannot_be_listed_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
    really_scandir = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return really_scandir(path)

    monkeypatch.setattr("retrieval.photos.scan.os.scandir", scandir)
    scan = scan_folder(tmp_path)
    assert list(scan.photos) == [b"a.jpg", b"open/c.jpg"]
    assert scan.unlisted == {b"closed": "permission denied"}
    skipped: list[SkippedPhoto] = []
    assert expand_paths([tmp_path], skipped=skipped) == [tmp_path / "a.jpg", tmp_path / "open/c.jpg"]
    assert skipped == [SkippedPhoto(tmp_path / "closed", "permission denied")]


def test_a_folder_that_is_not_there_is_unlisted(tmp_path: Path) -> None:
    scan = scan_folder(tmp_path / "unplugged")
    assert scan.photos == {}
    assert scan.unlisted == {b"": "no such file"}


def test_files_vanishing_during_the_search_are_no_error(tmp_path: Path) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(20):
                (tmp_path / f"{number}.jpg").touch()
            for number in range(20):
                (tmp_path / f"{number}.jpg").unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(scan_folder(tmp_path).unlisted == {} for _ in range(200))
    finally:
        stop.set()
        thread.join()


def test_paths_named_explicitly_are_taken_as_they_are(tmp_path: Path) -> None:
    make(tmp_path, "folder/b.jpg", "folder/a.jpg", "odd.dat")
    paths = [tmp_path / "odd.dat", tmp_path / "missing.jpg", tmp_path / "folder"]
    expected = [*paths[:2], tmp_path / "folder/a.jpg", tmp_path / "folder/b.jpg"]
    assert expand_paths(paths) == expected


def test_folders_with_nothing_in_them_are_told_from_others(tmp_path: Path) -> None:
    for folder in ("empty", "with/empty", "hidden"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hidden" / ".file").touch()
    assert scan_folder(tmp_path).empty == (b"empty", b"with/empty")
    assert scan_folder(tmp_path / "empty").empty == (b"",)


def test_a_drive_that_goes_away_during_the_search_is_unlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "usb/1.jpg", "usb/2.jpg", "usb/3.jpg", "a.jpg")
    looked_at: list[bytes] = []

    def unplugged_at_the_second(name: bytes) -> bool:
        looked_at.append(name)
        if len(looked_at) == 3:
            (tmp_path / "usb").rename(tmp_path.with_name("unplugged"))
            (tmp_path / "usb").mkdir()
        return True

    monkeypatch.setattr("retrieval.photos.scan.has_photo_suffix", unplugged_at_the_second)
    scan = scan_folder(tmp_path)
    assert scan.unlisted == {b"usb": "no such file"}, "what was in it is not taken for removed"
    assert len(scan.photos) == 2


@pytest.mark.parametrize("year_ns", [2**70, -(2**70)])
def test_times_that_the_catalogue_cannot_hold_are_brought_to_the_nearest(year_ns: int, tmp_path: Path) -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=year_ns)
    stamp = stamp_of(cast(os.stat_result, status))
    assert stamp.mtime_ns in (2**63 - 1, -(2**63))
    assert (stamp.mtime_ns > 0) == (year_ns > 0)
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute("SELECT ?", (stamp.mtime_ns,)).fetchone() == (stamp.mtime_ns,)


def test_pictures_of_kinds_that_are_not_read_are_counted_by_suffix(tmp_path: Path) -> None:
    for name in ("a.psd", "b.PSD", "c.exr", "d.txt", "e.jpg", ".f.psd", "g", "h.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "i.psd").touch()
    (tmp_path / "folder.psd").mkdir()
    scan = scan_folder(tmp_path)
    assert scan.unread == {".psd": 3, ".exr": 1}
    assert list(scan.photos) == [b"e.jpg"]


def test_suffixes_of_photos_that_decoders_can_read(tmp_path: Path) -> None:
    suffixes = "mpo rwl crw 3fr iiq sr2 jif jfi apng jpx j2c insp jxl jpf jpc srf mef"
    for suffix in suffixes.split():
        (tmp_path / f"photo.{suffix.upper()}").touch()
    assert len(scan_folder(tmp_path).photos) == len(suffixes.split())
