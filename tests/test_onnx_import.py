"""ONNX networks of any origin as model files: what is found in them by itself, and what is said of bad ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from foreign_networks import SIDE, normalised, small_classifier
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from test_cli_packages import fc7_without
from told import told

from cli import main
from commands.importing import import_command
from index.errors import ModelError, OptionError, UserError
from retrieval.models.ensemble import Ensemble
from retrieval.models.model import Model
from retrieval.models.spec import ClassName, ResizeMode
from retrieval.photos.preprocess import prepare
from training.errors import DatasetError, ExportError
from training.onnx_import.class_names import read_classes
from training.onnx_import.import_network import Tensors, import_network
from training.onnx_import.preparation import PRESETS, Preparation, Wishes, read_preprocessor

IMAGENET = Wishes(preset="imagenet")
NAMES = tuple(ClassName(name) for name in ("one", "two", "three", "four", "five"))
HALF, QUARTER = (0.5,) * 3, (0.25,) * 3
NEWEST = onnx.defs.onnx_opset_version()


def pictures(count: int = 4, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (count, side, side, 3), np.uint8)


def by_hand(path: Path, tensor: str, feed: NDArray[Any]) -> NDArray[np.float64]:
    """A tensor of a network, run in ONNX Runtime without fc7, a picture at a time."""
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run([tensor], {name: row[None]})[0] for row in feed]).astype(np.float64)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("opset", [11, 12, 13, 15, 17, 18, 21, NEWEST])
@pytest.mark.parametrize("batch", [None, 1])
def test_the_layer_before_the_classifier_is_the_embedding(opset: int, batch: int | None, tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx", opset=opset, batch=batch), tmp_path / "m.onnx"
    imported = import_network(path, out, wishes=IMAGENET, classes=NAMES)
    assert imported.spec.embedding["tensor"] == "embedding"
    assert imported.notes == ("the embedding is embedding, 24 values",)
    preset, pixels = PRESETS["imagenet"], pictures()
    feed = normalised(pixels, preset.mean, preset.std)
    found = Model.load(out, device="cpu").run(pixels)
    np.testing.assert_allclose(found.fc7, by_hand(path, "embedding", feed), atol=2e-6)
    np.testing.assert_allclose(found.embedding, unit(by_hand(path, "embedding", feed)), atol=2e-6)
    scores = np.exp(by_hand(path, "output", feed))
    np.testing.assert_allclose(found.probabilities, scores / scores.sum(axis=1, keepdims=True), atol=2e-6)


def test_without_class_names_nothing_of_the_classifier_is_kept(tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx"), tmp_path / "m.onnx"
    imported = import_network(path, out, wishes=IMAGENET)
    assert imported.notes[1] == "its 5 classes (output) have no names: give them with --classes FILE"
    model = onnx.load(out)
    assert [value.name for value in model.graph.output] == ["fc7", "embedding"]
    assert not {"head", "bias"} & {weight.name for weight in model.graph.initializer}
    assert Model.load(out, device="cpu").run(pictures()).probabilities.shape == (4, 0)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_preparation_in_the_graph_is_that_of_the_preset(layout: str, preset: str, tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx", layout=layout), tmp_path / "m.onnx"
    import_network(path, out, wishes=Wishes(preset=preset))
    pixels, known = pictures(), PRESETS[preset]
    ordered = pixels[..., ::-1] if known.bgr else pixels
    feed = ((ordered * known.scale - np.array(known.mean)) / np.array(known.std)).astype(np.float32)
    expected = unit(by_hand(path, "embedding", feed if layout == "nhwc" else feed.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(Model.load(out, device="cpu").run(pixels).embedding, expected, atol=1e-5)


@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 2)] * 3),
    scale=st.sampled_from([1 / 255, 1 / 127.5, 0.01]),
)
def test_a_product_and_a_sum_are_the_same_as_scaling_subtracting_and_dividing(
    mean: Any, std: Any, scale: float
) -> None:
    preparation = Preparation(8, 8, "crop", mean, std, scale)
    pixels = pictures(1, 8)
    folded = pixels * preparation.factor + preparation.offset
    # Each of factor and offset is rounded to 24 bits, and so are product and sum.
    most = np.abs(preparation.factor).max() * 255 + np.abs(preparation.offset).max()
    np.testing.assert_allclose(folded, preparation.by_hand(pixels), atol=4 * float(most) * 2.0**-24)


def test_networks_of_float16(tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx", type=TensorProto.FLOAT16), tmp_path / "m.onnx"
    import_network(path, out, wishes=IMAGENET, classes=NAMES)
    feed = normalised(pictures(), PRESETS["imagenet"].mean, PRESETS["imagenet"].std)
    expected = unit(by_hand(path, "embedding", feed.astype(np.float16)))
    found = Model.load(out, device="cpu").run(pictures())
    assert found.embedding.dtype == found.probabilities.dtype == np.float32
    np.testing.assert_allclose(found.embedding, expected, atol=2e-3)


def test_probabilities_stay_what_they_are(tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx", softmax=True), tmp_path / "m.onnx"
    import_network(path, out, wishes=IMAGENET, classes=NAMES)
    feed = normalised(pictures(), PRESETS["imagenet"].mean, PRESETS["imagenet"].std)
    found = Model.load(out, device="cpu").run(pictures()).probabilities
    np.testing.assert_allclose(found, by_hand(path, "output", feed), atol=1e-6)


def with_outputs(path: Path, *names: str) -> Path:
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnx.save(model, path)
    return path


def test_a_network_that_ends_with_what_describes_a_picture(tmp_path: Path) -> None:
    path = with_outputs(small_classifier(tmp_path / "n.onnx"), "embedding")
    assert import_network(path, tmp_path / "m.onnx", wishes=IMAGENET).spec.embedding["tensor"] == "embedding"


def test_where_there_are_two_candidates_the_user_chooses(tmp_path: Path) -> None:
    # A product without a bias is either a projection or a classifier.
    path, out = small_classifier(tmp_path / "n.onnx", bias=False), tmp_path / "m.onnx"
    with told(OptionError, "2 tensors that may be the embedding; choose one with --embedding: output"):
        import_network(path, out, wishes=IMAGENET)
    for tensor, dim in (("output", 5), ("embedding", 24)):
        spec = import_network(path, out, wishes=IMAGENET, tensors=Tensors(embedding=tensor)).spec
        assert (spec.embedding["tensor"], spec.dim) == (tensor, dim)
    assert import_network(path, out, wishes=IMAGENET, classes=NAMES).spec.dim == 24  # then it is a classifier
    two = with_outputs(small_classifier(tmp_path / "two.onnx"), "flat", "embedding_of_it")
    model = onnx.load(two)
    model.graph.node.append(helper.make_node("Relu", ["embedding"], ["embedding_of_it"]))
    onnx.save(model, two)
    with told(OptionError, "flat of 8 values, or embedding_of_it of 24 values"):
        import_network(two, out, wishes=IMAGENET)


def test_several_vectors_for_a_picture_become_one_as_the_user_says(tmp_path: Path) -> None:
    path, out = with_outputs(small_classifier(tmp_path / "n.onnx"), "active"), tmp_path / "m.onnx"
    with told(OptionError, r"active .* has 8 × 8 × 8 values for a picture; .*--pooling mean"):
        import_network(path, out, wishes=IMAGENET)
    import_network(path, out, wishes=IMAGENET, tensors=Tensors(pooling="mean"))
    feed = normalised(pictures(), PRESETS["imagenet"].mean, PRESETS["imagenet"].std)
    expected = by_hand(path, "active", feed).mean(axis=(2, 3))
    np.testing.assert_allclose(Model.load(out, device="cpu").run(pictures()).fc7, expected, atol=1e-5)


def test_the_name_of_the_same_network_is_free_and_of_another_is_not(tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx"), tmp_path / "m.onnx"
    first = import_network(path, out, wishes=IMAGENET, keep_other=True).spec
    again = import_network(path, out, wishes=IMAGENET, classes=NAMES, keep_other=True).spec
    assert again.fingerprint == first.fingerprint  # an index stays valid when names are added
    with told(OptionError, "another model is called m already; choose another --name"):
        import_network(path, out, wishes=Wishes(preset="clip"), keep_other=True)
    assert Model.load(out, device="cpu").spec == again


@pytest.mark.parametrize(("mode", "version", "left"), [("squash", 2, 20), ("trim", 3, 95)])
def test_squashed_pictures_are_of_a_format_that_an_older_fc7_refuses(
    tmp_path: Path, mode: ResizeMode, version: int, left: int
) -> None:
    path, out = small_classifier(tmp_path / "n.onnx"), tmp_path / "m.onnx"
    spec = import_network(path, out, wishes=Wishes(preset="imagenet", mode=mode)).spec
    assert (spec.format_version, spec.resize, spec.crop) == (version, SIDE, SIDE)
    model = Model.load(out, device="cpu")
    wide = Image.new("RGB", (200, 40), "red")
    wide.paste("blue", (0, 0, left, 40))
    prepared = model.prepare(wide)
    np.testing.assert_array_equal(prepared, prepare(wide, resize=SIDE, crop=SIDE, mode=mode))
    assert prepared[0, 0, 2] > 200  # the left end is still there
    assert prepared[0, -1, 2] < 50
    with pytest.raises(OptionError, match="sees all of a picture's shorter side: there are no ten crops of that"):
        Ensemble([model], crops=10)
    assert import_network(path, out, wishes=IMAGENET).spec.format_version == 1


def not_onnx(folder: Path) -> Path:
    (folder / "n.onnx").write_bytes(b"\x89PNG of another kind" * 50)
    return folder / "n.onnx"


def empty(folder: Path) -> Path:
    (folder / "n.onnx").touch()
    return folder / "n.onnx"


def lost_weights(folder: Path) -> Path:
    model = onnx.load(small_classifier(folder / "n.onnx"))
    onnx.save(model, folder / "n.onnx", save_as_external_data=True, location="n.data", size_threshold=0)
    (folder / "n.data").unlink()
    return folder / "n.onnx"


def weights_elsewhere(folder: Path) -> Path:
    path = lost_weights(folder)
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        weight.external_data[0].value = "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    return path


def no_images(folder: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "text",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "n.onnx")
    return folder / "n.onnx"


def ours(folder: Path) -> Path:
    import_network(small_classifier(folder / "other.onnx"), folder / "n.onnx", wishes=IMAGENET)
    return folder / "n.onnx"


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (lambda folder: folder / "n.onnx", ExportError, "there is no file"),
        (not_onnx, ExportError, "is not an ONNX file, or damaged"),
        (
            lambda folder: (folder / "n.onnx", (folder / "n.onnx").write_bytes(b""))[0],
            ExportError,
            "is not an ONNX file",
        ),
        (lost_weights, ExportError, "n.data, which is not there; copy it there too"),
        (weights_elsewhere, ExportError, "which does not lie beside it"),
        (no_images, ExportError, r"is no image network: it takes x \[n, 16\]"),
        (ours, ExportError, "is a model file of fc7 already; name it with -m"),
        (lambda folder: small_classifier(folder / "n.onnx", opset=9), ExportError, "opset 9 .* export it again"),
        (lambda folder: small_classifier(folder / "n.onnx", channels=1), ExportError, "pictures of 1 channels"),
        (lambda folder: small_classifier(folder / "n.onnx", side=None), OptionError, "say with --size how many"),
    ],
)
def test_a_file_that_cannot_be_imported_gets_one_line(
    make: Callable[[Path], Path], error: type[UserError], expected: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with told(error, expected) as caught:
        import_network(path, tmp_path / "m.onnx", wishes=IMAGENET)
    assert "\n" not in caught.value.with_hint
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("wishes", "tensors", "classes", "expected"),
    [
        (Wishes(), Tensors(), (), "give --preset imagenet"),
        (Wishes(preset="imagenet", size=64), Tensors(), (), "takes pictures of 32 pixels, not 64; leave out --size"),
        (
            Wishes(preset="imagenet", resize=16),
            Tensors(),
            (),
            "smaller than the 32 .* a larger --resize",
        ),
        (Wishes(mean=(0.5,) * 3, std=(0.5, 0.0, 0.5)), Tensors(), (), "must be above 0"),
        (
            IMAGENET,
            Tensors(embedding="nothing"),
            (),
            "no tensor nothing; its outputs are output; name .* --embedding",
        ),
        (IMAGENET, Tensors(logits="nothing"), NAMES, "no tensor nothing; .* name another with --logits"),
        (IMAGENET, Tensors(), NAMES[:4], "4 classes are named, and output of .* has 5; give --classes"),
        (
            IMAGENET,
            Tensors(logits="flat", embedding="embedding"),
            NAMES,
            "5 classes are named, and flat of .* has 8",
        ),
        (IMAGENET, Tensors(embedding="head_shape"), (), "head_shape .* is int64, no vector of numbers"),
    ],
)
def test_options_that_do_not_fit(
    wishes: Wishes, tensors: Tensors, classes: tuple[ClassName, ...], expected: str, tmp_path: Path
) -> None:
    path = small_classifier(tmp_path / "n.onnx")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Shape", ["flat"], ["head_shape"]))
    onnx.save(model, path)
    with told(OptionError, expected):
        import_network(path, tmp_path / "m.onnx", wishes=wishes, tensors=tensors, classes=classes)


def test_a_tensor_that_says_the_same_of_all_pictures_is_refused(tmp_path: Path) -> None:
    path = small_classifier(tmp_path / "n.onnx")
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Mul", ["flat", "flat_zero"], ["nothing"]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(8, np.float32), "flat_zero"))
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"nothing of .* is the same for different pictures"):
        import_network(path, tmp_path / "m.onnx", wishes=IMAGENET, tensors=Tensors(embedding="nothing"))


def test_a_size_that_the_network_cannot_take(tmp_path: Path) -> None:
    path = small_classifier(tmp_path / "n.onnx", side=None)
    with pytest.raises(ModelError, match="fails on a picture of 2 × 2 pixels") as caught:
        import_network(path, tmp_path / "m.onnx", wishes=Wishes(preset="imagenet", size=2))
    assert "--size" in caught.value.hint
    spec = import_network(path, tmp_path / "m.onnx", wishes=Wishes(preset="imagenet", size=64)).spec
    assert (spec.crop, spec.resize) == (64, 73)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "c.txt",
            "cat\ngreat white shark, white shark\n\n",
            [("cat", None, ()), ("great white shark", None, ("white shark",))],
        ),
        ("c.tsv", "n1\tcat, kitty\nn2\tdog\n", [("cat", "n1", ("kitty",)), ("dog", "n2", ())]),
        ("c.json", '["cat", "dog"]', [("cat", None, ()), ("dog", None, ())]),
        ("c.json", '{"id2label": {"10": "dog", "9": "cat"}}', [("cat", None, ()), ("dog", None, ())]),
    ],
)
def test_class_names_are_read_from_the_files_that_people_have(
    name: str, text: str, expected: list[Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    assert [(known.name, known.id, known.synonyms) for known in read_classes(tmp_path / name)] == expected


def test_imagenets_names_need_no_file(tmp_path: Path) -> None:
    assert len(read_classes("imagenet")) == 1000
    for name, text in (("c.txt", ""), ("c.json", "3"), ("c.json", "[")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetError):
            read_classes(tmp_path / name)
    with pytest.raises(DatasetError, match="or the word imagenet"):
        read_classes(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": 256, "crop_size": 224}, Wishes("unit", 224, 256, "crop", (0.5,) * 3, (0.25,) * 3, 1 / 255)),
        (
            {"size": {"height": 224, "width": 224}},
            Wishes("unit", 224, None, "squash", (0.5,) * 3, (0.25,) * 3, 1 / 255),
        ),
        (
            {"size": {"shortest_edge": 30}, "do_rescale": False},
            Wishes("unit", 30, None, "crop", (0.5,) * 3, (0.25,) * 3, 1.0),
        ),
        ({"size": 32, "do_normalize": False}, Wishes("unit", 32, None, "squash", None, None, 1 / 255)),
    ],
)
def test_a_preprocessor_is_understood(values: dict[str, Any], expected: Wishes, tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3, **values}))
    assert read_preprocessor(path) == expected


@pytest.fixture
def own_fc7(tmp_path: Path) -> Callable[..., Result]:
    settings = {"FC7_INDEX": str(tmp_path / "index"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=settings)


def test_a_model_without_classes_indexes_and_searches_and_says_what_it_cannot(
    own_fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    path = small_classifier(tmp_path / "network.onnx", batch=1)
    said = own_fc7("import", path, "--name", "mine", "--preset", "imagenet")
    assert said.exit_code == 0, said.output
    model = tmp_path / "data" / "fc7" / "models" / "mine.onnx"
    assert said.stdout == f"{model}: ONNX, opset 17, no classes, embedding of 24 values\n"
    assert said.stderr.splitlines()[0] == "the embedding is embedding, 24 values"
    assert "mine  " in own_fc7("import", "--list").stdout
    photos = [make_photo(f"photos/red/{number}.png", seed=number) for number in range(4)]
    assert own_fc7("index", tmp_path / "photos", "-m", "mine").exit_code == 0
    found = json.loads(own_fc7("search", photos[2], "--format", "jsonl").stdout)
    assert (found["results"][0]["path"], found["results"][0]["score"]) == (str(photos[2]), 1.0)
    assert own_fc7("check").exit_code == 0
    assert json.loads(own_fc7("info", "mine", "--format", "json").stdout)["classes"] == []
    assert own_fc7("embed", photos[0], "-m", "mine", "-o", tmp_path / "e.npz").exit_code == 0
    for arguments in (
        ("classify", photos[0], "-m", "mine"),
        ("search", "--label", "dog"),
        ("train", tmp_path / "photos", "-o", tmp_path / "run", "--teacher", "mine"),
    ):
        said = own_fc7(*arguments)
        assert said.exit_code == 1
        assert said.stderr.startswith("Error: the model mine has no classes: it embeds photos and finds similar ones")
        assert "`--classes FILE`" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("n.onnx",), "say with --name what the model of n.onnx is to be called"),
        (("n.onnx", "--name", "a.b"), "--name a.b cannot be used"),
        (("n.onnx", "--name", "efficientnet-lite0"), "--name efficientnet-lite0 cannot be used"),
        (("n.onnx", "--name", "x", "--calibrate", "photos"), "--calibrate is not for n.onnx; leave it out"),
        (("n.onnx", "--name", "x", "--prompt", "a {}"), "--prompt is not for n.onnx; leave it out"),
        (("n.onnx", "--name", "x", "--mean", "1,2"), "1,2 is neither one number nor three"),
        (("n.onnx", "--name", "x", "--scale", "1/0"), "1/0 is no number, such as 1/255"),
        (("efficientnet-lite0", "--preset", "clip"), "--preset is not for efficientnet-lite0; leave it out"),
        (("clip-vit-b32", "--mean", "0.5"), "--mean is not for clip-vit-b32; leave it out"),
    ],
)
def test_wrong_usage(own_fc7: Callable[..., Result], arguments: tuple[str, ...], expected: str) -> None:
    said = own_fc7("import", *arguments)
    assert said.exit_code == 2
    assert expected in said.stderr


def test_the_help_offers_all_presets() -> None:
    [preset] = [option for option in import_command.params if option.name == "preset"]
    assert isinstance(preset.type, click.Choice)
    assert list(preset.type.choices) == list(PRESETS)


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("onnx", ("n.onnx", "--name", "x", "--preset", "clip"), "onnx"),
        ("onnx", ("clip-vit-b32",), "text"),
        ("tokenizers", ("clip-vit-b32", "--url", "http://127.0.0.1:9"), "text"),
    ],
)
def test_the_extra_that_an_import_needs_is_named(
    missing: str, arguments: tuple[str, ...], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    [done] = fc7_without((missing,), ("import", *arguments))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{missing}, which is not installed: pip install 'fc7[{extra}]'" in done.stderr


def test_graphs_inside_nodes_are_followed_and_renamed(tmp_path: Path) -> None:
    path, out = small_classifier(tmp_path / "n.onnx"), tmp_path / "m.onnx"
    model = onnx.load(path)
    graph = model.graph
    # Both branches take tensors of the graph around them: one whose name is fc7's own, and a weight used nowhere else.
    branches = {
        name: helper.make_graph(
            [helper.make_node(operator, ["embedding", "fc7.weight"], [f"pixels.{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"pixels.{name}", TensorProto.FLOAT, None)],
        )
        for name, operator in (("then_branch", "Mul"), ("else_branch", "Add"))
    }
    graph.initializer.append(numpy_helper.from_array(np.linspace(1, 2, 24, dtype=np.float32), "fc7.weight"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    graph.node.append(helper.make_node("If", ["always"], ["mask"], **branches))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 24]))
    onnx.save(model, path)
    import_network(path, out, wishes=IMAGENET)
    feed = normalised(pictures(), PRESETS["imagenet"].mean, PRESETS["imagenet"].std)
    expected = by_hand(path, "embedding", feed) * np.linspace(1, 2, 24)
    np.testing.assert_allclose(Model.load(out, device="cpu").run(pictures()).fc7, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "text"), [("c.txt", "cat\n,tabby\n"), ("c.json", '["cat", " "]')])
def test_a_class_without_a_name_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=r"class 2 in .* has no name"):
        read_classes(tmp_path / name)
