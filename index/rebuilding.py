"""Making an index anew beside the old one, which is searched until the new one is finished."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from index.catalog import Catalog, CatalogState
from index.database import storage_errors
from index.errors import IndexFormatError, ModelMismatchError
from index.lock import WriterLock
from index.photo_index import CATALOG, VECTORS, PhotoIndex
from index.vector_cache import VectorCache
from index.vectors import require_faiss

UNFINISHED = "catalog.rebuild"


@contextmanager
def rebuilding(
    folder: Path, *, fingerprint: str, model_name: str, dim: int, model_path: Path | None = None
) -> Iterator[PhotoIndex]:
    """Fill a new index; when the block ends well it takes the place of that in `folder`, in one transaction.

    When the block does not, or is killed, the old index is as it was, and the next call with the same model goes on
    with the new one. Raises what `PhotoIndex.open_for_writing` raises, but never ModelMismatchError.
    """
    require_faiss()
    first = CatalogState.fresh(model_name=model_name, fingerprint=fingerprint, dim=dim)
    unfinished = folder / UNFINISHED
    with ExitStack() as resources:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            resources.enter_context(WriterLock(folder))
        catalog = resources.enter_context(closing(Catalog.open_for_writing(folder / CATALOG, first=first)))

        def open_unfinished() -> PhotoIndex:
            return PhotoIndex.open_for_writing(
                unfinished, fingerprint=fingerprint, model_name=model_name, dim=dim, model_path=model_path
            )

        try:
            index = open_unfinished()
        except (IndexFormatError, ModelMismatchError):
            with storage_errors(folder):
                shutil.rmtree(unfinished)
            index = open_unfinished()
        with index:
            yield index
        with closing(Catalog.open(unfinished / CATALOG)) as finished:
            catalog.become(finished)
        VectorCache(folder / VECTORS, catalog).update_file()
        with storage_errors(folder):
            shutil.rmtree(unfinished)
