"""Where a network is trained, and how much memory it may fill with pictures."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from index.errors import UserError
from retrieval.pipeline import usable_cores

MEMINFO = Path("/proc/meminfo")
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Hardware:
    """Where to compute, bytes of decoded pictures to keep in memory, and processes that read them otherwise."""

    device: torch.device
    memory: int = 4 << 30
    workers: int = 2


def choose_hardware(device: str = "auto") -> Hardware:
    """Return the device "cpu" or "cuda", or with "auto" a GPU where there is one. Raises UserError if there is none.

    Pictures may take half of the memory that can be had on the machine, and on the GPU.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("PyTorch finds no CUDA device here; leave out --device, or give --device cpu")
    chosen = torch.device("cuda" if available and device != "cpu" else "cpu")
    memory = machine_memory()
    if chosen.type == "cuda":
        # Decoded on the machine first, so they have to fit into both.
        memory = min(memory, torch.cuda.mem_get_info(chosen)[0])
    return Hardware(chosen, memory=memory // 2, workers=usable_cores())


def machine_memory(meminfo: Path = MEMINFO, container: Path = CONTAINER_LIMIT) -> int:
    """Return the bytes of memory that can be had: of what nobody uses, and within the limit of a container.

    All that the machine has where the system (macOS) does not tell what is in use.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if meminfo.is_file() and (found := re.search(r"MemAvailable: *(\d+) kB", meminfo.read_text())):
        memory = int(found[1]) * 1024  # free, or holding files that can be read again
    if container.is_file() and (limit := container.read_text().strip()).isdecimal():
        memory = min(memory, int(limit))
    return memory
