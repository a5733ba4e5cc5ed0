"""Ctrl-C: a wish at first, and a run of the real command that saves and says how to go on."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_samples import write_shapes

from training.loop.checkpoint import Checkpoint
from training.loop.interrupt import deferred_interrupts

FC7 = Path(sys.executable).with_name("fc7")

WITH_WORKERS = """
import sys
from pathlib import Path
import torch
from training_samples import TINY, TINY_RECIPE
from training.loop.hardware import Hardware
from commands.training_report import TerminalReport
from training.loop.run import train

result = train(
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    TINY_RECIPE.changed(epochs=1000),
    hardware=Hardware(torch.device("cpu"), memory=0, workers=2),
    report=TerminalReport(sys.stderr),
    config=TINY,
)
sys.exit(result.spec is not None)
"""

READING = """
import sys, time
from pathlib import Path
import torch
from training_samples import as_split
from training.loop.interrupt import deferred_interrupts
from training.data.pictures import FolderPictures

split = as_split(Path(sys.argv[1]))
pictures = FolderPictures(split, 24, device=torch.device("cpu"), workers=2)
batches = pictures.batches(torch.arange(len(split)).repeat(100), 2)
with deferred_interrupts() as interrupted:
    next(batches)
    print("reading", file=sys.stderr, flush=True)
    while not interrupted():
        time.sleep(0.01)
    for _ in range(20):  # more than the workers have read ahead
        next(batches)
    print("reading on", file=sys.stderr, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other make little of busy cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_is_a_wish_and_a_second_an_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with deferred_interrupts() as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_other_threads_have_no_signals_to_defer() -> None:
    answers: list[bool] = []

    def work() -> None:
        with deferred_interrupts() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


def interrupt_in_training(*command: object, **environment: str) -> tuple[int, str]:
    """Start a run, press Ctrl-C after its first epoch (as a terminal does: for its children too), and see it end."""
    with subprocess.Popen(
        [*map(str, command)], stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | environment
    ) as process:
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if line.startswith("Epoch 1/"):
                break
        os.killpg(process.pid, signal.SIGINT)
        told += process.stderr.read()
        return process.wait(), told


@pytest.mark.slow
def test_ctrl_c_saves_the_run_of_the_command_and_says_how_to_go_on(tmp_path: Path) -> None:
    data, out = write_shapes(tmp_path / "data", each=4), tmp_path / "run"
    options = ["--grow", "0:16,0.9:56", "--epochs", "1000", "--batch-size", "4"]
    status, told = interrupt_in_training(FC7, "train", data, "-o", out, *options)
    assert status == 130, told
    assert "Traceback" not in told
    *_, last = told.splitlines()
    assert last == f"Stopped and saved. Resume with: fc7 train {data} -o {out} --resume"
    saved = Checkpoint.load(out / "last.pt")
    assert saved.epoch >= 1
    assert not (out / "model.onnx").exists()

    _, *words = shlex.split(last.partition(": ")[2])
    done = subprocess.run([FC7, *words, "--epochs", str(saved.epoch + 1)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"Epoch {saved.epoch + 1}/{saved.epoch + 1}: " in done.stderr
    assert f"Epoch {saved.epoch}/" not in done.stderr
    assert (out / "model.onnx").is_file()


@pytest.mark.slow
def test_ctrl_c_reaches_the_workers_too_and_does_no_harm(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=8)
    program = (sys.executable, "-c", WITH_WORKERS, data, tmp_path / "run")
    status, told = interrupt_in_training(*program, PYTHONPATH=str(Path(__file__).parent))
    assert status == 0, told
    assert "Traceback" not in told
    assert Checkpoint.load(tmp_path / "run" / "last.pt").epoch >= 1


@contextmanager
def reading(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process whose workers read pictures; whatever a failed test leaves of them is killed."""
    command = [sys.executable, "-c", READING, str(write_shapes(folder, each=3))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment)
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "reading\n"
        yield process
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_read_on_after_a_signal_to_all_and_end_after_a_second(tmp_path: Path, number: signal.Signals) -> None:
    with reading(tmp_path) as process:
        os.killpg(process.pid, number)
        assert process.stderr is not None
        assert process.stderr.readline() == "reading on\n"
        os.killpg(process.pid, number)
        _, told = process.communicate(timeout=60)
        assert told.endswith("\nKeyboardInterrupt\n")


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_behind(tmp_path: Path) -> None:
    with reading(tmp_path) as process:
        process.kill()
        process.communicate(timeout=60)  # the end of its stderr, which all that it started have too
