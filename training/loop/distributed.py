"""The processes that train one network together, as `torchrun` starts them: one for each GPU."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from index.errors import UserError

T = TypeVar("T")

LONGEST_WAIT = timedelta(hours=4)
"""For the others, while the first process measures and exports a large model."""


@dataclass(frozen=True)
class Processes:
    """This process's rank among all, and among those on this machine, as torchrun has it; each call is made by all."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reports and writes files."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Return each process's value."""
        if self.world_size == 1:
            return [value]
        found: list[T | None] = [None] * self.world_size
        dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return bool(self.sum([float(flag)])[0])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        found: list[float] = total.tolist()
        return found

    def shard(self, order: Tensor) -> Tensor:
        """Return those of a batch's pictures (..., n) that this process takes."""
        return order[..., self.rank :: self.world_size]

    def broadcast(self, values: Iterable[Tensor]) -> None:
        """Set tensors to what they are in the first process."""
        if self.world_size > 1:
            for value in values:
                dist.broadcast(value, src=0)

    def together(self, work: Callable[[], T]) -> T:
        """Return what `work` does here; where it raises UserError in one process, all raise that."""
        error, result = None, None
        try:
            result = work()
        except UserError as raised:
            error = raised
        for raised_anywhere in self.gather(error):
            if raised_anywhere is not None:
                raise raised_anywhere from error
        return result  # type: ignore[return-value]

    def on_main(self, work: Callable[[], T]) -> T:
        """Return what `work` does in the first process alone; a UserError there is raised in all."""
        return self.gather(self.together(lambda: work() if self.is_main else None))[0]  # type: ignore[return-value]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Return what `work` does here, after the first process has done it alone and left its files."""
        if self.world_size == 1:
            return work()
        first = self.together(lambda: work() if self.is_main else None)
        rest = self.together(lambda: None if self.is_main else work())
        return first if self.is_main else rest  # type: ignore[return-value]


ALONE = Processes()
"""The one process of a run without torchrun."""


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started; without it, this is the only one.

    Raises UserError where there are more processes than GPUs on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    local = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    processes = Processes(int(os.environ["RANK"]), count, *local)
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        if processes.local_world_size > torch.cuda.device_count():
            raise UserError(
                f"{processes.local_world_size} processes are too many for {torch.cuda.device_count()} GPUs",
                hint=f"give torchrun --nproc-per-node {torch.cuda.device_count()}",
            )
        torch.cuda.set_device(processes.local_rank)
    # Gloo beside NCCL: what is agreed upon between steps lies in the machine's memory.
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=LONGEST_WAIT)
    try:
        yield processes
        dist.barrier()  # none leaves while another still waits for it
    finally:
        dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """End this process, one of several that have trained together, without the end that Python makes.

    A thread of Gloo releases the tensors of the last calls, also after the group was destroyed, because DDP keeps these
    threads alive. It takes Python's lock for that, and if Python is ending by then, the process is aborted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
