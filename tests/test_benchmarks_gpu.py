"""gpu.py: the work of a training step, how fast products are told to be, and all of it once, on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpu import duration, product_rate, rounding, training_multiply_adds

from training.networks.architectures import ALEXNET

BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_multiply_adds_of_alexnet() -> None:
    # By hand: 105,705,600 in conv1 (55² × 96 × 363), which has no gradient of its input; 724,406,816 in all.
    conv1 = 55**2 * 96 * 11 * 11 * 3
    others = (
        27**2 * 256 * 48 * 25
        + 13**2 * (384 * 256 + 384 * 192 + 256 * 192) * 9
        + 256 * 36 * 4096
        + 4096 * 4096
        + 4096 * 1000
    )
    assert training_multiply_adds(ALEXNET, 1000) == 2 * conv1 + 3 * others


def test_a_product_is_timed() -> None:
    assert 1e7 < product_rate(torch.float32, torch.device("cpu"), 128) < 1e15


def test_rounding_is_set_back() -> None:
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = allowed()
    for choice in (True, False):
        with rounding(choice):
            assert allowed() == (choice, choice)
    assert allowed() == before


@pytest.mark.parametrize(
    ("seconds", "told"), [(90, "1.5 minutes"), (7_200, "2.0 hours"), (475_200, "5.5 days"), (7_000, "116.7 minutes")]
)
def test_durations_read_well(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.slow
def test_all_of_it_runs_on_the_cpu(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--small", "--pictures", "8", "--rounds", "1", "--batch-sizes", "4", "-o"]
    command = [sys.executable, "-W", "error", str(BENCHMARK), *options, str(tmp_path / "out")]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # two would wait for each other where the cores are busy
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread)
    rows = [line for line in ran.stdout.splitlines() if line.startswith(("| bfloat16", "| float32"))]
    assert len(rows) == 3
    assert not ran.stderr
    assert not (tmp_path / "out").exists(), "a trial is no result"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.slow
def test_without_a_gpu_it_says_so() -> None:
    ran = subprocess.run([sys.executable, BENCHMARK], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("no CUDA device here")
