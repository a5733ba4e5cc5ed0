"""The API of `fc7 serve`: the same answers as the commands give, for many clients and a changing index."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs the extra web")
from web_photos import COLOURED, make_photos
from web_server import Served, serving

from cli import main
from web import assets
from web.settings import Settings


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("web") / "photos")


@pytest.fixture(scope="module")
def command(photos: Path, tiny_model: Path) -> Callable[..., Result]:
    where = {"FC7_MODEL": str(tiny_model), "FC7_INDEX": str(photos.parent / "index")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=where)


@pytest.fixture(scope="module")
def served(photos: Path, command: Callable[..., Result]) -> Iterator[Served]:
    assert command("index", photos).exit_code == 0
    with serving(Settings(photos.parent / "index")) as server:
        yield server


def ids_of(served: Served) -> dict[str, int]:
    return {Path(photo["path"]).name: photo["id"] for photo in served.get("/api/photos").json["photos"]}


def test_a_photo_is_named_as_by_the_command(served: Served, photos: Path, command: Callable[..., Result]) -> None:
    path = photos / "red-0.png"
    told = json.loads(command("classify", path, "--format", "json").stdout)
    reply = served.post("/api/classify", files=[("photo", "red-0.png", path.read_bytes())])
    assert reply.status == 200
    assert reply.json["path"] == "red-0.png"
    assert reply.json["predictions"] == told[0]["predictions"]
    assert reply.json["terms"] == told[0]["terms"] == told[0]["predictions"][:1]  # likely enough
    black = io.BytesIO()
    Image.new("RGB", (64, 64)).save(black, "PNG")  # no colour is the strongest
    assert served.post("/api/classify", files=[("photo", "black.png", black.getvalue())]).json["terms"] == []


def test_a_photo_of_the_index_has_terms_too(served: Served, photos: Path) -> None:
    id = ids_of(served)["red-0.png"]
    told = served.post("/api/classify", files=[("photo", "a.png", (photos / "red-0.png").read_bytes())]).json
    assert served.get(f"/api/photos/{id}").json["terms"] == told["terms"]
    page = served.get(f"/photos/{id}").body.decode()
    assert page.count(">red</a>") == 1
    assert "?</a>" not in page


@pytest.mark.parametrize("way", ["photo", "ids"])
def test_a_search_answers_as_the_command(
    way: str, served: Served, photos: Path, command: Callable[..., Result]
) -> None:
    path = photos / "green-1.png"
    [told] = json.loads(command("search", path, "-k", 4, "--format", "json").stdout)
    by_id = way == "ids"
    fields = [("k", 4), *([("ids", ids_of(served)["green-1.png"])] if by_id else [])]
    reply = served.post("/api/search", fields, [] if by_id else [("photo", "green-1.png", path.read_bytes())])
    assert reply.status == 200
    found = reply.json["results"]
    assert [one["path"] for one in found] == [one["path"] for one in told["results"]]
    # What is uploaded is not rounded as what is stored is.
    close = 1e-3 if way == "photo" else 1e-6
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in told["results"]], abs=close)
    assert found[0]["path"] == str(path)
    assert set(told["results"][0]) <= set(found[0])


def test_labels_folders_and_least_scores_narrow_a_search(served: Served, photos: Path) -> None:
    red = served.post("/api/search", [("label", "red"), ("min_score", 0.4)]).json["results"]
    names = {"red-0.png", "red-1.png", "red-2.png", "copy.png"}
    assert {Path(found["path"]).name for found in red} == names
    id = ids_of(served)["red-0.png"]
    below = served.post("/api/search", [("ids", id), ("folder", photos / "below")]).json["results"]
    assert [Path(found["path"]).parent for found in below] == [photos / "below"]
    near = served.post("/api/search", [("ids", id), ("min_score", 0.999)]).json["results"]
    assert {Path(found["path"]).name for found in near} == {"red-0.png", "copy.png"}
    once = served.post("/api/search", [("ids", id), ("collapse", "true"), ("k", 30)]).json["results"]
    assert "red-0.png" not in {Path(found["path"]).name for found in once}


def test_several_photos_are_one_query_and_unlike_ones_come_late(served: Served) -> None:
    ids = ids_of(served)
    fields = [("ids", ids["red-0.png"]), ("ids", ids["green-0.png"]), ("k", 30)]
    plain = served.post("/api/search", fields).json
    assert " + " in plain["query"]
    without = served.post("/api/search", [*fields, ("unlike", ids["green-0.png"])]).json

    def green(answer: dict[str, list[dict[str, str]]]) -> list[int]:
        return [place for place, one in enumerate(answer["results"]) if "green" in one["path"]]

    assert sum(green(without)) > sum(green(plain))


def test_a_region_is_looked_for_as_if_it_had_been_cut_out(served: Served, photos: Path) -> None:
    with Image.open(photos / "red-2.png") as one, Image.open(photos / "blue-2.png") as other:
        both = Image.new("RGB", (128, 64))
        both.paste(one, (0, 0))
        both.paste(other, (64, 0))
    file = io.BytesIO()
    both.save(file, "PNG")
    for x, name in ((0, "red-2.png"), (64, "blue-2.png")):
        fields = [("region", f"{x},0,64,64"), ("k", 1)]
        [found] = served.post("/api/search", fields, [("photo", "both.png", file.getvalue())]).json["results"]
        assert Path(found["path"]).name == name
        assert found["score"] > 0.999
    outside = served.post("/api/search", [("region", "100,0,64,64")], [("photo", "both.png", file.getvalue())])
    assert outside.status == 422
    assert "does not lie inside" in outside.json["error"]


def test_pages_have_every_photo_once_by_id(served: Served, photos: Path) -> None:
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = served.get(f"/api/photos?limit=2&after={after}").json
        seen += [photo["id"] for photo in page["photos"]]
        after = page["next"]
    assert seen == sorted(ids_of(served).values())
    below = served.get(f"/api/photos?folder={photos / 'below'}").json["photos"]
    assert [Path(photo["path"]).name for photo in below] == ["copy.png"]


def test_a_thumbnail_is_upright_kept_by_browsers_and_without_metadata(served: Served) -> None:
    photo = served.get(f"/api/photos/{ids_of(served)['turned.jpg']}").json
    assert (photo["width"], photo["height"]) == (300, 600)
    assert photo["facts"]["Camera"] == "Maker Model"
    reply = served.get(photo["thumbnail"])
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
    assert "immutable" in reply.headers["cache-control"]
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.height == 360 == 2 * image.width
        assert not image.getexif()
    again = served.get(photo["thumbnail"], {"if-none-match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert "immutable" not in served.get(f"/api/thumbnails/{photo['id']}").headers["cache-control"]
    with Image.open(io.BytesIO(served.get(photo["preview"]).body)) as image:
        assert image.size == (300, 600)


def test_copies_are_found_and_what_is_different_is_remembered(served: Served) -> None:
    reply = served.get("/api/duplicates?like=exact")
    for _ in range(60):
        if reply.status != 202:
            break
        reply = served.get("/api/duplicates?like=exact")
    [group] = reply.json["groups"]
    ids = [photo["id"] for photo in group["photos"]]
    assert {Path(photo["path"]).name for photo in group["photos"]} == {"red-0.png", "copy.png"}
    for different, left in ((True, 0), (False, 1)):
        body = json.dumps({"ids": ids, "different": different}).encode()
        told = served.request("POST", "/api/duplicates/different", body, {"content-type": "application/json"})
        assert told.status == 200
        reply = served.get("/api/duplicates?like=exact")
        while reply.status == 202:
            reply = served.get("/api/duplicates?like=exact")
        assert reply.json["total"] == left


def test_labels_health_metrics_and_the_description(served: Served) -> None:
    assert [label["label"] for label in served.get("/api/labels").json["labels"]] == ["red", "green", "blue"]
    assert served.get("/api/health").json == {"status": "ok"}
    assert b'route="/api/labels"' in served.get("/metrics").body
    described = served.get("/openapi.json").json["paths"]
    assert {"/api/classify", "/api/search", "/api/photos/{id}", "/api/duplicates"} <= set(described)


def test_many_clients_get_their_own_answers_in_few_runs(served: Served, photos: Path) -> None:
    paths = sorted(photos.glob("*.png")) * 4
    with ThreadPoolExecutor(16) as threads:
        replies = list(
            threads.map(
                lambda path: served.post("/api/search", [("k", 1)], [("photo", path.name, path.read_bytes())]), paths
            )
        )
    for path, reply in zip(paths, replies, strict=True):
        assert reply.status == 200
        assert Path(reply.json["results"][0]["path"]).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_rebuilt_a_replaced_and_a_lost_index(tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    photos, index = make_photos(tmp_path / "photos"), tmp_path / "index"

    def fill(folder: Path, model: Path, *options: str) -> None:
        given = ["index", str(photos), "--index", str(folder), "-m", str(model), *options]
        assert CliRunner().invoke(main, given).exit_code == 0

    upload = [("photo", "red-1.png", (photos / "red-1.png").read_bytes())]
    fill(index, tiny_model)
    with serving(Settings(index)) as served:

        def found() -> str:
            reply = served.post("/api/search", [("k", 1)], upload)
            assert reply.status == 200, reply.body
            return Path(reply.json["results"][0]["path"]).name

        assert found() == "red-1.png"
        fill(index, other_model, "--rebuild")  # in place, with a model of other vectors
        assert found() == "red-1.png"
        fill(tmp_path / "new", tiny_model)  # other files in its place
        shutil.rmtree(index)
        os.rename(tmp_path / "new", index)
        assert found() == "red-1.png"
        shutil.rmtree(index)
        gone = served.post("/api/search", [("k", 1)], upload)
        assert gone.status == 503
        assert "There is no index" in gone.json["error"]
        fill(index, tiny_model)
        assert found() == "red-1.png"


def test_the_photos_are_what_the_tests_say(photos: Path) -> None:
    assert {path.name for path in photos.iterdir() if path.suffix == ".png"} == set(COLOURED)


def test_the_pages_are_whole_and_ask_no_other_host(served: Served) -> None:
    id = ids_of(served)["turned.jpg"]
    for path in ("/", f"/photos/{id}", "/duplicates", "/docs", "/login"):
        page = served.get(path)
        assert page.status == 200, path
        text = page.body.decode()
        assert "<script>" not in text
        assert " style=" not in text
        named = re.findall(r'(?:src|href)="(/(?:static|api)/[^"]*)"', text)
        assert named
        for address in named:
            assert served.get(address.replace("&amp;", "&")).status == 200, address
    assert "Maker Model" in served.get(f"/photos/{id}").body.decode()
    for file in (Path(__file__).parent.parent / "web" / "static").iterdir():
        assert "://" not in file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    described = served.get("/docs").body.decode()
    assert "<code>min_score</code>" in described  # a field of a form
    assert "<code>limit</code>" in described  # one of an address
    assert "`" not in described
    missing = served.get("/photos/999999", {"accept": "text/html"})
    assert missing.status == 404
    assert "There is no photo 999999" in missing.body.decode()


def test_scripts_are_kept_by_browsers_under_an_address_that_changes_with_them(served: Served) -> None:
    page = served.get("/").body.decode()
    named = re.findall(r'(?:src|href)="(/static/[^"]*)"', page)
    assert {address.rpartition("/")[0] for address in named} == {assets.address()}
    for address in named:
        reply = served.get(address)
        assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert reply.body == (assets.FOLDER / address.rpartition("/")[2]).read_bytes()
        kind = "text/css" if address.endswith(".css") else "text/javascript"
        assert reply.headers["content-type"].startswith("image/svg+xml" if address.endswith(".svg") else kind)


def test_the_same_upload_is_looked_at_once(served: Served, photos: Path) -> None:
    def runs() -> float:
        counters = served.get("/metrics").body.decode()
        [count] = re.findall(r"^fc7_batch_pictures_sum (.*)$", counters, re.MULTILINE)
        return float(count)

    before = runs()
    data = (photos / "red-1.png").read_bytes() + b"once"  # what follows a picture is not looked at
    asked: list[tuple[str, list[tuple[str, object]]]] = [
        ("/api/classify", []),
        ("/api/search", [("k", 3)]),
        ("/api/search", [("k", 5), ("region", "0,0,9,9")]),
    ]
    replies = [served.post(path, fields, [("photo", "x", data)]) for path, fields in [*asked, *asked]]
    assert {reply.status for reply in replies} == {200}
    assert [reply.json for reply in replies[:3]] == [reply.json for reply in replies[3:]]
    assert runs() == before + 2  # the photo and its region
    for _ in range(2):  # what failed is tried again, and says the same
        assert served.post("/api/search", [], [("photo", "x", b"nothing")]).status == 422
