"""The command import, on a file like torchvision's that the tests make themselves."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from file_server import ServedFile, serving
from PIL import Image
from torchvision_layout import TorchvisionLayout, torchvision_alexnet

from cli import main
from retrieval.info import summary_line
from retrieval.models.model import Model
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.photos.decode import open_photo
from training.data.augment import centre_crops
from training.pretrained.torchvision import ALEXNET_ACCURACY, torchvision_normalisation

CLASSES = 1000


def fc7(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), env={**environment})


@dataclass
class Imported:
    """The model file, and what the command said on the way."""

    path: Path
    said: Result
    model: Model


@pytest.fixture(scope="module")
def oracle() -> TorchvisionLayout:
    return torchvision_alexnet(CLASSES)


@pytest.fixture(scope="module")
def weights(oracle: TorchvisionLayout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the same layers and size as torchvision's, named after its own digest."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(oracle.state_dict(), path)
    with path.open("rb") as file:
        return path.rename(path.with_name(f"alexnet-owt-{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}.pth"))


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.tsv"
    path.write_text("".join(f"n{number:08}\tthing {number}, item {number}\n" for number in range(CLASSES)))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven photos of smooth random colours, half of them in a folder below, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    random = np.random.default_rng(0)
    for number in range(11):
        pixels = random.integers(0, 256, (6, 8, 3), np.uint8)
        place = folder / "below" if number % 2 else folder
        Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).save(place / f"{number:02}.png")
    (folder / "below" / "empty.jpg").touch()
    return folder


@pytest.fixture(scope="module")
def plain(weights: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Made of a file at hand, without photos, every digit kept."""
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    said = fc7("import", weights, "-o", path, "--labels", labels, "--float32")
    assert said.exit_code == 0, said.output
    return Imported(path, said, Model.load(path))


