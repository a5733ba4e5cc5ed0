"""The photos and words of a query as embeddings: photos that the index has are not decoded again."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.catalog.rows import has_direction
from index.errors import PhotoError, UserError
from index.object_path import ObjectPath
from index.records import IncompletePhoto, SkippedPhoto
from index.searchable import SearchableIndex
from retrieval.models.model import Model
from retrieval.photos.decode import Photo
from retrieval.photos.files import MAX_BYTES, check_size
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.embed import STANDARD_INPUT
from retrieval.pipeline.executor import Concurrency, run_in_batches
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.reuse import stored_embedding
from retrieval.pipeline.stages import NOTHING_FOUND

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Box:
    """A region of an upright picture, in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Box":
        """Read "x,y,w,h". Raises ValueError for anything else, and for a region of no size or left of or above all."""
        x, y, width, height = map(int, text.split(","))  # int raises ValueError, and so does another number of parts
        if min(x, y) < 0 or min(width, height) < 1:
            raise ValueError(f"no region of a picture: {text}")
        return cls(x, y, width, height)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


MainPart = Callable[["Image"], "Image"]
"""What cuts the main thing out of a photo."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryPhoto:
    """A photo, or words, to look for: embedding (dim,) of unit length."""

    path: Path | str
    """`image` for a picture that is no file; the text of words."""
    embedding: NDArray[np.float32]

    @property
    def name(self) -> str:
        """What is asked for, as a user wrote it."""
        return str(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    path: Path
    stored: NDArray[np.float32] | None


def embed_query_photos(
    index: SearchableIndex,
    model: Model,
    paths: Sequence[Path],
    *,
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto] | None = None,
    box: Box | None = None,
    mirror: bool = False,
    main_part: MainPart | None = None,
    standard_input: BinaryIO | None = None,
) -> Iterator[QueryPhoto]:
    """Yield the photos that can be read, in order, those in folders included; the others are appended to `skipped`.

    Those of which a part is missing are appended to `incomplete` too. A photo that is in the index, and has not changed
    or cannot be reached now, is not read. With a `box` only that region is looked at, as if it had been cut out; with
    `mirror` a photo is averaged with its mirror image, and `main_part` cuts the part out of it that is
    looked at. Raises UserError for a box that does not lie inside.
    """

    def jobs(photos: Sequence[Path]) -> Iterator[tuple[_Source, Callable[[], NDArray[np.uint8]]]]:
        for path in photos:
            # Standard input is read here and not in a thread, which Ctrl-C could not wake from waiting for it.
            piped = standard_input.read(MAX_BYTES + 1) if standard_input and path == STANDARD_INPUT else None
            stored = (
                None
                if box or mirror or main_part or piped is not None
                else stored_embedding(index, path, model.spec.dim, unseen=True)
            )
            if stored is None:
                yield (
                    _Source(path, None),
                    partial(
                        _views,
                        model,
                        path,
                        piped,
                        box=box,
                        mirror=mirror,
                        main_part=main_part,
                        incomplete=incomplete,
                    ),
                )
            else:
                yield _Source(path, stored), partial(_no_views, model)

    photos = expand_paths(paths, skipped=skipped)
    for batch in run_in_batches(
        jobs(photos), partial(_embedded, model), Concurrency.chosen(model), at_most=len(photos)
    ):
        for path, embedding in batch:
            if isinstance(embedding, PhotoError):
                skipped.append(SkippedPhoto(path, str(embedding)))
            elif has_direction(embedding):
                yield QueryPhoto(path, unit(embedding))
            else:
                skipped.append(SkippedPhoto(path, NOTHING_FOUND))


def embed_query_images(model: Model, images: "Sequence[Image]") -> Iterator[QueryPhoto]:
    """Yield pictures that a program has decoded. Raises PhotoError for one that the model finds nothing in."""
    for embedding in model.embed(images):
        if not has_direction(embedding):
            raise PhotoError(f"cannot look for an image: {NOTHING_FOUND}")
        yield QueryPhoto(Path("image"), unit(embedding))


def embed_query_texts(model: Model, texts: Sequence[str]) -> Iterator[QueryPhoto]:
    """Yield words as the model's text half embeds them. Raises UserError where it has none, and what that raises."""
    if not texts:
        return
    if model.text is None:
        raise UserError(
            f"the model {model.spec.name} knows no words but its classes",
            hint="look for these with --label, or make the index with a model that has a text half: docs/models.md",
        )
    for text, embedding in zip(texts, model.text.embed(texts), strict=True):
        yield QueryPhoto(text, unit(embedding))


def is_text(path: Path, index: SearchableIndex, model: Model) -> bool:
    """Tell whether what is to be looked for is words and no photo.

    What exists is a photo or a folder, and so is what the index knows, though it may not be there now. All else is
    words if the model has a text half, and otherwise a photo that is missing.
    """
    if not model.spec.text or path == STANDARD_INPUT or isinstance(path, ObjectPath) or os.path.lexists(path):
        return False
    return index.photos.at(path) is None


def _embedded(
    model: Model, batch: Sequence[tuple[_Source, NDArray[np.uint8] | PhotoError]]
) -> list[tuple[Path, NDArray[np.float32] | PhotoError]]:
    """Embed what could be prepared: for each photo its stored embedding, or the mean of its views'."""
    pixels = np.concatenate([_no_views(model), *(views for _, views in batch if not isinstance(views, PhotoError))])
    rest = model.run(pixels).embedding if len(pixels) else np.empty((0, model.spec.dim), np.float32)
    embedded: list[tuple[Path, NDArray[np.float32] | PhotoError]] = []
    for source, views in batch:
        if isinstance(views, PhotoError):
            embedded.append((source.path, views))
        elif source.stored is not None:
            embedded.append((source.path, source.stored))
        else:
            embedded.append((source.path, rest[: len(views)].mean(axis=0)))
            rest = rest[len(views) :]
    return embedded


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a vector (dim,) that is not zero at unit length."""
    length = np.linalg.norm(vector.astype(np.float64))
    return (vector / length).astype(np.float32)


def _views(
    model: Model,
    path: Path,
    piped: bytes | None,
    *,
    box: Box | None,
    mirror: bool,
    main_part: MainPart | None,
    incomplete: list[IncompletePhoto] | None,
) -> NDArray[np.uint8]:
    """Prepare a picture, and its mirror image after it: (1 or 2, crop, crop, 3)."""
    check_size(len(piped or b""))

    def views(photo: Photo) -> NDArray[np.uint8]:
        image = photo.image
        if photo.missing is not None and incomplete is not None:
            incomplete.append(IncompletePhoto(path, photo.missing))
        if box is not None:
            image = region(photo, box, str(path))
        if main_part is not None:
            image = main_part(image)
        pixels = model.prepare(image)
        return np.stack([pixels, pixels[:, ::-1]] if mirror else [pixels])

    # A region may be small, and then the photo is needed at its full size.
    side = None if box or main_part else model.resize
    return decode_within_budget(path if piped is None else piped, views, shorter_side=side)


def region(photo: Photo, box: Box, name: str) -> "Image":
    """Cut a region out of a whole photo. Raises UserError, with the photo's name, where it does not lie inside."""
    if box.x + box.width > photo.width or box.y + box.height > photo.height:
        size = f"{photo.width} × {photo.height} pixels"
        raise UserError(f"the box {box} does not lie inside {name}, which is {size}")
    return photo.image.crop((box.x, box.y, box.x + box.width, box.y + box.height))


def _no_views(model: Model) -> NDArray[np.uint8]:
    return np.empty((0, model.spec.crop, model.spec.crop, 3), np.uint8)
