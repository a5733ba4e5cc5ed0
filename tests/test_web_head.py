"""HEAD is answered wherever GET is: with the same head, and nothing after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.assets import address
from web.settings import Settings

SENT_AT = ("date", "connection")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("head")
    given = ["index", str(make_photos(folder / "photos")), "--index", str(folder / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    with serving(Settings(folder / "index", decode_seconds=120)) as server:
        yield server


def test_a_head_is_that_of_the_whole_answer(served: Served) -> None:
    photo = served.get("/api/photos").json["photos"][0]
    pages = ["/", "/map", "/duplicates", "/folders", "/docs", "/login", f"/photos/{photo['id']}", "/photos/999999"]
    data = ["/api/photos", "/api/labels", "/api/health", photo["thumbnail"], f"{address()}/api.js", "/nothing"]
    for path in [*pages, *data]:
        whole, head = served.get(path), served.request("HEAD", path)
        assert head.status == whole.status, path
        assert head.body == b""
        told = [
            {name: value for name, value in reply.headers.items() if name not in SENT_AT} for reply in (whole, head)
        ]
        assert told[0] == told[1]
    stream = served.request("HEAD", "/api/indexing/events")
    assert (stream.status, stream.headers["content-type"], stream.body) == (
        200,
        "text/event-stream; charset=utf-8",
        b"",
    )
    counted = served.get("/metrics").body.decode()
    assert 'fc7_requests_total{method="HEAD",route="/map",status="200"} 1.0' in counted


def test_a_head_of_what_is_only_posted_is_refused(served: Served) -> None:
    assert served.request("HEAD", "/api/search").status == 405
