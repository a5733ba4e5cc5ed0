"""Answers for programs: plain values, the same in the JSON of the command line and in Python, and classes of these.

Probabilities and scores are rounded to six digits. A path that is no valid text keeps its surrogate escapes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.records import OWN_GROUP, IncompletePhoto, IndexedFile, OwnLabel, Prediction, SearchResult, SkippedPhoto

if TYPE_CHECKING:
    from retrieval.detection.photos import DetectedPhoto
    from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
    from retrieval.evaluation.evaluate import Evaluation, Neighbours
    from retrieval.evaluation.speed import Measured, Speed
    from retrieval.indexing.check import CheckReport
    from retrieval.indexing.index_folders import FolderReport
    from retrieval.models.cost import ModelCost
    from retrieval.searching.search import Answer

Record = Mapping[str, Any]
_CHANGES = ("new", "changed", "moved", "copied", "removed", "unchanged")


@dataclass(frozen=True, slots=True)
class Classification:
    """The names of one photo, most probable first; `path` is None where an image or an array was given."""

    path: Path | None
    predictions: tuple[Prediction, ...]
    terms: tuple[Prediction, ...] | None = None
    """The most specific term of each group of classes that is likely enough: a class, or what several are kinds of.

    Empty where the model is unsure; None where it was not asked for.
    """

    @property
    def told(self) -> list[tuple[Prediction, bool]]:
        """What people are told, and whether it is a guess: see `with_doubts`."""
        return with_doubts(self.predictions, self.terms)

    @property
    def unsure(self) -> bool:
        """Whether the model was asked for terms, and all that people are told is guesses."""
        return self.terms is not None and all(guess for _, guess in self.told)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(classified_photo(_text(self.path), self.predictions, self.terms))


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Vectors (n, dim) of unit length, so that an inner product is a cosine, and the path of each photo, or None."""

    paths: tuple[Path | None, ...]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.paths)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.vectors, dtype=dtype, copy=copy)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"paths": [_text(path) for path in self.paths], "vectors": self.vectors.tolist()}


