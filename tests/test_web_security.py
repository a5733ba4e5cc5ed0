"""What `fc7 serve` refuses: other sites, other files, and bodies that are too large, too slow or no pictures."""

import io
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import make_photos
from web_server import BOUNDARY, Served, multipart, serving

import commands.serve
import web.app
from cli import main
from index.errors import OptionError
from web.assets import address
from web.limits import RateLimit
from web.settings import Settings

TOKEN = "a-secret-of-many-letters"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("web")
    photos = make_photos(folder / "photos")
    Image.new("RGB", (64, 64), "red").save(folder / "outside.png")
    (photos / "link.png").symlink_to(folder / "outside.png")
    given = ["index", str(photos), "--index", str(folder / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    return folder / "index"


@pytest.fixture(scope="module")
def served(index: Path) -> Iterator[Served]:
    settings = Settings(index, max_upload_bytes=1 << 20, max_upload_pixels=1_000_000, upload_seconds=1.5)
    with serving(settings) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(index: Path) -> Iterator[Served]:
    with serving(Settings(index, token=TOKEN)) as server:
        yield server


def picture(side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "green").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:80", "[::2]"])
def test_another_host_is_refused(served: Served, host: str) -> None:
    assert served.get("/api/photos", {"host": host}).status == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:1", "[::1]:8707"])
def test_the_names_of_this_machine_are_known(served: Served, host: str) -> None:
    assert served.get("/api/photos", {"host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}],
    ids=["another origin", "no origin", "across sites"],
)
def test_pages_of_other_sites_cannot_post(served: Served, headers: dict[str, str]) -> None:
    assert served.post("/api/search", [("label", "red")], headers=headers).status == 403
    own = {"origin": f"http://127.0.0.1:{served.port}"}
    assert served.post("/api/search", [("label", "red")], headers=own).status == 200


def test_every_answer_has_a_strict_policy(served: Served) -> None:
    for path in ("/", "/api/photos", "/nothing", f"{address()}/style.css", "/api/photos/999999"):
        reply = served.get(path)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "server" not in reply.headers or reply.headers["server"] == "uvicorn"  # the command leaves it out


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2fetc/passwd"),
        *(f"{address()}/../../app.py", f"{address()}/..%2f..%2fapp.py", "/static/0/api.js", f"{address()}/nothing.js"),
        *("/api/thumbnails/../../etc/passwd", "/api/thumbnails/%2e%2e%2fetc%2fpasswd", "/api/thumbnails/0"),
        *("/api/thumbnails/-1", "/api/thumbnails/99999999999999999999999", "/api/thumbnails/1e3", "/api/photos/%00"),
        *("/api/photos/" + "9" * 5000, "/api/photos/999999", "/api/photos/999999/preview", "/photos/999999"),
        *("/api/photos?folder=/etc", "/api/photos?folder=%00", "/api/photos?folder=..", "/api/photos?limit=0"),
        *("/api/photos?after=-1", "/api/photos?after=99999999999999999999", "/api/duplicates?like=x", "//etc/passwd"),
    ],
)
def test_only_photos_of_the_index_are_sent(served: Served, path: str) -> None:
    reply = served.get(path)
    assert reply.status in (400, 404, 422), reply.body
    assert b"root:" not in reply.body
    if path.startswith("/api/"):
        assert set(reply.json) == {"error", "hint"}


def test_links_do_not_lead_out(served: Served) -> None:
    [link] = [photo for photo in served.get("/api/photos").json["photos"] if photo["path"].endswith("link.png")]
    for path in (link["thumbnail"], link["preview"], f"/api/photos/{link['id']}"):
        reply = served.get(path)
        assert reply.status == 404
        assert "leads out" in reply.json["error"]


@pytest.mark.parametrize(
    "fields",
    [
        *([], [("ids", "x")], [("ids", 0)], [("ids", 2**63)], [("ids", 999_999)], [("unlike", 1)], [("label", "no")]),
        *([("label", "red"), ("k", 0)], [("label", "red"), ("k", 10**9)], [("label", "red"), ("min_score", "nan")]),
        *([("label", "red"), ("folder", "/etc")], [("label", "red"), ("folder", "/\0")], [("label", "red\0")]),
        *([("ids", 1), ("region", "1,2,3")], [("ids", 1), ("region", "0,0,9999999999999,1")], [("ids", 1)] * 40),
        *([("label", "red"), ("region", "0,0,1,1")], [("ids", 1), ("region", "-1,0,5,5")]),
    ],
)
def test_values_that_make_no_sense_are_told(served: Served, fields: list[tuple[str, object]]) -> None:
    reply = served.post("/api/search", fields)
    if fields == [("ids", 1)] * 40:
        assert reply.status == 400
    assert reply.status in (400, 404, 422), reply.body
    assert set(reply.json) == {"error", "hint"}
    assert reply.json["error"]


@pytest.mark.parametrize(
    "name", ["a\r\nX-Evil: 1.png", 'a"; evil="1', "../../etc/passwd", "\udcff.png", "a" * 5000, ""]
)
def test_a_file_name_is_only_words(served: Served, name: str) -> None:
    reply = served.post("/api/classify", files=[("photo", name, picture())])
    assert reply.status in (200, 400, 422)
    assert "x-evil" not in reply.headers
    if reply.status == 200:
        assert len(reply.json["path"]) <= 200
        assert "/" not in reply.json["path"]


def test_what_is_too_large_is_refused(served: Served) -> None:
    told = b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n"
    assert served.raw(told).startswith(b"HTTP/1.1 413")  # before any of it is sent
    part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    lying = served.raw(
        b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        + b"%x\r\n%s\r\n" % (len(part), part)
        + (b"10000\r\n" + bytes(0x10000) + b"\r\n") * 16  # of which the last is too much
    )
    assert lying.startswith(b"HTTP/1.1 413")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    reply = served.post("/api/classify", files=[("photo", "bomb.png", bomb.getvalue())])
    assert reply.status == 422
    assert "pixels" in reply.json["error"]


def test_a_slow_body_is_not_waited_for(served: Served) -> None:
    begun = time.monotonic()
    head = "POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n--"
    assert served.raw(head.encode()).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "body",
    [b"", b"--", b"nonsense", f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY}\r\nContent-Disposition: x\r\n\r\n".encode()],
)
def test_a_malformed_body_is_told(served: Served, body: bytes) -> None:
    kinds = [f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data", "application/json", "text/html"]
    for kind in kinds:
        for path in ("/api/classify", "/api/search", "/api/duplicates/different"):
            reply = served.request("POST", path, body, {"content-type": kind})
            assert reply.status in (400, 422), (kind, path, reply.body)
            assert set(reply.json) == {"error", "hint"}


def test_pictures_that_are_none_give_an_error_and_never_more(served: Served) -> None:
    kinds = []
    for format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        file = io.BytesIO()
        Image.effect_noise((40, 30), 60).convert("RGB").save(file, format)
        kinds.append(file.getvalue())
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    draw = random.Random(7)
    uploads = [svg, b"<!doctype html><script>1</script>", b"", b"\0" * 100]
    for _ in range(60):
        changed = bytearray(draw.choice(kinds))
        for _ in range(draw.randint(1, 30)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        uploads.append(bytes(changed[: draw.randint(1, len(changed))]))
    for data in uploads:
        reply = served.post("/api/classify", files=[("photo", "x", data)])
        assert reply.status in (200, 422), reply.body
    assert served.post("/api/classify", files=[("photo", "x", svg)]).status == 422


def test_a_token_is_wanted_for_all_but_the_door(guarded: Served) -> None:
    for path in ("/", "/api/photos", "/metrics", "/openapi.json", "/docs", "/api/thumbnails/1"):
        assert guarded.get(path).status == 401
        assert guarded.get(path, {"authorization": f"Bearer {TOKEN}"}).status == 200
        assert guarded.get(path, {"authorization": "Bearer no"}).status == 401
        assert guarded.get(path, {"authorization": f"Basic {TOKEN}"}).status == 401
        assert guarded.get(f"{path}?token={TOKEN}").status == 401
    page = guarded.get("/", {"accept": "text/html"})
    assert (page.status, page.headers["location"]) == (303, "/login")
    assert guarded.get("/api/health").status == 200
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert guarded.request("POST", "/login", b"token=no", form).status == 403
    opened = guarded.request("POST", "/login", f"token={TOKEN}".encode(), form)
    cookie = opened.headers["set-cookie"]
    assert opened.status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.get("/api/photos", {"cookie": cookie.partition(";")[0]}).status == 200


def test_another_address_needs_a_good_token(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="without a token"):
        Settings(tmp_path, host="0.0.0.0")
    with pytest.raises(OptionError, match="characters or more"):
        Settings(tmp_path, host="0.0.0.0", token="short")
    with pytest.raises(OptionError, match="without spaces"):
        Settings(tmp_path, host="0.0.0.0", token=f"{TOKEN}\n")
    assert Settings(tmp_path, host="0.0.0.0", token=TOKEN).token == TOKEN


def test_a_token_of_the_environment_may_end_in_a_new_line(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the secrets of Kubernetes do."""
    told: list[Settings] = []
    monkeypatch.setattr(commands.serve, "_serve", lambda settings, _: told.append(settings))
    monkeypatch.setenv("FC7_TOKEN", f"{TOKEN}\n")
    done = CliRunner().invoke(main, ["serve", "--index", str(index), "--port", "0"])
    assert done.exit_code == 0, done.output
    assert [settings.token for settings in told] == [TOKEN]


def test_an_application_that_fails_by_a_bug_says_where(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(web.app, "CopySearch", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        CliRunner().invoke(main, ["serve", "--index", str(index), "--port", "0"], catch_exceptions=False)


def test_a_client_that_asks_too_often_waits() -> None:
    limit = RateLimit(60)
    assert [limit.seconds_to_wait("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert limit.seconds_to_wait("a", 0.0) == pytest.approx(1.0)
    assert limit.seconds_to_wait("b", 0.0) == 0.0
    assert limit.seconds_to_wait("a", 1.5) == 0.0


def test_too_many_requests_are_told_when_to_come_again(index: Path) -> None:
    with serving(Settings(index, uploads_a_minute=2)) as served:
        replies = [served.post("/api/search", [("label", "red")]) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) > 0


def test_sigterm_ends_the_command_after_what_it_does(index: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "cli", "serve", "--index", str(index), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].split()[0])
        body = multipart([("label", "red")], [])
        head = f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.encode() + body[:20])
            time.sleep(1)  # until it is read, and waits for the rest
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[20:])
            received = b""
            while piece := connection.recv(65536):
                received += piece
        assert received.startswith(b"HTTP/1.1 200")
        _, told = process.communicate(timeout=20)
        assert "Traceback" not in told
        assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--host", "0.0.0.0"], 2, "without a token only this machine may ask"),
        (["--token-file", "missing"], 2, "the token cannot be read"),
        (["--index", "nowhere"], 1, "There is no index"),
        # Found when uvicorn has begun, which would end the process without a word.
        (["--port", "0", "-m", "nowhere.onnx"], 1, "nowhere.onnx"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], status: int, told: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        main, ["serve", *(["--index", str(index)] if "--index" not in arguments else []), *arguments]
    )
    assert done.exit_code == status, done.output
    assert told in done.output


def test_a_taken_port_is_told(index: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(main, ["serve", "--index", str(index), "--port", str(taken.getsockname()[1])])
    assert done.exit_code == 1
    assert "cannot listen on 127.0.0.1" in done.output
