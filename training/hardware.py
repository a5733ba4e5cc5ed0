"""Where a network is trained."""

import os
from dataclasses import dataclass

import torch

from index.errors import UserError


@dataclass(frozen=True)
class Hardware:
    """Where to compute, bytes of decoded pictures to keep in memory, and processes that read them otherwise."""

    device: torch.device
    memory: int = 4 << 30
    workers: int = 2


def choose_hardware(device: str = "auto") -> Hardware:
    """Return the device "cpu" or "cuda", or with "auto" a GPU where there is one. Raises UserError if there is none."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("PyTorch finds no CUDA device here; leave out --device, or give --device cpu")
    use_gpu = available and device != "cpu"
    return Hardware(torch.device("cuda" if use_gpu else "cpu"), workers=os.cpu_count() or 1)
