"""Workers of Ray that make shards: on the cores of this machine, or on those and the GPUs of a cluster."""

import importlib.util
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from index.errors import ClusterError, MissingPackageError, UserError
from index.records import FileStamp
from retrieval.shards.part import Listed, PartEmbedder, ShardJob, parts_of
from retrieval.shards.place import is_url

START_SECONDS = 120
"""After which Ray that has not started counts as one that does not."""
REACH_SECONDS = 10
AUTO = "auto"


def require_ray() -> None:
    """Raise MissingPackageError where Ray Data is not installed, without loading it."""
    if any(importlib.util.find_spec(package) is None for package in ("ray", "pyarrow")):
        raise MissingPackageError("--engine ray needs Ray Data: pip install 'fc7[ray]'")


class RayWorkers:
    """Has a part embedded by each worker of a pool of actors at a time, and yields shards as they are written.

    Ray starts a worker that dies again, and gives its part to another. Without an `address` Ray is started on this
    machine, for this run alone; `auto` is the cluster that this machine is a node of, and ray://HOST:PORT one that it
    is not. There is one worker for each core of the cluster, or for each GPU where it has any; `count` is another
    number of them.
    """

    def __init__(
        self, *, address: str | None = None, count: int | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        """`say` is told what takes time while nothing can be counted."""
        self._address = address
        self._count = count
        self._say = say or (lambda _: None)

    def __call__(self, job: ShardJob, files: Sequence[Listed]) -> Iterator[str]:
        """Yield the names of the shards. Raises MissingPackageError, ClusterError, and what `PartEmbedder` does."""
        require_ray()
        self._say("starting Ray" if self._address is None else "joining the cluster")
        with _started(self._address, self._count) as ray:
            self._check_place(ray, job)
            gpus = 0 if job.device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
            most = self._count or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
            parts = list(parts_of(files, most))
            # Ray Data works in the cluster and not here: it cannot be used through a client (ray://).
            run = ray.remote(num_cpus=0)(_Run).remote(job, list(map(_table, parts)), min(most, len(parts)), bool(gpus))
            self._say("starting workers")
            while (row := _answer(ray, run.next_shard.remote())) is not None:
                if row["error"] is not None:
                    raise ClusterError(row["error"], hint=row["hint"])
                yield row["name"]
