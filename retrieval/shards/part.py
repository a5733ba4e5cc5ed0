"""A part of a folder's files, embedded and written as one shard: what a worker does, whatever started it."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from index.errors import ClusterError, PhotoError
from index.object_path import as_path
from index.records import FileStamp, NewPhoto
from retrieval.models.model import Model
from retrieval.models.runtime import Device
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.machine import usable_cores, usable_memory
from retrieval.pipeline.memory import SHARE
from retrieval.pipeline.stages import EmbeddedBatch, ReadPhoto, Stages
from retrieval.shards.place import ShardPlace
from retrieval.shards.shard import SUFFIX, ShardHeader, write_shard

LEAST, MOST = 16, 512
"""Files of a part."""
TURNS = 8
"""Parts that each worker gets at least, as far as there are so many files, so that all end at about the same time."""

Listed = tuple[bytes, FileStamp]
"""The path of a file in its folder, and its stamp when it was listed."""


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What all parts have in common, in plain values that any process can be given.

    `model_path` is that of the model file on every machine, None for the built-in model; `place` names where shards go.
    """

    header: ShardHeader
    place: str
    model_path: str | None
    device: Device
    batch_size: int
    memory: int | None = None
    """Bytes for pictures while they are decoded, of each worker; None for its share of the machine's."""

    @property
    def folder(self) -> Path:
        return as_path(self.header.root)


def parts_of(files: Sequence[Listed], workers: int) -> Iterator[Sequence[Listed]]:
    """Divide files, in their order, among workers."""
    size = max(LEAST, min(MOST, -(-len(files) // (TURNS * workers))))
    for start in range(0, len(files), size):
        yield files[start : start + size]


class PartEmbedder:
    """A worker: it has a model of its own, and makes a shard of each part that it is given."""

    def __init__(self, job: ShardJob) -> None:
        """Load the model. Raises ClusterError where this machine has another one, and what `Model.load` does."""
        self._job = job
        self._place = ShardPlace(job.place)
        model_path = None if job.model_path is None else Path(job.model_path)
        self._model = Model.load(model_path, device=job.device, threads=1)
        if self._model.spec.fingerprint != job.header.fingerprint:
            raise ClusterError(
                f"the model {job.model_path or 'built into fc7'} of {platform.node()} is another than here",
                hint="install the same fc7 and the same model file, at the same path, on every machine",
            )
        memory = job.memory or (usable_memory() or 0) // SHARE // usable_cores() or None
        self._concurrency = Concurrency.chosen(self._model, workers=1, batch_size=job.batch_size, memory=memory)

    def embed(self, files: Sequence[Listed]) -> str:
        """Embed files, write them as a shard, and return its name.

        The same files give the same name, so that a part that is done twice is there once. Raises ShardError.
        """
        header = self._job.header
        name = _name_of(header, files)
        write_shard(self._place, name, header, self._embedded(files))
        return name

    def _embedded(self, files: Sequence[Listed]) -> EmbeddedBatch:
        photos: list[NewPhoto] = []
        later: list[tuple[bytes, str]] = []
        stamps = dict(files)
        with Stages.begun(self._model, self._concurrency, [self._job.folder]) as stages:

            def read() -> Iterator[tuple[ReadPhoto, bytes]]:
                for path, content in stages.read(self._job.folder, list(stamps), stamps):
                    if isinstance(content, PhotoError):
                        later.append((path, str(content)))
                    else:
                        yield ReadPhoto(path, content.stamp, content.content_hash), content.data

            for batch in stages.embed(read(), at_most=len(stamps)):
                photos += batch.photos
                later += batch.later
        return EmbeddedBatch(tuple(photos), tuple(later))


def embed_here(job: ShardJob, files: Sequence[Listed]) -> Iterator[str]:
    """Do all parts one after the other in this process, and yield the name of each shard."""
    worker = PartEmbedder(job)
    for part in parts_of(files, 1):
        yield worker.embed(part)


def _name_of(header: ShardHeader, files: Sequence[Listed]) -> str:
    digest = blake2b(b"%b\0%b" % (header.fingerprint.encode(), header.root), digest_size=10)
    for path, stamp in files:
        digest.update(b"\0%b\0%d %d" % (path, stamp.size, stamp.mtime_ns))
    return f"fc7-{digest.hexdigest()}{SUFFIX}"
