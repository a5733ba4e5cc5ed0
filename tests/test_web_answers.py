"""Each answer of the API has the shape that its OpenAPI description promises, and nothing else is in it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs the extra web")
from pydantic import BaseModel, ValidationError
from web_photos import make_photos
from web_server import Reply, Served, serving

from cli import main
from web import answers
from web.settings import Settings


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("answers") / "photos")


@pytest.fixture(scope="module")
def served(photos: Path, tiny_model: Path) -> Iterator[Served]:
    place = ["--index", str(photos.parent / "index"), "-m", str(tiny_model)]
    for words in (
        ["index", str(photos)],
        ["label", "add", "Rex", str(photos / "red-1.png"), "--not", str(photos / "blue-1.png")],
    ):
        result = CliRunner().invoke(main, [*words, *place])
        assert result.exit_code == 0, result.output
    with serving(Settings(photos.parent / "index", decode_seconds=120)) as server:
        yield server


def check(shape: type[BaseModel], reply: Reply, status: int = 200) -> None:
    """Read an answer strictly, by the status that it has."""
    assert reply.status == status, reply.body
    shape.model_validate_json(reply.body, strict=True)


def test_answers_are_as_described(served: Served, photos: Path) -> None:
    red = ("photo", "red.png", (photos / "red-0.png").read_bytes())
    ids = [photo["id"] for photo in served.get("/api/photos").json["photos"]]
    check(answers.Classified, served.post("/api/classify", files=[red]))
    check(answers.Search, served.post("/api/search", [("ids", ids[0]), ("k", 20)]))
    check(answers.Search, served.post("/api/search", [("label", "red")]))
    check(answers.Page, served.get("/api/photos?limit=2"))
    check(answers.Page, served.get(f"/api/photos?after={ids[-1]}"))
    check(answers.PhotoFacts, served.get(f"/api/photos/{ids[0]}"))
    check(answers.Labels, served.get("/api/labels"))
    check(answers.Folders, served.get("/api/folders"))
    check(answers.Health, served.get("/api/health"))
    check(answers.Map, served.get("/api/map"))
    check(answers.Photos, served.get(f"/api/map/photos?ids={ids[0]}"))
    while (reply := served.get("/api/duplicates")).status == 202:
        check(answers.Comparing, reply, 202)
    check(answers.Groups, reply)
    for different in (True, False):
        body = json.dumps({"ids": ids[:2], "different": different}).encode()
        told = served.request("POST", "/api/duplicates/different", body, {"content-type": "application/json"})
        check(answers.Different, told)


def test_what_is_said_of_a_run_is_as_described(served: Served, photos: Path) -> None:
    check(answers.Stopped, served.request("POST", "/api/indexing/stop", b""))
    check(answers.IndexingState, served.get("/api/indexing"))
    (photos / "broken.png").write_text("no picture")
    (photos / "film.mov").write_bytes(b"\0")
    Image.new("RGB", (50, 50), "white").save(photos / "new.png")
    check(answers.IndexingRun, served.request("POST", "/api/indexing", b""), 202)
    while served.get("/api/indexing").json["run"]["state"] == "running":
        check(answers.IndexingState, served.get("/api/indexing"))
        time.sleep(0.05)
    state = served.get("/api/indexing")
    check(answers.IndexingState, state)
    assert (state.json["run"]["state"], state.json["skipped_count"]) == ("done", 1)
    check(answers.Stopped, served.request("POST", "/api/indexing/stop", b""))


def test_another_shape_is_found() -> None:
    with pytest.raises(ValidationError):
        answers.Health.model_validate_json('{"status": "ok", "more": 1}', strict=True)


def test_every_answer_has_a_schema(served: Served) -> None:
    for path, methods in served.get("/openapi.json").json["paths"].items():
        for method, operation in methods.items():
            for status, told in operation["responses"].items():
                for kind, content in told["content"].items():
                    assert kind != "application/json" or content["schema"], (method, path, status)
