"""`fc7 train --teacher`: from photos without labels to a model, and one clear line for each thing that cannot be."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from training_samples import COLOURS, write_colours

from cli import main
from retrieval.models.model import Model
from training.loop.checkpoint import Checkpoint
from training.loop.run_folder import LAST

SMALL = ("--arch", "alexnet-64", "--grow", "0:32,0.9:56", "--evidence", 3, "--epochs", 1)


def fc7(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photos of each of three colours, without labels."""
    return write_colours(tmp_path / "photos", each=8)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Five photos of each of three colours, in folders named after them."""
    return write_colours(tmp_path / "labelled", each=5, seed=1, labelled=True)


@pytest.fixture
def refused(tmp_path: Path, tiny_model: Path) -> Callable[..., str]:
    """A function that runs a command which has to fail with a status, and returns its one line."""

    def run(*arguments: object, status: int = 1, teacher: Path | None = tiny_model) -> str:
        with_teacher = [] if teacher is None else ["--teacher", teacher]
        done = fc7("train", *arguments, "-o", tmp_path / "run", *with_teacher)
        assert done.exit_code == status, done.output
        assert done.stdout == ""
        [line] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert done.stderr.endswith(f"{line}\n")
        assert "Traceback" not in done.stderr
        return line.removeprefix("Error: ")

    return run


Refused = Callable[..., str]


@pytest.mark.slow
def test_from_photos_without_labels_to_a_model_that_names_them(
    photos: Path, labelled: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    (photos / "bad.jpg").write_bytes(b"no photo")
    linked = tmp_path / "linked"
    linked.symlink_to(labelled)
    options = ("--unlabelled", linked, "--weight", linked, 2, "--teacher", tiny_model, "--cache", cache)
    trained = fc7("train", photos, "-o", run, *options, *SMALL)
    assert trained.exit_code == 0, trained.output
    assert trained.stdout.startswith(f"{run / 'model.onnx'}: alexnet-64, 3 classes, top-1 ")
    assert f"{linked}: 13 training pictures without labels\n" in trained.stderr
    assert f"left out: {photos / 'bad.jpg'}: not a photo\n" in trained.stderr
    classified = fc7("classify", "-m", run / "model.onnx", photos / "red000.png", "--format", "jsonl")
    assert {found["label"] for found in json.loads(classified.stdout)["predictions"]} == set(COLOURS)
    assert {path.suffix for path in cache.iterdir()} == {".rows", ".json"}
    assert not (run / "answers").exists()

    resumed = fc7("train", photos, "--unlabelled", linked, "-o", run, "--resume", "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output
    assert "Epoch 2/2: " in resumed.stderr
    assert Checkpoint.load(run / LAST).data["sources"][1] == [str(linked), 2.0, False]
    answers = set(cache.glob("answers-*"))
    exported = fc7("export", run / "best.pt", "-o", tmp_path / "again.onnx")
    assert exported.exit_code == 0, exported.output
    assert set(cache.glob("answers-*")) == answers, "the teacher is not asked again"
    assert len(Model.load(tmp_path / "again.onnx", device="cpu").spec.classes) == 3


@pytest.mark.slow
def test_a_teacher_may_learn_nothing_but_albums(labelled: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Photos whose folders look like classes, and no other folder beside them."""
    done = fc7("train", "--unlabelled", labelled, "-o", tmp_path / "run", "--teacher", tiny_model, *SMALL)
    assert done.exit_code == 0, done.output
    assert f"{labelled}: 13 training pictures without labels\n" in done.stderr


