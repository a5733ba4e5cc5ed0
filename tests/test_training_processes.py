"""Several processes that train one network: the result of one, one voice, and one end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from test_training_trainer import NORMALISATION
from told import told
from training_process import learn
from training_samples import CPU, TINY, TINY_RECIPE, as_split, write_shapes

from index.errors import OptionError
from training.data.pictures import MemoryPictures
from training.errors import DatasetError
from training.loop.checkpoint import Checkpoint
from training.loop.distributed import ALONE, Processes, joined_processes
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet

REPOSITORY = Path(__file__).parent.parent
BATCH_8 = ("--norm", "none", "--batch-size", 8, "--grow", "0:32,0.9:56", "--lr", 0.01)


def torchrun(*arguments: object, processes: int = 2) -> subprocess.Popen[str]:
    return launched(["--standalone", "--nproc-per-node", processes], arguments)


def launched(options: Sequence[object], arguments: Sequence[object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_without_torchrun_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes() as processes:
        assert processes is ALONE
    assert processes.is_main
    assert processes.gather("a") == ["a"]
    assert processes.sum([1.5, 2]) == [1.5, 2]
    assert processes.any(True)
    assert not processes.any(False)
    assert processes.on_main(lambda: 3) == 3
    with pytest.raises(DatasetError, match="too few"):
        processes.together(lambda: (_ for _ in ()).throw(DatasetError("too few")))


def test_each_takes_its_share_of_every_batch() -> None:
    batches = torch.arange(12).view(2, 6)
    shares = [Processes(number, 3).shard(batches) for number in range(3)]
    assert [share.shape for share in shares] == [(2, 2)] * 3
    for row, batch in enumerate(batches):
        assert sorted(torch.cat([share[row] for share in shares]).tolist()) == batch.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "message"),
    [
        (5, "a batch of 12 cannot be shared by 5 processes; give a --batch-size that is a multiple of 5"),
        (12, "a batch of 12 leaves each of 12 processes one picture; give a --batch-size of 24 or more"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, count: int, message: str) -> None:
    pictures = MemoryPictures(as_split(write_shapes(tmp_path, each=4)), TINY.resize, device=CPU.device)
    with told(OptionError, message):
        Trainer(
            AlexNet(TINY, 3),
            TINY_RECIPE,
            pictures=pictures,
            validation=pictures,
            normalisation=NORMALISATION,
            device=CPU.device,
            processes=Processes(0, count),
        )


@pytest.mark.slow
@pytest.mark.parametrize("unreadable", [False, True], ids=["all", "some unreadable"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, unreadable: bool) -> None:
    data, out = write_shapes(tmp_path / "data", each=12), tmp_path
    if unreadable:  # so many that now and then one process has nothing of a batch to learn from
        for number, path in enumerate(sorted(data.glob("*/*"))):
            if number % 5 < 3:
                path.write_bytes(b"")
    options = ["--read-again"] if unreadable else []
    code, _, err = done(torchrun(Path(__file__).with_name("training_process.py"), data, out, *options))
    assert code == 0, err
    expected = learn(data, read_again=unreadable)
    for name in ("whole.pt", "stopped.pt"):
        found = Checkpoint.load(out / name)
        assert len(found.history) == 2
        if not unreadable:
            # (With files missing, one picture alone is left to the other process, which one process would learn from.)
            for ours, theirs in zip(found.history, expected.history, strict=True):
                assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
                assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-4)
                assert (ours.train_top1, ours.validation_top1) == (theirs.train_top1, theirs.validation_top1)
            for key, value in expected.network.items():
                torch.testing.assert_close(found.network[key], value, rtol=1e-3, atol=1e-5)
                torch.testing.assert_close(found.average[key], expected.average[key], rtol=1e-3, atol=1e-5)
        assert set(found.random) == {"cpu", "cpu:1"}
    whole, stopped = (Checkpoint.load(out / name) for name in ("whole.pt", "stopped.pt"))
    for key, value in whole.network.items():
        torch.testing.assert_close(stopped.network[key], value, rtol=1e-4, atol=1e-6)
    assert [row.train_loss for row in stopped.history] == pytest.approx([row.train_loss for row in whole.history])


@pytest.mark.slow
def test_two_machines_learn_what_one_learns(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", each=12)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        words = ["--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
        program = [Path(__file__).with_name("training_process.py"), data, tmp_path]
        nodes.append(launched([*words, f"--master-port={port}", "--local-addr=127.0.0.1"], program))
    for node in nodes:
        code, _, err = done(node)
        assert code == 0, err
    found, expected = Checkpoint.load(tmp_path / "whole.pt"), learn(data)
    for ours, theirs in zip(found.history, expected.history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.validation_top1 == theirs.validation_top1
    for key, value in expected.network.items():
        torch.testing.assert_close(found.network[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_run_of_two_processes_speaks_once_stops_as_one_and_goes_on(tmp_path: Path) -> None:
    data, run = write_shapes(tmp_path / "data", each=40), tmp_path / "run"
    code, out, err = done(torchrun("-m", "cli", "train", tmp_path / "none", "-o", run))
    assert code == 1
    assert (out, err.count("Error: there is no folder")) == ("", 1)

    process = torchrun("-m", "cli", "train", data, "-o", run, "--epochs", 500, *BATCH_8)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Epoch 2/500"):
            break
    process.send_signal(signal.SIGINT)
    code, out, err = done(process)
    assert code != 0
    assert err.count("Stopped and saved. Resume with: fc7 train ") == 1, err
    last = Checkpoint.load(run / "last.pt")
    assert last.epoch >= 2

    code, out, err = done(torchrun("-m", "cli", "train", data, "-o", run, "--resume", "--epochs", last.epoch + 1))
    assert code == 0, err
    assert err.count(f"Epoch {last.epoch + 1}/{last.epoch + 1}: ") == 1
    assert "in 2 processes" in err
    assert out.count("alexnet-64, 3 classes") == 1


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_all(tmp_path: Path) -> None:
    data, run = write_shapes(tmp_path / "data", each=16), tmp_path / "run"
    (run / "metrics.csv").mkdir(parents=True)  # where a file is to be written after the first epoch
    code, _, err = done(torchrun("-m", "cli", "train", data, "-o", run, "--epochs", 3, *BATCH_8))
    assert code == 1
    assert sum(line.startswith("Error: ") for line in err.splitlines()) == 1, err
    assert f"Error: {run / 'metrics.csv'} could not be written" in err
    assert "Epoch 1/3" not in err


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 500], ids=["training", "validation"])
def test_an_error_of_another_process_is_told_once_and_ends_all(tmp_path: Path, size: int) -> None:
    """As where the workers of one run out of memory."""
    data, program = write_shapes(tmp_path / "data", each=16), tmp_path / "program.py"
    program.write_text(f"""
import os
from cli import main
from index.errors import UserError
from training.data.pictures import MemoryPictures

batches = MemoryPictures.batches

def failing(self, order, batch_size):
    for number, batch in enumerate(batches(self, order, batch_size)):
        if os.environ["RANK"] == "1" and batch_size == {size} and number == {size == 4:d}:
            raise UserError("no memory")
        yield batch

MemoryPictures.batches = failing
main()
""")
    code, _, err = done(torchrun(program, "train", data, "-o", tmp_path / "run", "--epochs", 2, *BATCH_8))
    assert code == 1
    assert [line for line in err.splitlines() if line.startswith("Error: ")] == ["Error: no memory"], err
