"""Calls of Milvus: what is repeated and for how long, and the one line that reports each failure."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from milvus_lite.server_manager import server_manager_instance
from milvus_samples import lite, opened
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from index.errors import (
    IndexFormatError,
    IndexLockedError,
    IndexNotFoundError,
    IndexStorageError,
    IndexUnreachableError,
    MissingPackageError,
    UserError,
)
from index.milvus import calls as module
from index.milvus.calls import Calls
from index.milvus.collection import MilvusCollection
from index.milvus.milvus_index import MilvusIndex
from index.milvus.place import MilvusPlace
from index.milvus.state import FORMAT

SERVER = MilvusPlace.parse("milvus+http://server/photos")
UNAVAILABLE, RATE_LIMIT, BAD_EXPRESSION, NO_COLLECTION = 2, 8, 1100, 100


class FakeClient:
    """Fails with these errors, one after the other, and then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked: list[dict[str, Any]] = []

    def query(self, **options: Any) -> str:
        self.asked.append(options)
        if self.failures:
            raise self.failures.pop(0)
        return "an answer"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, which take no time here."""
    pauses, now = list[float](), [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    return pauses


def calls_of(client: FakeClient, monkeypatch: pytest.MonkeyPatch, *, patience: float = 5) -> Calls:
    monkeypatch.setattr(Calls, "_connect", lambda self: client)
    return Calls(SERVER, patience=patience, timeout=3)


def test_what_passes_is_repeated_with_longer_pauses(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> None:
    client = FakeClient(*(MilvusException(code, "busy") for code in (UNAVAILABLE, RATE_LIMIT, UNAVAILABLE)))
    assert calls_of(client, monkeypatch)("query", filter="x") == "an answer"
    assert client.asked == 4 * [{"filter": "x", "timeout": 3}], "each call has a timeout"
    assert len(slept) == 3
    assert all(0.5 * 2**n <= pause / module.FIRST_PAUSE <= 1.5 * 2**n for n, pause in enumerate(slept))


def test_it_is_repeated_for_a_limited_time(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> None:
    client = FakeClient(*(1000 * [MilvusException(UNAVAILABLE, "x")]))
    with pytest.raises(IndexUnreachableError, match=r"Milvus at http://server:19530 does not answer \(no connection\)"):
        calls_of(client, monkeypatch, patience=60)("query")
    assert 30 <= sum(slept) <= 60
    assert len(set(slept)) == len(slept), "pauses differ by chance"
    assert max(slept) <= 1.5 * module.LONGEST_PAUSE


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (MilvusException(BAD_EXPRESSION, "bad expression"), IndexUnreachableError, "refuses what it was asked"),
        (MilvusException(NO_COLLECTION, "gone"), IndexNotFoundError, "no collection photos in Milvus at http://server"),
        (
            MilvusException(1800, "auth check failure, x"),
            IndexUnreachableError,
            "does not accept users without a token",
        ),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, slept: list[float], error: Exception, kind: type[UserError], told: str
) -> None:
    client = FakeClient(error)
    with pytest.raises(kind, match=told):
        calls_of(client, monkeypatch)("query")
    assert (len(client.asked), slept) == (1, [])


@pytest.mark.parametrize("listens", [False, True])
def test_a_server_that_does_not_answer_is_told_of_in_time(listens: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        place = MilvusPlace.parse(f"milvus+http://127.0.0.1:{silent.getsockname()[1]}/photos")
        begun = time.monotonic()
        with pytest.raises(IndexUnreachableError, match="does not answer") as told:
            MilvusIndex.open(place, patience=0, timeout=0.5)
        assert time.monotonic() - begun < 30
    assert "\n" not in told.value.with_hint


def test_a_server_of_another_version_is_told_in_one_line() -> None:
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")  # it speaks gRPC, and knows none of the calls
    server.start()
    try:
        with pytest.raises(IndexUnreachableError, match="refuses what it was asked") as told:
            MilvusIndex.open(MilvusPlace.parse(f"milvus+http://127.0.0.1:{port}/photos"))
        assert "which versions of Milvus are tested" in told.value.with_hint
        assert "\n" not in told.value.with_hint
    finally:
        server.stop(None)


@pytest.mark.parametrize("package", ["pymilvus", "milvus_lite"])
def test_a_missing_package_is_told_of(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingPackageError, match=f"needs {package.replace('_', '-')}, which is not installed") as told:
        MilvusIndex.open(lite(tmp_path))
    assert told.value.hint == "run `pip install 'fc7[milvus]'`"


def other_file(path: Path) -> None:
    path.write_text("a file")


def no_folder(path: Path) -> None:
    path.parent.rmdir()


@contextmanager
def client_of(path: Path) -> Iterator[MilvusClient]:
    """Open a file without fc7, and close it, which pymilvus alone would do at the end of the process."""
    try:
        with closing(MilvusClient(str(path))) as client:
            yield client
    finally:
        server_manager_instance.release_server(str(path))


def empty(path: Path) -> None:
    with client_of(path):
        pass


def foreign(path: Path) -> None:
    with client_of(path) as client:
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection("photos", schema=schema)


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (other_file, IndexStorageError, "is not of Milvus Lite"),
        (no_folder, IndexNotFoundError, "There is no index in "),
        (empty, IndexNotFoundError, "There is no index in "),
        (foreign, IndexFormatError, "belongs to another program"),
    ],
)
def test_what_is_no_index_is_told_of(
    tmp_path: Path, make: Callable[[Path], None], kind: type[UserError], told: str
) -> None:
    place = lite(tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    make(Path(place.uri))
    with pytest.raises(kind, match=told) as error:
        MilvusIndex.open(place)
    assert "\n" not in error.value.with_hint


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    place = lite(tmp_path)
    folder = Path(place.uri)
    folder.mkdir()
    with pytest.raises(IndexNotFoundError, match="There is no index in"):
        MilvusIndex.open(place)
    assert list(folder.iterdir()) == []
    (folder / "letter.txt").touch()
    with pytest.raises(IndexStorageError, match="is not of Milvus Lite"):
        MilvusIndex.open(place)
    with pytest.raises(IndexStorageError, match="is not of Milvus Lite"), opened(place, 4):
        pass
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_a_copy_needs_a_folder_to_lie_in(tmp_path: Path) -> None:
    with pytest.raises(IndexStorageError, match="is not a folder"), opened(lite(tmp_path / "none"), 4):
        pass


def test_looking_for_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="There is no index in"):
        MilvusIndex.open(lite(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    place = lite(tmp_path)
    with opened(place, 4) as collection:
        row = collection.state.values()
        row["classes"]["state"]["format"] = FORMAT + 1
        collection._calls("upsert", place.collection, [row])
        with pytest.raises(IndexFormatError, match="written by a newer fc7"):
            MilvusCollection.open(place)


def test_a_file_that_another_process_has_open_is_locked(tmp_path: Path) -> None:
    place = lite(tmp_path)
    with opened(place, 4):
        pass
    program = (
        "import sys; from index.milvus.milvus_index import MilvusIndex; from index.milvus.place import MilvusPlace\n"
        "with MilvusIndex.open(MilvusPlace.parse(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(place)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(IndexLockedError, match="in use by another program"):
            MilvusIndex.open(place)
        process.stdin.close()
    with MilvusIndex.open(place) as index:
        assert index.summary().photos == 0