def test_a_teacher_that_is_none_is_told(refused: Refused, photos: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.onnx"
    assert refused(photos, teacher=none).startswith(f"there is no model file {none}; make one with `fc7 train")
    (tmp_path / "notes.onnx").write_text("no model")
    line = refused(photos, teacher=tmp_path / "notes.onnx")
    assert line.startswith(f"{tmp_path / 'notes.onnx'} ")
    (tmp_path / "best.pt").write_bytes(b"weights")
    line = refused(photos, teacher=tmp_path / "best.pt")
    assert "is a checkpoint, not a model file; make one of it with `fc7 export" in line
    line = refused(photos, teacher=Path("efficientnet-lite0"))
    assert "run `fc7 import efficientnet-lite0`" in line
    assert not (tmp_path / "run").exists(), "a run that writes nothing leaves no folder"


def test_folders_that_teach_nothing_are_told(refused: Refused, photos: Path, tmp_path: Path) -> None:
    empty, none = tmp_path / "empty", tmp_path / "none"
    empty.mkdir()
    assert refused(empty) == f"{empty} holds no photos; give a folder with more"
    assert refused(photos, empty) == f"{empty} holds no photos; give a folder with more"
    assert refused(photos, "--unlabelled", empty) == f"{empty} holds no photos; give a folder with more"
    assert refused(none).startswith(f"there is no folder {none}; give one that holds")
    shutil.copy(photos / "red000.png", empty)
    assert refused(empty) == f"{empty} holds 1 photo; give a folder with more"
    assert "photos is named twice; name it once" in refused(photos, photos)


def test_too_few_photos_are_told(refused: Refused, photos: Path) -> None:
    assert refused(photos, "--evidence", 9) == (
        "9 or more pictures show 0 of the teacher's classes; give more photos, or a lower --evidence"
    )


def test_photos_that_cannot_be_read_are_told(refused: Refused, photos: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"")
    line = refused(photos)
    assert f"show 0 of the teacher's classes; 22 of 22 could not be read, first {photos}/" in line
    assert "empty file" in line
    assert "are too few" in refused(photos, "--evidence", 0)


def test_a_class_of_which_nothing_can_be_read_is_told(refused: Refused, photos: Path, tmp_path: Path) -> None:
    things = write_colours(tmp_path / "things", each=5, seed=3, labelled=True)
    (things / "red").rename(things / "wrecks")
    for path in (things / "wrecks").iterdir():
        path.write_bytes(b"")
    line = refused(photos, things, "--evidence", 2, "--epochs", 1)
    assert line.startswith("none of the training pictures of wrecks can be read")


def test_a_model_that_is_there_is_not_overwritten(refused: Refused, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.onnx").write_bytes(b"of days of work")
    line = refused(photos)
    assert line == f"there is a model in {tmp_path / 'run'} already; choose another folder with -o"
    assert (tmp_path / "run" / "model.onnx").read_bytes() == b"of days of work"


def test_photos_need_a_teacher(refused: Refused, photos: Path, labelled: Path) -> None:
    message = "--unlabelled is for a teacher, who knows what is in the photos; name one with --teacher"
    assert refused(labelled, "--unlabelled", photos, teacher=None, status=2) == message
    line = refused(labelled, photos, teacher=None)
    assert line == f"{photos} is without labels; name who knows what is in it with --teacher"
    line = refused(photos, teacher=None)
    assert line.startswith(f"{photos} holds 0 folders of pictures; the pictures lie one level too high, in ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--weight", "elsewhere", 2),
            "--weight names no folder to learn from: elsewhere; write it as in DATA or --unlabelled",
        ),
        (("--mixup", 0.2), "the teacher has not seen mixed pictures; leave out --mixup and --cutmix"),
        (("--cutmix", 1), "the teacher has not seen mixed pictures; leave out --mixup and --cutmix"),
        (("--names", "words.txt"), "a teacher brings the names of its classes; leave out --names, or give it"),
        (("--label-share", 2), "label share 2.0 is not from 0 to 1; give another --label-share"),
        (("--imitation", -1), "imitation -1.0 is not at least 0; give another --imitation"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    refused: Refused, photos: Path, options: tuple[object, ...], message: str
) -> None:
    assert refused(photos, *options, status=2).startswith(message)


@pytest.mark.parametrize("times", [0, -1, 101, "nan", "often"])
def test_a_weight_is_a_number_of_times(refused: Refused, photos: Path, times: object) -> None:
    line = refused(photos, "--weight", photos, times, status=2)
    assert re.search(r"--weight", line)


def test_a_weight_may_be_so_low_that_nothing_is_drawn(refused: Refused, photos: Path) -> None:
    line = refused(photos, "--weight", photos, 0.01, "--evidence", 3)
    assert line == "an epoch of 0 pictures is too short; give a higher --weight"


def test_a_cache_is_kept_out_of_the_photos(refused: Refused, photos: Path, tmp_path: Path) -> None:
    line = refused(photos, "--cache", photos / "cache")
    assert line.startswith(f"the cache would lie among its pictures, in {photos}, and be taken for a class")
    (tmp_path / "file").write_text("")
    line = refused(photos, "--cache", tmp_path / "file")
    assert line.startswith(f"{tmp_path / 'file'} cannot keep answers (File exists); make room, or name another folder")


def test_something_has_to_be_learned_from(refused: Refused) -> None:
    assert refused(status=2) == "name DATA, the training pictures"


@pytest.mark.parametrize("option", [("--teacher", "x.onnx"), ("--cache", "kept"), ("--weight", "photos", 2)])
def test_a_run_goes_on_with_its_own_teacher(refused: Refused, photos: Path, option: tuple[object, ...]) -> None:
    line = refused(photos, "--resume", *option, teacher=None, status=2)
    assert line == "--resume keeps the recipe of the run; only --epochs may be given with it"
