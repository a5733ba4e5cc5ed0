"""Photos in object storage, on real servers on loopback: indexed, searched and checked as those in a folder are."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from shard_samples import contents
from store_server import SERVERS, StoreServer, running

from index.object_path import ObjectPath
from index.photo_index import PhotoIndex
from retrieval.photos import object_storage
from retrieval.photos.object_storage import why_no_folder
from retrieval.photos.scan import scan_folder

pytestmark = pytest.mark.slow
pytest.importorskip("pyarrow.fs", reason="object storage needs pyarrow")
Fc7 = Callable[..., Result]
PHOTOS = 12


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with running(tmp_path_factory.mktemp(request.param), request.param) as started:
        yield started


@pytest.fixture
def store(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    object_storage.file_system.cache_clear()
    yield server
    object_storage.file_system.cache_clear()


@pytest.fixture
def folder(make_photo: Callable[..., Path], tmp_path: Path) -> Path:
    """Photos in folders, a copy, one that is none, and what is left out."""
    for number in range(PHOTOS):
        make_photo(f"photos/{number % 3}/{number} é@?#%.png", seed=number)
    folder = tmp_path / "photos"
    (folder / "copy.png").write_bytes((folder / "0/0 é@?#%.png").read_bytes())
    (folder / "none.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_bytes(b"text")
    for left_out in (".hidden/a.png", "@eaDir/a.png", "1/left/a.png"):
        (folder / left_out).parent.mkdir()
        (folder / left_out).write_bytes(b"left out")
    (folder / "1/.fc7ignore").write_text("left/\n")
    return folder


def upload(store: StoreServer, folder: Path, name: str) -> ObjectPath:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.put(f"{name}/{file.relative_to(folder)}", file.read_bytes())
    return ObjectPath(f"{store.scheme}://photos/{name}")


def test_what_is_listed_is_what_a_folder_has(store: StoreServer, folder: Path) -> None:
    url = upload(store, folder, "listed")
    here, there = (scan_folder(place, patterns=["2/"]) for place in (folder, url))
    assert list(there.photos) == list(here.photos)
    assert [stamp.size for stamp in there.photos.values()] == [stamp.size for stamp in here.photos.values()]
    assert (there.unlisted, there.left_out) == (here.unlisted, here.left_out) == ({}, True)
    below = [scan_folder(place / "1", root=place) for place in (folder, url)]
    assert list(below[0].photos) == list(below[1].photos) != []


def test_of_a_library_only_originals_are_listed(store: StoreServer) -> None:
    for name in ("originals/a.png", "resources/b.png"):
        store.put(f"Mine.photoslibrary/{name}", b"x")
    assert [*scan_folder(ObjectPath(f"{store.scheme}://photos/Mine.photoslibrary")).photos] == [b"originals/a.png"]


def test_the_index_is_that_of_the_same_photos_in_a_folder(
    store: StoreServer, folder: Path, fc7: Fc7, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    url = upload(store, folder, "same")
    model = ["-m", tiny_model]
    usual, remote = ["--index", tmp_path / "usual"], ["--index", tmp_path / "remote"]
    assert fc7("index", folder, *model, *usual).exit_code == 0
    result = fc7("index", str(url), *model, *remote)
    assert result.exit_code == 0, result.output
    assert str(url) in result.output
    expected, found = (contents(tmp_path / name) for name in ("usual", "remote"))
    assert len(found) == len(expected) == PHOTOS + 2
    for here, there in zip(expected, found, strict=True):
        assert there[0] == str(url).encode()
        assert here[1:3] + here[4:9] == there[1:3] + there[4:9]  # all but the time of the upload
        if here[9] is not None:
            one, other = (np.frombuffer(row[9], "<f2").astype(np.float32) for row in (here, there))
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)

    again = fc7("index", *remote)
    assert f"{PHOTOS + 1}  unchanged" in again.output
    name = f"{url}/0/0 é@?#%.png"
    answer = fc7("search", name, *remote, "-k", "3")
    assert answer.exit_code == 0, answer.output
    assert f"1.000  {url}/copy.png" in answer.output
    checked = fc7("check", *remote)
    assert checked.exit_code == 0, checked.output

    sheet = tmp_path / "sheet.png"
    drawn = fc7("search", name, *remote, "--sheet", sheet)
    assert drawn.exit_code == 0, drawn.output
    with Image.open(sheet) as picture:
        assert picture.width > 100
    assert fc7("search", name, "--mirror", *remote).exit_code == 0
    assert str(url) in fc7("info", tmp_path / "remote").output
    assert fc7("classify", name, *model).exit_code == 0
    for folders in ([], [str(url)]):
        assert f"{url}/copy.png" in fc7("duplicates", *folders, *remote).output
    assert fc7("label", "add", "mine", name, *remote).exit_code == 0
    rebuilt = fc7("index", "--rebuild", *remote, "-m", other_model)
    assert rebuilt.exit_code == 0, rebuilt.output
    with PhotoIndex.open(tmp_path / "remote") as opened:
        assert [example.path for example in opened.own_labels.examples("mine")] == [ObjectPath(name)]
    refused = fc7("duplicates", *remote, "--move-to", tmp_path / "moved", "--yes")
    assert "is in object storage, where fc7 moves nothing" in refused.output


def test_a_photo_is_served_with_its_url(
    store: StoreServer, folder: Path, fc7: Fc7, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="the page needs the extra web")
    from web_server import serving

    from web.settings import Settings

    url = upload(store, folder / "0", "served")
    assert fc7("index", str(url), "-m", tiny_model, "--index", tmp_path / "index").exit_code == 0
    with serving(Settings(tmp_path / "index")) as server:
        facts = server.get("/api/photos/1").json
        assert facts["path"].startswith(f"{url}/")
        assert not facts["missing"]
        page = server.get("/photos/1").body.decode()
        assert f"{url}<" in page
        store.delete("served/" + Path(facts["path"]).name)
        assert server.get("/api/photos/1").json["missing"]


def test_what_changes_is_followed(store: StoreServer, folder: Path, fc7: Fc7, tiny_model: Path, tmp_path: Path) -> None:
    url = upload(store, folder, "changes")
    index = ["--index", tmp_path / "index"]
    assert fc7("index", str(url), "-m", tiny_model, *index).exit_code == 0
    store.delete("changes/copy.png")
    store.put("changes/new/copy.png", (folder / "copy.png").read_bytes())
    store.put("changes/none.jpg", (folder / "1/1 é@?#%.png").read_bytes())
    result = fc7("index", *index)
    assert "1  moved" in result.output or "1  copied" in result.output, result.output
    assert "1  changed" in result.output
    assert "skipped" not in result.output
    store.delete("changes/new/copy.png")
    found = fc7("search", "--within", f"{url}/new", *index, f"{url}/0/0 é@?#%.png", "--format", "json")
    [answer] = json.loads(found.output)
    assert [result["missing"] for result in answer["results"]] == [True]
    assert f"1 photo of {url} is not there any more" in fc7("check", *index).output
    assert fc7("forget", f"{url}/new", *index).exit_code == 0


def test_a_folder_that_moved_is_found(
    store: StoreServer, folder: Path, fc7: Fc7, tiny_model: Path, tmp_path: Path
) -> None:
    old, new = (ObjectPath(f"{store.scheme}://photos/{name}") for name in ("old", "new"))
    index = ["--index", tmp_path / "index"]
    photo = (folder / "copy.png").read_bytes()
    store.put("old/a.png", photo)
    assert fc7("index", str(old), "-m", tiny_model, *index).exit_code == 0
    store.delete("old/a.png")
    store.put("new/b.png", photo)
    assert f"{new} has none of the photos that were in {old}" in fc7("moved", str(old), str(new), *index).output
    store.put("new/a.png", photo)
    assert fc7("moved", str(old), str(new), *index).exit_code == 0
    assert "1  unchanged" in fc7("index", *index).output
    refused = fc7("search", str(new), "--box", "0,0,8,8", *index)
    assert "a box is a region of one photo" in refused.output


def test_keys_that_are_no_paths_are_told(store: StoreServer, fc7: Fc7, tiny_model: Path, tmp_path: Path) -> None:
    store.put("odd/a//b.png", b"x")
    store.put("odd/c.png", b"x")
    assert scan_folder(ObjectPath(f"{store.scheme}://photos/odd")).unlisted == {b"a//b.png": "its key is no path"}


def test_one_line_says_what_is_wrong(
    store: StoreServer, fc7: Fc7, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ["-m", tiny_model, "--index", tmp_path / "index"]
    at = f"{store.scheme}://"
    for url, reason in {
        f"{at}elsewhere/photos": f"{at}elsewhere/photos cannot be indexed: there is no such bucket",
        f"{at}photos/nothing": f"{at}photos/nothing cannot be indexed: there is nothing below it",
        f"{at}key:secret@photos/x": "its server and keys are those of the environment",
        f"{at}key:not/told@photos/x": "its server and keys are those of the environment",
        f"{at}photos/x?region=eu": "its server and keys are those of the environment",
        at: "name a place in object storage as s3://BUCKET/FOLDER",
    }.items():
        result = fc7("index", url, *index)
        assert result.exit_code != 0
        assert reason in result.output
        assert result.output.splitlines()[-1].startswith("Error: ")
        assert "secret" not in result.output
        assert "told" not in result.output
    for url in (f"{at}key:secret@photos/x", f"{at}key:not/told@photos/x", f"{at}photos?region=eu/x"):
        assert why_no_folder(ObjectPath(url)) == "server and keys are those of the environment, and not in a URL"
    store.put("watch/a.png", b"x")
    assert "cannot be watched" in fc7("index", f"{at}photos/watch", "--watch", *index).output
    assert not (tmp_path / "index").exists()


def test_a_server_that_went_away_costs_nothing(
    store: StoreServer, folder: Path, fc7: Fc7, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upload(store, folder, "away")
    index = ["--index", tmp_path / "index"]
    assert fc7("index", str(url), "-m", tiny_model, *index).exit_code == 0
    before = contents(tmp_path / "index")
    monkeypatch.setenv(store.endpoint, "http://127.0.0.1:1")
    monkeypatch.setattr(object_storage, "SECONDS", 2)
    object_storage.file_system.cache_clear()
    result = fc7("index", *index)
    assert "its photos stay indexed" in result.output
    assert contents(tmp_path / "index") == before
    # What it knows is still searched.
    found = fc7("search", f"{url}/0/0 é@?#%.png", *index, "-k", "3")
    assert "copy.png" in found.output, found.output
    with PhotoIndex.open(tmp_path / "index") as opened:
        assert opened.roots() == [url]
