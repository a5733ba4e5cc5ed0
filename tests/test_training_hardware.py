"""Where to train, and how much memory pictures may take."""

import os
from pathlib import Path

import pytest
import torch
from told import told

from index.errors import UserError
from retrieval.evaluation.speed import taken_by_host
from retrieval.pipeline.machine import usable_cores
from training.loop.distributed import Processes
from training.loop.hardware import choose_hardware, machine_memory, why_not_compiled

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_an_error_and_not_a_slow_run() -> None:
    assert choose_hardware("auto").device.type == "cpu"
    assert choose_hardware("cpu").device.type == "cpu"
    with told(UserError, "no CUDA device here; leave out --device"):
        choose_hardware("cuda")


def test_pictures_may_take_a_share_of_the_memory() -> None:
    hardware = choose_hardware("cpu")
    assert 0 < hardware.memory <= PHYSICAL // 2
    assert hardware.workers == usable_cores() >= 1


def test_processes_on_a_machine_share_its_memory_and_cores() -> None:
    alone, together = choose_hardware("cpu"), choose_hardware("cpu", processes=Processes(0, 4, 0, 4))
    assert together.memory < alone.memory / 3
    assert together.workers == max(usable_cores() // 4, 1)


def test_a_compiler_that_fails_is_no_reason_not_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_nothing(function: object) -> object:
        def call(_: torch.Tensor) -> None:
            raise RuntimeError("no g++ on this machine\nand much more")

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    assert why_not_compiled(torch.device("cpu")) == "no g++ on this machine"
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert why_not_compiled(torch.device("cpu")) is None


def test_the_memory_that_can_be_had(tmp_path: Path) -> None:
    assert machine_memory(tmp_path) == PHYSICAL
    for name in ("proc", "sys/fs/cgroup"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:   7000 kB\n")
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    assert machine_memory(tmp_path) == 7000 * 1024
    for limit, expected in (("max", 7000 * 1024), ("5000", 5000), ("99999999", 7000 * 1024)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit + "\n")
        assert machine_memory(tmp_path) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
def test_only_cores_that_the_process_may_run_on_count(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
        stat = tmp_path / "stat"
        ticks = os.sysconf("SC_CLK_TCK")
        rows = [f"cpu{core} 1 1 1 1 1 1 1 {ticks * (5 if core == min(before) else 2)} 0 0" for core in range(512)]
        stat.write_text("\n".join(["cpu  1 1 1 1 1 1 1 999999 0 0", *rows, "intr 7", ""]))
        assert taken_by_host(stat) == 5
        assert taken_by_host(tmp_path / "none") == 0
        assert 0 <= taken_by_host() <= taken_by_host()
    finally:
        os.sched_setaffinity(0, before)
