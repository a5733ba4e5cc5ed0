"""fc7 from Python: name what is in photos, embed them, and find the ones that look alike.

    import fc7

    model = fc7.load_model()
    for photo in model.classify(["cat.jpg", "dog.jpg"]):
        print(photo.path, photo.predictions[0].label)

    with fc7.open_index("my-index") as index:
        index.add("photos")
        for result in index.search("cat.jpg", k=5):
            print(result.score, result.path)

A photo is a path, a PIL image or a NumPy array of uint8, (height, width, 3) in RGB or (height, width) in grey. Results
are frozen dataclasses, and `to_dict()` gives plain values for JSON. Whatever a caller can act on is raised as an
`fc7.Error`. Importing this module changes nothing outside it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import IndexNotFoundError, OptionError, PhotoError
from index.errors import UserError as Error
from index.index_writer import IndexWriter
from index.object_path import as_path, is_object_url
from index.photo_index import PhotoIndex
from index.records import IncompletePhoto, SkippedPhoto
from retrieval.answers import Classification, Embeddings, FolderChanges, Result
from retrieval.duplicates.find import ALIKE, find_duplicates
from retrieval.duplicates.keep import LIKENESSES, Likeness
from retrieval.duplicates.keep import DuplicateGroup as Group
from retrieval.indexing.index_folders import index_folders
from retrieval.indexing.model_of_index import load_index_model
from retrieval.indexing.update import open_for_model
from retrieval.models.model import Model as _Model
from retrieval.models.spec import require_classes
from retrieval.models.zero_shot import PROMPT, ZeroShot
from retrieval.photos.decode import Photo as DecodedPhoto
from retrieval.photos.decode import upright
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.executor import Concurrency, run_in_batches
from retrieval.pipeline.memory import decode_within_budget
from retrieval.searching.dates import first_moment, moment_after
from retrieval.searching.query import embed_query_texts
from retrieval.searching.search import Query, search_index
from retrieval.searching.terms import Terms

if TYPE_CHECKING:
    from retrieval.models.model import Outputs

__all__ = [
    "Classification",
    "Embeddings",
    "Error",
    "FolderChanges",
    "Group",
    "Index",
    "Model",
    "Result",
    "load_model",
    "open_index",
]

Photo: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


class Model:
    """A network that names photos and embeds them; made by `load_model`."""

    def __init__(self, model: _Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._model.spec.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it gives, in the order of its outputs."""
        return tuple(known.name for known in self._model.spec.classes)

    @property
    def dim(self) -> int:
        """How many values an embedding has."""
        return self._model.spec.dim

    def classify(
        self,
        photos: Photo | Iterable[Photo],
        *,
        k: int = 5,
        labels: Sequence[str] = (),
        prompt: str = PROMPT,
        skipped: list[SkippedPhoto] | None = None,
        incomplete: list[IncompletePhoto] | None = None,
    ) -> list[Classification]:
        """Return the k most probable names of each photo, in order; a folder stands for the photos below it.

        Beside these `predictions` each has `terms`: the most specific name of each group that is likely enough.
        With `labels` these are the names, each put into `prompt` at {}; that needs a model with a text half. Raises
        Error for a photo that cannot be read; with a list for `skipped` it is appended to that and left out. One of
        which a part is missing is named as far as it goes, and appended to `incomplete`. Raises Error too for a model
        without classes where there are no labels.
        """
        if labels:
            model: _Model | ZeroShot = ZeroShot(self._model, labels, prompt=prompt)
            terms = Terms(model.spec)
        else:
            require_classes(self._model.spec)
            model, terms = self._model, self._terms
        return [
            Classification(path, model.top_predictions(probabilities, k), terms.likely(probabilities))
            for paths, outputs in self._run(photos, skipped, incomplete, model)
            for path, probabilities in zip(paths, outputs.probabilities, strict=True)
        ]

    @cached_property
    def _terms(self) -> Terms:
        return Terms(self._model.spec)

    def embed_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings (n, dim) of texts, to be compared with photos'. Raises Error without a text half."""
        several = [texts] if isinstance(texts, str) else list(texts)
        found = [text.embedding for text in embed_query_texts(self._model, several)]
        return np.array(found, np.float32).reshape(-1, self.dim)

    def embed(
        self,
        photos: Photo | Iterable[Photo],
        *,
        skipped: list[SkippedPhoto] | None = None,
        incomplete: list[IncompletePhoto] | None = None,
    ) -> Embeddings:
        """Return the embedding of each photo, in order; folders, `skipped` and `incomplete` are as for `classify`."""
        found: list[Path | None] = []
        vectors = [np.empty((0, self.dim), np.float32)]
        for paths, outputs in self._run(photos, skipped, incomplete):
            found += paths
            vectors.append(outputs.embedding)
        return Embeddings(tuple(found), np.concatenate(vectors))

    def _run(
        self,
        photos: Photo | Iterable[Photo],
        skipped: list[SkippedPhoto] | None,
        incomplete: list[IncompletePhoto] | None,
        model: "_Model | ZeroShot | None" = None,
    ) -> "Iterator[tuple[list[Path | None], Outputs]]":
        """Run the network on photos a batch at a time: what it computes is not kept for all of them."""
        noted: list[SkippedPhoto] = []
        cut = [] if incomplete is None else incomplete
        jobs = list(_jobs(self._model, photos, noted, cut))
        for failed, paths, outputs in run_in_batches(
            jobs, partial(_of_batch, model or self._model), Concurrency.chosen(self._model), at_most=len(jobs)
        ):
            noted += failed
            if skipped is None:
                _check_none(noted)
            if outputs is not None:
                yield paths, outputs
        if skipped is None:
            _check_none(noted)
        else:
            skipped += noted


