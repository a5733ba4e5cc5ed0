"""Which model goes with an index: the one that is named, or the one that the index was made with."""

import os
import shlex
from functools import partial
from pathlib import Path

from index.errors import IndexNotFoundError, ModelMismatchError
from index.milvus.place import IndexLocation, MilvusPlace
from index.open_index import open_index
from index.photo_index import PhotoIndex
from retrieval.models.model import Model, models_folder
from retrieval.models.runtime import Device


def index_model_file(folder: Path) -> list[Path]:
    """Return the model file that an index was made with, nothing for the built-in one. Raises IndexNotFoundError."""
    with PhotoIndex.open(folder) as index:
        return [] if index.model_path is None else [index.model_path]


def load_index_model(
    place: IndexLocation,
    named: Path | None,
    *,
    begin: bool = False,
    rebuild: bool = False,
    device: Device = "auto",
    threads: int | None = None,
    fast_start: bool = False,
    shares_cores: bool = False,
    cache: Path | None = None,
) -> Model:
    """Load the model file that is `named`, otherwise the one that the index in `place` was made with.

    The built-in model begins an index: with `begin` where there is none yet, with `rebuild` always. A model that was
    imported on the machine that made an index in Milvus can be imported on this one too. Raises IndexNotFoundError,
    ModelMismatchError if the model is no longer where it was, and what `open_index` and `Model.load` raise.
    """
    load = partial(
        Model.load, device=device, threads=threads, fast_start=fast_start, shares_cores=shares_cores, cache=cache
    )
    if named is not None or rebuild:
        return load(named)
    try:
        with open_index(place) as index:
            path, fingerprint, roots = index.model_path, index.fingerprint, index.roots()
    except IndexNotFoundError:
        if not begin:
            raise
        return load()
    if path is not None and isinstance(place, MilvusPlace) and not os.path.isfile(path):
        path = models_folder() / path.name
    if path is not None and not os.path.isfile(path):
        problem = f"{path}, which is not there"
    else:
        model = load(path)
        if model.spec.fingerprint == fingerprint:
            return model
        problem = "a built-in model that this fc7 has not" if path is None else f"{path}, which is another model now"
    if isinstance(place, MilvusPlace):
        raise ModelMismatchError(f"The index in {place} was made with {problem}", hint="name a copy of it with -m")
    names = " ".join(shlex.quote(str(root)) for root in roots) or "FOLDER"
    other = f" -m {shlex.quote(str(path))}" if path is not None and os.path.isfile(path) else ""
    by = "this one" if other or path is None else "the built-in one, or another that -m names,"
    raise ModelMismatchError(
        f"The index in {place} was made with {problem}",
        hint=f"say where that model is with -m, or rebuild the index with {by} by "
        f"`fc7 index --rebuild {names}{other} --index {shlex.quote(str(place))}`",
    )
