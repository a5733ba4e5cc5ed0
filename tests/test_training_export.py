"""From a checkpoint to a model file that answers as torch does, or to no file."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from told import told
from training_samples import CPU, TINY, as_split, checkpoint_of, lively, reduced, write_shapes

import training.export.export
import training.export.model_file
from retrieval.models.model import Model
from retrieval.models.spec import ModelSpec
from retrieval.photos.preprocess import resize_and_crop
from training.data.augment import Normalisation, centre_crops
from training.data.dataset import Split
from training.data.pictures import MemoryPictures, load_pictures
from training.errors import DatasetError, ExportError
from training.export.alexnet_graph import build_model
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.loop.checkpoint import Checkpoint
from training.networks.architectures import ALEXNET, CONFIGS, AlexNetConfig
from training.pretrained.fine_tuning import read_pretrained

RECIPE = EmbeddingRecipe(dim=8)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Twelve pictures of three classes."""
    return as_split(write_shapes(tmp_path_factory.mktemp("export"), each=4))


@pytest.fixture(scope="module")
def pictures(split: Split) -> MemoryPictures:
    return MemoryPictures(split, TINY.resize, device=CPU.device)


def export(
    checkpoint: Checkpoint, out: Path, pictures: MemoryPictures, embedding: EmbeddingRecipe = RECIPE, **options: Any
) -> ModelSpec:
    return export_model(checkpoint, out, pictures=pictures, validation=pictures, embedding=embedding, **options)


def normalisation_of(config: AlexNetConfig) -> Normalisation:
    """The mean picture for the network of the paper, the mean colour for the others."""
    mean = torch.rand(3, config.resize, config.resize, generator=torch.Generator().manual_seed(1)) * 255
    if config.arch == "alexnet":
        return Normalisation(mean, torch.ones(3, 1, 1))
    return Normalisation(mean.mean((1, 2), keepdim=True), torch.full((3, 1, 1), 60.0))


def compare(model: Model, checkpoint: Checkpoint, split: Split, *, tolerance: float, cosine: float) -> None:
    """Photos through the production class against torch with the weights of the checkpoint."""
    images = [Image.open(path).convert("RGB") for path in split.paths]
    found = model.run(np.stack([model.prepare(image) for image in images]))
    config = checkpoint.config
    squares = np.stack([resize_and_crop(image, resize=config.resize, crop=config.resize) for image in images])
    with torch.inference_mode():
        network = checkpoint.build()
        fc7 = network.forward_features(centre_crops(torch.from_numpy(squares), config.crop, checkpoint.normalisation))
        probabilities = torch.softmax(network.fc8(fc7), dim=1)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=tolerance)
    assert torch.nn.functional.cosine_similarity(torch.from_numpy(found.fc7), fc7).min() > cosine
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("arch", CONFIGS)
def test_a_model_file_answers_as_torch(split: Split, tmp_path: Path, arch: str, half: bool) -> None:
    config = reduced(CONFIGS[arch])
    checkpoint = checkpoint_of(lively(config, 5), normalisation_of(config))
    pictures = MemoryPictures(split, config.resize, device=CPU.device)
    export(checkpoint, tmp_path / "model.onnx", pictures, half=half)
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    compare(model, checkpoint, split, tolerance=5e-3 if half else 1e-4, cosine=0.999 if half else 0.9999)


