"""Predictions averaged over crops and over networks, against the mean of what each says by itself."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import SIDE, make_model
from onnx import numpy_helper
from PIL import Image
from told import told

from index.errors import ModelError, OptionError
from retrieval.evaluation.evaluate import evaluate
from retrieval.models.ensemble import Ensemble
from retrieval.models.model import Model
from retrieval.models.spec import ClassName
from retrieval.photos.preprocess import ten_crops
from retrieval.pipeline.embed import embed_paths
from retrieval.pipeline.executor import Concurrency

MakePhoto = Callable[..., Path]

RED, GREEN, BLUE = (ClassName(name, f"n{number:08}") for number, name in enumerate(("red", "green", "blue")))


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    """Three that disagree: the second asks for larger pictures, the third is less sure of itself."""
    paths = [
        make_model(tmp_path / f"{seed}.onnx", seed=seed, side=side) for seed, side in ((1, SIDE), (2, 48), (3, 32))
    ]
    changed = onnx.load(paths[2])
    [weight] = [weight for weight in changed.graph.initializer if weight.name == "colours"]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(0.2), "colours"))
    onnx.save(changed, paths[2])
    return [Model.load(path, device="cpu", threads=1) for path in paths]


@pytest.fixture
def picture() -> Image.Image:
    """Every crop of it looks different."""
    return Image.fromarray(np.random.default_rng(4).integers(0, 256, (70, 90, 3), np.uint8))


def relabelled(model: Model, *classes: ClassName) -> Model:
    """The same model as if it had learned other classes."""
    return Model(model._session, replace(model.spec, name="other", classes=classes))


def test_one_model_and_one_crop_are_that_model(models: list[Model], picture: Image.Image) -> None:
    alone, one = models[0].run(models[0].prepare(picture)[None]), Ensemble(models[:1])
    outputs = one.run([one.prepare(picture)])
    np.testing.assert_array_equal(outputs.probabilities, alone.probabilities)
    np.testing.assert_array_equal(outputs.fc7, alone.fc7)
    np.testing.assert_array_equal(outputs.embedding, alone.embedding)
    assert one.spec is models[0].spec
    assert one.top_predictions(outputs.probabilities[0], 2) == models[0].top_predictions(outputs.probabilities[0], 2)


def test_ten_crops_are_averaged(models: list[Model], picture: Image.Image) -> None:
    model, ten = models[0], Ensemble(models[:1], crops=10)
    crops = model.run(ten_crops(picture, resize=model.spec.resize, crop=model.spec.crop))
    assert len(np.unique(crops.probabilities, axis=0)) == 5  # a mean colour is that of the mirror image too
    middle = model.run(model.prepare(picture)[None])
    outputs = ten.run([ten.prepare(picture)])
    np.testing.assert_allclose(outputs.probabilities[0], crops.probabilities.mean(0), rtol=1e-6)
    np.testing.assert_allclose(outputs.probabilities.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(outputs.fc7, middle.fc7, rtol=1e-6)
    np.testing.assert_allclose(outputs.embedding, middle.embedding, rtol=1e-5, atol=1e-6)


def test_where_all_of_the_square_is_seen_there_are_no_ten_crops(models: list[Model]) -> None:
    [model, *_] = models
    model.spec = replace(model.spec, resize=model.spec.crop)
    with pytest.raises(OptionError, match="sees all of a picture's shorter side"):
        Ensemble([model], crops=10)
    Ensemble([model])


@pytest.mark.parametrize("crops", [1, 10])
def test_several_models_are_averaged_each_with_its_own_crops(models: list[Model], crops: object) -> None:
    pictures = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 60, 3), np.uint8)) for seed in range(3)
    ]
    several = Ensemble(models, crops=10 if crops == 10 else 1)
    alone = [Ensemble([model], crops=10 if crops == 10 else 1) for model in models]
    outputs = several.run([several.prepare(picture) for picture in pictures])
    each = [one.run([one.prepare(picture) for picture in pictures]) for one in alone]
    assert not np.allclose(each[0].probabilities, each[2].probabilities, atol=1e-3)
    np.testing.assert_allclose(outputs.probabilities, np.mean([one.probabilities for one in each], axis=0), rtol=1e-5)
    np.testing.assert_array_equal(outputs.embedding, each[0].embedding)
    np.testing.assert_array_equal(outputs.fc7, each[0].fc7)
    assert several.resize == 48 + 8


def test_photos_are_described_in_batches(models: list[Model], make_photo: MakePhoto) -> None:
    photos = [make_photo(f"{number}.png", "blue", seed=number) for number in range(3)]
    several = Ensemble(models, crops=10)
    described = list(embed_paths(several, photos, skipped=[], concurrency=Concurrency(2, 2, 2)))
    for photo, path in zip(described, photos, strict=True):
        expected = several.run([several.prepare(Image.open(path))])
        np.testing.assert_allclose(photo.probabilities, expected.probabilities[0], rtol=1e-5)
        np.testing.assert_allclose(photo.embedding, expected.embedding[0], atol=1e-6)


def test_several_models_are_evaluated(models: list[Model], make_photo: MakePhoto) -> None:
    colours = ("red", "green", "blue", "red", "green", "blue")
    photos = [make_photo(f"{number}.png", colour, seed=number) for number, colour in enumerate(colours)]
    labels = [("red", "green", "blue").index(colour) for colour in colours]
    several, first = evaluate(Ensemble(models, crops=10), photos, labels), evaluate(models[0], photos, labels)
    assert several.top1 == 1
    assert several.results[0].predicted.probability < first.results[0].predicted.probability
    assert several.mean_average_precision == first.mean_average_precision


@pytest.mark.parametrize(
    ("classes", "difference"),
    [
        ([RED], "3 classes and 1"),
        ([RED, ClassName("cyan"), BLUE], "class 1 is green, n00000001 in the one and cyan in the other"),
        ([RED, BLUE, GREEN], "class 1 is green, n00000001 in the one and blue, n00000002 in the other"),
    ],
)
def test_models_of_other_classes_are_refused(models: list[Model], classes: list[ClassName], difference: str) -> None:
    with told(ModelError, match=rf"^1 and other cannot be averaged \({re.escape(difference)}\); "):
        Ensemble([models[0], relabelled(models[0], *classes)])


def test_loading_takes_paths(tmp_path: Path, tiny_model: Path, other_model: Path) -> None:
    assert Ensemble.load([tiny_model, other_model], device="cpu").spec.name == "tiny"
    with told(ModelError, match=r"none\.onnx"):
        Ensemble.load([tiny_model, tmp_path / "none.onnx"], device="cpu")
