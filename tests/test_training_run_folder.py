"""The folder of a run: one run at a time, and what cannot be written there is told before anything is learned."""

import errno
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from permissions import as_an_ordinary_user
from told import told
from training_samples import CPU, TINY, TINY_RECIPE, write_shapes

from training.errors import ExportError, RunError
from training.export.embedding import EmbeddingRecipe
from training.export.model_file import check_place
from training.loop.report import SilentReport
from training.loop.run import TrainResult, resume, train
from training.loop.run_folder import CONFUSION, LAST, MISTAKES, MODEL

RECIPE = TINY_RECIPE.changed(epochs=1, batch_size=4, precision="float32")

ENDLESS = """
import sys
from pathlib import Path
import torch
from training_samples import TINY, TINY_RECIPE
from training.loop.hardware import Hardware
from commands.training_report import TerminalReport
from training.loop.run import train

train(
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    TINY_RECIPE.changed(epochs=100_000, batch_size=4),
    hardware=Hardware(torch.device("cpu"), memory=0, workers=1),
    report=TerminalReport(sys.stderr),
    config=TINY,
)
"""


class Watching(SilentReport):
    """Calls `at_batch` whenever batches are reported."""

    def __init__(self, at_batch: Callable[[], None]) -> None:
        self._at_batch = at_batch

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        self._at_batch()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pictures of each shape."""
    return write_shapes(tmp_path / "data", each=5)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that only root may write into, and any user can reach, which is not so of pytest's."""
    with tempfile.TemporaryDirectory(prefix="fc7-") as home:
        folder = Path(home) / "folder"
        folder.mkdir()
        for path, mode in ((home, 0o755), (folder, 0o555)):
            os.chmod(path, mode)
        yield folder


def run(data: Path, out: Path, report: SilentReport | None = None) -> TrainResult:
    embedding = EmbeddingRecipe(dim=8)
    return train(data, out, RECIPE, hardware=CPU, report=report or SilentReport(), config=TINY, embedding=embedding)


def go_on(data: Path, out: Path, *, epochs: int | None = None) -> TrainResult:
    embedding = EmbeddingRecipe(dim=8)
    return resume(data, out, hardware=CPU, report=SilentReport(), epochs=epochs, embedding=embedding)


def test_a_second_run_in_the_same_folder_is_refused(data: Path, tmp_path: Path) -> None:
    refused = []

    def start_others() -> None:
        for start in (run, go_on):
            with pytest.raises(RunError) as caught:
                start(data, tmp_path / "run")
            refused.append(caught.value.with_hint)

    assert run(data, tmp_path / "run", Watching(start_others)).spec is not None
    assert set(refused) == {
        f"another fc7 is training in {tmp_path / 'run'}; wait until it has ended, or choose another folder with -o"
    }
    assert go_on(data, tmp_path / "run", epochs=2).spec is not None, "the folder is free again"


def test_a_file_system_without_locks_is_no_hindrance(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert run(data, tmp_path / "run").spec is not None


@pytest.mark.slow
def test_a_killed_run_leaves_its_folder_to_the_next(data: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, data, tmp_path / "run"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    ) as other:
        assert other.stderr is not None
        assert any(line.startswith("Epoch 1/") for line in other.stderr)
        with told(RunError, "another fc7 is training in"):
            go_on(data, tmp_path / "run")
        other.kill()
    assert go_on(data, tmp_path / "run", epochs=1).spec is not None


@pytest.mark.parametrize("name", [MODEL, CONFUSION, MISTAKES])
def test_a_folder_in_the_place_of_a_file_is_told_before_training(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    with told(RunError, rf"{name} is a folder where the run is to write a file; move it, or choose"):
        run(data, tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == sorted([".lock", name])


def test_a_run_that_goes_on_looks_at_its_place_first_too(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run")
    before = (tmp_path / "run" / LAST).read_bytes()
    (tmp_path / "run" / MODEL).unlink()
    (tmp_path / "run" / MODEL).mkdir()
    with pytest.raises(RunError, match=r"model.onnx is a folder"):
        go_on(data, tmp_path / "run", epochs=2)
    assert (tmp_path / "run" / LAST).read_bytes() == before


def test_a_read_only_folder_is_told_before_training(data: Path, read_only: Path) -> None:
    message = f"no file can be written into {read_only} (Permission denied); choose another place with -o"
    with as_an_ordinary_user(), told(RunError, re.escape(message)):
        run(data, read_only)
    (read_only / LAST).touch()
    with (
        as_an_ordinary_user(),
        told(RunError, r"is untouched. Correct that and resume it with --resume"),
    ):
        go_on(data, read_only)


def test_a_read_only_folder_is_no_place_for_a_model_file(read_only: Path) -> None:
    message = f"no file can be written into {read_only} (Permission denied); choose another place with -o"
    with as_an_ordinary_user(), told(ExportError, re.escape(message)):
        check_place(read_only / "model.onnx")


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="this system has no /sys/kernel")
def test_a_file_system_that_takes_no_files_is_told_to_root_too(data: Path) -> None:
    with told(RunError, r"no file can be written into /sys/kernel \(.+\); choose another place"):
        run(data, Path("/sys/kernel"))
    with told(ExportError, r"no file can be written into /sys/kernel \(.+\); choose another place"):
        check_place(Path("/sys/kernel/model.onnx"))


def test_a_place_that_can_be_written_stays_as_it_was(tmp_path: Path) -> None:
    check_place(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []
