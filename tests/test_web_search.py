"""What `fc7 serve` finds by words, dates and labels of one's own, and what is where in a photo, as the commands do."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import helper
from PIL import Image
from PIL.ExifTags import IFD, Base

pytest.importorskip("fastapi", reason="the page needs the extra web")
from text_model import make_text_model
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from retrieval.models.spec import KEY_PREFIX
from web.settings import Settings

DATES = ("2018:12:31 23:59:59", "2019:07:14 12:33:01", "2019:07:31 23:59:59")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_photos(tmp_path_factory.mktemp("web") / "photos")
    for number, moment in enumerate(DATES):
        exif = Image.Exif()
        exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = moment
        Image.new("RGB", (64, 64), f"#{number + 6}00").save(folder / f"dated-{number}.jpg", exif=exif)
    return folder


@pytest.fixture(scope="module")
def command(photos: Path, tiny_model: Path) -> Callable[..., Result]:
    pytest.importorskip("tokenizers", reason="words need the extra text")
    model = make_text_model(photos.parent / "words.onnx", tiny_model)
    where = {"FC7_MODEL": str(model), "FC7_INDEX": str(photos.parent / "index")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=where)


@pytest.fixture(scope="module")
def served(photos: Path, command: Callable[..., Result]) -> Iterator[Served]:
    assert command("index", photos).exit_code == 0
    with serving(Settings(photos.parent / "index")) as server:
        yield server


def names(found: list[dict[str, str]]) -> list[str]:
    return [Path(photo["path"]).name for photo in found]


def id_of(served: Served, name: str) -> int:
    return next(
        int(photo["id"]) for photo in served.get("/api/photos").json["photos"] if Path(photo["path"]).name == name
    )


def test_words_find_what_the_command_finds(served: Served, command: Callable[..., Result]) -> None:
    [told] = json.loads(command("search", "green", "-k", 30, "--format", "json").stdout)
    reply = served.post("/api/search", [("text", "green"), ("k", 30)])
    assert reply.status == 200, reply.body
    assert reply.json["query"] == "green"
    assert [(one["path"], one["score"]) for one in reply.json["results"]] == [
        (one["path"], one["score"]) for one in told["results"]
    ]
    assert all("green" in name for name in names(reply.json["results"])[:3])
    assert served.get("/api/labels").json["text"] is True


def test_words_photos_and_uploads_are_one_query(served: Served, photos: Path, command: Callable[..., Result]) -> None:
    path = photos / "red-1.png"
    [told] = json.loads(command("search", path, "green", "--average", "-k", 30, "--format", "json").stdout)
    expected = [(one["path"], pytest.approx(one["score"], abs=1e-3)) for one in told["results"]]
    upload = served.post("/api/search", [("text", "green"), ("k", 30)], [("photo", "a.png", path.read_bytes())])
    by_id = served.post("/api/search", [("text", "green"), ("ids", id_of(served, "red-1.png")), ("k", 30)])
    for reply in (upload, by_id):
        assert [(one["path"], one["score"]) for one in reply.json["results"]] == expected
    [away] = json.loads(command("search", path, "--not", "red", "-k", 30, "--format", "json").stdout)
    reply = served.post("/api/search", [("unlike_text", "red"), ("ids", id_of(served, "red-1.png")), ("k", 30)])
    assert names(reply.json["results"]) == names(away["results"])


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ([("text", "  ")], 400, "there are no words to look for"),
        ([("text", "x" * 1001)], 422, "at most 1000 characters"),
        ([("unlike_text", "red")], 400, "send a photo, ids, a text or a label"),
        ([("unlike_text", "red"), ("label", "red")], 400, "unlike needs a photo, ids or a text"),
        ([("label", " ")], 400, "send a photo, ids, a text or a label"),
        ([("label", "x" * 1001)], 422, "at most 1000 characters"),
        ([("text", "red"), ("region", "0,0,5,5")], 400, "a region is one of a single photo"),
        ([("text", "red")] * 33, 400, "more than 32"),
        ([("label", "red"), ("since", "July")], 400, "July is no date"),
        ([("label", "red"), ("since", "2020"), ("until", "2019")], 400, "2020 is later than 2019"),
        ([("label", "red"), ("until", "9999")], 400, "too late"),
    ],
)
def test_what_cannot_be_looked_for(served: Served, fields: list[tuple[str, str]], status: int, error: str) -> None:
    reply = served.post("/api/search", fields)
    assert reply.status == status
    assert error in reply.json["error"]


def test_of_several_uploads_the_one_that_is_no_picture_is_named(served: Served, photos: Path) -> None:
    good = ("photo", "good.png", (photos / "red-0.png").read_bytes())
    reply = served.post("/api/search", files=[good, ("photo", "bad.jpg", b"x")])
    assert (reply.status, reply.json["error"]) == (422, "cannot look for bad.jpg: not a photo")


def test_words_without_a_text_half_are_refused(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = ["index", str(photos), "--index", str(tmp_path / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    with serving(Settings(tmp_path / "index")) as served:
        reply = served.post("/api/search", [("text", "green")])
        assert reply.status == 400
        assert "knows no words but its classes" in reply.json["error"]
        assert served.get("/api/labels").json["text"] is False
        assert b"data-text" not in served.get("/").body


def test_a_range_of_dates(served: Served) -> None:
    def listed(query: str) -> list[str]:
        return names(served.get(f"/api/photos?{query}").json["photos"])

    assert listed("since=2019-07&until=2019-07") == ["dated-1.jpg", "dated-2.jpg"]
    assert listed("until=2018") == ["dated-0.jpg"]
    assert listed("since=2019-07&until=2019-07&limit=1") == ["dated-1.jpg"]
    reply = served.post("/api/search", [("label", "red"), ("since", "2019-07-15")])
    assert names(reply.json["results"]) == ["dated-2.jpg"]
    reply = served.post("/api/search", [("ids", id_of(served, "dated-0.jpg")), ("until", "2019-07-14")])
    assert set(names(reply.json["results"])) == {"dated-0.jpg", "dated-1.jpg"}
    photo = served.get(f"/api/photos/{id_of(served, 'dated-1.jpg')}").json
    assert photo["taken"] == "2019-07-14T12:33:01"
    assert photo["facts"]["Taken"] == "2019-07-14 12:33:01"
    assert served.get("/api/photos?since=nonsense").status == 400
    assert served.get("/api/photos?since=2019-07-02&until=2019-07-01").status == 400
    assert served.get("/api/photos?since=2019-07&until=2019-07-01").status == 200
    page = served.get("/").body
    assert b'type="date" id="since"' in page
    assert b"not known yet" not in page


def test_labels_of_ones_own_are_named_listed_and_found(
    served: Served, photos: Path, command: Callable[..., Result]
) -> None:
    taught = command("label", "add", "Rex & Co", photos / "blue-0.png", photos / "blue-1.png")
    assert taught.exit_code == 0, taught.output
    try:
        [own] = served.get("/api/labels").json["own"]
        assert (own["label"], own["examples"]) == ("Rex & Co", 2)
        [told] = json.loads(command("search", "--label", "rex & co", "--format", "json", "-k", 3).stdout)
        found = served.post("/api/search", [("label", "rex & co"), ("k", 3)]).json["results"]
        assert [(one["path"], one["probability"]) for one in found] == [
            (one["path"], one["probability"]) for one in told["results"]
        ]
        path = photos / "blue-0.png"
        named = command("classify", path, "--index", photos.parent / "index", "--format", "json")
        expected = json.loads(named.stdout)[0]["predictions"]
        assert (expected[0]["label"], expected[0]["group"]) == ("Rex & Co", "own")
        reply = served.post("/api/classify", files=[("photo", "blue-0.png", path.read_bytes())])
        assert reply.json["predictions"] == [
            {**one, "probability": pytest.approx(one["probability"], abs=1e-3)} for one in expected
        ]
        id = id_of(served, "blue-0.png")
        assert served.get(f"/api/photos/{id}").json["predictions"][0]["label"] == "Rex & Co"
        page = served.get(f"/photos/{id}").body.decode()
        assert '<a href="/?label=Rex%20%26%20Co">Rex &amp; Co (own)</a>' in page
    finally:
        assert command("label", "remove", "Rex & Co").exit_code == 0
    assert served.get("/api/labels").json["own"] == []


def test_a_model_without_a_map_says_so(served: Served, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert served.get("/api/photos/999999/detections").status == 404
    model = onnx.load(tiny_model)
    scores = next(node for node in model.graph.node if "logits" in node.output)
    after = list(model.graph.node).index(scores) + 1
    scores.output[0] = "angles"
    model.graph.node.insert(after, helper.make_node("Sin", ["angles"], ["logits"]))  # which no map is made of
    onnx.save(model, tmp_path / "odd.onnx")
    given = ["index", str(photos), "--index", str(tmp_path / "index"), "-m", str(tmp_path / "odd.onnx")]
    assert CliRunner().invoke(main, given).exit_code == 0
    with serving(Settings(tmp_path / "index")) as other:
        reply = other.get(f"/api/photos/{id_of(other, 'red-0.png')}/detections")
    assert reply.status == 400
    assert "map" in reply.json["error"]


def test_a_model_without_classes_says_that_it_names_nothing(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    model.graph.output.remove(next(output for output in model.graph.output if output.name == "probabilities"))
    next(entry for entry in model.metadata_props if entry.key == f"{KEY_PREFIX}classes").value = "[]"
    onnx.save(model, tmp_path / "nameless.onnx")
    given = ["index", str(photos), "--index", str(tmp_path / "index"), "-m", str(tmp_path / "nameless.onnx")]
    assert CliRunner().invoke(main, given).exit_code == 0
    with serving(Settings(tmp_path / "index")) as other:
        id, data = id_of(other, "red-0.png"), (photos / "red-0.png").read_bytes()
        for reply in (
            other.get(f"/api/photos/{id}/detections"),
            other.post("/api/classify", files=[("photo", "a.png", data)]),
            other.post("/api/search", [("label", "red")]),
        ):
            assert reply.status == 400
            assert "has no classes" in reply.json["error"]
        assert other.get(f"/api/photos/{id}").json["predictions"] == []
        assert b"What is in it" not in other.get(f"/photos/{id}", {"accept": "text/html"}).body
        assert other.post("/api/search", files=[("photo", "a.png", data)]).json["results"]


def test_what_is_where_in_a_photo_is_what_the_command_tells(
    served: Served, photos: Path, command: Callable[..., Result]
) -> None:
    for name in ("red-0.png", "turned.jpg"):
        told = command("detect", photos / name, "--format", "json")
        assert told.exit_code == 0, told.output
        [expected] = json.loads(told.stdout)
        assert expected["detections"]
        id = id_of(served, name)
        for _ in range(2):  # the second time from what was kept
            reply = served.get(f"/api/photos/{id}/detections")
            assert (reply.status, reply.json) == (200, {"id": id, **expected})
