"""An index brought up to date: opened or made for a model, then filled, rebuilt or kept in step with its folders."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from index.errors import OptionError
from index.index_writer import IndexWriter
from index.milvus.place import IndexLocation, MilvusPlace
from index.photo_index import PhotoIndex
from index.searchable import FillableIndex
from index.vectors.kinds import check_kind
from retrieval.indexing.index_folders import FolderReport, folders_at, index_folders
from retrieval.indexing.missing import gone_folders
from retrieval.indexing.rebuild import rebuild_index
from retrieval.indexing.watch import check_watchable, keep_in_step, require_watchfiles
from retrieval.models.model import Model
from retrieval.photos.exclusions import check_patterns
from retrieval.pipeline.engine import Engine
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.progress import Progress


def open_for_model(
    place: Path,
    model: Model,
    *,
    warn: Callable[[str], None] | None = None,
    building: Callable[[str], None] | None = None,
) -> IndexWriter:
    """Open the index in a folder to add photos with a model, made there if there is none.

    `warn` and `building` are as for `IndexWriter.open_for_writing`; it raises what that does, among others
    ModelMismatchError where the index was made with another model.
    """
    spec = model.spec
    return IndexWriter.open_for_writing(
        place,
        fingerprint=spec.fingerprint,
        model_name=spec.name,
        dim=spec.dim,
        model_path=model.path,
        device=model.device,
        warn=warn,
        building=building,
    )


def open_to_fill(
    place: IndexLocation,
    model: Model,
    *,
    kind: str | None = None,
    warn: Callable[[str], None] | None = None,
    building: Callable[[str], None] | None = None,
) -> FillableIndex:
    """Open the index in `place`, as `open_for_model`, or as `MilvusWriter.open_for_writing`. Raises what these do.

    Raises OptionError for a `kind` that cannot be had there.
    """
    if not isinstance(place, MilvusPlace):
        if kind is not None:
            check_kind(kind)
        index: FillableIndex = open_for_model(place, model, warn=warn, building=building)
        if kind is not None:
            index.set_kind(kind)
        return index
    from index.milvus.milvus_writer import MilvusWriter  # most have none

    spec = model.spec
    return MilvusWriter.open_for_writing(
        place,
        fingerprint=spec.fingerprint,
        model_name=spec.name,
        dim=spec.dim,
        model_path=model.path,
        kind=kind,
        building=building,
    )


def update_index(
    place: IndexLocation,
    model: Model,
    folders: Sequence[Path],
    *,
    rebuild: bool = False,
    watch: bool = False,
    kind: str | None = None,
    exclude: Sequence[str] = (),
    no_exclude: bool = False,
    retry_skipped: bool = False,
    concurrency: Concurrency | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    building: Callable[[str], None] | None = None,
) -> Generator[list[FolderReport], None, None]:
    """Bring the index in `place` up to date with folders, or with all that it knows, and yield the reports on them.

    With `rebuild` it is rebuilt, with `watch` there are reports again after each burst of changes, for ever: close the
    generator to end that. The index is locked only while it is changed. `kind` of FAISS index is remembered, and so are
    the patterns to `exclude`, besides those that were remembered before; with `no_exclude` these are forgotten first.
    Raises what `index_folders`, `rebuild_index`, `keep_in_step` and `open_to_fill` do, and OptionError for what is no
    pattern and for an index in Milvus that should be rebuilt; where something is wrong with folders, kind or patterns,
    before there is an index.
    """
    check_patterns(exclude)

    def patterns(before: Sequence[str]) -> Sequence[str]:
        return tuple(dict.fromkeys([*(() if no_exclude else before), *exclude]))

    if rebuild:
        if isinstance(place, MilvusPlace):
            raise OptionError(
                "an index in Milvus cannot be rebuilt in its place", hint="index the folders into another collection"
            )
        yield rebuild_index(
            place,
            model,
            folders,
            kind=kind,
            exclude=patterns,
            concurrency=concurrency,
            engine=engine,
            progress=progress,
            warn=warn,
            building=building,
        )
        return
    chosen, _ = folders_at(place, folders)
    if watch:
        require_watchfiles()
        check_watchable(chosen)
    open_index = partial(open_to_fill, place, model, warn=warn, building=building)
    with open_index(kind=kind) as index:
        index.set_exclude(patterns(index.exclude))
        if not watch:
            yield index_folders(
                index,
                model,
                folders,
                retry_skipped=retry_skipped,
                concurrency=concurrency,
                engine=engine,
                progress=progress,
            )
            for gone in gone_folders(index) if isinstance(index, PhotoIndex) else ():
                if gone.moved and warn is not None:
                    warn(gone.told(place))
            return
    yield from keep_in_step(
        open_index, model, folders, retry_skipped=retry_skipped, concurrency=concurrency, progress=progress
    )
