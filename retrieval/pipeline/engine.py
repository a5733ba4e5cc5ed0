"""What embeds the new photos of a folder where the threads of this process do not: other processes, other machines."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from index.records import FileStamp
from index.vectors.parts import Run
from retrieval.models.model import Model
from retrieval.pipeline.stages import EmbeddedBatch


class Engine(Protocol):
    """Embeds files elsewhere; the caller stores what comes back, and is the only one that writes the index."""

    @property
    def run(self) -> Run | None:
        """What sorts the vectors of a large index into lists elsewhere; None where this process does it as fast."""

    def begin(self, model: Model) -> None:
        """Check what can be checked before anything is done. Raises UserError."""

    def embed_files(
        self, model: Model, folder: Path, paths: Sequence[bytes], stamps: Mapping[bytes, FileStamp]
    ) -> Iterator[EmbeddedBatch]:
        """Yield the files of a folder in batches, each file once, in any order.

        `paths` are relative to the folder, `stamps` those of the listing. When the next batch is asked for, the one
        before is stored. What could not be read is among those to be tried `later`. Raises UserError.
        """
