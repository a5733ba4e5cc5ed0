"""Photos embedded in shards: made by workers of some kind, read back here, where one writer stores them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from index.errors import ShardError
from index.records import FileStamp
from index.vectors.parts import Run
from retrieval.models.model import Model
from retrieval.photos.object_storage import require_pyarrow
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.stages import EmbeddedBatch
from retrieval.shards.part import Listed, ShardJob
from retrieval.shards.place import ShardPlace
from retrieval.shards.shard import SUFFIX, ShardHeader, read_shard, shard_stamps

Workers = Callable[[ShardJob, Sequence[Listed]], Iterator[str]]
"""Makes shards of files in the job's place, and yields the name of each when it is there."""


class ShardEngine:
    """An `Engine` that takes what shards have already, and has workers make shards of the rest.

    So a run that was interrupted goes on, whether a shard was stored or only written. Shards that are `kept` stay when
    they have been stored.
    """

    def __init__(
        self,
        place: ShardPlace,
        workers: Workers,
        *,
        kept: bool,
        concurrency: Concurrency | None = None,
        warn: Callable[[str], None] | None = None,
        run: Run | None = None,
    ) -> None:
        """`run` sorts the vectors of a large index into lists, as in `fill_in_parts`; `warn` reports damaged shards.

        These are left as they are, and their photos embedded again.
        """
        self._place = place
        self._workers = workers
        self._kept = kept
        self._concurrency = concurrency
        self._warn = warn
        self.run = run

    def begin(self, model: Model) -> None:
        """Look whether shards can be written there, and belong to this model.

        Raises MissingPackageError, ShardError and ModelMismatchError.
        """
        require_pyarrow()
        self._place.prepare()
        with suppress(ShardError):  # a damaged one is reported when it is needed
            for name in self._shards()[:1]:
                shard_stamps(self._place, name, _header(model, Path("/")))

    def embed_files(
        self, model: Model, folder: Path, paths: Sequence[bytes], stamps: Mapping[bytes, FileStamp]
    ) -> Iterator[EmbeddedBatch]:
        """Yield the files of a folder, as `Engine` says. Raises ShardError, ModelMismatchError and ClusterError."""
        if not paths:
            return
        self._place.prepare()  # the folder before may have removed it
        header = _header(model, folder)
        left = {path: stamps[path] for path in paths}
        for name in self._shards():
            batch = self._known(name, header, left)
            if batch is not None:
                for photo in batch.photos:
                    del left[photo.path]
                yield batch
                self._done(name)
        concurrency = self._concurrency or Concurrency.chosen(model)
        job = ShardJob(
            header,
            self._place.named,
            None if model.path is None else os.path.abspath(model.path),
            model.device,
            concurrency.batch_size,
            concurrency.memory,
        )
        try:
            for name in self._workers(job, list(left.items())) if left else ():
                yield read_shard(self._place, name, header)
                self._done(name)
        finally:
            if not self._kept and self._place.is_local:
                with suppress(OSError):  # shards that are not stored yet
                    Path(self._place.named).rmdir()

    def _shards(self) -> list[str]:
        return [name for name in self._place.names() if name.endswith(SUFFIX)]

    def _known(self, name: str, header: ShardHeader, left: Mapping[bytes, FileStamp]) -> EmbeddedBatch | None:
        """Return what a shard has of the files that are left; None where it has nothing."""
        try:
            wanted = {row for row in shard_stamps(self._place, name, header) if left.get(row[0]) == row[1]}
            return read_shard(self._place, name, header, only=wanted) if wanted else None
        except ShardError as error:
            if self._warn is not None:
                self._warn(f"{error}: its photos are embedded again; {error.hint or 'it stays as it is'}")
            return None

    def _done(self, name: str) -> None:
        if not self._kept:
            self._place.remove(name)


def _header(model: Model, folder: Path) -> ShardHeader:
    return ShardHeader(model.spec.name, model.spec.fingerprint, model.spec.dim, os.fsencode(folder))
