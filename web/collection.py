"""The collection that is served: its model, its index, and what decodes pictures."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from index.catalog.rows import has_direction
from index.errors import ModelMismatchError, OptionError, OutOfMemoryError, PhotoError
from index.index_writer import IndexWriter
from index.milvus.place import MilvusPlace
from index.records import IndexedFile
from index.searchable import SearchableIndex
from retrieval.answers import Classification, answered_query, classified_photo
from retrieval.indexing.model_of_index import load_index_model
from retrieval.models.model import Model
from retrieval.models.spec import require_classes
from retrieval.searching.own_labels import own_predictions
from retrieval.searching.query import Box, QueryPhoto, unit
from retrieval.searching.search import Query, search_index
from retrieval.searching.terms import Terms
from web.batching import Batcher
from web.decoding import Decoder, Preparation, Source
from web.photos import Located, PhotoUnknownError, files_of, known_folder, located, photo_values
from web.reader import Reader
from web.recent import Recent
from web.settings import Settings

Result = TypeVar("Result")
Seen = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Probabilities (classes,) and embedding (dim,) of a picture."""
KEPT = 64
"""Uploads of which what the network said is kept, in memory: a page asks for names and neighbours of the same one."""


@dataclass(frozen=True)
class Upload:
    """A picture that came with a request."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Asked:
    """What a search is for: pictures, photos of the index by id, words, or labels; see `Query` for the rest."""

    uploads: tuple[Upload, ...] = ()
    ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    unlike: tuple[int, ...] = ()
    unlike_texts: tuple[str, ...] = ()
    box: Box | None = None
    labels: tuple[str, ...] = ()
    folder: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    top: int = 10
    min_score: float | None = None
    collapse: bool = False


@dataclass(frozen=True)
class _Loaded:
    model: Model
    terms: Terms
    network: Batcher[NDArray[np.uint8], Seen]
    uploads: Recent[Seen]


class Collection:
    """Answers what the API and the pages ask; made by `open`, in the event loop that it answers in."""

    def __init__(self, settings: Settings, batches: Callable[[int], None]) -> None:
        self.settings = settings
        self.decoder = Decoder(
            max_pixels=settings.max_upload_pixels,
            seconds=settings.decode_seconds,
            previews=None if settings.cache is None else settings.cache / "previews",
        )
        self.reader = Reader(settings.index)
        self._searcher = Reader(settings.index, device=settings.device)
        self._batches = batches
        self._loading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._loaded: _Loaded | None = None

    @classmethod
    async def open(cls, settings: Settings, *, batches: Callable[[int], None]) -> "Collection":
        """Load the model of the index; `batches` is called with the size of each batch. Raises UserError."""
        collection = cls(settings, batches)
        try:
            await collection._load()
            await collection.reader.call(lambda index: index.roots())  # the first request does not wait for it
        except BaseException:
            collection.close()
            raise
        return collection

    def close(self) -> None:
        """Finish searches, and end the processes that decode."""
        self._searcher.close()
        self.reader.close()
        self.decoder.close()

    @property
    def model(self) -> Model:
        """The model that is asked now."""
        return self._current().model

    async def classify(self, upload: Upload, k: int) -> dict[str, Any]:
        """Name what is in a picture, labels of the user's own first, with terms: see `classified_photo`."""

        async def work(loaded: _Loaded) -> dict[str, Any]:
            require_classes(loaded.model.spec)
            probabilities, embedding = await self._see_upload(loaded, upload.data)
            own = await self._searcher.call(
                lambda index: own_predictions(index, embedding), fingerprint=loaded.model.spec.fingerprint
            )
            names = (*own, *loaded.model.top_predictions(probabilities, k))
            return dict(classified_photo(upload.name, names, loaded.terms.likely(probabilities)))

        return await self._with_model(work)

    async def search(self, asked: Asked) -> dict[str, Any]:
        """Find photos: see `answered_query`; each result has what `photo_values` says too."""

        async def work(loaded: _Loaded) -> dict[str, Any]:
            seen = [await self._embedded(loaded, upload.name, upload.data, asked.box) for upload in asked.uploads]
            ids: tuple[int, ...] = asked.ids
            if asked.box is not None and not asked.uploads:
                [id] = ids
                photo = await self.located(id)
                seen, ids = [await self._embedded(loaded, photo.file.path, photo.place, asked.box)], ()

            def find(index: SearchableIndex) -> dict[str, Any]:
                query = Query(
                    embedded=(*seen, *_stored(index, ids)),
                    texts=asked.texts,
                    unlike_embedded=_stored(index, asked.unlike),
                    unlike_texts=asked.unlike_texts,
                    average=len(seen) + len(ids) + len(asked.texts) > 1,
                    labels=asked.labels,
                    within=() if asked.folder is None else (known_folder(index, asked.folder),),
                    since=asked.since,
                    before=asked.before,
                    top=asked.top,
                    min_score=asked.min_score,
                    collapse=asked.collapse,
                )
                [answer] = search_index(index, loaded.model, query, skipped=[])
                files = {file.path: file for file in index.photos.files_at([found.path for found in answer.results])}
                # A photo that was removed between the two has no id any more.
                answer = replace(answer, results=[found for found in answer.results if found.path in files])
                told = dict(answered_query(answer, labelled=query.for_labels))
                shown = photo_values([files[found.path] for found in answer.results])
                told["results"] = [{**values, **more} for values, more in zip(told["results"], shown, strict=True)]
                return told

            return await self._searcher.call(find, fingerprint=loaded.model.spec.fingerprint)

        return await self._with_model(work)

    async def page(
        self,
        after: int,
        count: int,
        folder: str | None,
        *,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> list[IndexedFile]:
        """Read the next files by id, of a folder and a time if these are given."""

        def read(index: SearchableIndex) -> list[IndexedFile]:
            below = None if folder is None else known_folder(index, folder)
            return index.photos.files_after(after, count, folder=below, since=since, before=before)

        return await self.reader.call(read)

    async def files(self, ids: Sequence[int]) -> list[IndexedFile]:
        """Read files by id, in order. Raises PhotoUnknownError."""
        return await self.reader.call(lambda index: files_of(index, ids))

    async def located(self, id: int) -> Located:
        """Read a file by id, and look where it lies: see `located`."""
        [file], roots = await self.reader.call(lambda index: (files_of(index, [id]), index.roots()))
        return await asyncio.to_thread(located, file, roots)

    async def names(self, id: int) -> Classification:
        """Read what a photo was named, labels of the user's own first. Raises PhotoUnknownError.

        There are no terms where the model names nothing, or the index has just got another one.
        """
        loaded = self._current()

        def read(index: SearchableIndex) -> Classification:
            [file] = files_of(index, [id])
            stored = index.photos.at(file.path)
            if stored is None or stored.embedding is None:
                return Classification(file.path, ())
            own, labels = own_predictions(index, stored.embedding), stored.labels or ()
            if not labels or index.fingerprint != loaded.model.spec.fingerprint:
                return Classification(file.path, (*own, *labels))
            labels, terms = loaded.terms.of_stored(labels)
            return Classification(file.path, (*own, *labels), terms)

        return await self.reader.call(read)

    async def set_different(self, ids: Sequence[int], different: bool) -> None:
        """Remember that photos are no copies of each other, or forget it. Raises UserError."""
        place = self.settings.index
        if isinstance(place, MilvusPlace):
            raise OptionError(
                "an index in Milvus does not keep what people say of pairs of photos", hint="serve an index in a folder"
            )
        paths = [file.path for file in await self.files(ids)]

        def write() -> None:
            with IndexWriter.open_to_edit(place) as writer:
                writer.set_different(paths, different=different)

        async with self._writing:  # requests wait for each other; another process is told
            await asyncio.to_thread(write)

    async def _with_model(self, work: Callable[[_Loaded], Awaitable[Result]]) -> Result:
        """Do work with the model of the index, and again where the index has got another meanwhile."""
        loaded = self._current()
        try:
            return await work(loaded)
        except ModelMismatchError:
            await self._load(instead_of=loaded)
            return await work(self._current())

    async def _load(self, instead_of: _Loaded | None = None) -> None:
        async with self._loading:
            if self._loaded is not instead_of:
                return  # another request has loaded it
            settings = self.settings
            model = await asyncio.to_thread(
                load_index_model,
                settings.index,
                settings.model,
                device=settings.device,
                shares_cores=True,
                cache=settings.cache,
            )

            def compute(pictures: Sequence[NDArray[np.uint8]]) -> list[Seen]:
                self._batches(len(pictures))
                outputs = model.run(pictures)
                return list(zip(outputs.probabilities, outputs.embedding, strict=True))

            terms = await asyncio.to_thread(Terms, model.spec)
            self._loaded = _Loaded(model, terms, Batcher(compute, seconds=settings.batch_seconds), Recent(KEPT))

    def _current(self) -> _Loaded:
        assert self._loaded is not None
        return self._loaded

    async def _see(self, loaded: _Loaded, source: Source, box: Box | None = None) -> Seen:
        pixels = await self.decoder.prepare(source, Preparation.of(loaded.model.spec), box)
        return await loaded.network.submit(pixels)

    async def _see_upload(self, loaded: _Loaded, data: bytes, box: Box | None = None) -> Seen:
        digest = (await asyncio.to_thread(hashlib.sha256, data)).digest()
        return await loaded.uploads.get((digest, box), lambda: self._see(loaded, data, box))

    async def _embedded(self, loaded: _Loaded, name: str | Path, source: Source, box: Box | None) -> QueryPhoto:
        see = self._see_upload(loaded, source, box) if isinstance(source, bytes) else self._see(loaded, source, box)
        try:
            _, embedding = await see
        except OutOfMemoryError:
            raise
        except PhotoError as error:
            raise PhotoError(f"cannot look for {name}: {error}") from error
        if not has_direction(embedding):
            raise PhotoError(f"cannot look for {name}: the model finds nothing in it")
        return QueryPhoto(name, unit(embedding))


def _stored(index: SearchableIndex, ids: Sequence[int]) -> tuple[QueryPhoto, ...]:
    """Return photos of the index with their embeddings. Raises PhotoUnknownError."""
    if not ids:
        return ()
    files = files_of(index, ids)
    order = sorted(set(ids))
    vectors = index.photos.vectors(np.array(order, np.int64))
    if len(vectors) != len(order):
        raise PhotoUnknownError("a photo was removed from the index meanwhile")
    rows = dict(zip(order, vectors, strict=True))
    return tuple(QueryPhoto(file.path, rows[file.id]) for file in files)
