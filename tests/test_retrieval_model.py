import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image
from told import told

from index.errors import ModelError, UserError
from index.records import Prediction
from retrieval.models.model import Model, Outputs, model_file
from retrieval.photos.preprocess import resize_and_crop

MakePhoto = Callable[..., Path]
SIDE, GRID = 32, 4  # of the model in conftest.py


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu")


def pixels(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def weights(path: Path) -> dict[str, NDArray[np.float64]]:
    graph = onnx.load(path).graph
    return {weight.name: onnx.numpy_helper.to_array(weight).astype(np.float64) for weight in graph.initializer}


def test_outputs_are_what_the_graph_says(tiny_model: Path, model: Model) -> None:
    given, known = pixels(5), weights(tiny_model)
    means = given.reshape(5, GRID, SIDE // GRID, GRID, SIDE // GRID, 3).mean(axis=(2, 4))
    fc7 = means.transpose(0, 3, 1, 2).reshape(5, -1) / 255
    scores = np.exp(fc7 @ known["colours"])
    embedding = fc7 @ known["map"] + known["offset"]
    found = model.run(given)
    np.testing.assert_allclose(found.fc7, fc7, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(found.embedding, embedding / np.linalg.norm(embedding, axis=1, keepdims=True), atol=1e-5)
    assert {found.fc7.dtype, found.probabilities.dtype, found.embedding.dtype} == {np.dtype(np.float32)}
    assert found.embedding.shape == (5, model.spec.dim)
    assert found.fc7.shape == (5, model.spec.fc7_dim)


def test_a_model_loaded_for_a_few_pictures_says_the_same(tiny_model: Path, model: Model) -> None:
    given = pixels(5)
    few, many = Model.load(tiny_model, device="cpu", fast_start=True).run(given), model.run(given)
    np.testing.assert_allclose(few.probabilities, many.probabilities, atol=1e-6)
    np.testing.assert_allclose(few.embedding, many.embedding, atol=1e-6)


def test_pictures_may_come_one_each_or_as_a_view(model: Model) -> None:
    given = pixels(4)
    expected = model.run(given).embedding
    np.testing.assert_array_equal(model.run(list(given)).embedding, expected)
    np.testing.assert_array_equal(model.run(given[::-1]).embedding[::-1], expected)


def test_pictures_are_prepared_as_the_model_wants_them(model: Model) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8))
    prepared = model.prepare(image)
    np.testing.assert_array_equal(prepared, resize_and_crop(image, resize=SIDE + 8, crop=SIDE))
    np.testing.assert_array_equal(model.embed([image]), model.run(prepared[None]).embedding)


def test_pictures_are_named(model: Model, make_photo: MakePhoto) -> None:
    images = [Image.open(make_photo(f"{colour}.png", colour)) for colour in ("green", "red")]
    first, second = model.classify(images, k=2)
    assert [prediction.label for prediction in (first[0], second[0])] == ["green", "red"]
    assert len(first) == 2
    assert first[0].probability > first[1].probability
    assert sum(prediction.probability for prediction in model.classify(images, k=3)[0]) == pytest.approx(1, abs=1e-6)


def test_no_pictures_have_no_answers(model: Model) -> None:
    assert model.classify([]) == []
    assert model.embed([]).shape == (0, model.spec.dim)
    assert model.run(pixels(0)).probabilities.shape == (0, 3)


def test_many_pictures_are_run_in_bounded_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image.effect_noise((70, 70), 40 + number).convert("RGB") for number in range(100)]
    each = np.concatenate([model.embed([image]) for image in images])
    sizes: list[int] = []

    def counted(pixels: Sequence[NDArray[np.uint8]]) -> Outputs:
        sizes.append(len(pixels))
        return run(pixels)

    run = model.run
    monkeypatch.setattr(model, "run", counted)
    np.testing.assert_allclose(model.embed(images), each, atol=1e-5)
    assert len(model.classify(images)) == 100
    assert sum(sizes) == 200
    assert max(sizes) <= 32


