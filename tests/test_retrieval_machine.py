"""What a container leaves of a machine's cores and memory, from files as Linux has them."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from retrieval.pipeline.machine import usable_cores, usable_memory


def machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_the_machine_itself_has_cores_and_memory(tmp_path: Path) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    everything = usable_memory(tmp_path)
    assert everything is not None
    assert (usable_memory() or 0) <= everything
    assert everything > 1 << 26


@pytest.mark.parametrize(
    ("limits", "memory"),
    [
        ({"memory.max": "max"}, None),
        ({"memory.max": "1048576"}, 1 << 20),
        ({"memory.max": "4194304", "memory.high": "2097152"}, 2 << 20),
    ],
)
def test_memory_of_a_control_group(tmp_path: Path, limits: dict[str, str], memory: int | None) -> None:
    files = {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    root = machine(tmp_path, {"proc/self/cgroup": "0::/", **files})
    assert usable_memory(root) == (memory or usable_memory(tmp_path / "none"))


def test_the_smallest_limit_around_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/shell",
        "sys/fs/cgroup/user.slice/shell/memory.max": "max",
        "sys/fs/cgroup/user.slice/memory.max": "3145728",
        "sys/fs/cgroup/user.slice/cpu.max": "50000 100000",
    }
    root = machine(tmp_path, files)
    assert usable_memory(root) == 3 << 20
    assert usable_cores(root) == 1


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    """In a container the path is that of the host, and what is mounted is the container's own group."""
    files = {
        "proc/self/cgroup": "5:memory:/docker/123\n4:cpu,cpuacct:/docker/123\n1:name=systemd:/docker/123\n0::/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2097152",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    root = machine(tmp_path, files)
    assert usable_memory(root) == 2 << 20
    assert usable_cores(root) == 1


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 64), ("250000 100000", 3), ("100000 100000", 1), ("1000 100000", 1), ("", 64)]
)
def test_a_quota_counts_as_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, most: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    root = machine(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    assert usable_cores(root) == most


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)