def test_a_network_of_whole_pictures_answers_as_torch(tmp_path: Path) -> None:
    # A dot at the very end of a long picture, which its middle does not show.
    for name, colour in (("a", "red"), ("b", "blue")):
        image = Image.new("RGB", (96, 32), "grey")
        image.paste(colour, (0, 0, 16, 32))
        image.save(tmp_path / f"{name}.png")
    split = Split((tmp_path / "a.png", tmp_path / "b.png"), (0, 1))
    config = reduced(CONFIGS["alexnet-64"]).changed(squash=True)
    assert (config.resize, config.shape.squash) == (config.crop, True)
    checkpoint = checkpoint_of(lively(config, 5), normalisation_of(config))
    pictures = MemoryPictures(split, config.resize, mode=config.resize_mode, device=CPU.device)
    export(checkpoint, tmp_path / "model.onnx", pictures, half=False)
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    assert (model.spec.resize_mode, model.spec.accuracy["crop"]) == (
        "squash",
        f"the whole picture as {config.crop} pixels",
    )
    assert model.spec.format_version == 2, "an older fc7 would show it the middle"
    squares = np.stack([model.prepare(Image.open(path)) for path in split.paths])
    assert (squares[0] != squares[1]).any(), "the ends are seen"
    ((pixels, _),) = pictures.batches(torch.arange(2), 2)
    np.testing.assert_array_equal(squares, pixels)
    with torch.inference_mode():
        network = checkpoint.build()
        fc7 = network.forward_features(centre_crops(pixels, config.crop, checkpoint.normalisation))
        expected = torch.softmax(network.fc8(fc7), dim=1)
    np.testing.assert_allclose(model.run(squares).probabilities, expected, atol=1e-4)
    again = config.changed(squash=False)
    assert (again.resize, again.resize_mode) == (CONFIGS["alexnet-64"].resize, "crop")


@pytest.mark.slow
def test_the_whole_network_of_the_paper_answers_as_torch(split: Split, tmp_path: Path) -> None:
    few = Split(split.paths[::4], split.labels[::4])
    checkpoint = checkpoint_of(lively(ALEXNET, 1000), normalisation_of(ALEXNET))
    pictures = MemoryPictures(few, ALEXNET.resize, device=CPU.device)
    embedding = EmbeddingRecipe(dim=2)
    spec = export(checkpoint, tmp_path / "model.onnx", pictures, embedding)
    assert (spec.fc7_dim, len(spec.classes), spec.dim) == (4096, 1000, 2)
    size = (tmp_path / "model.onnx").stat().st_size
    assert size == pytest.approx(2 * 60_965_224, rel=0.02), "two bytes a parameter"
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    compare(model, checkpoint, few, tolerance=5e-3, cosine=0.999)


def test_any_number_of_pictures_at_a_time(pictures: MemoryPictures, tmp_path: Path) -> None:
    export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures)
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    pixels = next(pictures.batches(torch.arange(12), 12))[0].numpy()[:, 2:30, 2:30]
    together = model.run(pixels)
    for number in range(12):
        alone = model.run(pixels[number : number + 1])
        for name in ("probabilities", "fc7", "embedding"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[number], atol=1e-5)
    assert model.run(pixels[:0]).embedding.shape == (0, 8)


def test_the_file_holds_its_metadata(pictures: MemoryPictures, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(lively(TINY, 3))
    spec = export(checkpoint, tmp_path / "shapes.onnx", pictures, licence="MIT")
    assert (spec.name, spec.arch, spec.licence) == ("shapes", "tiny", "MIT")
    assert (spec.resize, spec.crop, spec.dim, spec.fc7_dim) == (32, 28, 8, 16)
    assert spec.classes == checkpoint.classes
    assert spec.accuracy["crop"] == "central 28 of 32 pixels"
    assert spec.accuracy["pictures"] == 12
    assert spec.embedding == {
        "layers": ("pool5", "fc7"),
        "dim": 8,
        "power": 0.25,
        "grid": 3,
        "root": True,
        "pictures": 12,
    }
    assert spec.training["recipe"] == checkpoint.recipe.to_dict()
    assert "root" not in spec.training, "where the pictures lie is nobody else's business"
    assert AlexNetConfig.from_dict(dict(spec.arch_config)) == TINY
    loaded = Model.load(tmp_path / "shapes.onnx", device="cpu").spec
    assert json.dumps(asdict(loaded)) == json.dumps(asdict(spec))
    assert AlexNetConfig.from_dict(dict(loaded.arch_config)) == TINY
    assert export(checkpoint, tmp_path / "shapes.onnx", pictures, name="other").name == "other"


def test_the_accuracy_is_measured_on_what_is_exported(split: Split, pictures: MemoryPictures, tmp_path: Path) -> None:
    spec = export(checkpoint_of(lively(TINY, 7)), tmp_path / "model.onnx", pictures)
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    found = model.classify([Image.open(path) for path in split.paths], k=5)
    names = [model.spec.classes[label].name for label in split.labels]
    right = [
        [prediction.label for prediction in row].index(name) if name in {p.label for p in row} else 9
        for row, name in zip(found, names, strict=True)
    ]
    assert spec.accuracy["top1"] == pytest.approx(np.mean(np.array(right) < 1), abs=1e-4)
    assert spec.accuracy["top5"] == pytest.approx(np.mean(np.array(right) < 5), abs=1e-4)
    assert spec.accuracy["pictures"] == len(split)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["memory", "workers"])
