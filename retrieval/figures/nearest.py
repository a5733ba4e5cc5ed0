"""The photos of an index that excite one unit of fc7 most."""

import heapq
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from index.errors import OptionError, PhotoError
from index.object_path import as_path
from index.photo_index import PhotoIndex
from index.records import SkippedPhoto
from retrieval.figures.canvas import PLAIN, Look
from retrieval.figures.drawing import fitted, tiles
from retrieval.models.model import Model
from retrieval.pipeline.embed import embed_paths
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress

SIDE = 200
COLUMNS = 4


def most_exciting(
    model: Model,
    index: PhotoIndex,
    unit: int,
    *,
    top: int,
    skipped: list[SkippedPhoto],
    progress: Progress | None = None,
) -> list[tuple[float, Path]]:
    """Return the activations of a unit of fc7 and the photos of an index with the greatest, the greatest first.

    The index has no fc7, so its photos are read. Raises OptionError for a unit that there is not, PhotoError where no
    photo can be read.
    """
    if not 0 <= unit < model.spec.fc7_dim:
        raise OptionError(f"{model.spec.name} has the units 0 to {model.spec.fc7_dim - 1} of fc7, and no {unit}")
    paths = [path for photos in index.photos.embeddings() for path in photos.paths]
    described = embed_paths(model, paths, skipped=skipped, progress=progress)
    best = heapq.nlargest(top, ((float(photo.fc7[unit]), str(photo.path)) for photo in described))
    if not best:
        raise PhotoError("no photo of the index can be read now")
    return [(value, as_path(path)) for value, path in best]


def draw_nearest(found: Sequence[tuple[float, Path]], unit: int, name: str, look: Look = PLAIN) -> Image.Image:
    """Draw photos with the activation of a unit below each."""
    side = SIDE * look.scale
    pictures = [
        decode_within_budget(path, lambda photo: fitted(photo.image, side), shorter_side=side) for _, path in found
    ]
    captions = [f"{value:.2f}  {path.name}" for value, path in found]
    title = f"unit {unit} of fc7, {name}: the photos that excite it most"
    return tiles(pictures, captions, columns=COLUMNS, side=SIDE, title=title, look=look)
