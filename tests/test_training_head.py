"""`fc7 train --head`: a last layer of one's own on any model file."""

import base64
import csv
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from training_samples import write_colours

from cli import main
from index.errors import ModelError
from retrieval.evaluation.metrics import interval
from retrieval.logistic_regression import LinearClassifier
from retrieval.models.model import Model
from retrieval.models.spec import ClassName
from retrieval.photos.decode import open_photo
from training.data.image_hashes import image_hash, pack_hashes
from training.head.examples import KEPT_BYTES, Examples
from training.head.graph import replace_head
from training.head.train_head import tell_known
from training.loop.report import SilentReport
from training.onnx_import.graphs import needed

DOCS = Path(__file__).resolve().parent.parent / "docs"


def fc7(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_colours(tmp_path / "data", each=12, labelled=True)


def printed_by_the_documents_example(model: Path, photo: Path) -> tuple[str, float]:
    """What the program in docs/models.md prints, which uses a model file in plain ONNX Runtime."""
    [program] = re.findall(r"```python\n(.*?)```", (DOCS / "models.md").read_text("utf-8"), re.DOTALL)
    for named, place in (("model.onnx", model), ("photo.jpg", photo)):
        assert program.count(f'"{named}"') == 1
        program = program.replace(f'"{named}"', repr(str(place)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    name, probability = done.stdout.split()
    return name, float(probability)


def test_a_model_of_ones_own_classes_in_seconds(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = fc7("train", data, "-o", out, "--from", tiny_model, "--head")
    assert done.exit_code == 0, done.output
    low, _ = interval(1.0, 36)
    assert done.stdout.startswith(
        f"{out / 'model.onnx'}: tiny, 3 classes, top-1 100.0% ({low:.1%} to 100.0% with 95 % confidence) "
        "(5-fold cross-validation of 36 pictures), embedding of 16 values\n"
        f"0 of 36 held-out pictures mistaken: {out / 'mistakes.csv'}"
    ), "and no top-5 of three classes"
    base, model = Model.load(tiny_model), Model.load(out / "model.onnx")
    assert [known.name for known in model.spec.classes] == ["blue", "green", "red"]
    assert model.spec.fingerprint != base.spec.fingerprint
    assert model.spec.licence == base.spec.licence
    photo = data / "red" / "003.png"
    images = [open_photo(photo)]
    assert np.array_equal(model.embed(images), base.embed(images)), "the layers below are as they were"
    [[best, *_]] = model.classify(images)
    assert (best.label, best.probability > 0.8) == ("red", True)
    name, probability = printed_by_the_documents_example(out / "model.onnx", photo)
    assert name == "red"
    assert probability == pytest.approx(best.probability, abs=0.02)
    again = fc7("train", data, "-o", out, "--from", tiny_model, "--head")
    assert (again.exit_code, again.stderr.count("there is a model in")) == (1, 1)


def test_the_documents_classifier_of_twelve_parts_and_one_more(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/training.md, as they stand there, with smaller pictures and a smaller model."""
    section = (DOCS / "training.md").read_text("utf-8").split("## A classifier in seconds")[1].split("\n## ")[0]
    first, add = (shlex.split(line) for line in re.findall(r"^ +(?:\$ )?fc7 (train .*)$", section, re.MULTILINE))
    assert first == ["train", "parts", "-o", "runs/parts", "--from", "efficientnet-lite0", "--head"]
    assert add == ["train", "~/spring", "-o", "runs/parts-13", "--from", "runs/parts/model.onnx", "--head", "--add"]
    random = np.random.default_rng(0)
    for number in range(13):
        folder = tmp_path / "spring" if number == 12 else tmp_path / "parts" / f"part-{number:02}"
        folder.mkdir(parents=True)
        colour = np.array([number % 3, number // 3 % 3, number // 9]) * 100
        for photo in range(8):
            pixels = np.clip(colour + random.integers(0, 50, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{photo}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in (first, add):
        done = fc7(*(str(tiny_model) if word == "efficientnet-lite0" else os.path.expanduser(word) for word in words))
        assert done.exit_code == 0, done.output
    assert "13 classes, top-1 " in done.stdout
    assert "(5-fold cross-validation of 104 pictures)" in done.stdout
    handed_on = (tmp_path / "runs" / "parts-13" / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    [[best, *_]] = Model.load(handed_on).classify([open_photo(tmp_path / "spring" / "0.png")])
    name, probability = printed_by_the_documents_example(handed_on, tmp_path / "spring" / "0.png")
    assert (name, best.label) == ("spring", "spring")
    assert probability == pytest.approx(best.probability, abs=0.02)


def test_it_grows_by_a_class(tiny_model: Path, tmp_path: Path) -> None:
    two = fc7(
        "train",
        write_colours(tmp_path / "two", each=12, labelled=True, colours=("red", "green")),
        "-o",
        tmp_path / "a",
        "--from",
        tiny_model,
        "--head",
    )
    assert two.exit_code == 0, two.output
    write_colours(tmp_path / "two", each=6, labelled=True, colours=("blue",))
    three = fc7("train", tmp_path / "two", "-o", tmp_path / "b", "--from", tmp_path / "a" / "model.onnx", "--head")
    assert three.exit_code == 0, three.output
    assert "few pictures of blue (6): expect mistakes there" in three.stderr
    assert "learned from" not in three.stderr.replace("to learn from", ""), "its layers have learned from none of them"
    model = Model.load(tmp_path / "b" / "model.onnx")
    assert [known.name for known in model.spec.classes] == ["blue", "green", "red"]
    kinds = [node.op_type for node in onnx.load(tmp_path / "b" / "model.onnx").graph.node]
    assert kinds.count("Softmax") == 1, "the old last layer is gone"


def test_a_validation_set_judges_and_is_not_learned_from(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    root = tmp_path / "divided"
    write_colours(root / "train", each=8, labelled=True)
    write_colours(root / "val", each=4, labelled=True, seed=5)
    mislabelled = root / "val" / "red" / "000.png"
    (root / "val" / "blue" / "000.png").replace(mislabelled)
    done = fc7("train", root, "-o", tmp_path / "run", "--from", tiny_model, "--head")
    assert done.exit_code == 0, done.output
    assert "(11 pictures of the validation set)" in done.stdout
    [mistake] = csv.DictReader((tmp_path / "run" / "mistakes.csv").read_text().splitlines())
    assert (mistake["path"], mistake["predicted"]) == (str(mislabelled), "blue")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--head"], "--head learns the last layer of a model; name the model with --from"),
        (["--head", "--from", "builtin", "--epochs", "3"], "leave out --epochs"),
        (["--head", "--from", "builtin", "--no-mirror"], "leave out --mirror"),
        (["--head", "--from", "builtin", "--resume"], "leave out --resume"),
    ],
)
def test_options_that_make_no_sense_are_refused(data: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = fc7("train", data, "-o", tmp_path / "run", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_what_cannot_be_learned_is_told(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    for number in range(1, 12):
        (data / "red" / f"{number:03}.png").unlink()
    (data / "red" / "001.png").write_bytes(b"")
    done = fc7("train", data, "-o", tmp_path / "run", "--from", tiny_model, "--head")
    assert done.exit_code == 1
    assert "1 of the pictures of red can be read, and two are needed at least" in done.stderr
    checkpoint = fc7("train", data, "-o", tmp_path / "run2", "--from", tmp_path / "best.pt", "--head")
    assert "is a checkpoint and no model file; give the model.onnx" in checkpoint.stderr
    assert not (tmp_path / "run" / "model.onnx").exists()


@pytest.mark.slow
def test_it_needs_no_torch(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    arguments = [str(data), "-o", str(tmp_path / "run"), "--from", str(tiny_model), "--head"]
    program = (
        f"import sys; sys.modules['torch'] = None\nimport cli\nsys.argv = {['fc7', 'train', *arguments]!r}\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_only_what_the_outputs_need_is_left(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    replace_head(model, LinearClassifier(np.ones((2, 16)), np.zeros(2)))
    onnx.checker.check_model(model, full_check=True)
    assert "colours" not in {weight.name for weight in model.graph.initializer}
    assert "logits" not in {name for node in model.graph.node for name in node.output}
    assert {value.name for value in model.graph.output} == {"probabilities", "fc7", "embedding"}


def test_what_only_a_branch_needs_is_kept() -> None:
    """A name may be used inside a node's branches alone."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["outer"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1])],
    )
    nodes = [
        helper.make_node("Constant", [], ["outer"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("Constant", [], ["unused"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("If", ["condition"], ["result"], then_branch=inner, else_branch=inner),
    ]
    kept, _ = needed(helper.make_graph(nodes, "graph", [], []), ["result"])
    assert [list(node.output) for node in kept] == [["outer"], ["result"]]


def grown(tmp_path: Path, tiny_model: Path) -> tuple[Path, Path]:
    """A model of red and green, and a folder of blue pictures alone."""
    two = write_colours(tmp_path / "two", each=12, labelled=True, colours=("red", "green"))
    assert fc7("train", two, "-o", tmp_path / "a", "--from", tiny_model, "--head").exit_code == 0
    blue = write_colours(tmp_path / "one", each=12, labelled=True, colours=("blue",)) / "blue"
    return tmp_path / "a" / "model.onnx", blue


def test_a_class_is_added_by_its_own_folder_alone(tiny_model: Path, tmp_path: Path) -> None:
    model, blue = grown(tmp_path, tiny_model)
    done = fc7("train", blue, "-o", tmp_path / "b", "--from", model, "--head", "--add")
    assert done.exit_code == 0, done.output
    assert "added to a: new classes: blue" in done.stderr
    assert "(5-fold cross-validation of 36 pictures)" in done.stdout
    write_colours(tmp_path / "two", each=12, labelled=True, colours=("blue",))
    assert fc7("train", tmp_path / "two", "-o", tmp_path / "c", "--from", tiny_model, "--head").exit_code == 0
    one, whole = (Model.load(tmp_path / name / "model.onnx") for name in "bc")
    assert [known.name for known in one.spec.classes] == ["green", "red", "blue"], "the old ones keep their places"
    images = [open_photo(path) for path in sorted((tmp_path / "two").rglob("*.png"))]
    by_name = [{p.label: p.probability for p in found} for found in one.classify(images)]
    for said, expected in zip(by_name, whole.classify(images), strict=True):
        assert max(said, key=lambda name: said[name]) == expected[0].label
        assert said[expected[0].label] == pytest.approx(expected[0].probability, abs=0.05)
    assert np.array_equal(one.embed(images), Model.load(tiny_model).embed(images))


def test_photos_are_added_to_a_class_and_one_given_once_more_has_its_new_class(
    tiny_model: Path, tmp_path: Path
) -> None:
    model, _ = grown(tmp_path, tiny_model)
    more = write_colours(tmp_path / "more", each=4, labelled=True, colours=("red",), seed=9)
    moved = more / "red" / "moved.png"
    moved.write_bytes((tmp_path / "two" / "green" / "003.png").read_bytes())
    done = fc7("train", more, "-o", tmp_path / "b", "--from", model, "--head", "--add")
    assert done.exit_code == 0, done.output
    assert "added to a: 5 pictures of classes that it has" in done.stderr
    kept = Examples.of(Model.load(tmp_path / "b" / "model.onnx").spec)
    assert np.bincount(kept.labels).tolist() == [11, 17]


def test_what_the_layers_have_learned_from_is_counted_among_the_pictures_at_hand(
    tiny_model: Path, tmp_path: Path
) -> None:
    judged = write_colours(tmp_path / "known", each=2, labelled=True)
    others = write_colours(tmp_path / "others", each=2, labelled=True, seed=3)
    paths, strange = (sorted(folder.rglob("*.png")) for folder in (judged, others))
    learned = pack_hashes({digest for path in paths if (digest := image_hash(path))})
    notes: list[str] = []

    class Report(SilentReport):
        def note(self, text: str) -> None:
            notes.append(text)

    spec = replace(Model.load(tiny_model, device="cpu").spec, learned=learned)
    assert tell_known([*paths, *strange], replace(spec, training={}), Report()) == len(paths)
    again = replace(spec, training={"head": {"learned_before": 4}})
    assert tell_known([*paths, *strange], again, Report()) == 4, "its last layer has learned from the rest alone"
    assert tell_known(strange, again, Report()) == 0
    assert [note.split()[0] for note in notes] == [str(len(paths)), "4"]


def test_pictures_to_add_of_which_none_can_be_read_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    model, _ = grown(tmp_path, tiny_model)
    (more := tmp_path / "more" / "red").mkdir(parents=True)
    (more / "broken.png").write_bytes(b"no picture")
    done = fc7("train", more, "-o", tmp_path / "b", "--from", model, "--head", "--add")
    assert done.exit_code == 1
    assert f"none of the pictures in {more} can be read" in done.stderr
    assert "Traceback" not in done.output


def test_classes_that_would_be_lost_are_named(tiny_model: Path, tmp_path: Path) -> None:
    model, blue = grown(tmp_path, tiny_model)
    write_colours(blue.parent, each=12, labelled=True, colours=("red",))
    done = fc7("train", blue.parent, "-o", tmp_path / "b", "--from", model, "--head")
    assert done.exit_code == 0, done.output
    assert "a knows green, and the new model will not: --add keeps its classes" in done.stderr


def test_what_nothing_can_be_added_to_is_told(tiny_model: Path, tmp_path: Path) -> None:
    model, blue = grown(tmp_path, tiny_model)
    foreign = fc7("train", blue, "-o", tmp_path / "b", "--from", tiny_model, "--head", "--add")
    assert "tiny keeps nothing of the pictures that it learned from" in foreign.stderr
    assert "leave out --add, and give the folders of all classes" in foreign.stderr
    missing = fc7("train", tmp_path / "none", "-o", tmp_path / "b", "--from", model, "--head", "--add")
    assert "there is no folder" in missing.stderr
    alone = fc7("train", blue.parent, "-o", tmp_path / "b", "--from", model, "--head")
    assert "add" in alone.stderr
    without = fc7("train", blue, "-o", tmp_path / "b", "--from", model, "--add")
    assert (without.exit_code, "--add goes with --head and --from" in without.stderr) == (2, True)
    spec = Model.load(model).spec
    for damaged in (spec.examples[:-8], "no base 64!", base64.b64encode(b"\xff" * 36).decode()):
        with pytest.raises(ModelError, match="cannot be read"):
            Examples.of(replace(spec, examples=damaged))


def test_of_many_pictures_a_share_of_each_class_is_kept(tiny_model: Path) -> None:
    spec = Model.load(tiny_model).spec
    spec = replace(spec, classes=(*spec.classes, ClassName("fourth")))
    random, most = np.random.default_rng(0), KEPT_BYTES // (2 * spec.dim)
    labels = np.repeat([0, 1, 2, 3], [most, most // 2, 6, 40])
    rows = random.normal(size=(len(labels), spec.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kept = Examples.of(replace(spec, examples=Examples(rows, labels).packed()))
    assert np.bincount(kept.labels).tolist() == pytest.approx([most / 2, most / 4, 6, 20], abs=1)
    assert (kept.labels == 2).sum() == 6, "all of a class with few"
    nearest = np.abs(kept.embeddings[-20:, None] - rows[None, -40:]).max(axis=2).min(axis=1)
    assert nearest.max() < 0.005, "they are those of their class, to 16 bits"