def test_pictures_that_cannot_be_read_do_not_count(tmp_path: Path, kept: str) -> None:
    split = as_split(write_shapes(tmp_path / "some", each=4))
    split.paths[3].write_bytes(b"")
    memory = 10**9 if kept == "memory" else 0
    pictures = load_pictures(split, TINY.resize, device=CPU.device, memory=memory, workers=1)
    spec = export_model(
        checkpoint_of(lively(TINY, 3)), tmp_path / "m.onnx", pictures=pictures, validation=pictures, embedding=RECIPE
    )
    assert spec.accuracy["pictures"] == 11


def test_pictures_to_compare_on_that_cannot_be_read_are_an_error(pictures: MemoryPictures, tmp_path: Path) -> None:
    split = as_split(write_shapes(tmp_path / "some", each=1))
    for path in split.paths:
        path.write_bytes(b"")
    unreadable = MemoryPictures(split, TINY.resize, device=CPU.device)
    with told(DatasetError, r"none of the pictures .* could be read; give others with --data"):
        export_model(
            checkpoint_of(lively(TINY, 3)),
            tmp_path / "m.onnx",
            pictures=pictures,
            validation=unreadable,
            embedding=RECIPE,
            accuracy={},
        )
    assert not (tmp_path / "m.onnx").exists()