def test_the_most_probable_classes_come_first(model: Model) -> None:
    probabilities = np.array([0.25, 0.5, 0.25], np.float32)
    expected = (
        Prediction("green", "n00000001", 0.5),
        Prediction("red", "n00000000", 0.25),  # of equals, the first
        Prediction("blue", "n00000002", 0.25),
    )
    assert model.top_predictions(probabilities) == expected
    assert model.top_predictions(probabilities, 1) == expected[:1]
    assert type(model.top_predictions(probabilities)[0].probability) is float


def test_the_same_file_gives_the_same_answers_in_any_number_of_threads(tiny_model: Path) -> None:
    answers = [
        Model.load(tiny_model, device="cpu", threads=threads).run(pixels(3)).embedding for threads in (1, 2, None)
    ]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-6)
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-6)


def test_the_processor_is_a_provider(model: Model) -> None:
    assert model.providers == ["CPUExecutionProvider"]


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is a CUDA provider")
def test_a_gpu_that_is_not_there_is_an_error_and_not_a_slow_run(tiny_model: Path) -> None:
    assert Model.load(tiny_model, device="auto").providers == ["CPUExecutionProvider"]
    with told(UserError, match="no CUDA device here; leave out --device"):
        Model.load(tiny_model, device="cuda")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with told(ModelError, match=re.escape(f"there is no model file {path}; make one with `fc7 train DATA")):
            Model.load(path)


def test_a_folder_does_not_hide_a_model_of_its_name(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    imported = tmp_path / "data" / "fc7" / "models" / "efficientnet-lite0.onnx"
    imported.parent.mkdir(parents=True)
    shutil.copy(tiny_model, imported)
    Path("efficientnet-lite0").mkdir()  # an index, say
    assert model_file(Path("efficientnet-lite0")) == imported
    Path("efficientnet-lite0").rmdir()
    shutil.copy(tiny_model, "efficientnet-lite0")
    assert model_file(Path("efficientnet-lite0")) == Path("efficientnet-lite0"), "a file does"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_truncated_file(tiny_model: Path, tmp_path: Path, share: float) -> None:
    content = tiny_model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    with told(ModelError, match=r"cut.onnx is not a readable ONNX model \([^\[]+\); copy it again"):
        Model.load(tmp_path / "cut.onnx")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "letter.onnx").write_text("Dear reader,\n" * 50)
    with told(ModelError, match=r"letter.onnx is not a readable ONNX model") as caught:
        Model.load(tmp_path / "letter.onnx")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_told_from_a_damaged_model(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"PK\x03\x04" * 50)
    with told(ModelError, match=r"best.pt is a checkpoint, .* `fc7 export .*best.pt -o MODEL.onnx`$"):
        Model.load(tmp_path / "best.pt")


def test_a_model_of_another_program(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with told(ModelError, match=r"foreign.onnx is an ONNX file, but not a model made by fc7"):
        Model.load(tmp_path / "foreign.onnx")


def test_a_model_of_a_newer_version(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    next(entry for entry in model.metadata_props if entry.key == "fc7.format_version").value = "9"
    onnx.save(model, tmp_path / "new.onnx")
    with told(ModelError, match=r"new.onnx has model format 9, .* upgrade it"):
        Model.load(tmp_path / "new.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", '[["red", null, []]]', r"probabilities is of shape \[1\] .*, and its graph has \[3\]"),
        ("crop", "40", r"pixels is of shape \[40, 40, 3\]"),
        ("fc7_dim", "7", r"fc7 is of shape \[7\]"),
        ("dim", "7", r"embedding is of shape \[7\]"),
        ("crop", "41", "a crop of 41 from 40 pixels"),
    ],
)
def test_a_model_that_is_not_what_its_metadata_say(
    tiny_model: Path, tmp_path: Path, key: str, value: str, message: str
) -> None:
    model = onnx.load(tiny_model)
    next(entry for entry in model.metadata_props if entry.key == f"fc7.{key}").value = value
    onnx.save(model, tmp_path / "odd.onnx")
    with told(ModelError, match=rf"odd.onnx .*{message}"):
        Model.load(tmp_path / "odd.onnx")


def test_a_model_without_an_output(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    model.graph.output.remove(next(value for value in model.graph.output if value.name == "fc7"))
    onnx.save(model, tmp_path / "odd.onnx")
    with told(ModelError, match=r"odd.onnx says that fc7 is of shape .*, and its graph has none; make it again"):
        Model.load(tmp_path / "odd.onnx")
