"""Folders brought up to date through `fc7 serve`: one run at a time, watched, stopped, refused, killed."""

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the page needs the extra web")
from PIL import Image
from web_photos import make_photos
from web_server import Reply, Served, serving

from cli import main
from index.index_writer import IndexWriter
from web.indexing import Indexing, Run
from web.settings import Settings

JSON = {"content-type": "application/json"}


def indexed(place: Path, model: Path) -> Path:
    """Make an index of two folders."""
    make_photos(place / "photos")
    (place / "other").mkdir()
    shutil.copy(place / "photos" / "blue-1.png", place / "other" / "first.png")
    folders = [str(place / name) for name in ("photos", "other")]
    given = ["index", *folders, "--index", str(place / "index"), "-m", str(model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    return place


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> Path:
    return indexed(tmp_path, tiny_model)


@pytest.fixture
def served(place: Path) -> Iterator[Served]:
    with serving(Settings(place / "index")) as server:
        yield server


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    """A server of which no test may start a run."""
    with serving(Settings(indexed(tmp_path_factory.mktemp("idle"), tiny_model) / "index")) as server:
        yield server
        assert state(server)["run"] is None


def start(served: Served, *ids: int, **headers: str) -> Reply:
    body = json.dumps({"ids": ids} if ids else {}).encode()
    return served.request("POST", "/api/indexing", body, {**JSON, **headers})


def state(served: Served) -> Any:
    return served.get("/api/indexing").json


def ids_by_name(served: Served) -> dict[str, int]:
    return {Path(folder["folder"]).name: folder["id"] for folder in state(served)["folders"]}


def watched(served: Served) -> list[Any]:
    """Watch a run to its end."""
    reply = served.get("/api/indexing/events")
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [line for line in reply.body.decode().split("\n\n") if line.startswith("data: ")]
    return [json.loads(event.removeprefix("data: ")) for event in events]


def add_photos(folder: Path, count: int) -> None:
    for number in range(count):
        Image.new("RGB", (40, 40), (number, 200, 255 - number)).save(folder / f"new-{number}.png")


def test_new_changed_removed_and_skipped_photos_are_told_and_shown(served: Served, place: Path) -> None:
    add_photos(place / "photos", 3)
    (place / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (place / "photos" / "green-0.png").unlink()
    shutil.copy(place / "photos" / "new-0.png", place / "photos" / "red-1.png")
    add_photos(place / "other", 1)  # which is not asked for
    before = {photo["id"] for photo in served.get("/api/photos").json["photos"]}
    reply = start(served, ids_by_name(served)["photos"])
    assert reply.status == 202
    assert (reply.json["state"], reply.json["folders"]) == ("running", [str(place / "photos")])
    *running, run = watched(served)
    assert running[0]["state"] == "running"
    assert run["state"] == "done"
    assert (run["done"], run["total"]) == (5, 5)
    [changes] = run["changes"]
    assert changes["folder"] == str(place / "photos")
    told = {name: changes[name] for name in ("new", "changed", "removed", "moved", "copied", "skipped_count")}
    assert told == {"new": 3, "changed": 1, "removed": 1, "moved": 0, "copied": 0, "skipped_count": 1}
    assert changes["skipped"] == [{"path": str(place / "photos" / "broken.jpg"), "reason": "truncated JPEG"}]
    new = served.get(f"/api/photos?after={run['after']}").json["photos"]
    assert {Path(photo["path"]).name for photo in new} == {"new-0.png", "new-1.png", "new-2.png"}
    assert not before & {photo["id"] for photo in new}
    now = state(served)
    assert {Path(folder["folder"]).name: folder["photos"] for folder in now["folders"]} == {"photos": 13, "other": 1}
    assert (now["skipped_count"], now["skipped"]) == (1, changes["skipped"])
    assert now["run"] == run == watched(served)[0]
    assert served.get("/api/health").status == 200


@pytest.mark.slow
def test_all_folders_and_one_that_is_not_there(served: Served, place: Path) -> None:
    os.rename(place / "other", place / "away")
    add_photos(place / "photos", 1)
    assert start(served).status == 202
    run = watched(served)[-1]
    seen = {Path(changes["folder"]).name: (changes["seen"], changes["new"]) for changes in run["changes"]}
    assert seen == {"photos": (True, 1), "other": (False, 0)}
    assert {folder["photos"] for folder in state(served)["folders"]} == {12, 1}
    assert run["number"] == 1


def test_one_run_at_a_time_which_can_be_stopped(served: Served, place: Path) -> None:
    assert served.request("POST", "/api/indexing/stop", b"").json == {"run": None}
    add_photos(place / "photos", 40)
    assert start(served).status == 202
    second = start(served)
    assert second.status == 409
    assert "already" in second.json["error"]
    stopped = served.request("POST", "/api/indexing/stop", b"").json["run"]
    assert stopped["state"] == state(served)["run"]["state"] == "stopped"
    assert start(served).status == 202
    run = watched(served)[-1]
    assert (run["state"], run["number"]) == ("done", 2)
    assert len(served.get("/api/photos?limit=100").json["photos"]) == 52


def test_what_a_stopped_run_says_late_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    indexing = Indexing(Settings(tmp_path))
    indexing.run = second = Run(2, "running", (), 0)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    first = context.Process(target=int)
    first.start()
    sender.send({"done": 5})
    sender.close()
    asyncio.run(indexing._follow(first, receiver, 1))
    assert indexing.run == second
    assert first.exitcode == 0


def test_the_head_of_a_watched_run_does_not_wait_for_its_end(served: Served, place: Path) -> None:
    add_photos(place / "photos", 2)
    assert start(served).status == 202
    process = served.app.state.indexing._process
    os.kill(process.pid, signal.SIGSTOP)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    try:
        connection.request("HEAD", "/api/indexing/events")
        head = connection.getresponse()
        assert (head.status, head.read()) == (200, b"")
        connection.request("GET", "/api/indexing")  # the same connection is free for the next request
        assert json.loads(connection.getresponse().read())["run"]["state"] == "running"
        until = time.monotonic() + 60  # nor does the server go on watching for it
        while b'method="HEAD",route="/api/indexing/events"' not in served.get("/metrics").body:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert state(served)["run"]["state"] == "running"
    finally:
        os.kill(process.pid, signal.SIGCONT)
        connection.close()
    assert watched(served)[-1]["state"] == "done"


@pytest.mark.slow
def test_a_run_is_refused_while_another_program_writes_the_index(served: Served, place: Path) -> None:
    with IndexWriter.open_to_edit(place / "index"):
        reply = start(served)
        assert reply.status == 503
        assert f"is being written by another fc7 (process {os.getpid()})" in reply.json["error"]
        assert state(served)["run"] is None
        assert served.post("/api/search", [("label", "red")]).status == 200
    assert start(served).status == 202
    assert watched(served)[-1]["state"] == "done"


@pytest.mark.slow
def test_a_run_whose_process_is_killed_says_so_and_the_next_one_goes_on(served: Served, place: Path) -> None:
    add_photos(place / "photos", 2)
    assert start(served).status == 202
    process = served.app.state.indexing._process
    os.kill(process.pid, signal.SIGKILL)
    run = watched(served)[-1]
    assert run["state"] == "failed"
    assert "has ended with status -9" in run["error"]
    assert start(served).status == 202
    assert watched(served)[-1]["changes"][1]["new"] + watched(served)[-1]["changes"][0]["new"] == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"ids": [999]}', 404),
        (b'{"ids": ["/etc"]}', 422),
        (b'{"ids": []}', 422),
        (b'{"ids": [0]}', 422),
        (b'{"ids": [1e400]}', 422),
        (b'{"ids": "all"}', 422),
        (b"{", 422),
    ],
)
def test_folders_are_named_by_ids_that_the_index_knows(idle: Served, body: bytes, status: int) -> None:
    assert idle.request("POST", "/api/indexing", body, JSON).status == status


