"""The map of `fc7 serve`: the places of all photos, as the command lays them out, and as the index is now."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from index.photo_index import PhotoIndex
from retrieval.overview.layout import layout_of
from web.assets import address
from web.settings import Settings

Command = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def command(photos: Path, tiny_model: Path) -> Command:
    where = {"FC7_MODEL": str(tiny_model), "FC7_INDEX": str(photos.parent / "index")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=where)


@pytest.fixture
def served(photos: Path, command: Command) -> Iterator[Served]:
    assert command("index", photos).exit_code == 0
    with serving(Settings(photos.parent / "index")) as server:
        yield server


def test_places_are_those_of_the_layout_until_the_index_changes(served: Served, photos: Path, command: Command) -> None:
    reply = served.get("/api/map")
    assert reply.status == 200
    told = dict(zip(reply.json["ids"], map(tuple, reply.json["places"]), strict=True))
    with PhotoIndex.open(photos.parent / "index") as index:
        layout = layout_of(index)
    assert set(told) == set(layout.ids.tolist())
    for id, place in zip(layout.ids.tolist(), layout.places.tolist(), strict=True):
        assert told[id] == pytest.approx(place, abs=1e-4)
    same = served.get("/api/map", {"if-none-match": str(reply.headers["etag"])})
    assert (same.status, same.body) == (304, b"")
    (photos / "red-0.png").unlink()
    assert command("index", photos).exit_code == 0
    other = served.get("/api/map", {"if-none-match": str(reply.headers["etag"])})
    assert other.status == 200
    assert len(other.json["ids"]) == len(told) - 1


def test_some_photos_are_told_without_those_that_are_gone(served: Served) -> None:
    ids = served.get("/api/map").json["ids"]
    asked = "&".join(f"ids={id}" for id in [*ids[:3], ids[0], 2**40])
    photos = served.get(f"/api/map/photos?{asked}").json["photos"]
    assert [photo["id"] for photo in photos] == sorted(ids[:3])
    assert served.get(photos[0]["thumbnail"]).headers["content-type"] == "image/jpeg"
    for bad in ("", "?ids=0", "?ids=x", "?" + "&".join(["ids=1"] * 501)):
        assert served.get(f"/api/map/photos{bad}").status == 422


def test_the_page_is_there_and_linked(served: Served) -> None:
    page = served.get("/map", {"accept": "text/html"})
    assert page.status == 200
    assert b'<a href="/map" aria-current="page">Map</a>' in page.body
    assert b"style=" not in page.body  # which the policy for browsers forbids
    assert b'href="/map"' in served.get("/", {"accept": "text/html"}).body
    for name in ("map.js", "map.css"):
        assert served.get(f"{address()}/{name}").status == 200


def test_an_index_without_photos_has_an_empty_map(served: Served, photos: Path, command: Command) -> None:
    for path in [*photos.rglob("*.png"), *photos.rglob("*.jpg")]:
        path.unlink()
    (photos / "text.png").write_text("no picture")
    command("forget", photos / "below")
    command("index", photos)
    assert served.get("/api/map").json == {"ids": [], "places": []}