class Index:
    """A searchable index of the photos in folders; a context manager, for one thread. Made by `open_index`.

    Only `add` and `remove` lock it, each for as long as it takes: any number of programs may search meanwhile.
    """

    def __init__(self, folder: Path, model: _Model) -> None:
        self._folder = folder
        self._model = model
        self._index = PhotoIndex.open(folder, fingerprint=model.spec.fingerprint, device=model.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its files."""
        self._index.close()

    def __len__(self) -> int:
        """Return how many photos can be found."""
        return self._index.summary().photos

    @property
    def model(self) -> Model:
        """The model that the index was made with."""
        return Model(self._model)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that were added."""
        return tuple(self._index.roots())

    def add(
        self, *folders: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
    ) -> list[FolderChanges]:
        """Bring the index up to date with folders, or with all that it knows; only what is new or changed is read.

        `progress` is called with the photos done and in all. What was stored before an exception stays. Raises Error
        for what is no folder, and where another program writes the index or the disk is full.
        """
        with open_for_model(self._folder, self._model) as index:
            reports = index_folders(index, self._model, [_path(folder) for folder in folders], progress=progress)
        return [FolderChanges.of(report) for report in reports]

    def search(
        self,
        photo: Photo | None = None,
        *,
        text: str | None = None,
        label: str | Sequence[str] = (),
        k: int = 10,
        within: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        since: str | None = None,
        until: str | None = None,
        min_score: float | None = None,
        collapse: bool = False,
    ) -> list[Result]:
        """Return the k photos that look most like `photo`, or show most probably what `label` says, best first.

        `text` are words to look for, if the model has a text half, with a photo the mean of both. With labels as well,
        only photos with one of them; `within` leaves only photos below one of these folders, `since` and `until`
        only those that a camera dated in that time: "2019-07" is all of the month. With `collapse` there is one result
        for files of the same bytes, and not `photo` itself; without it they are marked by `copy_of` and `is_query`.
        Raises Error for a photo that cannot be read, a label that means nothing, a folder that is not indexed, what is
        no date, words without a text half.
        """
        labels = (label,) if isinstance(label, str) else tuple(label)
        if photo is None and text is None and not labels:
            raise TypeError("search needs a photo, a text or a label")
        path = _path(photo) if isinstance(photo, str | os.PathLike) else None
        if path is not None and os.path.isdir(path):
            raise TypeError(f"{path} is a folder; search for one photo at a time")
        folders = [within] if isinstance(within, str | os.PathLike) else within
        query = Query(
            photos=() if path is None else (path,),
            images=() if photo is None or isinstance(photo, str | os.PathLike) else (_picture(photo),),
            texts=() if text is None else (text,),
            average=photo is not None and text is not None,
            labels=labels,
            within=tuple(_path(folder) for folder in folders),
            since=None if since is None else first_moment(since),
            before=None if until is None else moment_after(until),
            top=k,
            min_score=min_score,
            collapse=collapse,
        )
        skipped: list[SkippedPhoto] = []
        answers = list(search_index(self._index, self._model, query, skipped=skipped))
        _check_none(skipped)
        return [
            Result(found.path, found.score, found.missing, found.copy_of, found.is_query)
            for answer in answers
            for found in answer.results
        ]

    def remove(self, *paths: str | os.PathLike[str]) -> int:
        """Forget photos, and all photos below folders; no file is touched. Return how many there were.

        Raises Error, before anything is done, for a path that is not in the index.
        """
        with IndexWriter.open_to_edit(self._folder, fingerprint=self._model.spec.fingerprint) as index:
            return sum(index.forget([_path(path) for path in paths]))

    def duplicates(
        self,
        *,
        likenesses: Sequence[Likeness] = LIKENESSES,
        min_score: float = ALIKE,
        keep_in: Sequence[str | os.PathLike[str]] = (),
        across_folders: bool = False,
    ) -> list[Group]:
        """Return groups of copies, the best photo of each first; photos whose files have changed are left out.

        `min_score` is the cosine from which photos are alike. Photos below the folders of `keep_in` are best, in their
        order. With `across_folders`, photos that lie in one folder are not compared with each other.
        """
        found = find_duplicates(
            self._index,
            keep_in=[_path(folder) for folder in keep_in],
            across_folders=across_folders,
            likenesses=likenesses,
            min_score=min_score,
        )
        return list(found.groups)


def load_model(named: str | os.PathLike[str] | None = None, *, device: Device = "auto") -> Model:
    """Load a model file, or one by name: `builtin`, the default, or an imported one such as efficientnet-lite0.

    `device` "auto" takes a GPU where ONNX Runtime has one. Raises Error.
    """
    return Model(_Model.load(None if named is None else Path(named), device=device, threads=1))


def open_index(
    folder: str | os.PathLike[str],
    *,
    model: Model | str | os.PathLike[str] | None = None,
    device: Device = "auto",
) -> Index:
    """Open the index in a folder, made there if there is none; `model` is by default the one that it was made with.

    A new index takes the built-in one by default. Raises Error where the index was made with another model, and for a
    URL: of an index in Milvus, which the commands alone can search, or of a place in object storage.
    """
    if str(folder).startswith("milvus+"):
        raise OptionError(f"{folder} is in Milvus, and open_index opens a folder")
    if is_object_url(str(folder)):
        raise OptionError(f"{folder} is in object storage, where no index can be", hint="name a folder on this machine")
    place = Path(folder)
    if isinstance(model, Model):
        loaded = model._model
    else:
        named = None if model is None else Path(model)
        loaded = load_index_model(place, named, begin=True, device=device, threads=1)
    try:
        return Index(place, loaded)
    except IndexNotFoundError:
        open_for_model(place, loaded).close()
        return Index(place, loaded)


def _path(named: str | os.PathLike[str]) -> Path:
    return named if isinstance(named, Path) else as_path(os.fspath(named))


def _of_batch(
    model: _Model | ZeroShot, batch: Sequence[tuple[Path | None, NDArray[np.uint8] | PhotoError]]
) -> "tuple[list[SkippedPhoto], list[Path | None], Outputs | None]":
    failed = [
        SkippedPhoto(path or Path("image"), str(pixels)) for path, pixels in batch if isinstance(pixels, PhotoError)
    ]
    readable = [(path, pixels) for path, pixels in batch if not isinstance(pixels, PhotoError)]
    outputs = model.run([pixels for _, pixels in readable]) if readable else None
    return failed, [path for path, _ in readable], outputs


def _check_none(skipped: Sequence[SkippedPhoto]) -> None:
    if skipped:
        raise PhotoError(f"cannot read {skipped[0].path}: {skipped[0].reason}")


def _jobs(
    model: _Model,
    photos: Photo | Iterable[Photo],
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto],
) -> Iterator[tuple[Path | None, Callable[[], NDArray[np.uint8]]]]:
    """Yield for each photo its path, and what prepares it."""
    several = [photos] if isinstance(photos, str | os.PathLike | Image.Image | np.ndarray) else photos
    for photo in several:
        if isinstance(photo, str | os.PathLike):
            for path in expand_paths([_path(photo)], skipped=skipped):
                yield path, partial(_prepare_file, model, path, incomplete)
        else:
            yield None, partial(_prepare_picture, model, photo)


def _prepare_file(model: _Model, path: Path, incomplete: list[IncompletePhoto]) -> NDArray[np.uint8]:
    def pixels(photo: DecodedPhoto) -> NDArray[np.uint8]:
        if photo.missing is not None:
            incomplete.append(IncompletePhoto(path, photo.missing))
        return model.prepare(photo.image)

    return decode_within_budget(path, pixels, shorter_side=model.resize)


def _prepare_picture(model: _Model, photo: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return model.prepare(_picture(photo))


def _picture(photo: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """Return an image or an array as an upright RGB picture. Raises TypeError for an array of another kind."""
    if isinstance(photo, Image.Image):
        return upright(photo)
    if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] != 3):
        raise TypeError(f"an array of {photo.dtype} {photo.shape} is no picture; give uint8 (height, width, 3), in RGB")
    return Image.fromarray(photo).convert("RGB")