@pytest.fixture(scope="module")
def calibrated(weights: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Fetched from a mirror, the embedding learned from photos, the classes those of ImageNet."""
    folder = tmp_path_factory.mktemp("calibrated")
    path = folder / "alexnet.onnx"
    with serving(ServedFile(weights.read_bytes(), weights.name)) as served:
        environment = {"FC7_IMPORT_URL": served.url, "XDG_CACHE_HOME": str(folder / "cache")}
        said = fc7("import", "alexnet", "-o", path, "--calibrate", photos, **environment)
    assert said.exit_code == 0, said.output
    [kept] = (folder / "cache").rglob("*.pth")
    assert os.path.samefile(kept.parent, folder / "cache" / "fc7")
    assert kept.name == weights.name
    return Imported(path, said, Model.load(path))


def normalised(model: Model, photo: Path) -> torch.Tensor:
    """What the oracle takes for a photo: the model's own crop, scaled as torchvision does."""
    return centre_crops(torch.from_numpy(model.prepare(open_photo(photo)))[None], 224, torchvision_normalisation())


@pytest.mark.slow
def test_the_model_answers_as_torchs_own_layers(plain: Imported, oracle: TorchvisionLayout, photos: Path) -> None:
    photo = photos / "00.png"
    found = plain.model.run(plain.model.prepare(open_photo(photo))[None])
    with torch.inference_mode():
        x = normalised(plain.model, photo)
        probabilities, activations = torch.softmax(oracle(x), 1), oracle.fc7(x)
    assert probabilities.max() > 0.02  # not all alike, which anything would pass
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose(found.fc7, activations, atol=1e-3, rtol=1e-3)

    classified = fc7("classify", photo, "-m", plain.path, "--format", "jsonl", "-k", 3)
    assert classified.exit_code == 0, classified.output
    predictions = json.loads(classified.stdout)["predictions"]
    best = probabilities[0].topk(3)
    assert [p["label"] for p in predictions] == [f"thing {number}" for number in best.indices.tolist()]
    assert [p["id"] for p in predictions] == [f"n{number:08}" for number in best.indices.tolist()]
    np.testing.assert_allclose([p["probability"] for p in predictions], best.values, atol=1e-4)


@pytest.mark.slow
def test_without_photos_the_embedding_is_fc7_of_unit_length(plain: Imported, photos: Path) -> None:
    found = plain.model.run(plain.model.prepare(open_photo(photos / "00.png"))[None])
    np.testing.assert_allclose(found.embedding, found.fc7 / np.linalg.norm(found.fc7), atol=1e-6)
    spec = plain.model.spec
    assert spec.dim == spec.fc7_dim == 4096
    assert (spec.embedding["layers"], spec.embedding["pictures"]) == (["fc7"], 0)
    assert not [weight.name for weight in onnx.load(plain.path).graph.initializer if "pca" in weight.name]
    assert plain.said.stdout == f"{plain.path}: alexnet-owt, 1000 classes, embedding of 4096 values\n"
    assert "--calibrate" in plain.said.stderr
    assert "compared on 16 random pictures" in plain.said.stderr


@pytest.mark.slow
def test_fetched_weights_and_photos_give_an_embedding(
    calibrated: Imported, oracle: TorchvisionLayout, photos: Path, tmp_path: Path
) -> None:
    assert calibrated.said.stderr.splitlines() == [
        f"left out: {photos / 'below' / 'empty.jpg'}: empty file",
        "an embedding learned from 11 photos may describe worse than fc7 alone; "
        "give 500 or more, or leave out --calibrate",
    ]
    model = calibrated.model
    assert (model.spec.dim, model.spec.embedding["dim"], model.spec.embedding["pictures"]) == (10, 10, 11)
    images = [open_photo(path) for path in sorted(photos.rglob("*.png"))]
    embeddings = model.embed(images)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        theirs = oracle.fc7(normalised(model, photos / "00.png"))
    ours = torch.from_numpy(model.run(model.prepare(open_photo(photos / "00.png"))[None]).fc7)
    assert F.cosine_similarity(ours, theirs).item() > 0.9999  # weights of 16 bits

    index = tmp_path / "index"
    indexed = fc7("index", photos, "-m", calibrated.path, "--index", index)
    assert indexed.exit_code == 0, indexed.output
    found = fc7("search", photos / "00.png", "-m", calibrated.path, "--index", index, "--format", "jsonl", "-k", 2)
    first, second = json.loads(found.stdout)["results"]
    assert first["path"] == str(photos / "00.png")
    assert first["score"] > 0.99 > second["score"]


@pytest.mark.slow
def test_the_model_tells_where_it_comes_from(plain: Imported, calibrated: Imported, weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    for spec in (plain.model.spec, calibrated.model.spec):
        assert spec.training == {"weights": weights.name, "sha256": digest}
        assert (spec.arch, spec.resize, spec.crop) == ("alexnet-owt", 256, 224)
        assert (spec.accuracy, spec.licence) == ({}, "")  # these weights are not those that torchvision measured
    assert plain.model.spec.classes[7] == ClassName("thing 7", "n00000007", ("item 7",))
    assert calibrated.model.spec.classes[1] == ClassName("goldfish", "n01443537")
    assert (plain.model.spec.name, calibrated.model.spec.name) == ("plain", "alexnet")
    assert plain.path.stat().st_size > 1.9 * calibrated.path.stat().st_size


@pytest.mark.slow
def test_there_must_be_a_label_for_each_class(weights: Path, labels: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.tsv"
    short.write_text("".join(labels.read_text().splitlines(keepends=True)[1:]))
    said = fc7("import", weights, "-o", tmp_path / "model.onnx", "--labels", short)
    assert said.exit_code == 1
    assert f"{short} names 999 classes, {weights.name} has 1000" in said.stderr
    assert list(tmp_path.iterdir()) == [short]


def test_without_a_network_it_says_what_to_do(labels: Path, tmp_path: Path) -> None:
    with serving(ServedFile(b"", "alexnet-owt-7be5be79.pth")) as gone:
        pass
    environment = {"FC7_IMPORT_URL": gone.url, "XDG_CACHE_HOME": str(tmp_path)}
    said = fc7("import", "alexnet", "-o", tmp_path / "model.onnx", "--labels", labels, **environment)
    assert said.exit_code == 1
    assert said.stderr.startswith(f"Error: {gone.url} cannot be fetched: ")
    assert f"fetch {gone.url} on another machine" in said.stderr
    assert "`fc7 import alexnet-owt-7be5be79.pth -o MODEL.onnx --labels LABELS.tsv`" in said.stderr


def test_a_published_accuracy_is_not_passed_off_as_measured() -> None:
    spec = ModelSpec("alexnet", "alexnet-owt", (), 256, 224, 256, 4096, "", accuracy=ALEXNET_ACCURACY)
    assert summary_line(Path("a.onnx"), spec) == (
        "a.onnx: alexnet-owt, no classes, top-1 56.5%, top-5 79.1% (published by torchvision, not measured here), "
        "embedding of 256 values"
    )
