"""Brings indexed folders up to date in a process of its own: one run at a time, which any number of clients watch.

A decoder that crashes over a damaged file ends that process, not the server; and a run can be stopped at any time, as
an interrupted one loses nothing but the batches in flight.
"""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

from index.errors import PhotoIndexError, UserError
from index.index_writer import IndexWriter
from index.milvus.place import IndexLocation, MilvusPlace
from retrieval.answers import FolderChanges
from retrieval.indexing.index_folders import FolderReport
from retrieval.indexing.model_of_index import load_index_model
from retrieval.indexing.update import update_index
from retrieval.models.runtime import Device
from web.settings import Settings

EVERY = 0.2
"""Seconds between two reports of progress."""
MOST_SKIPPED = 200
"""Skipped photos of a folder that are listed; `fc7 info --skipped` lists all."""
PATIENCE = 10.0
"""Seconds that a process has to end before it is killed."""


class IndexingError(PhotoIndexError):
    """A run is going on, and another cannot begin."""


@dataclass(frozen=True)
class Run:
    """A run, or how it ended: photos `done` of the `total` that are new or changed, what was done in each folder.

    `after` is the highest id of a photo before it: photos of larger ids are new since. `changes` are as
    `FolderChanges`, with at most MOST_SKIPPED skipped photos, and more: "skipped_count" of all, "still_skipped" of
    what has not changed since it was skipped before, and "seen", whether the folder could be searched.
    """

    number: int
    state: Literal["running", "done", "failed", "stopped"]
    folders: tuple[str, ...]
    after: int
    done: int = 0
    total: int = 0
    doing: str = ""
    warnings: tuple[str, ...] = ()
    changes: tuple[dict[str, Any], ...] = ()
    error: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Indexing:
    """The runs of one server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._starting = asyncio.Lock()
        self._changed = asyncio.Event()
        self._process: SpawnProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self.run: Run | None = None

    async def start(self, folders: Sequence[Path], *, after: int) -> Run:
        """Begin a run over folders of the index.

        Raises IndexingError while another goes on, IndexLockedError where another program writes the index, and
        IndexStorageError where it cannot be written.
        """
        async with self._starting:
            if self.run is not None and self.run.state == "running":
                raise IndexingError("the folders are being brought up to date already", hint="wait until that is done")
            # The process would find out too, but later.
            if not isinstance(place := self._settings.index, MilvusPlace):
                await asyncio.to_thread(lambda: IndexWriter.open_to_edit(place).close())
            receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
            given = self._settings
            process = multiprocessing.get_context("spawn").Process(
                target=bring_up_to_date,
                args=(sender, given.index, given.model, given.device, given.cache, tuple(folders)),
                name="fc7-indexing",
                daemon=True,
            )
            await asyncio.to_thread(process.start)
            sender.close()
            number = 1 if self.run is None else self.run.number + 1
            run = Run(number, "running", tuple(map(str, folders)), after)
            self._process = process
            self._set(run)
            self._task = asyncio.create_task(self._follow(process, receiver, number))
            return run

    async def stop(self) -> Run | None:
        """End the run that goes on, if there is one; what it has stored stays."""
        if self.run is not None and self.run.state == "running":
            self._set(replace(self.run, state="stopped"))
            await asyncio.to_thread(self._end)
        return self.run

    async def close(self) -> None:
        """End what goes on, and with it the answers to those who watch."""
        await self.stop()
        if self._task is not None:
            await self._task

    async def watch(self) -> AsyncIterator[Run | None]:
        """Yield the run again whenever it has changed, until it has ended."""
        while True:
            run, changed = self.run, self._changed
            yield run
            if run is None or run.state != "running":
                return
            await changed.wait()

    def _set(self, run: Run) -> None:
        self.run = run
        self._changed.set()
        self._changed = asyncio.Event()

    async def _follow(self, process: SpawnProcess, receiver: Connection, number: int) -> None:
        """Take what the process of the run of that number reports, until it ends: another may have begun since."""

        def running() -> Run | None:
            run = self.run
            return run if run is not None and run.number == number and run.state == "running" else None

        with receiver:
            while True:
                try:
                    told = await asyncio.to_thread(receiver.recv)
                except (EOFError, OSError):
                    break
                if run := running():
                    self._set(replace(run, **told))
        await asyncio.to_thread(process.join)
        if run := running():
            how = f"the process that read the photos has ended with status {process.exitcode}"
            self._set(replace(run, state="failed", error=how, hint="what it has stored stays; try it again"))

    def _end(self) -> None:
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()


def bring_up_to_date(
    sender: Connection,
    place: IndexLocation,
    model: Path | None,
    device: Device,
    cache: Path | None,
    folders: Sequence[Path],
) -> None:
    """Do a run, and send what changes of a `Run`; in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the server ends this one
    warnings: list[str] = []
    with sender, suppress(BrokenPipeError):  # the server has gone
        try:
            loaded = load_index_model(place, model, device=device, threads=1, cache=cache)
            runs = update_index(
                place,
                loaded,
                folders,
                progress=_progress(sender),
                warn=warnings.append,
                building=lambda what: sender.send({"doing": what}),
            )
            changes = tuple(_changes(report) for reports in runs for report in reports)
            sender.send({"state": "done", "changes": changes, "warnings": tuple(warnings), "doing": ""})
        except UserError as error:
            sender.send({"state": "failed", "error": str(error), "hint": error.hint})


def _progress(sender: Connection) -> Callable[[int, int], None]:
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= EVERY or done == total:
            told = now
            sender.send({"done": done, "total": total})

    return progress


def _changes(report: FolderReport) -> dict[str, Any]:
    told = FolderChanges.of(report).to_dict()
    skipped = told["skipped"]
    return {
        **told,
        "skipped": skipped[:MOST_SKIPPED],
        "skipped_count": len(skipped),
        "still_skipped": 0 if report.counts is None else report.counts.still_skipped,
        "seen": report.counts is not None,
    }
