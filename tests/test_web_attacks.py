"""What is sent to `fc7 serve` to break it: nothing gives a 500, a file that is not in the index, or a hung server."""

import io
import json
import os
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import make_photos
from web_server import BOUNDARY, Reply, Served, serving

from cli import main
from web.settings import Settings

pytestmark = pytest.mark.slow
FUZZED = int(os.environ.get("FC7_FUZZED", "1000"))
"""Pictures; more for a long run."""
SECRET = b"a secret of this machine"


POST = (
    f"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    photos = make_photos(folder / "photos")
    (folder / "secret.txt").write_bytes(SECRET)
    given = ["index", str(photos), "--index", str(folder / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    settings = Settings(
        folder / "index",
        max_upload_bytes=4 << 20,
        max_upload_pixels=1_000_000,
        upload_seconds=3,
        uploads_a_minute=10**6,
    )
    with serving(settings) as server:
        yield server
        assert server.get("/api/health").status == 200  # after all of it


def upload(served: Served, data: bytes, name: str = "x") -> Reply:
    return served.post("/api/classify", files=[("photo", name, data)])


def originals() -> list[bytes]:
    """Write small pictures of each kind that Pillow writes without more packages."""
    made = []
    image = Image.effect_noise((40, 30), 60)
    for format, mode in (
        *(
            ("PNG", "RGB"),
            ("PNG", "P"),
            ("PNG", "I;16"),
            ("PNG", "RGBA"),
            ("JPEG", "RGB"),
            ("JPEG", "CMYK"),
            ("GIF", "P"),
        ),
        *(("TIFF", "RGB"), ("TIFF", "1"), ("WEBP", "RGBA"), ("BMP", "RGB"), ("PPM", "RGB"), ("ICO", "RGBA")),
        *(("TGA", "RGB"), ("PCX", "RGB"), ("JPEG2000", "RGB"), ("AVIF", "RGB")),
    ):
        file = io.BytesIO()
        try:
            image.convert("L").convert(mode).save(file, format)
        except (KeyError, OSError, ValueError):
            continue  # this Pillow was built without it
        made.append(file.getvalue())
    assert len(made) > 10
    return made


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Change bytes, cut, repeat or join pieces."""
    changed = bytearray(data)
    for _ in range(draw.randint(0, 20)):
        changed[draw.randrange(min(len(changed), draw.choice((40, len(changed)))))] = draw.choice(
            (0, 255, draw.randrange(256))
        )
    if draw.random() < 0.3:
        start = draw.randrange(len(changed))
        changed[start:start] = changed[: draw.randint(1, len(changed))]
    if draw.random() < 0.5:
        del changed[draw.randint(1, len(changed)) :]
    return bytes(changed)


def test_fuzzed_pictures_are_named_or_refused(served: Served) -> None:
    draw = random.Random(20)
    kinds = originals()
    pictures = [damaged(draw.choice(kinds), draw) for _ in range(FUZZED)]
    with ThreadPoolExecutor(8) as clients:
        replies = list(clients.map(lambda data: upload(served, data), pictures))
    for number, (data, reply) in enumerate(zip(pictures, replies, strict=True)):
        assert reply.status in (200, 422), (number, data, reply.body)
    assert {reply.status for reply in replies} == {200, 422}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bombs() -> dict[str, bytes]:
    """Small files that say, or are, something large."""
    signature, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    small = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    zeros = zlib.compress(bytes(100 << 20), 9)  # 100 MB in 100 kB
    frames = io.BytesIO()
    first, *others = [Image.new("L", (900, 900), shade) for shade in range(60)]
    first.save(frames, "GIF", save_all=True, append_images=others)
    tiff = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(tiff, "TIFF", compression="group4")
    return {
        "sides": signature + huge + chunk(b"IDAT", zeros[:1000]) + end,
        "too much data": signature + small + chunk(b"IDAT", zeros) + end,
        "text": signature
        + small
        + chunk(b"zTXt", b"a\0\0" + zeros)
        + chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
        + end,
        "profile": signature
        + small
        + chunk(b"iCCP", b"a\0\0" + zeros)
        + chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
        + end,
        "frames": frames.getvalue(),
        "fax": tiff.getvalue(),
    }


def test_decompression_bombs_do_no_harm(served: Served) -> None:
    for name, data in bombs().items():
        assert len(data) < 4 << 20, name
        reply = upload(served, data)
        assert reply.status in (200, 422), (name, reply.body)
        if name in ("sides", "fax"):
            assert reply.status == 422, name
            assert "pixels" in reply.json["error"]
    assert upload(served, originals()[0]).status == 200


def test_bombs_within_a_searched_region_do_no_harm(served: Served) -> None:
    for data in (bombs()["sides"], bombs()["fax"]):
        reply = served.post("/api/search", [("region", "0,0,10,10")], [("photo", "x", data)])
        assert reply.status == 422


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../secret.txt",
            "/%2e%2e/%2e%2e/secret.txt",
            "/static/%2e%2e%2f%2e%2e%2fsecret.txt",
            "/static//secret.txt",
        ),
        *("/static/..%5c..%5csecret.txt", "/static/%00", "/static/a%00.css", "/static/", "/static", "/static/.."),
        *("/api/thumbnails/..%2f..%2fsecret.txt", "/api/photos/1%2f..%2f..", "/api/photos/1/preview/../../secret.txt"),
        *(
            "/api/photos/１",
            "/api/photos/ 1",
            "/api/photos/+1",
            "/api/photos/0x1",
            "/api/photos/1.0",
            "/api/photos/1%0a",
        ),
        *("/api/photos/9223372036854775807", "/api/photos/9223372036854775808", "/api/photos/" + "0" * 4000 + "x"),
        *("/api/photos?after=1e400", "/api/photos?folder=%ff%fe", "/api/photos?folder=" + "%2e%2e%2f" * 500),
        *("/api/duplicates?offset=-1", "/api/duplicates?limit=100000000000000000000000000", "/%ff", "/photos/%ff"),
    ],
)
def test_no_address_leads_out(served: Served, folder: Path, path: str) -> None:
    target = path.replace("secret.txt", str(folder / "secret.txt")) if path.startswith("/static//") else path
    reply = served.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = int(reply.split(b" ", 2)[1])
    assert status < 500
    assert SECRET not in reply
    if not path.endswith("0x") and status == 200:
        assert "/api/photos/" in path  # a number in another writing is that photo's


def test_links_made_later_do_not_lead_out(served: Served, folder: Path) -> None:
    photo = next(p for p in served.get("/api/photos").json["photos"] if p["path"].endswith("green-2.png"))
    path, kept = Path(photo["path"]), Path(photo["path"]).with_suffix(".kept")
    path.rename(kept)
    try:
        for target in (folder / "secret.txt", Path("/etc/passwd"), Path("/dev/zero"), folder / "nothing"):
            path.symlink_to(target)
            for address in (photo["thumbnail"], photo["preview"], f"/api/photos/{photo['id']}"):
                reply = served.get(address)
                assert reply.status == 404, (target, address, reply.body)
            region = served.post("/api/search", [("ids", photo["id"]), ("region", "0,0,10,10")])
            assert region.status == 404
            path.unlink()
        below = path.with_name("fifo-place")
        os.mkfifo(path)  # which nobody writes into
        assert served.get(photo["preview"]).status in (404, 422)
        path.unlink()
        path.mkdir()
        assert served.get(photo["preview"]).status in (404, 422)
        path.rmdir()
        assert not below.exists()
    finally:
        if path.is_symlink() or path.exists():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        kept.rename(path)
    assert served.get(photo["preview"]).status == 200


@pytest.mark.parametrize(
    "head",
    [
        *(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", b"\0\0\0\r\n\r\n"),
        *(b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b'GET /api/photos HTTP/1.1\r\nHost: localhost\r\nCookie: fc7=\xff; a="\r\nAuthorization: Bearer \xff\r\n\r\n',
        b"GET /api/photos HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\xfe\r\n\r\n",
    ],
)
def test_heads_that_make_no_sense(served: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(head)
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 ")
    assert int(reply.split(b" ", 2)[1]) < 500


def test_a_form_of_very_many_parts_is_refused(served: Served) -> None:
    assert served.post("/api/search", [("ids", 1)] * 20_000).status in (400, 422)
    assert served.post("/api/search", [(f"field-{number}", 1) for number in range(5_000)]).status in (400, 422)
    assert served.post("/api/search", files=[("photo", "x", b"1")] * 2_000).status in (400, 422)
    deep = b"[" * 500_000
    reply = served.request("POST", "/api/duplicates/different", deep, {"content-type": "application/json"})
    assert reply.status in (400, 422)
    assert set(reply.json) == {"error", "hint"}


@pytest.mark.parametrize(
    "body",
    [
        *(b"null", b"[]", b"{}", b'{"ids": null}', b'{"ids": [1]}', b'{"ids": [1, 999999]}', b'{"ids": [1, 1]}'),
        *(b'{"ids": [1, 1e400]}', b'{"ids": [1, NaN]}', b'{"ids": [1, "\\ud800"]}', b'{"ids": [[1], {}]}', b"\xff\xfe"),
        *(b'{"ids": [1, 2], "different": {}}', json.dumps({"ids": list(range(1, 1002))}).encode()),
    ],
)
def test_bad_bodies_of_json(served: Served, body: bytes) -> None:
    reply = served.request("POST", "/api/duplicates/different", body, {"content-type": "application/json"})
    assert reply.status in (400, 404, 422), reply.body
    assert set(reply.json) == {"error", "hint"}


def test_slow_clients_do_not_hold_up_others(served: Served) -> None:
    """Forty that send a byte now and then are left, while one that asks is answered."""
    begun = f'{POST % 5000}--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'.encode()
    slow = [socket.create_connection(("127.0.0.1", served.port), timeout=60) for _ in range(40)]
    try:
        for connection in slow:
            connection.sendall(begun)
        ended = threading.Event()

        def trickle() -> None:
            while not ended.wait(0.3):
                for connection in slow:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        sender = threading.Thread(target=trickle)
        sender.start()
        assert upload(served, originals()[0]).status == 200
        replies = [connection.recv(4096) for connection in slow]
        ended.set()
        sender.join()
    finally:
        for connection in slow:
            connection.close()
    assert all(reply.startswith(b"HTTP/1.1 408") for reply in replies)


def test_clients_that_leave_are_forgotten(served: Served) -> None:
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'.encode()
    head = POST % 100000
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
    time.sleep(0.2)
    assert upload(served, originals()[0]).status == 200
    assert served.get("/metrics").status == 200


def test_two_who_tell_photos_apart_at_once_are_both_heard(served: Served) -> None:
    ids = [photo["id"] for photo in served.get("/api/photos").json["photos"]]
    bodies = [json.dumps({"ids": pair, "different": True}).encode() for pair in pairwise(ids)]
    kind = {"content-type": "application/json"}
    with ThreadPoolExecutor(8) as threads:
        replies = list(
            threads.map(lambda body: served.request("POST", "/api/duplicates/different", body, kind), bodies)
        )
    assert [reply.status for reply in replies] == [200] * len(bodies)
    for body in bodies:
        undone = body.replace(b"true", b"false")
        assert served.request("POST", "/api/duplicates/different", undone, kind).status == 200
