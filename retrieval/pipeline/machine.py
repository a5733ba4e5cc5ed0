"""What this process may use of the machine: its cores and its memory, or the share of them that a container has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may run on: those of its affinity, or of its container's quota.

    Half a core more in a quota counts as one. `root` is where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(ceil(quota) for quota in _cpu_quotas(root))]))


def usable_memory(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that this machine has, or that its container may use; None where neither is known."""
    sizes = list(_memory_limits(root))
    with suppress(ValueError, OSError, AttributeError):  # not on Windows
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(sizes, default=None)


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of the control groups around this process (Linux, cpu.max and its older form)."""
    for group in _control_groups("cpu", root):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):  # else it is "max" or -1
            yield int(quota) / int(period)


def _memory_limits(root: Path) -> Iterator[int]:
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            if (limit := _read(group / name)).isdigit() and int(limit):
                yield int(limit)


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, its own first, of version 2 and of version 1.

    In a container the path may be that of the host, which is not there, while the container's own is the outermost.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for mount in dict.fromkeys(["", controllers, controller] if controllers else [""]):
            own = PurePosixPath(path)
            yield from (root / "sys/fs/cgroup" / mount / str(place).lstrip("/") for place in (own, *own.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
