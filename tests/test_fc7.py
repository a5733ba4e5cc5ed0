"""The front door for Python: what it takes, what it gives back, and that its names stay."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fc7
from index.errors import ModelMismatchError
from index.index_writer import IndexWriter
from index.records import SkippedPhoto
from retrieval.indexing.index_folders import index_folders
from retrieval.indexing.update import open_for_model
from retrieval.models.model import Model

MakePhoto = Callable[..., Path]


def test_the_public_names_stay() -> None:
    assert fc7.__all__ == [
        *("Classification", "Embeddings", "Error", "FolderChanges", "Group"),
        *("Index", "Model", "Result", "load_model", "open_index"),
    ]
    assert all(
        is_dataclass(getattr(fc7, name))
        for name in ("Classification", "Embeddings", "FolderChanges", "Group", "Result")
    )
    public = {name for name in vars(fc7.Model) | vars(fc7.Index) if not name.startswith("_")}
    assert public == {
        *("classify", "embed", "embed_text", "name", "classes", "dim"),
        *("add", "search", "remove", "duplicates", "close", "folders", "model"),
    }


def test_importing_it_changes_nothing_outside() -> None:
    program = (
        "import os, signal, sys, warnings\nimport numpy\nfrom PIL import Image\n"
        "def state():\n"
        "    return {'pixels': Image.MAX_IMAGE_PIXELS, 'warnings': list(warnings.filters), 'folder': os.getcwd(),\n"
        "        'signals': [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)], **os.environ}\n"
        "before = state()\nimport fc7\nafter = state()\n"
        "print({name for name in before.keys() | after.keys() if before.get(name) != after.get(name)})\n"
        "print({'torch', 'onnx', 'onnxruntime', 'faiss', 'click'} & set(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert done.stdout.split() == ["set()", "set()"]


def test_paths_images_and_arrays_say_the_same(tiny_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("a.png")
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    model = fc7.load_model(tiny_model)
    found = model.classify([str(photo), photo, image, np.asarray(image)], k=2)
    assert [one.path for one in found] == [photo, photo, None, None]
    assert len({one.predictions for one in found}) == 1
    assert len(found[0].predictions) == 2
    assert found[0].to_dict()["predictions"][0] == {
        "label": found[0].predictions[0].label,
        "id": found[0].predictions[0].id,
        "probability": round(found[0].predictions[0].probability, 6),
    }
    [alone] = model.classify(image, k=2)
    assert alone == found[2]
    assert found[0].terms == found[0].predictions[:1]  # likely enough
    assert model.classify(np.zeros((64, 64, 3), np.uint8))[0].to_dict()["terms"] == []
    vectors = np.asarray(model.embed([photo, image]))
    assert vectors.shape == (2, model.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_folder_stands_for_its_photos_and_batches_keep_their_order(tiny_model: Path, make_photo: MakePhoto) -> None:
    photos = [make_photo(f"photos/{number:02}.png", seed=number) for number in range(40)]
    model = fc7.load_model(tiny_model)
    embedded = model.embed(photos[0].parent)
    assert list(embedded.paths) == photos
    alone = np.concatenate([model.embed(photo).vectors for photo in photos])
    np.testing.assert_allclose(embedded.vectors, alone, atol=1e-6)
    assert embedded.to_dict()["paths"][0] == str(photos[0])


def test_an_image_is_turned_upright_as_its_file_is(tiny_model: Path, tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    model = fc7.load_model(tiny_model)
    with Image.open(tmp_path / "a.png") as image:
        found = model.embed([tmp_path / "a.png", image]).vectors
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_image_that_is_opened_and_damaged_is_told_as_such(
    tiny_model: Path, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((90, 60), 40).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "a.jpg") as image, pytest.raises(fc7.Error, match="damaged JPEG"):
        fc7.load_model(tiny_model).embed(image)


def test_what_cannot_be_read_is_raised_or_listed(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    good, bad = make_photo("a.png"), tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    model = fc7.load_model(tiny_model)
    with pytest.raises(fc7.Error, match=r"bad\.jpg"):
        model.classify([good, bad])
    skipped: list[SkippedPhoto] = []
    assert [one.path for one in model.classify([bad, good], skipped=skipped)] == [good]
    assert [photo.path for photo in skipped] == [bad]
    assert len(model.embed([])) == 0
    with pytest.raises(TypeError, match="float64"):
        model.embed(np.zeros((4, 4, 3)))
    with pytest.raises(fc7.Error, match=r"none\.onnx"):
        fc7.load_model(tmp_path / "none.onnx")


def test_an_index_is_made_filled_searched_and_emptied(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photos = [make_photo(f"photos/{number}.png", seed=number) for number in range(4)]
    copy = photos[0].with_name("copy.png")
    copy.write_bytes(photos[0].read_bytes())
    with fc7.open_index(str(tmp_path / "index"), model=tiny_model) as index:
        assert len(index) == 0
        [changes] = index.add(str(photos[0].parent))
        assert (changes.new + changes.copied, changes.skipped) == (5, ())
        assert changes.to_dict()["folder"] == str(photos[0].parent)
        assert len(index) == 5
        assert index.folders == (photos[0].parent,)
        results = index.search(photos[1], k=3)
        assert results[0].path == photos[1]
        assert results[0].score == pytest.approx(1, abs=1e-3)
        with Image.open(photos[1]) as image:
            by_image = index.search(image, k=3)
            pixels = np.asarray(image.convert("RGB"))
        assert [one.path for one in by_image] == [one.path for one in results]
        assert index.search(pixels, k=1)[0].path == photos[1]
        label = index.model.classify(photos[2], k=1)[0].predictions[0].label
        assert photos[2] in {found.path for found in index.search(label=label)}
        assert {found.path for found in index.search(photos[2], label=label, within=photos[0].parent)} >= {photos[2]}
        groups = index.duplicates(likenesses=["exact"])
        assert [set(group.paths) for group in groups] == [{photos[0], copy}]
        assert index.remove(copy) == 1
        assert len(index) == 4
        assert index.add()[0].copied == 1
        with pytest.raises(TypeError, match="photo, a text or a label"):
            index.search()
        with pytest.raises(fc7.Error, match="no such thing"):
            index.search(label="no such thing")
        with pytest.raises(fc7.Error):
            index.search(tmp_path / "none.png")


def test_a_model_of_another_fingerprint_is_refused(
    tiny_model: Path, other_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    place, folder = tmp_path / "index", make_photo("photos/a.png").parent
    with fc7.open_index(place, model=tiny_model) as index:
        index.add(folder)
    with pytest.raises(fc7.Error, match=r"another model|was made with"):
        fc7.open_index(place, model=other_model)
    with fc7.open_index(place) as index:  # by default the one that it was made with
        assert index.model.name == fc7.load_model(tiny_model).name


def test_others_may_search_and_write_while_it_is_open(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    place, folder = tmp_path / "index", make_photo("photos/a.png").parent
    with fc7.open_index(place, model=tiny_model) as one, fc7.open_index(place) as other:
        one.add(folder)
        assert len(other) == 1
        make_photo("photos/b.png", seed=1)
        other.add()
        assert len(one) == 2
        assert len(one.search(folder / "b.png")) == 2
        with IndexWriter.open_to_edit(place), pytest.raises(fc7.Error, match="writ"):
            one.add()


def test_index_folders_refuses_a_model_of_another_fingerprint_too(
    tiny_model: Path, other_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    folder = make_photo("photos/a.png").parent
    with open_for_model(tmp_path / "index", Model.load(tiny_model)) as index:
        with pytest.raises(ModelMismatchError, match="made with another model than other"):
            index_folders(index, Model.load(other_model), [folder])
        assert index.summary().photos == 0
