"""Where a network is trained, and how much memory it may fill with pictures."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from index.errors import UserError
from retrieval.pipeline.machine import ROOT, usable_cores, usable_memory
from training.loop.distributed import ALONE, Processes

_UNKNOWN = 8 << 30


@dataclass(frozen=True)
class Hardware:
    """Where to compute, bytes of decoded pictures to keep in memory, and workers that read them otherwise."""

    device: torch.device
    memory: int = 4 << 30
    workers: int = 2
    processes: Processes = ALONE
    compiled: bool = False
    """Whether steps are compiled by `torch.compile`."""


def choose_hardware(device: str = "auto", *, processes: Processes = ALONE, compiled: bool = False) -> Hardware:
    """Return the device "cpu" or "cuda", or with "auto" a GPU where there is one. Raises UserError if there is none.

    Pictures may take half of the memory that can be had on the machine, and on the GPU; the processes on this machine
    share memory and cores.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("PyTorch finds no CUDA device here", hint="leave out --device, or give --device cpu")
    chosen = torch.device("cpu")
    memory = machine_memory() // processes.local_world_size
    if available and device != "cpu":
        chosen = torch.device("cuda", processes.local_rank)
        # Decoded on the machine first, so they have to fit into both.
        memory = min(memory, torch.cuda.mem_get_info(chosen)[0])
    workers = max(usable_cores() // processes.local_world_size, 1)
    return Hardware(chosen, memory=memory // 2, workers=workers, processes=processes, compiled=compiled)


def why_not_compiled(device: torch.device) -> str | None:
    """Return why `torch.compile` does not work here (no compiler, a Python that it does not know); None if it does."""
    try:
        torch.compile(lambda x: torch.relu(x) + 1)(torch.zeros(64, device=device))
    except Exception as error:  # whatever the compiler behind it raises
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def machine_memory(root: Path = ROOT) -> int:
    """Return the bytes of memory that can be had: of what nobody uses, and within the limit of a container.

    All that the machine has where the system (macOS) does not tell what is in use. `root` is where /proc and /sys are.
    """
    memory = usable_memory(root) or _UNKNOWN
    meminfo = root / "proc/meminfo"
    if meminfo.is_file() and (found := re.search(r"MemAvailable: *(\d+) kB", meminfo.read_text())):
        memory = min(memory, int(found[1]) * 1024)  # free, or holding files that can be read again
    return memory
