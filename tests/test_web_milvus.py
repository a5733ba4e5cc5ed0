"""`fc7 serve` with an index in Milvus answers as with one in a folder, and says what it cannot do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("fastapi", reason="the page needs the extra web")
from milvus_samples import lite
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.settings import Settings


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("web") / "photos")


@pytest.fixture(scope="module")
def command(photos: Path, tiny_model: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env={"FC7_MODEL": str(tiny_model)})


@pytest.fixture(scope="module")
def local(photos: Path, command: Callable[..., Result]) -> Iterator[Served]:
    assert command("index", photos, "--index", photos.parent / "index").exit_code == 0
    with serving(Settings(photos.parent / "index")) as server:
        yield server


@pytest.fixture(scope="module")
def remote(photos: Path, command: Callable[..., Result], tiny_model: Path) -> Iterator[Served]:
    done = command("index", photos, "--index", lite(photos.parent))
    assert done.exit_code == 0, done.output
    with serving(Settings(lite(photos.parent), tiny_model)) as server:
        yield server


def results_of(served: Served, path: Path, *fields: tuple[str, object]) -> list[tuple[str, float]]:
    reply = served.post("/api/search", fields, files=[("photo", path.name, path.read_bytes())])
    assert reply.status == 200, reply.body
    return [(found["path"], found["score"]) for found in reply.json["results"]]


def test_search_and_filters_answer_as_in_a_folder(local: Served, remote: Served, photos: Path) -> None:
    asked = photos / "red-0.png"
    for fields in ([], [("folder", str(photos))], [("label", "red")], [("k", 3), ("collapse", "true")]):
        found = results_of(remote, asked, *fields)
        assert found == results_of(local, asked, *fields)
        assert found
    refused = remote.post("/api/search", [("folder", "/etc")], files=[("photo", "a.png", asked.read_bytes())])
    assert (refused.status, "is not in the index" in refused.json["error"]) == (404, True)


def test_the_gallery_lists_all_photos_with_their_names(local: Served, remote: Served) -> None:
    listed = [[photo["path"] for photo in served.get("/api/photos").json["photos"]] for served in (local, remote)]
    assert sorted(listed[0]) == sorted(listed[1])
    [one] = remote.get("/api/photos?limit=1").json["photos"]
    facts = remote.get(f"/api/photos/{one['id']}").json
    assert facts["predictions"]
    assert remote.get(one["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert remote.get("/api/thumbnails/99999").status == 404
    assert remote.get("/", {"accept": "text/html"}).status == remote.get("/folders").status == 200
    state = remote.get("/api/indexing").json
    assert [folder["photos"] for folder in state["folders"]] == [len(listed[0])]


def test_copies_are_found(local: Served, remote: Served) -> None:
    groups = []
    for served in (local, remote):
        while (reply := served.get("/api/duplicates?like=exact")).status == 202:
            pass
        groups.append([[photo["path"] for photo in group["photos"]] for group in reply.json["groups"]])
    assert groups[0] == groups[1]


def test_what_cannot_be_had_is_said_in_one_line(remote: Served) -> None:
    for reply in (remote.get("/api/map"), remote.get("/map")):
        assert (reply.status, reply.json["error"]) == (400, "there is no map of an index in Milvus")
    body = b'{"ids": [1, 2], "different": true}'
    reply = remote.request("POST", "/api/duplicates/different", body, {"content-type": "application/json"})
    assert (reply.status, "does not keep what people say" in reply.json["error"]) == (400, True)
