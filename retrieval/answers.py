"""Answers as plain values, the same wherever a program gets them: JSON of the command line, `to_dict()` in Python.

Probabilities and scores are rounded to six digits. A path that is no valid text keeps its surrogate escapes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from index.records import Prediction, SearchResult, SkippedPhoto

if TYPE_CHECKING:
    from retrieval.duplicates.find import DuplicateGroup, DuplicatePhoto
    from retrieval.searching.search import Answer

Record = Mapping[str, Any]


def classified_photo(path: str | None, predictions: Sequence[Prediction]) -> Record:
    """Return {"path", "predictions": [{"label", "id", "probability"}]}, with "group" where the model has several."""
    return {"path": path, "predictions": [_prediction(found) for found in predictions]}


def answered_query(answer: "Answer", *, labelled: bool = False) -> Record:
    """Return {"query", "results": [{"path", "score"}]}; where only labels were asked for, "probability" for "score"."""
    return {"query": answer.query, "results": [found_photo(found, labelled=labelled) for found in answer.results]}


def found_photo(found: SearchResult, *, labelled: bool = False) -> Record:
    """Return {"path", "score"}, or with `labelled` {"path", "probability"}."""
    return {"path": str(found.path), "probability" if labelled else "score": rounded(found.score)}


def duplicate_group(group: "DuplicateGroup") -> Record:
    """Return {"likeness", "photos": [{"path", "width", "height", "bytes", "modified"}]}, the best photo first."""
    return {"likeness": group.likeness, "photos": [_duplicate(photo) for photo in group.photos]}


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


def _duplicate(photo: "DuplicatePhoto") -> Record:
    return {
        "path": str(photo.path),
        "width": photo.width,
        "height": photo.height,
        "bytes": photo.size,
        "modified": local_time(photo.mtime_ns).isoformat(timespec="seconds"),
    }