def test_logit_adjustment_changes_probabilities_alone(pictures: MemoryPictures, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(lively(TINY, 3))
    specs = [export(checkpoint, tmp_path / f"{tau}.onnx", pictures, logit_adjustment=tau) for tau in (0.0, 1.0)]
    assert [spec.training.get("logit_adjustment") for spec in specs] == [None, 1.0]
    assert specs[0].fingerprint != specs[1].fingerprint
    pixels = np.random.default_rng(0).integers(0, 256, (4, TINY.crop, TINY.crop, 3), np.uint8)
    plain, adjusted = (Model.load(tmp_path / f"{tau}.onnx", device="cpu").run(pixels) for tau in (0.0, 1.0))
    np.testing.assert_array_equal(plain.embedding, adjusted.embedding)
    assert np.abs(plain.probabilities - adjusted.probabilities).max() > 0.01


def test_a_model_file_and_its_checkpoint_give_the_same_last_layer(split: Split, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(lively(reduced(CONFIGS["alexnet-64"]), 3))
    checkpoint.save(tmp_path / "c.pt")
    pictures = MemoryPictures(split, checkpoint.config.resize, device=CPU.device)
    for half in (True, False):
        export(checkpoint, tmp_path / "m.onnx", pictures, half=half)
        one, other = read_pretrained(tmp_path / "m.onnx"), read_pretrained(tmp_path / "c.pt")
        assert one.classes == other.classes
        assert one.scores is not None
        assert other.scores is not None
        for ours, theirs in zip(one.scores, other.scores, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_fingerprint_is_of_the_weights_and_of_how_photos_are_prepared(
    pictures: MemoryPictures, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(lively(TINY, 3))

    def fingerprint(**options: Any) -> str:
        return export(checkpoint, tmp_path / "model.onnx", pictures, **options).fingerprint

    first = fingerprint()
    assert len(first) == 64
    assert fingerprint() == first
    checkpoint.data["name"] = "renamed"
    assert fingerprint(name="another name", licence="MIT") == first
    model = onnx.load(tmp_path / "model.onnx")
    dates = [entry for entry in model.metadata_props if entry.key == "fc7.date"]
    assert len(dates) == 1
    dates[0].value = '"1990-01-01"'
    assert training.export.model_file.fingerprint(model, TINY.resize, TINY.resize_mode) == first

    checkpoint.config = TINY.changed(squash=True)
    assert fingerprint() != first
    checkpoint.config = TINY
    assert fingerprint(half=False) != first
    assert fingerprint(embedding=replace(RECIPE, power=1.0)) != first
    checkpoint.network["fc8.bias"][0] += 0.25
    assert fingerprint() != first


def test_half_precision_halves_the_file(split: Split, tmp_path: Path) -> None:
    config = replace(reduced(CONFIGS["alexnet-64"]), hidden=(256, 256))
    pictures = MemoryPictures(split, config.resize, device=CPU.device)
    sizes = []
    for half in (True, False):
        export(checkpoint_of(lively(config, 3)), tmp_path / "model.onnx", pictures, half=half)
        sizes.append((tmp_path / "model.onnx").stat().st_size)
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.03)


def change_weight(name: str, change: Callable[[Any], Any]) -> Callable[..., onnx.ModelProto]:
    """A `build_model` that gets one weight wrong."""

    def build(*given: Any, **options: Any) -> onnx.ModelProto:
        model = build_model(*given, **options)
        weight = next(weight for weight in model.graph.initializer if weight.name == name)
        weight.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(weight)), name))
        return model

    return build


def swap_sides(*given: Any, **options: Any) -> onnx.ModelProto:
    """A `build_model` that takes rows for columns."""
    model = build_model(*given, **options)
    node = next(node for node in model.graph.node if node.op_type == "Transpose")
    node.attribute[0].CopyFrom(onnx.helper.make_attribute("perm", [0, 3, 2, 1]))
    return model


@pytest.mark.parametrize(
    ("sabotage", "message"),
    [
        (
            change_weight("fc8.bias", lambda bias: bias + np.eye(1, 3, dtype=np.float32)[0] / 100),
            "probabilities differ from torch's by",
        ),
        (change_weight("fc8.bias", lambda bias: bias * np.float32(np.nan)), "probabilities differ from torch's by nan"),
        (change_weight("pca.offset", lambda offset: offset + np.float32(0.01)), "embedding has cosine 0."),
        (change_weight("mean", lambda mean: mean + np.float32(2)), "differ"),
        (swap_sides, "differ"),
    ],
)
def test_a_model_that_answers_otherwise_is_not_left_behind(
    pictures: MemoryPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sabotage: Any, message: str
) -> None:
    monkeypatch.setattr(training.export.export, "build_model", sabotage)
    with told(ExportError, rf"{message}.*; this is a bug, please report it"):
        export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures)
    assert os.listdir(tmp_path) == []


def partly_silent(pictures: MemoryPictures) -> Checkpoint:
    """A checkpoint whose fc7 stays silent for half of the pictures, with scores that hardly depend on fc7."""
    network = lively(replace(TINY, batch_norm=False), 3)
    pixels, _ = next(pictures.batches(torch.arange(12), 12))
    checkpoint = checkpoint_of(network)
    with torch.no_grad():
        before: list[torch.Tensor] = []
        hook = network.hidden.get_submodule("fc7").register_forward_hook(lambda layer, x, y: before.append(y))
        network(centre_crops(pixels, 28, checkpoint.normalisation))
        hook.remove()
        network.state_dict()["hidden.fc7.bias"].sub_(before[0].amax(1).median() + 1e-3)
        network.state_dict()["fc8.weight"].mul_(1e-6)
    return checkpoint


