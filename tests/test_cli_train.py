"""The commands train, evaluate and export."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from cli import main
from retrieval.models.model import Model
from training.data.dataset import scan_dataset
from training.loop.recipe import RECIPES, recipe_options

MakePhoto = Callable[..., Path]


def fc7(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def data(make_photo: MakePhoto, tmp_path: Path) -> Path:
    """A data set of two classes, red and green."""
    for colour in ("red", "green"):
        for number in range(12):
            make_photo(f"data/{colour}/{number}.png", colour, seed=number)
    return tmp_path / "data"


@pytest.mark.slow
def test_from_pictures_to_a_model_that_names_them(data: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "exported.onnx"
    trained = fc7("train", data, "-o", run, "--epochs", 1, "--grow", "0:32,0.9:56")
    assert trained.exit_code == 0, trained.output
    assert trained.stdout.startswith(f"{run / 'model.onnx'}: alexnet-64, 2 classes, top-1 ")
    assert "Epoch 1/1: " in trained.stderr
    assert "% waiting for pictures)" in trained.stderr
    assert f" validation pictures mistaken: {run / 'mistakes.csv'}; all classes: {run / 'confusion.csv'}\n" in (
        trained.stdout
    )

    again = fc7("train", data, "-o", run)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    resumed = fc7("train", data, "-o", run, "--resume", "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output
    assert "Epoch 2/2: " in resumed.stderr
    assert "Epoch 1/" not in resumed.stderr
    assert len((run / "metrics.csv").read_text().splitlines()) == 3

    exported = fc7("export", run / "best.pt", "-o", model)
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.startswith(f"{model}: alexnet-64, 2 classes")
    if Path("/dev/full").exists():
        command = [sys.executable, "-m", "cli", "export", str(run / "best.pt"), "-o", str(tmp_path / "untold.onnx")]
        with open("/dev/full", "wb") as full:
            told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert told.returncode == 1
        assert "Error: standard output cannot be written (No space left on device)" in told.stderr
        assert "Traceback" not in told.stderr
    adjusted = ("--logit-adjustment", 0.5, "--prior-photos", data / "red", "--prior-photos", data / "green")
    seen = fc7("export", run / "best.pt", "-o", tmp_path / "adjusted.onnx", "--resize", 56, *adjusted)
    assert seen.exit_code == 0, seen.output
    facts = json.loads(fc7("info", tmp_path / "adjusted.onnx", "--format", "json").stdout)
    assert facts["training"]["logit_adjustment"] == 0.5
    assert (facts["resize"], facts["resize_mode"]) == (56, "crop")
    assert facts["training"]["prior_photos"] == len(list(data.rglob("*.png")))
    useless = fc7("export", run / "best.pt", "-o", tmp_path / "no.onnx", "--prior-photos", data)
    assert useless.exit_code == 2
    assert "add --logit-adjustment 0.5" in useless.stderr
    classified = fc7("classify", "-m", model, make_photo("a.png", "green"), "--format", "jsonl")
    assert {p["label"] for p in json.loads(classified.stdout)["predictions"]} == {"red", "green"}


def test_evaluate_measures_naming_and_finding(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    (data / "red" / "bad.png").write_bytes(b"")
    done = fc7("evaluate", data, "-m", tiny_model, "--csv", tmp_path / "pictures.csv", "--format", "json")
    assert done.exit_code == 0, done.output
    measures = json.loads(done.stdout)
    assert (measures["pictures"], measures["skipped"], measures["top1"]) == (24, 1, 1.0)
    assert done.stderr == f"Skipped {data / 'red' / 'bad.png'}: empty file\n"
    rows = list(csv.DictReader((tmp_path / "pictures.csv").read_text().splitlines()))
    assert len(rows) == 24
    assert {(row["label"], row["predicted"], row["rank"]) for row in rows} == {
        ("red", "red", "1"),
        ("green", "green", "1"),
    }


def test_evaluate_finds_a_place_that_cannot_be_written_before_the_work(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = fc7("evaluate", data, "-m", tiny_model, "--csv", tmp_path / "nowhere" / "pictures.csv")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path / 'nowhere' / 'pictures.csv'} cannot be written (no such file")
    assert fc7("evaluate", data, "-m", tiny_model, "--csv", tmp_path).exit_code == 2


def test_an_evaluation_that_fails_leaves_the_old_table(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    table = tmp_path / "pictures.csv"
    table.write_text("old")
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    assert fc7("evaluate", data, "-m", tiny_model, "--csv", table).exit_code == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["pictures.csv"]
    assert table.read_text() == "old"


def test_evaluate_leaves_out_what_the_model_learned_from(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    model, dataset = onnx.load(tiny_model), scan_dataset(data)
    known = {known.name: known for known in Model.load(tiny_model, device="cpu").spec.classes}
    dataset = replace(dataset, classes=tuple(known[each.name] for each in dataset.classes))
    entry = next(entry for entry in model.metadata_props if entry.key == "fc7.learned")
    entry.value = json.dumps(dataset.learned)
    onnx.save(model, tmp_path / "trained.onnx")
    done = fc7("evaluate", data, "-m", tmp_path / "trained.onnx", "--format", "json")
    assert json.loads(done.stdout)["pictures"] == 2
    assert done.stderr == "2 pictures are measured; 22 are left out: the model learned from them.\n"


def test_evaluate_measures_neighbours_of_classes_that_the_model_does_not_know(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    asked = json.loads(fc7("evaluate", data, "-m", tiny_model, "--neighbours", "--format", "json").stdout)
    named = json.loads(fc7("evaluate", data, "-m", tiny_model, "--format", "json").stdout)
    assert asked == {name: value for name, value in named.items() if name not in ("top1", "top5")}
    table = tmp_path / "pictures.csv"
    assert (
        "--neighbours measures none" in fc7("evaluate", data, "-m", tiny_model, "--neighbours", "--csv", table).stderr
    )
    for folder in list(data.rglob("*")):
        if folder.is_dir() and folder.name in ("red", "green"):
            folder.rename(folder.with_name(f"my {folder.name}"))
    done = fc7("evaluate", data, "-m", tiny_model, "--format", "json")
    assert json.loads(done.stdout) == asked
    assert done.stderr == f"tiny knows none of the classes in {data}: only neighbours are measured.\n"
    refused = fc7("evaluate", data, "-m", tiny_model, "--csv", tmp_path / "pictures.csv")
    assert (refused.exit_code, (tmp_path / "pictures.csv").exists()) == (1, False)


def test_a_class_that_the_model_does_not_know_is_an_error(data: Path, tiny_model: Path) -> None:
    (data / "red").rename(data / "crimson")
    done = fc7("evaluate", data, "-m", tiny_model)
    assert done.exit_code == 1
    assert "crimson" in done.stderr
    assert "--neighbours" in done.stderr
    assert fc7("evaluate", data, "-m", tiny_model, "--neighbours").exit_code == 0


@pytest.mark.parametrize("option", [("--lr", 0.1), ("--arch", "alexnet"), ("--names", "words.txt"), ("--from", "x.pt")])
def test_a_run_goes_on_with_its_own_recipe(tmp_path: Path, option: tuple[object, ...]) -> None:
    done = fc7("train", tmp_path, "-o", tmp_path / "run", "--resume", *option)
    assert done.exit_code == 2
    assert "only --epochs" in done.stderr


@pytest.mark.parametrize("command", ["export", "import"])
def test_nothing_but_a_model_file_is_written_over(tmp_path: Path, command: str) -> None:
    given = tmp_path / "best.pt"
    given.write_bytes(b"weights")
    done = fc7(command, given, "-o", given, *(["--labels", tmp_path / "l.tsv"] if command == "import" else []))
    assert done.exit_code in (1, 2)
    assert given.read_bytes() == b"weights"


def test_values_that_make_no_sense_are_wrong_usage(data: Path, tmp_path: Path) -> None:
    for option, value in (("--epochs", 0), ("--dropout", 2), ("--grow", "0:999")):
        done = fc7("train", data, "-o", tmp_path / "run", option, value)
        assert (done.exit_code, f"give {option}" in done.stderr.replace("another ", "")) == (2, True), done.stderr


@pytest.mark.slow
def test_a_network_may_be_shown_whole_pictures(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = fc7("train", data, "-o", tmp_path / "run", "--epochs", 1, "--squash", "--scale", 0.5, "--grow", "0:56")
    assert done.exit_code == 0, done.output
    assert Model.load(tmp_path / "run" / "model.onnx").spec.resize_mode == "squash"
    resumed = fc7("train", data, "-o", tmp_path / "run", "--resume", "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output
    start = ("train", data, "-o", tmp_path / "next", "--epochs", 1, "--from", tmp_path / "run" / "best.pt", "--squash")
    refused = fc7(*start)
    assert (refused.exit_code, "leave out --squash" in refused.stderr) == (2, True)
    taught = fc7(*start, "--teacher", tiny_model, "--evidence", 1)
    assert taught.exit_code == 0, taught.output


def test_what_is_subtracted_comes_with_the_weights(tmp_path: Path) -> None:
    done = fc7("train", tmp_path, "-o", tmp_path / "run", "--from", "builtin", "--mean", "picture")
    assert done.exit_code == 2
    assert "leave out --mean" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("train", "none", "-o", "run"), ("train", "none", "-o", "run", "--resume"), ("export", "none.pt", "-o", "m.onnx")],
)
def test_what_is_not_there_is_an_error(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fc7(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")


def test_every_value_of_the_recipe_is_an_option_with_its_defaults_shown() -> None:
    text = " ".join(fc7("train", "--help").output.split())
    for name, _, _ in recipe_options():
        assert f"--{name.replace('_', '-')}" in text
    assert f"alexnet-64: {RECIPES['alexnet-64'].epochs}" in text


@pytest.mark.parametrize("option", ["--whitening", "--logit-adjustment"])
def test_what_is_no_number_is_refused(option: str) -> None:
    done = CliRunner().invoke(main, ["export", "best.pt", "-o", "model.onnx", option, "nan"])
    assert done.exit_code == 2
    assert f"Error: Invalid value for '{option}': nan is not a number.\n" in done.output