@pytest.mark.slow
def test_pages_of_other_sites_and_clients_without_the_token_start_nothing(idle: Served, place: Path) -> None:
    assert start(idle, origin="http://evil.example").status == 403
    assert start(idle, **{"sec-fetch-site": "cross-site"}).status == 403
    assert idle.get("/api/indexing/events", {"host": "evil.example"}).status == 400
    with serving(Settings(place / "index", token="a-secret-of-many-letters")) as guarded:
        assert start(guarded).status == 401
        assert guarded.get("/api/indexing").status == guarded.get("/api/indexing/events").status == 401
        assert guarded.request("POST", "/api/indexing/stop", b"").status == 401
        assert start(guarded, authorization="Bearer a-secret-of-many-letters").status == 202
        told = guarded.get("/api/indexing/events", {"authorization": "Bearer a-secret-of-many-letters"})
        assert b'"state": "done"' in told.body


@pytest.mark.slow
def test_a_server_that_ends_ends_its_run_and_those_who_watch_it(place: Path) -> None:
    add_photos(place / "photos", 400)
    command = [sys.executable, "-P", "-m", "cli", "serve", "--index", str(place / "index"), "--port", "0"]
    repository = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository, env=environment) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split(":")[2].split()[0])
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/api/indexing", b"{}", JSON)
        assert connection.getresponse().read()
        connection.request("GET", "/api/indexing/events")
        events = connection.getresponse()
        assert b'"running"' in events.readline()
        server.send_signal(signal.SIGTERM)
        assert b'"stopped"' in events.read()
        connection.close()
        assert server.wait(60) in (0, -signal.SIGTERM)
    with IndexWriter.open_to_edit(place / "index") as index:  # nobody has the lock any more
        assert index.summary().photos >= 12
