"""What `fc7 serve` does when its photos, its index, its disk or it itself go away, and when they come back."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.settings import Settings

pytestmark = pytest.mark.slow
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    given = ["index", str(make_photos(folder / "photos")), "--index", str(folder / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving(Settings(folder / "index", decode_seconds=120)) as server:
        yield server


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Rename a folder, as if its drive were unplugged."""
    other = path.with_name(f"{path.name}-away")
    path.rename(other)
    try:
        yield
    finally:
        other.rename(path)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow past a few bytes; the system says the same as of a full quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_photos_whose_drive_is_gone_are_found_and_shown_again_later(served: Served, folder: Path) -> None:
    photo = served.get("/api/photos").json["photos"][0]
    with away(folder / "photos"):
        assert served.post("/api/search", [("ids", photo["id"])]).status == 200
        assert served.post("/api/search", [("label", "red")]).status == 200
        assert served.get("/api/photos").status == 200
        assert served.get(f"/api/photos/{photo['id']}").json["missing"] is True
        assert "Its file is not there now" in served.get(f"/photos/{photo['id']}").body.decode()
        for address in (photo["thumbnail"], photo["preview"]):
            reply = served.get(address)
            assert reply.status in (404, 422)
            assert "immutable" not in reply.headers.get("cache-control", "")
    assert served.get(photo["thumbnail"]).status == 200
    assert served.get(f"/api/photos/{photo['id']}").json["missing"] is False


def test_an_index_whose_drive_is_gone_is_told_and_used_again_later(served: Served, folder: Path) -> None:
    upload = [("photo", "a", (folder / "photos" / "red-0.png").read_bytes())]
    assert served.post("/api/search", files=upload).status == 200
    with away(folder / "index"):
        for reply in (
            *(served.post("/api/search", files=upload), served.get("/api/photos"), served.get("/api/health")),
            *(served.get("/api/duplicates"), served.get("/", {"accept": "text/html"}), served.get("/api/labels")),
        ):
            assert reply.status == 503, reply.body
            assert b"There is no index" in reply.body
        assert served.get("/metrics").status == 200
        assert not (folder / "index").exists()
    assert served.post("/api/search", files=upload).status == 200
    assert served.get("/api/health").status == 200


def test_a_full_disk_is_told_and_searches_go_on(served: Served) -> None:
    ids = [photo["id"] for photo in served.get("/api/photos").json["photos"]][:2]
    body = json.dumps({"ids": ids, "different": True}).encode()
    with full_disk():
        reply = served.request("POST", "/api/duplicates/different", body, JSON)
        found = served.post("/api/search", [("ids", ids[0])])
    assert reply.status == 503, reply.body
    assert set(reply.json) == {"error", "hint"}
    assert found.status == 200
    assert served.request("POST", "/api/duplicates/different", body, JSON).status == 200
    undone = json.dumps({"ids": ids, "different": False}).encode()
    assert served.request("POST", "/api/duplicates/different", undone, JSON).status == 200


def test_searches_go_on_while_the_index_is_rebuilt(served: Served, folder: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-P", "-m", "cli", "index", str(folder / "photos"), "--rebuild"]
    command += ["--index", str(folder / "index"), "-m", str(tiny_model)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    asked = 0
    try:
        while process.poll() is None or not asked:
            reply = served.post("/api/search", [("label", "red"), ("k", 5)])
            assert reply.status == 200, reply.body
            asked += 1
            time.sleep(0.02)
    finally:
        process.kill()
        _, told = process.communicate()
    assert process.returncode == 0, told
    assert served.post("/api/search", [("label", "red")]).json["results"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


def start(index: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-P", "-m", "cli", "serve", "--index", str(index), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment())
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2].split()[0])


def children(process: int) -> list[int]:
    """Return the processes that one has started."""
    tasks = Path(f"/proc/{process}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at in /proc, which Linux has")
def test_a_killed_server_leaves_no_process_and_starts_again(folder: Path) -> None:
    index = folder / "killed"
    shutil.copytree(folder / "index", index)
    upload = [("photo", "a", (folder / "photos" / "blue-1.png").read_bytes())]
    process, port = start(index, 0)
    try:
        served = Served(port, None)  # type: ignore[arg-type]
        before = served.post("/api/search", files=upload).json
        assert before["results"]
        ids = [photo["id"] for photo in served.get("/api/photos").json["photos"]][:2]
        told = json.dumps({"ids": ids, "different": True}).encode()
        assert served.request("POST", "/api/duplicates/different", told, JSON).status == 200
        started = children(process.pid)
        assert started
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        until = time.monotonic() + 60
        while time.monotonic() < until and any(Path(f"/proc/{one}").exists() for one in started):
            time.sleep(0.1)
        assert [one for one in started if Path(f"/proc/{one}").exists()] == []
        process, again = start(index, port)
        assert again == port
        after = served.post("/api/search", files=upload).json
        assert after["results"] == before["results"]
    finally:
        process.kill()
        process.communicate(timeout=60)