def test_pictures_that_leave_fc7_silent_do_not_fail_the_export(pictures: MemoryPictures, tmp_path: Path) -> None:
    export(partly_silent(pictures), tmp_path / "model.onnx", pictures, half=False)
    pixels = next(pictures.batches(torch.arange(12), 12))[0].numpy()[:, 2:30, 2:30]
    silent = ~Model.load(tmp_path / "model.onnx", device="cpu").run(pixels).fc7.any(axis=1)
    assert 0 < silent.sum() < 12


def test_nor_do_they_hide_others_that_are_wrong(
    pictures: MemoryPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.export.export, "build_model", change_weight("fc7.weight", lambda weight: weight[::-1]))
    with pytest.raises(ExportError, match="fc7 has cosine"):
        export(partly_silent(pictures), tmp_path / "model.onnx", pictures, half=False)
    assert os.listdir(tmp_path) == []


def test_nor_is_an_embedding_of_nan_taken_for_a_silent_one(pictures: MemoryPictures, tmp_path: Path) -> None:
    with told(ExportError, "embedding has cosine nan"):
        export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures, EmbeddingRecipe(power=math.nan))
    assert os.listdir(tmp_path) == []


def test_weights_that_do_not_bear_rounding_ask_for_float32(pictures: MemoryPictures, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(lively(replace(TINY, batch_norm=False), 3))
    # The smallest number that float16 knows is 6e-8: most of these become nothing.
    checkpoint.network["hidden.fc7.weight"] *= 1e-7
    checkpoint.network["hidden.fc7.bias"] *= 1e-7
    with told(ExportError, r"rounding the weights to float16 changes fc7 .*; export with --float32"):
        export(checkpoint, tmp_path / "model.onnx", pictures, EmbeddingRecipe(layers=("pool5",)))
    assert os.listdir(tmp_path) == []
    export(checkpoint, tmp_path / "model.onnx", pictures, EmbeddingRecipe(layers=("pool5",)), half=False)


@pytest.mark.parametrize("layers", [("pool5",), ("fc6",), ("fc7",), ("fc6", "fc7"), ("pool5", "fc6", "fc7")])
def test_the_embedding_can_be_made_of_any_layers(
    pictures: MemoryPictures, tmp_path: Path, layers: tuple[str, ...]
) -> None:
    embedding = EmbeddingRecipe(layers=layers, dim=5, grid=1)
    assert export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures, embedding).dim == 5


def test_a_place_that_cannot_be_written(pictures: MemoryPictures, tmp_path: Path) -> None:
    with told(ExportError, r"gone/model.onnx could not be written .*; choose another place with -o"):
        export(checkpoint_of(lively(TINY, 3)), tmp_path / "gone" / "model.onnx", pictures)


def test_a_folder_whose_name_is_no_text_gets_its_model(pictures: MemoryPictures, folder_of_no_text: Path) -> None:
    folder = folder_of_no_text
    spec = export(checkpoint_of(lively(TINY, 3)), folder / "model.onnx", pictures, name=folder.name)
    assert Model.load(folder / "model.onnx", device="cpu").spec.name == spec.name == folder.name


def test_an_export_that_fails_leaves_the_model_that_was_there(
    pictures: MemoryPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures)
    before = (tmp_path / "model.onnx").read_bytes()
    monkeypatch.setattr(training.export.export, "build_model", swap_sides)
    with pytest.raises(ExportError):
        export(checkpoint_of(lively(TINY, 3)), tmp_path / "model.onnx", pictures)
    assert (tmp_path / "model.onnx").read_bytes() == before
