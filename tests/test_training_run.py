"""Whole runs: pictures of coloured shapes are learned; interrupted, they end as if nothing had been."""

import csv
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from told import told
from training_samples import CPU, SHAPES, TINY, TINY_RECIPE, write_shapes

from index.errors import OptionError, UserError
from retrieval.models.model import Model
from training.data.dataset import scan_dataset
from training.errors import CheckpointError, DatasetError, RunError
from training.export.embedding import EmbeddingRecipe
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.hardware import Hardware
from training.loop.recipe import Recipe
from training.loop.run import TrainResult, resume, train
from training.loop.run_folder import BEST, LAST, METRICS, MODEL
from training.loop.validation import validate
from training.networks.architectures import ALEXNET

RECIPE = TINY_RECIPE.changed(precision="float32", validation=0.2)
SHORT = RECIPE.changed(epochs=2)
WORKERS = Hardware(torch.device("cpu"), memory=0, workers=1)
TIMES = {"pictures_per_second", "waiting", "seconds"}


class Record:
    """A report that keeps what it is told, and calls `at_batch` with the number of all batches so far."""

    def __init__(self, at_batch: Callable[[int], None] = lambda _: None) -> None:
        self.notes: list[str] = []
        self.epochs: list[int] = []
        self.loaded: list[tuple[int, int]] = []
        self.batches = 0
        self._at_batch = at_batch

    def note(self, text: str) -> None:
        self.notes.append(text)

    def loading(self, done: int, total: int) -> None:
        self.loaded.append((done, total))

    def asking(self, done: int, total: int) -> None:
        """Forget it."""

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        assert 0 < done <= total
        self.batches += 1
        self._at_batch(self.batches)

    def epoch(self, row: EpochMetrics, epochs: int) -> None:
        self.epochs.append(row.epoch)


