"""Workers of Ray that make shards: on the cores of this machine, or on the cores and GPUs of a cluster."""

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from index.errors import ClusterError, MissingPackageError, OptionError, UserError
from index.records import FileStamp
from index.vectors.parts import Embeddings
from retrieval.shards.part import Listed, PartEmbedder, ShardJob, parts_of

AUTO = "auto"
START_SECONDS = 120
"""After which Ray that has not started counts as one that does not."""
REACH_SECONDS = 10
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # what is used is nobody else's business
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as it will be, says a warning
    "RAY_raylet_start_wait_time_s": "60",  # on a busy machine 30 are not enough
}


def require_ray() -> None:
    """Raise MissingPackageError where Ray Data is not installed, without loading it."""
    if any(find_spec(package) is None for package in ("ray", "pyarrow")):
        raise MissingPackageError("Ray Data is not installed: pip install 'fc7[ray]'")


class RayWorkers:
    """Has parts embedded by a pool of actors, and yields the name of each shard when it is written.

    An actor that dies is started again, and its part is done again. Without an `address` Ray is started on this
    machine, for this run alone; `auto` is the cluster that this machine is a node of, and ray://HOST:PORT one that it
    is not. There is an actor for each core of the cluster, or for each GPU where it has any, or `count` of them.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        count: int | None = None,
        shared: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """With `shared` every machine is said to reach the folder of the shards; `say` is told what takes time.

        Raises OptionError for what is no address.
        """
        if address not in (None, AUTO) and not _port_of(_as_url(address)):
            raise OptionError(f"{address} is no address of a cluster", hint=f"name {AUTO} or ray://HOST:10001")
        self._address = address
        self._count = count
        self._shared = shared
        self._say = say or (lambda _: None)

    def __call__(self, job: ShardJob, files: Sequence[Listed]) -> Iterator[str]:
        """Yield the names of the shards. Raises MissingPackageError, ClusterError, and what `PartEmbedder` does."""
        require_ray()
        self._say("starting Ray" if self._address is None else "joining the cluster")
        with _started(self._address, self._count) as ray:
            if not self._shared:
                _check_place(ray, job)
            have = ray.cluster_resources()
            gpus = 0 if job.device == "cpu" else int(have.get("GPU", 0))
            actors = self._count or gpus or max(1, int(have.get("CPU", 1)))
            parts = list(parts_of(files, actors))
            self._say("starting workers")
            # Ray Data runs inside the cluster, because it cannot run at the near end of a client (ray://).
            leader = ray.remote(num_cpus=0, resources=_HEAD)(_Run)
            run = leader.remote(job, [*map(_table, parts)], min(actors, len(parts)), bool(gpus))
            try:
                while (row := ray.get(run.next_shard.remote())) is not None:
                    if row["error"]:
                        raise ClusterError(row["error"], hint=row["hint"])
                    yield row["name"]
            except ray.exceptions.RayActorError as error:
                raise ClusterError("the machine of the cluster that led the run was lost", hint=_AGAIN) from error
            except ConnectionError as error:  # of a client
                raise ClusterError("the connection to the cluster was lost", hint=_AGAIN) from error

    def fill(self, fill: Callable[[Embeddings], bytes], parts: Iterable[Embeddings]) -> Iterator[bytes]:
        """Call `fill` of each part on the machines of the cluster, a few parts ahead, and yield what it returns.

        It is as `Run` says. Raises MissingPackageError and ClusterError.
        """
        require_ray()
        self._say("joining the cluster")
        with _started(self._address, self._count) as ray:
            self._say("sorting photos into lists")
            work, ahead = ray.put(fill), deque[Any]()
            call = ray.remote(num_cpus=_SHARE, max_retries=-1, scheduling_strategy="SPREAD")(_call)
            try:
                for part in parts:
                    ahead.append(call.remote(work, part))
                    if len(ahead) > 2 * len(ray.nodes()):
                        yield ray.get(ahead.popleft())
                while ahead:
                    yield ray.get(ahead.popleft())
            except ray.exceptions.RayTaskError as error:  # not lost: it would fail again
                reason = (str(error).strip().splitlines() or [""])[-1][:300]
                raise ClusterError(f"the cluster cannot sort vectors into lists: {reason}") from error
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise ClusterError("the cluster was lost while vectors were sorted into lists", hint=_AGAIN) from error


def _call(fill: Callable[[Embeddings], bytes], part: Embeddings) -> bytes:
    return fill(part)


_SHARE = 0.5
"""Of a core, that an actor claims. So those of a lost machine find a place on the others; with whole ones they
would wait for another machine, and their parts with them."""
_HEAD = {"node:__internal_head__": 0.001}
"""What the head of a cluster alone has. Another machine may be lost, and the run goes on."""
_BUSY = "try again when this machine is less busy"
_AGAIN = "run the same command again, which resumes it"


class _Run:
    """An actor that runs the job in Ray Data: it lives in the cluster, so that its logs do too."""

    def __init__(self, job: ShardJob, parts: Sequence[Any], actors: int, on_gpus: bool) -> None:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        shards = ray.data.from_arrow(list(parts)).map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=None,  # a block is a part
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=None if on_gpus else _SHARE,
            num_gpus=1 if on_gpus else None,
            scheduling_strategy="SPREAD",
        )
        self._rows: Iterator[dict[str, Any]] = iter(shards.iter_rows())

    def next_shard(self) -> dict[str, Any] | None:
        return next(self._rows, None)


class _Actor:
    """Embeds parts in a process of its own. What its user can act on comes back as a row, never as an exception."""

    def __init__(self, job: ShardJob) -> None:
        self._job = job
        self._worker: PartEmbedder | None = None

    def __call__(self, part: Any) -> Any:
        import pyarrow

        columns = part.to_pydict()
        rows = zip(columns["path"], columns["size"], columns["mtime_ns"], strict=True)
        files = [(path, FileStamp(size, mtime_ns)) for path, size, mtime_ns in rows]
        name = error = hint = ""
        try:
            self._worker = self._worker or PartEmbedder(self._job)
            name = self._worker.embed(files)
        except UserError as problem:
            error, hint = f"{problem} (on {socket.gethostname()})", problem.hint
        return pyarrow.table({"name": [name], "error": [error], "hint": [hint]})


def _table(files: Sequence[Listed]) -> Any:
    import pyarrow

    return pyarrow.table(
        {
            "path": pyarrow.array([path for path, _ in files], pyarrow.binary()),
            "size": pyarrow.array([stamp.size for _, stamp in files], pyarrow.int64()),
            "mtime_ns": pyarrow.array([stamp.mtime_ns for _, stamp in files], pyarrow.int64()),
        }
    )


@contextmanager
def _started(address: str | None, count: int | None) -> Iterator[Any]:
    """Start or join Ray, and leave it at the end. Raises ClusterError where that takes too long or is refused."""
    if address is not None and address != AUTO:
        _check_reachable(address)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    options: dict[str, Any] = {"address": address or "local", "logging_level": "critical", "log_to_driver": False}
    if address is None:
        # Nothing of it listens to the network.
        options |= {"include_dashboard": False, "num_cpus": count, "_node_ip_address": "127.0.0.1"}
    over = threading.Event()
    try:
        _start(ray, address, options, over)
        yield ray
    finally:
        ray.shutdown()
        over.set()


def _start(ray: Any, address: str | None, options: dict[str, Any], over: threading.Event) -> None:
    ready = threading.Event()
    failed: list[Exception] = []

    def start() -> None:
        try:
            ray.init(**options)
        except Exception as error:
            failed.append(error)
        ready.set()
        # Linux ends the processes that Ray has started when the thread ends that has started them.
        over.wait()

    # Ray may wait for ever for what does not answer.
    threading.Thread(target=start, name="fc7-ray", daemon=True).start()
    if not ready.wait(START_SECONDS):
        raise ClusterError(f"Ray has not started within {START_SECONDS} seconds", hint=_BUSY)
    if failed:
        raise _refused(address, failed[0]) from failed[0]


def _refused(address: str | None, error: BaseException) -> ClusterError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # What a server says comes as a traceback, whose last line has the reason.
    reason = (lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}")[:300]
    if address == AUTO and isinstance(error, ConnectionError):
        return ClusterError(
            "this machine is not part of a running cluster of Ray",
            hint="start one with `ray start --head`, name another with --address ray://HOST:10001, "
            "or leave out --address to use this machine alone",
        )
    if address is None:
        return ClusterError(f"Ray cannot be started: {reason}", hint=_BUSY if "timed out" in reason else "")
    return ClusterError(f"the cluster at {address} cannot be joined: {reason}")


def _check_reachable(address: str) -> None:
    place = urlsplit(_as_url(address))
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=REACH_SECONDS).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"there is no cluster at {address}: {reason}",
            hint="is it running, and is its port open? That of ray:// is 10001 by default",
        ) from error


def _check_place(ray: Any, job: ShardJob) -> None:
    """Refuse a folder of this machine alone where others could not write into it."""
    machines = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if len(machines) > 1:
        raise ClusterError(
            f"the {len(machines)} machines of the cluster cannot all write into {job.place}",
            hint="name a folder that all of them share, or one in object storage (s3://BUCKET/FOLDER), with --shards",
        )


def _as_url(address: str | None) -> str:
    return address if address and "://" in address else f"ray://{address}"


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
