"""On a network drive the catalogue is kept in another way, and what cannot be locked is refused."""

import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from photo_samples import SampleFile, bring_up_to_date, contents_of, embed, open_for_writing
from told import told

from index.catalog import database
from index.catalog.catalog import Catalog
from index.catalog.database import storage_errors
from index.catalog.file_system import NETWORK, file_system_type, on_network_drive
from index.catalog.lock import WriterLock
from index.errors import IndexStorageError
from index.photo_index import PhotoIndex

ROOT = Path("/photos")
FILES = {b"%02d.jpg" % name: SampleFile(b"content %d" % name) for name in range(20)}
QUERY = embed(b"query")[None]
MOUNTS = rb"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:41 / /home/u/nas rw,relatime shared:15 - nfs4 server:/export rw,vers=4.2
31 22 0:42 / /home/u/My\040Share rw - cifs //server/share rw
32 30 0:43 / /home/u/nas/local rw - xfs /dev/sdb1 rw
33 22 0:44 / /mnt/c rw,noatime - 9p drvfs rw
34 22 0:45 / /media/phone rw master:3 - fuse.sshfs phone: rw
35 22 0:46 / /over rw - tmpfs tmpfs rw
36 35 0:47 / /over rw - nfs server:/two rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/", "ext4"),
        (b"/home/u/index", "ext4"),
        (b"/home/u/nas", "nfs4"),
        (b"/home/u/nas/index", "nfs4"),
        (b"/home/u/nas2/index", "ext4"),
        (b"/home/u/nas/local/index", "xfs"),
        (b"/home/u/My Share/index", "cifs"),
        (b"/mnt/c/index", "9p"),
        (b"/media/phone/\xff", "fuse.sshfs"),
        (b"/over/index", "nfs"),
    ],
)
def test_the_file_system_of_a_path(path: bytes, kind: str) -> None:
    assert file_system_type(path, MOUNTS) == kind
    assert (kind in NETWORK) == (kind not in ("ext4", "xfs"))
    assert file_system_type(path, b"") == ""


def test_links_are_followed_to_the_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 8:1 / / rw - ext4 a rw\n2 1 0:9 / {tmp_path}/nas rw - nfs4 b rw\n")
    monkeypatch.setattr("index.catalog.file_system.MOUNTS", mounts)
    assert on_network_drive(tmp_path / "link" / "index")
    assert not on_network_drive(tmp_path)
    monkeypatch.setattr("index.catalog.file_system.MOUNTS", tmp_path / "none")
    assert not on_network_drive(tmp_path / "link")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(database, "on_network_drive", lambda _: True)
    return monkeypatch


def journal_of(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        [(mode,)] = connection.execute("PRAGMA journal_mode")
        return str(mode)


def test_an_index_on_a_network_drive_has_no_write_ahead_log(tmp_path: Path, network: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "index"
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, FILES)
        assert not [path.name for path in folder.iterdir() if path.name.endswith(("-wal", "-shm"))]
        with PhotoIndex.open(folder) as reader:
            assert reader.search(QUERY, 99) == index.search(QUERY, 99)
    assert journal_of(folder) == "delete"
    network.setattr(database, "on_network_drive", lambda _: False)
    with open_for_writing(folder) as index:
        assert bring_up_to_date(index, ROOT, FILES)[1] == []
    assert journal_of(folder) == "wal"


def test_an_index_that_moves_to_a_network_drive_loses_its_write_ahead_log(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, FILES)
        before = contents_of(index)
    assert journal_of(tmp_path) == "wal"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "on_network_drive", lambda _: True)
        with open_for_writing(tmp_path) as index:
            assert contents_of(index) == before
    assert journal_of(tmp_path) == "delete"


WRITER = """
import sys
from pathlib import Path
from index.catalog import database
from test_index_file_system import FILES, ROOT
from photo_samples import bring_up_to_date, open_for_writing

database.on_network_drive = lambda _: True
with open_for_writing(Path(sys.argv[1])) as index:
    for count in range(1, len(FILES) + 1):
        bring_up_to_date(index, ROOT, dict(list(FILES.items())[:count]), batch_size=1)
"""


@pytest.mark.slow
def test_readers_and_a_writer_take_turns_on_a_network_drive(tmp_path: Path, network: pytest.MonkeyPatch) -> None:
    open_for_writing(tmp_path).close()
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    found = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], env=os.environ | {"PYTHONPATH": places}) as writer:
        while writer.poll() is None:
            with PhotoIndex.open(tmp_path) as index:
                now = len(index.search(QUERY, 99)[0])
            assert now >= found
            found = now
    assert writer.returncode == 0
    with PhotoIndex.open(tmp_path) as index:
        assert index.summary().photos == len(FILES)


def test_what_a_killed_writer_left_on_a_network_drive_is_rolled_back(
    tmp_path: Path, network: pytest.MonkeyPatch
) -> None:
    folder, copy = tmp_path / "index", tmp_path / "copy"
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, FILES)
        before = contents_of(index)
    copy.mkdir()
    shutil.copy(folder / "vectors.faiss", copy)
    with closing(Catalog.open_for_writing(folder / "catalog.db")) as catalog:
        connection = catalog._connection
        connection.execute("PRAGMA cache_size = 1")  # so that the file is changed before the commit
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE photos SET embedding = zeroblob(16), labels = hex(randomblob(4000))")
        for name in ("catalog.db", "catalog.db-journal"):
            shutil.copy(folder / name, copy)
        connection.execute("ROLLBACK")
    assert (copy / "catalog.db-journal").stat().st_size > 0
    assert (copy / "catalog.db").read_bytes() != (folder / "catalog.db").read_bytes()
    with PhotoIndex.open(copy) as index:
        assert contents_of(index) == before
        assert index.problems() == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_folder_that_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with told(IndexStorageError, match=r"cannot be locked \(no locks here\).*disk of this machine.*--index"):
        WriterLock(tmp_path)
    with told(IndexStorageError, match="cannot be locked"):
        open_for_writing(tmp_path / "index")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_PROTOCOL])
def test_locks_that_sqlite_misses_are_told(code: int) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = code
    with told(IndexStorageError, match="cannot be locked"), storage_errors(Path("/index")):
        raise error
