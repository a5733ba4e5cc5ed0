"""Building a new index beside the old one, which is searched until the new one is finished."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.database import storage_errors
from index.catalog.different import copy_different
from index.catalog.lock import WriterLock
from index.errors import IndexFormatError, IndexNotFoundError, ModelMismatchError
from index.index_writer import IndexWriter
from index.photo_index import CATALOG, VECTORS
from index.vectors.cache import VectorCache
from index.vectors.faiss_library import FaissDevice, require_faiss
from index.vectors.kinds import EXACT, check_kind
from index.vectors.parts import Run

UNFINISHED = "catalog.rebuild"


@contextmanager
def rebuilding(
    folder: Path,
    *,
    fingerprint: str,
    model_name: str,
    dim: int,
    model_path: Path | None = None,
    kind: str | None = None,
    device: FaissDevice | None = None,
    building: Callable[[str], None] | None = None,
    run: Run | None = None,
) -> Iterator[IndexWriter]:
    """Fill a new index. When the block ends without an error it replaces that in `folder`, in one transaction.

    When the block fails, or the process is killed, the old index stays as it was, and the next call with the same model
    resumes the new one. `run` is as for `IndexWriter.fill_with`; `building` and the exceptions are as for
    `IndexWriter.open_for_writing`, except ModelMismatchError.
    """
    require_faiss()
    if kind is not None:
        check_kind(kind)
    first = CatalogState.fresh(model_name=model_name, fingerprint=fingerprint, dim=dim)
    unfinished = folder / UNFINISHED
    with ExitStack() as resources:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            resources.enter_context(WriterLock(folder))
        catalog = resources.enter_context(closing(Catalog.open_for_writing(folder / CATALOG, first=first)))

        def open_unfinished() -> IndexWriter:
            return IndexWriter.open_for_writing(
                unfinished, fingerprint=fingerprint, model_name=model_name, dim=dim, model_path=model_path
            )

        with suppress(IndexNotFoundError, IndexFormatError), closing(Catalog.open(unfinished / CATALOG)) as finished:
            # It has replaced the old index already, but the process was killed before it could be removed.
            if finished.state().identity == catalog.state().identity:
                _remove(unfinished)
        try:
            index = open_unfinished()
        except (IndexFormatError, ModelMismatchError):
            _remove(unfinished)
            index = open_unfinished()
        with index:
            # The chosen kind is built once, when all photos are in the new index.
            index.set_kind(EXACT)
            yield index
        with closing(Catalog.open_for_writing(unfinished / CATALOG)) as finished:
            finished.set_kind(kind or catalog.state().kind)
            copy_different(catalog, finished)
            catalog.become(finished)
        _remove(unfinished)
        vectors = VectorCache(folder / VECTORS, catalog, device=device, building=building)
        vectors.run = run
        vectors.update()


def _remove(folder: Path) -> None:
    with storage_errors(folder.parent):
        shutil.rmtree(folder)
