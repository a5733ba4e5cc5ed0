"""Embeddings that an index has: a photo that is in it, and has not changed since, is not decoded again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexNotFoundError
from index.milvus.place import IndexLocation, MilvusPlace
from index.photo_index import PhotoIndex
from index.records import IncompletePhoto, SkippedPhoto
from index.searchable import SearchableIndex
from retrieval.models.model import Model
from retrieval.photos.files import current_stamp
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.embed import STANDARD_INPUT, embed_paths
from retrieval.pipeline.progress import Progress


def stored_embedding(index: SearchableIndex, path: Path, dim: int, *, unseen: bool) -> NDArray[np.float32] | None:
    """Return the embedding (dim,) of an indexed photo whose file is as it was, or with `unseen` cannot be seen now."""
    photo = index.photos.at(path)
    if photo is None or photo.embedding is None or len(photo.embedding) != dim:  # damaged, if it has another length
        return None
    stamp = current_stamp(path)
    return photo.embedding if stamp == photo.stamp or (unseen and stamp is None) else None


def index_to_reuse(
    folder: IndexLocation, model: Model, paths: Sequence[Path], *, output: str = "embedding"
) -> tuple[PhotoIndex | None, str]:
    """Open the index in a folder, if it has photos of `paths`, and what is asked for is their embeddings by this model.

    Otherwise return None, and why not where that is not obvious. Raises PhotoIndexError for a damaged index. Asking
    Milvus for each photo would take longer than computing.
    """
    if isinstance(folder, MilvusPlace):
        return None, f"the index {folder} is not in a folder"
    try:
        index = PhotoIndex.open(folder)
    except IndexNotFoundError:
        return None, ""
    known = any(index.photos.knows(path) for path in paths)
    same_model = index.fingerprint == model.spec.fingerprint
    if known and same_model and output == "embedding":
        return index, ""
    index.close()
    reason = f"has no {output}" if same_model else "was made with another model"
    return None, f"the index in {folder} {reason}" if known else ""


def named_vectors(
    index: PhotoIndex | None,
    model: Model,
    paths: Sequence[Path],
    *,
    output: str,
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto],
    reused: list[Path],
    standard_input: BinaryIO | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Yield photos, each with its vector `output` (values,); with an index as `embed_with_index`."""
    if index is not None:
        return embed_with_index(
            index,
            model,
            paths,
            skipped=skipped,
            reused=reused,
            incomplete=incomplete,
            standard_input=standard_input,
            progress=progress,
        )
    computed = embed_paths(
        model, paths, skipped=skipped, incomplete=incomplete, standard_input=standard_input, progress=progress
    )
    return ((photo.path, getattr(photo, output)) for photo in computed)


def embed_with_index(
    index: PhotoIndex,
    model: Model,
    paths: Sequence[Path],
    *,
    skipped: list[SkippedPhoto],
    reused: list[Path],
    incomplete: list[IncompletePhoto] | None = None,
    standard_input: BinaryIO | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Yield photos with their embeddings (dim,), as `embed_paths`; those that the index has are appended to `reused`.

    An index stores 16 bits of each number, so these differ from computed ones in the fourth digit.
    """
    photos = expand_paths(paths, skipped=skipped)
    dim = model.spec.dim

    def stored(path: Path) -> NDArray[np.float32] | None:
        return None if path == STANDARD_INPUT else stored_embedding(index, path, dim, unseen=False)

    known = [stored(path) is not None for path in photos]
    rest = [path for path, has in zip(photos, known, strict=True) if not has]
    computed = embed_paths(
        model, rest, skipped=skipped, incomplete=incomplete, standard_input=standard_input, progress=progress
    )
    ahead = next(computed, None)
    for path, has in zip(photos, known, strict=True):
        # Read again and not kept: all of them may not fit into memory.
        if has and (embedding := stored(path)) is not None:
            reused.append(path)
            yield path, embedding
        elif ahead is not None and ahead.path == path:
            yield path, ahead.embedding
            ahead = next(computed, None)
        elif has:  # changed in this moment
            skipped.append(SkippedPhoto(path, "it is being changed; run the same command again"))