@dataclass(frozen=True, slots=True)
class Result:
    """A photo that was found: its cosine with the query, or with labels alone the probability of these.

    `copy_of` is the result before it, or the photo that was asked with, whose file has the same bytes, None for the
    first of them. `is_query` marks the file that was asked with itself.
    """

    path: Path
    score: float
    missing: bool = False
    """Whether its file is not there now."""
    copy_of: Path | None = None
    is_query: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(found_photo(self))


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """What adding a folder did, in photos, which could not be read and why, and which have a part missing.

    `unread` counts by suffix the pictures of kinds that fc7 cannot read. All other counts are 0 where the folder's
    photos cannot be seen now, as on a drive that is not plugged in: they stay indexed.
    """

    folder: Path
    new: int
    changed: int
    moved: int
    copied: int
    removed: int
    unchanged: int
    skipped: tuple[SkippedPhoto, ...]
    incomplete: tuple[IncompletePhoto, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, report: "FolderReport") -> "FolderChanges":
        """Return what a report on a folder says."""
        return cls(
            report.folder,
            **{name: getattr(report.counts, name) if report.counts else 0 for name in _CHANGES},
            skipped=report.skipped,
            incomplete=report.incomplete,
            unread=report.unread,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {name: getattr(self, name) for name in _CHANGES}
        return {
            "folder": str(self.folder),
            **counts,
            "skipped": [dict(skipped_photo(photo)) for photo in self.skipped],
            "incomplete": [{"path": str(photo.path), "missing": photo.missing} for photo in self.incomplete],
            "unread": dict(self.unread),
        }


def classified_photo(
    path: str | None, predictions: Sequence[Prediction], terms: Sequence[Prediction] | None = None
) -> Record:
    """Return {"path", "predictions": [{"label", "id", "probability"}]}, with "group" where the model has several.

    With `terms` these are there too, in the same form.
    """
    told = {} if terms is None else {"terms": [_prediction(term) for term in terms]}
    return {"path": path, "predictions": [_prediction(found) for found in predictions], **told}


def with_doubts(predictions: Sequence[Prediction], terms: Sequence[Prediction] | None) -> list[tuple[Prediction, bool]]:
    """Return what people are told, and whether it is a guess: labels of the user's own, terms, then other classes.

    Classes of a group whose term is none of them are guesses. Without `terms` (None) nothing is called one.
    """
    own = [found for found in predictions if found.group == OWN_GROUP]
    classes = [found for found in predictions if found.group != OWN_GROUP]
    told = {(term.label, term.id, term.group) for term in terms or ()}
    sure = {found.group for found in classes if (found.label, found.id, found.group) in told}
    others = [found for found in classes if (found.label, found.id, found.group) not in told]
    certain = [(found, False) for found in (*own, *(terms or ()))]
    return certain + [(found, terms is not None and found.group not in sure) for found in others]


def detected_photo(photo: "DetectedPhoto") -> Record:
    """Return {"path", "detections": [{"label", "id", "probability", "box": [x, y, width, height]}]}, in pixels."""
    detections = [
        {
            "label": found.label,
            "id": found.id,
            "probability": rounded(found.probability),
            "box": [found.box.x, found.box.y, found.box.width, found.box.height],
        }
        for found in photo.detections
    ]
    return {"path": str(photo.path), "detections": detections}


def own_label(label: OwnLabel) -> Record:
    """Return {"label", "photos", "examples", "counterexamples", "created"}."""
    return {
        "label": label.name,
        "photos": label.photos,
        "examples": label.examples,
        "counterexamples": label.counterexamples,
        "created": label.created.isoformat(timespec="seconds"),
    }


def answered_query(answer: "Answer", *, labelled: bool = False) -> Record:
    """Return {"query", "results": [values of each]}; see `found_photo`."""
    return {"query": answer.query, "results": [found_photo(found, labelled=labelled) for found in answer.results]}


def found_photo(found: "SearchResult | Result", *, labelled: bool = False) -> Record:
    """Return {"path", "score", "copy_of", "is_query"}, and "missing": true for a file that is not there.

    Where only labels were asked for it is "probability" for "score".
    """
    return {
        "path": str(found.path),
        "probability" if labelled else "score": rounded(found.score),
        "copy_of": _text(found.copy_of),
        "is_query": found.is_query,
        **({"missing": True} if found.missing else {}),
    }


def indexed_photo(file: IndexedFile) -> Record:
    """Return {"id", "path", "width", "height", "bytes", "modified", "taken"}, as when the photo was indexed.

    "taken" is by the clock of the camera, null where its file does not say so.
    """
    return {
        "id": file.id,
        "path": str(file.path),
        "width": file.width,
        "height": file.height,
        "bytes": file.stamp.size,
        "modified": local_time(file.stamp.mtime_ns).isoformat(timespec="seconds"),
        "taken": None if file.taken is None else file.taken.isoformat(timespec="seconds"),
    }


def duplicate_group(group: "DuplicateGroup") -> Record:
    """Return {"likeness", "kept_because", "photos": [{"path", "width", "height", "bytes", "modified"}]}, best first."""
    return {
        "likeness": group.likeness,
        "kept_because": list(group.kept_because),
        "photos": [_duplicate(photo) for photo in group.photos],
    }


def evaluated_model(evaluation: "Evaluation | Neighbours") -> dict[str, float | int | None]:
    """Return the measures by name, rounded to four digits, None where there was nothing to measure; "skipped" counts.

    Accuracies, precisions and mean average precision are shares from 0 to 1.
    """
    names = [field.name for field in fields(evaluation) if field.name not in ("results", "skipped")]
    found = {name: getattr(evaluation, name) for name in names}
    measures = {name: None if isnan(value) else round(value, 4) for name, value in found.items()}
    return measures | {"skipped": len(evaluation.skipped)}


def checked_index(report: "CheckReport") -> Record:
    """Return {"photos", "embedded", "problems": [text], "skipped": [{"path", "reason"}], "missing"}.

    "missing" has for folders {"folder", "photos", "gone", "elsewhere", "now"}, of photos that are not where they were.
    """
    return {
        "photos": report.photos,
        "embedded": report.embedded,
        "problems": [problem.what for problem in report.problems],
        "skipped": [skipped_photo(photo) for photo in report.skipped],
        "missing": [
            asdict(missing) | {"folder": str(missing.folder), "now": _text(missing.now)} for missing in report.missing
        ],
    }


def model_layers(cost: "ModelCost") -> Record:
    """Return {"model", "threads", "runs", "layers": [values by name], "total": values by name}; see `LayerCost`."""
    return {
        "model": cost.name,
        "threads": cost.threads,
        "runs": cost.runs,
        "layers": [asdict(layer) for layer in cost.layers],
        "total": {name: value for name, value in asdict(cost.total).items() if value},
    }


def measured_speed(measured: "Measured", source: str) -> Record:
    """Return what was measured, medians of all rounds; `source` says what photos they are.

    Rates are photos a second, "seconds_a_photo" are those of each stage, "best" is one of "speeds" without its rate.
    """
    usual, best = measured.speeds[0], measured.best
    return {
        "model": measured.model,
        "photos": measured.photos,
        "source": source,
        "cores": measured.cores,
        "taken_by_host": measured.taken,
        "rounds": len(measured.costs),
        "seconds_a_photo": {name: value for name, value in asdict(measured.usual_costs).items() if value},
        "bound": measured.bound,
        "photos_a_second": usual.rate,
        "share_of_bound": measured.ratio,
        "limit": measured.limit,
        "speeds": [{**_concurrency(speed), "photos_a_second": speed.rate} for speed in measured.speeds],
        "best": _concurrency(best),
    }


def skipped_photo(photo: SkippedPhoto) -> Record:
    """Return {"path", "reason"}."""
    return {"path": str(photo.path), "reason": photo.reason}


def local_time(mtime_ns: int) -> datetime:
    """Return a time of a file, in nanoseconds since 1970, in the zone of this machine."""
    return datetime.fromtimestamp(mtime_ns / 1e9).astimezone()


def rounded(value: float) -> float:
    """Return a probability or a score with six digits."""
    return round(float(value), 6)


def _prediction(found: Prediction) -> Record:
    group = {"group": found.group} if found.group else {}
    return {"label": found.label, "id": found.id, "probability": rounded(found.probability), **group}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _concurrency(speed: "Speed") -> Record:
    return {"workers": speed.concurrency.workers, "batch_size": speed.concurrency.batch_size}


def _duplicate(photo: "DuplicatePhoto") -> Record:
    return {
        "path": str(photo.path),
        "width": photo.width,
        "height": photo.height,
        "bytes": photo.size,
        "modified": local_time(photo.mtime_ns).isoformat(timespec="seconds"),
    }