IN_MEMORY_AND_BY_WORKERS = pytest.mark.parametrize(
    "hardware", [CPU, pytest.param(WORKERS, marks=pytest.mark.slow)], ids=["memory", "workers"]
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of each shape."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), each=30)


@pytest.fixture(scope="module")
def learned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A run that has learned the shapes."""
    recipe = RECIPE.changed(epochs=12, batch_size=8)
    return run(data, tmp_path_factory.mktemp("runs") / "learned", recipe, report=Record())


@pytest.fixture
def report_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.trainer.SECONDS_BETWEEN_REPORTS", -1.0)


def run(data: Path, out: Path, recipe: Recipe = SHORT, *, report: Record | None = None, **options: Any) -> TrainResult:
    given = {"hardware": CPU, "config": TINY, "embedding": EmbeddingRecipe(dim=8), **options}
    return train(data, out, recipe, report=report or Record(), **given)


def go_on(data: Path, out: Path, *, report: Record | None = None, **options: Any) -> TrainResult:
    given = {"hardware": CPU, "embedding": EmbeddingRecipe(dim=8), **options}
    return resume(data, out, report=report or Record(), **given)


def state(out: Path) -> dict[str, Any]:
    """All that a run leaves, but the time it took, as plain values."""
    last = Checkpoint.load(out / LAST)
    history = [{f.name: getattr(row, f.name) for f in fields(row) if f.name not in TIMES} for row in last.history]

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.tolist()
        return {key: plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    return {
        "epoch": last.epoch,
        "step": last.step,
        "history": history,
        "network": plain(last.network),
        "optimizer": plain(last.optimizer["state"]),
        "random": plain(last.random),
    }


def test_the_shapes_are_learned(learned: TrainResult, tmp_path: Path) -> None:
    assert learned.spec is not None
    assert learned.evaluation is not None
    assert learned.history[-1].validation_top1 > 0.9
    assert learned.evaluation.top1 > 0.9
    model = Model.load(learned.folder / MODEL, device="cpu")
    fresh = sorted(write_shapes(tmp_path, each=20, seed=99).glob("*/*"))
    named = model.classify([Image.open(path) for path in fresh], k=1)
    assert np.mean([answer[0].label == path.parent.name for answer, path in zip(named, fresh, strict=True)]) > 0.9


def test_a_run_leaves_its_files(learned: TrainResult, data: Path) -> None:
    assert {path.name for path in learned.folder.iterdir()} == {
        *(LAST, BEST, MODEL, METRICS),
        *("confusion.csv", "mistakes.csv", ".lock"),
    }
    best, last = (Checkpoint.load(learned.folder / name) for name in (BEST, LAST))
    assert last.epoch == 12
    full = [row for row in last.history if row.side == 28]
    assert best.history[-1].validation_top1 == max(row.validation_top1 for row in full)
    assert last.data["root"] == str(data)
    assert last.data["pictures"] == 72
    spec = Model.load(learned.folder / MODEL, device="cpu").spec
    assert [known.name for known in spec.classes] == sorted(SHAPES)
    assert spec.name == "learned"
    assert spec.training["epochs_done"] == best.epoch


def test_metrics_have_a_line_for_each_epoch(learned: TrainResult) -> None:
    with (learned.folder / METRICS).open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in fields(EpochMetrics)]
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert [int(row["side"]) for row in rows] == [row.side for row in learned.history]
    assert {row.side for row in learned.history} == {20, 28}
    for row, known in zip(rows, learned.history, strict=True):
        assert float(row["validation_top1"]) == pytest.approx(known.validation_top1, abs=1e-6)
        assert 0 <= float(row["waiting"]) <= 1


def test_a_run_tells_what_it_does(data: Path, tmp_path: Path) -> None:
    report = Record()
    run(data, tmp_path / "run", report=report)
    assert report.notes[0] == "72 pictures of 3 classes for training, 18 for validation"
    assert report.notes[1] == "batches of 9 pictures instead of 12 at a rate of 0.15 instead of 0.2: the set is small"
    assert report.notes[2].startswith("72 pictures are few to learn a network from nothing: --from builtin --head ")
    assert report.notes[3] == "tiny, float32 on cpu, 2 epochs of 8 batches"
    assert report.epochs == [1, 2]
    assert report.loaded[-1] == (90, 90)
    assert report.batches >= 2


def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(data, tmp_path / name, SHORT.changed(seed=seed))
    assert state(tmp_path / "a") == state(tmp_path / "b")
    assert state(tmp_path / "a")["network"] != state(tmp_path / "c")["network"]


@pytest.mark.slow
def test_pictures_read_by_workers_give_the_same_run(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "memory")
    run(data, tmp_path / "workers", hardware=WORKERS)
    assert state(tmp_path / "memory") == state(tmp_path / "workers")


@pytest.mark.usefixtures("report_every_batch")
@IN_MEMORY_AND_BY_WORKERS
def test_an_interrupted_run_ends_as_if_nothing_had_been(data: Path, tmp_path: Path, hardware: Hardware) -> None:
    recipe = RECIPE.changed(epochs=3)
    run(data, tmp_path / "whole", recipe, hardware=hardware)
    # In the midst of the first epoch, at the very end of it, in the midst of the second, and at the end of all.
    stops = [3, 5, 4, 12]

    def interrupt_at(batch: int) -> Callable[[int], None]:
        return lambda number: signal.raise_signal(signal.SIGINT) if number == batch else None

    for number, stop in enumerate(stops):
        report = Record(interrupt_at(stop))
        if number == 0:
            result = run(data, tmp_path / "run", recipe, report=report, hardware=hardware)
        else:
            result = go_on(data, tmp_path / "run", report=report, hardware=hardware)
        assert result.spec is None, "an interrupted run exports nothing"
        assert not (tmp_path / "run" / MODEL).exists()
        assert report.batches == stop
    assert state(tmp_path / "run")["epoch"] == 2
    assert state(tmp_path / "run")["step"] == 8
    result = go_on(data, tmp_path / "run", hardware=hardware)
    assert result.spec is not None
    assert state(tmp_path / "run") == state(tmp_path / "whole")
    assert (tmp_path / "run" / METRICS).read_text().count("\n") == 4


def test_a_signal_during_the_last_validation_counts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> tuple[float, float, float]:
        signal.raise_signal(signal.SIGINT)
        return validate(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr("training.loop.trainer.validate", interrupted)
        assert run(data, tmp_path / "run", RECIPE.changed(epochs=1)).spec is None
    assert not (tmp_path / "run" / MODEL).exists()
    assert state(tmp_path / "run")["epoch"] == 1
    assert go_on(data, tmp_path / "run").spec is not None


def test_a_finished_run_can_be_given_more_epochs(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", SHORT)
    report = Record()
    result = go_on(data, tmp_path / "run", epochs=3, report=report)
    assert report.epochs == [3]
    assert [row.epoch for row in result.history] == [1, 2, 3]


def test_going_on_keeps_the_recipe_of_the_run(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", SHORT)
    go_on(data, tmp_path / "run", epochs=3)
    first = Checkpoint.load(tmp_path / "run" / LAST).recipe
    assert first.lr == pytest.approx(SHORT.lr * 9 / 12)
    assert first.epochs == 3


def test_a_run_stops_when_nothing_gets_better(data: Path, tmp_path: Path) -> None:
    recipe, report = RECIPE.changed(epochs=50, stop_after=2, lr=0.0, grow=""), Record()
    result = run(data, tmp_path / "run", recipe, config=replace(TINY, batch_norm=False), report=report)
    assert len(result.history) == 3
    assert "stopped after epoch 3: 2 were no better in validation" in report.notes
    assert len(go_on(data, tmp_path / "run").history) == 3, "it is at its end"
    assert len(go_on(data, tmp_path / "run", epochs=60).history) == 5, "unless more is asked for"


@pytest.mark.usefixtures("report_every_batch")
@pytest.mark.parametrize("stop", [3, 8], ids=["midst of an epoch", "end of an epoch"])
@pytest.mark.slow
def test_a_run_that_was_given_more_epochs_stops_alike_when_interrupted(data: Path, tmp_path: Path, stop: int) -> None:
    recipe = RECIPE.changed(epochs=50, stop_after=2, lr=0.0, grow="")
    run(data, tmp_path / "run", recipe, config=replace(TINY, batch_norm=False))
    stopping = Record(lambda batches: signal.raise_signal(signal.SIGINT) if batches == stop else None)
    assert go_on(data, tmp_path / "run", epochs=60, report=stopping).spec is None
    report = Record()
    assert len(go_on(data, tmp_path / "run", report=report).history) == 5
    assert "stopped after epoch 5: 2 were no better in validation" in report.notes


@pytest.mark.slow
def test_a_run_does_not_stop_before_its_crops_have_grown(data: Path, tmp_path: Path) -> None:
    recipe = RECIPE.changed(epochs=10, stop_after=1, lr=0.0, grow="0:20,0.5:28")
    result = run(data, tmp_path / "run", recipe, config=replace(TINY, batch_norm=False))
    assert [row.side for row in result.history] == [20] * 5 + [28] * 2


def test_one_picture_is_too_few_for_validation(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data" / "train", each=4).parent
    for number, name in enumerate(SHAPES):
        (data / "val" / name).mkdir(parents=True)
        shutil.copy(data / "train" / name / "000.png", data / "val" / name)
        if number:
            (data / "val" / name / "000.png").write_bytes(b"")
    with told(DatasetError, r"1 readable validation pictures are too few; add more to .*data"):
        run(data, tmp_path / "run")


def test_what_is_there_is_not_written_over(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run")
    before = (tmp_path / "run" / LAST).read_bytes()
    with told(RunError, r"there is a run in .*run already; resume it with --resume"):
        run(data, tmp_path / "run")
    other = write_shapes(tmp_path / "other", each=5)
    with pytest.raises(DatasetError, match=r"other is not the set of pictures that the run in .*run learned from"):
        go_on(other, tmp_path / "run")
    same = Path(shutil.copytree(data, tmp_path / "same"))
    path = scan_dataset(same, validation=0.2).validation.paths[0]
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DatasetError, match=r"same is not the set of pictures that the run in .*run was validated with"):
        go_on(same, tmp_path / "run")
    assert (tmp_path / "run" / LAST).read_bytes() == before


@pytest.mark.parametrize("place", [".", "run", "red square/run", "../data/run"])
def test_a_run_does_not_lie_among_its_pictures(tmp_path: Path, place: str) -> None:
    data = write_shapes(tmp_path / "data", each=2)
    before = sorted(data.rglob("*"))
    with told(RunError, r"the run would lie among its pictures, in .*data, .* outside with -o$"):
        run(data, data / place)
    assert sorted(data.rglob("*")) == before


def test_there_is_nothing_to_go_on_with(data: Path, tmp_path: Path) -> None:
    with told(CheckpointError, r"there is no checkpoint .*run/last.pt; `fc7 train DATA -o RUN`"):
        go_on(data, tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"the folder .*file/run cannot be made \(Not a directory\)"):
        run(data, tmp_path / "file" / "run")


@IN_MEMORY_AND_BY_WORKERS
def test_corrupt_pictures_are_listed_and_left_out(tmp_path: Path, hardware: Hardware) -> None:
    data = write_shapes(tmp_path / "data", each=10)
    bad = sorted(data.glob("*/*"))[::10]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    report = Record()
    result = run(data, tmp_path / "run", report=report, hardware=hardware)
    assert {(photo.path, photo.reason) for photo in result.skipped} == {(path, "truncated PNG") for path in bad}
    assert {note for note in report.notes if "left out" in note} == {f"left out: {path}: truncated PNG" for path in bad}
    assert sum("left out" in note for note in report.notes) == 3, "each is named once"
    assert result.evaluation is not None
    assert result.evaluation.pictures + len(result.evaluation.skipped) == 6


@IN_MEMORY_AND_BY_WORKERS
def test_nothing_but_corrupt_pictures(tmp_path: Path, hardware: Hardware) -> None:
    data = write_shapes(tmp_path / "data", each=3)
    for path in data.glob("*/*"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"training pictures are too few|none of the training pictures"):
        run(data, tmp_path / "run", hardware=hardware)


def test_a_class_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=5)
    for path in (data / "red square").iterdir():
        path.write_bytes(b"")
    report = Record()
    with told(DatasetError, r"none of the training pictures of red square can be read; add others"):
        run(data, tmp_path / "run", report=report)
    assert sum("left out" in note for note in report.notes) == 5


def test_pictures_beside_the_folders_of_classes_are_listed(data: Path, tmp_path: Path) -> None:
    report = Record()
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "stray.png").write_bytes(b"")
    run(tmp_path / "data", tmp_path / "run", report=report)
    assert f"left out: {tmp_path / 'data' / 'stray.png'}: not in the folder of a class" in report.notes


@pytest.mark.slow
def test_a_run_goes_on_alike_whether_its_pictures_fit_into_memory(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=20)
    for path in sorted(data.glob("*/*"))[::7]:
        path.write_bytes(b"")
    recipe = SHORT.changed(batch_size=4)
    run(data, tmp_path / "whole", recipe, hardware=WORKERS, fit_batch=False)
    stopping = Record(lambda batches: os.kill(os.getpid(), signal.SIGINT) if batches == 3 else None)
    run(data, tmp_path / "run", recipe, hardware=WORKERS, fit_batch=False, report=stopping)
    assert go_on(data, tmp_path / "run").spec is not None
    found, expected = state(tmp_path / "run"), state(tmp_path / "whole")
    assert (found["history"], found["network"]) == (expected["history"], expected["network"])


def test_a_set_of_a_few_pictures_makes_small_batches(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=3)
    report = Record()
    result = run(data, tmp_path / "run", report=report)
    assert "batches of 4 pictures instead of 12 at a rate of 0.06667 instead of 0.2: the set is small" in report.notes
    assert result.spec is not None
    assert result.spec.training["recipe"]["lr"] == pytest.approx(0.2 / 3)
    given, report = SHORT.changed(lr=0.01), Record()
    result = run(data, tmp_path / "given", given, report=report, fit_rate=False)
    assert "batches of 4 pictures instead of 12: the set is small" in report.notes
    assert result.spec is not None
    assert result.spec.training["recipe"]["lr"] == 0.01, "a rate that was asked for is kept"
    with told(DatasetError, "6 training pictures are fewer than one batch of 12; give a smaller"):
        run(data, tmp_path / "other", fit_batch=False)


@pytest.mark.parametrize(
    ("recipe", "config", "message"),
    [
        (SHORT.changed(grow="0:32"), TINY, "0:32 does not read share:side"),
        (
            replace(SHORT, grow="0:32,0.5:224"),
            replace(ALEXNET, arch="tiny"),
            "32 pixels are too small for tiny",
        ),
    ],
)
def test_crops_that_cannot_be_are_refused_before_pictures_are_read(
    tmp_path: Path, recipe: Any, config: Any, message: str
) -> None:
    with told(OptionError, re.escape(message)):
        train(tmp_path / "none", tmp_path / "run", recipe, hardware=CPU, report=Record(), config=config)


def test_a_run_that_diverges_says_what_to_do(data: Path, tmp_path: Path) -> None:
    with told(UserError, r"training diverged in epoch 1: .* with an --lr below 7.5e\+29"):
        run(data, tmp_path / "run", SHORT.changed(lr=1e30, warmup=0.0))
    assert not (tmp_path / "run" / LAST).exists()


def test_names_of_classes_reach_the_model(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=4)
    for number, name in enumerate(sorted(SHAPES)):
        (data / name).rename(data / f"n{number:08}")
    (data / "n00000001").rename(data / os.fsdecode(b"n1-\xff"))  # no valid text
    (data / "words.txt").write_text("n00000000\tdisc, round thing\nn00000002\tsquare\n")
    result = run(data, tmp_path / "run")
    assert result.spec is not None
    assert [(known.name, known.id) for known in result.spec.classes] == [
        ("disc", "n00000000"),
        ("square", "n00000002"),
        ("n1-\udcff", None),
    ]


def test_a_run_that_goes_on_keeps_the_names_that_it_began_with(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=4)
    names = tmp_path / "names.tsv"
    names.write_text("".join(f"{name}\tshape {number}\n" for number, name in enumerate(sorted(SHAPES))))
    run(data, tmp_path / "run", SHORT, names=names)
    result = go_on(data, tmp_path / "run")
    assert result.spec is not None
    assert [known.name for known in result.spec.classes] == ["shape 0", "shape 1", "shape 2"]
    with (tmp_path / "run" / "confusion.csv").open(encoding="utf-8") as file:
        heading, *counts = csv.reader(file)
    assert heading == ["label", "shape 0", "shape 1", "shape 2"]
    assert [sum(map(int, row[1:])) for row in counts] == [1, 1, 1]
