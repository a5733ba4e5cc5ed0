"""Runs a model over photos, however they are named: files, folders, or `-` for what comes on standard input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.records import IncompletePhoto, Prediction, SkippedPhoto
from retrieval.models.model import Outputs
from retrieval.models.spec import ModelSpec
from retrieval.photos.decode import Photo
from retrieval.photos.files import MAX_BYTES, check_size
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.executor import Concurrency, run_in_batches
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

STANDARD_INPUT = Path("-")


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """A photo and what a model says of it: probabilities (classes,), fc7 (fc7_dim,), embedding (dim,)."""

    path: Path
    probabilities: NDArray[np.float32]
    fc7: NDArray[np.float32]
    embedding: NDArray[np.float32]


Prepared = TypeVar("Prepared")


class Embedder(Protocol[Prepared]):
    """A `Model`, or several as one: an `Ensemble`."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def resize(self) -> int: ...

    @property
    def on_gpu(self) -> bool: ...

    def prepare(self, image: "Image") -> Prepared: ...

    def run(self, pixels: Sequence[Prepared]) -> Outputs: ...

    def top_predictions(self, probabilities: NDArray[np.float32], k: int) -> tuple[Prediction, ...]: ...


def embed_paths(
    model: Embedder[Prepared],
    paths: Sequence[Path],
    *,
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto] | None = None,
    standard_input: BinaryIO | None = None,
    progress: Progress | None = None,
    concurrency: Concurrency | None = None,
) -> Iterator[EmbeddedPhoto]:
    """Yield the photos that can be read, in order, those in folders included; the others are appended to `skipped`.

    Those of which a part is missing are appended to `incomplete` too.
    `concurrency` is by default that of `Concurrency.chosen`, which a model suits best that was loaded with one thread.
    """

    def prepare(path: Path, source: Path | bytes) -> Prepared:
        if isinstance(source, bytes):
            check_size(len(source))

        def pixels(photo: Photo) -> Prepared:
            if photo.missing is not None and incomplete is not None:
                incomplete.append(IncompletePhoto(path, photo.missing))
            return model.prepare(photo.image)

        return decode_within_budget(source, pixels, shorter_side=model.resize)

    def source_of(path: Path) -> Path | bytes:
        # Standard input is read here and not in a thread, which Ctrl-C could not wake from waiting for it.
        return standard_input.read(MAX_BYTES + 1) if standard_input and path == STANDARD_INPUT else path

    photos = expand_paths(paths, skipped=skipped)
    jobs = ((path, partial(prepare, path, source_of(path))) for path in photos)
    concurrency = concurrency or Concurrency.chosen(model)
    done = 0
    for batch in run_in_batches(jobs, partial(_embedded_photos, model), concurrency, at_most=len(photos)):
        for path, photo in batch:
            if isinstance(photo, PhotoError):
                skipped.append(SkippedPhoto(path, str(photo)))
            else:
                yield photo
        done += len(batch)
        if progress is not None:
            progress(done, len(photos))


def _embedded_photos(
    model: Embedder[Prepared], batch: Sequence[tuple[Path, Prepared | PhotoError]]
) -> list[tuple[Path, EmbeddedPhoto | PhotoError]]:
    """Run a model on those photos of a batch that could be prepared."""
    readable = [pixels for _, pixels in batch if not isinstance(pixels, PhotoError)]
    rows: Iterator[tuple[NDArray[np.float32], ...]] = iter(())
    if readable:
        outputs = model.run(readable)
        rows = zip(outputs.probabilities, outputs.fc7, outputs.embedding, strict=True)
    return [
        (path, pixels if isinstance(pixels, PhotoError) else EmbeddedPhoto(path, *next(rows))) for path, pixels in batch
    ]
