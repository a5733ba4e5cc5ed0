"""What is said of photos, as text: names, boxes, results, labels, duplicates."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from commands.tables import as_json, machine_format, two_columns, wrapped
from commands.terminal import PLAIN, Style
from index.records import OwnLabel, Prediction, SearchResult
from retrieval.answers import (
    Classification,
    Record,
    answered_query,
    detected_photo,
    duplicate_group,
    local_time,
    own_label,
    rounded,
)
from retrieval.text import csv_line, file_size, photo_count, printable

if TYPE_CHECKING:
    from retrieval.detection.photos import DetectedPhoto
    from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
    from retrieval.evaluation.evaluate import PictureResult
    from retrieval.searching.search import Answer

LIKENESS_NAMES = {"exact": "exact copies", "altered": "one picture, altered", "alike": "look-alikes"}
KEPT_BECAUSE = {
    "keep_in": "where it lies",
    "place": "outside the bin",
    "raw": "camera RAW",
    "detail": "more detail",
    "camera": "camera data",
    "not_enlarged": "not enlarged",
    "pixels": "more of the picture",
    "format": "better format",
    "compression": "less compressed",
    "library": "in a photo library",
    "file": "no link",
    "reference": "in --against",
    "links": "links lead to it",
    "age": "older",
    "path": "shorter path",
    "order": "indexed first",
}
FEW_NAMES = 3  # of the classes that a label means


def format_predictions(photos: Iterable[Classification], format: str, *, style: Style = PLAIN) -> Iterator[str]:
    """Photos with their names as "table", "json", "jsonl", or their predictions alone as "csv"."""
    if format == "table":
        return two_columns(((style.path(photo.path or Path()), _name_rows(photo, style)) for photo in photos), style)
    columns = ("label", "id", "probability", "group")
    records: Iterable[Record] = (photo.to_dict() for photo in photos)
    return machine_format(records, format, ("path", "predictions"), columns)


def format_detections(photos: Iterable["DetectedPhoto"], format: str, *, style: Style = PLAIN) -> Iterator[str]:
    """Photos with what is where in them as "table", "json", "jsonl" or "csv"; a box is x,y,width,height."""
    if format == "table":
        tables = (
            (style.path(p.path), [(f"{d.probability:6.1%}", printable(f"{d.label}  {d.box}")) for d in p.detections])
            for p in photos
        )
        return two_columns(tables, style)
    records: Iterable[Record] = map(detected_photo, photos)
    if format == "csv":
        records = (
            {**record, "detections": [{**d, "box": ",".join(map(str, d["box"]))} for d in record["detections"]]}
            for record in records
        )
    return machine_format(records, format, ("path", "detections"), ("label", "id", "probability", "box"))


def format_results(
    answers: Iterable["Answer"],
    format: str,
    *,
    labelled: bool = False,
    style: Style = PLAIN,
    end: str = "\n",
) -> Iterator[str]:
    """Answers to queries as "table", "json", "jsonl", "csv", or "paths" (each followed by `end`).

    `labelled` ones are of labels, and their scores are probabilities.
    """
    score, form = ("probability", "6.1%") if labelled else ("score", "6.3f")
    if format == "paths":
        return (f"{result.path}{end}" for answer in answers for result in answer.results)
    if format == "table":

        def rows(answer: "Answer") -> list[tuple[str, str]]:
            found = [
                (f"{result.score:{form}}", style.path(result.path) + style.note(_about(result)))
                for result in answer.results
            ]
            return found or [("-", "nothing found")]

        return two_columns(((printable(_heading(answer)), rows(answer)) for answer in answers), style)
    records = (answered_query(answer, labelled=labelled) for answer in answers)
    return machine_format(records, format, ("query", "results"), ("path", score, "copy_of", "is_query"))


def format_labels(labels: Iterable[OwnLabel], format: str) -> Iterator[str]:
    """Labels of the user's own as lines ("table") or one "json" array."""
    if format == "json":
        yield as_json([own_label(label) for label in labels], indent=2) + "\n"
        return
    for label in labels:
        taught = f"{photo_count(label.examples)} of it" + (
            f", {label.counterexamples} not of it" if label.counterexamples else ""
        )
        yield f"{label.photos:7,}  {printable(label.name)}  (taught by {taught})\n"


def format_duplicates(
    groups: Iterable["DuplicateGroup"],
    format: str,
    *,
    style: Style = PLAIN,
    width: int | None = None,
    end: str = "\n",
) -> Iterator[str]:
    """Groups, best first, as "table", "json", "jsonl", or the "paths" of all but the best (each followed by `end`).

    Headings have at most `width` columns.
    """
    if format == "paths":
        return (f"{photo.path}{end}" for group in groups for photo in group.spare)
    if format == "table":
        tables = (
            ("\n".join(wrapped(_group_heading(group), width, 0)), [_group_row(photo, style) for photo in group.photos])
            for group in groups
        )
        return two_columns(tables, style)
    return machine_format(map(duplicate_group, groups), format, ("likeness", "photos"), ())


def format_pictures(pictures: Iterable["PictureResult"]) -> Iterator[str]:
    """The pictures of an evaluation as CSV; `rank` is the place of its own class among the predictions."""
    yield csv_line(("path", "label", "predicted", "probability", "rank"))
    for p in pictures:
        yield csv_line((p.path, p.label, p.predicted.label, rounded(p.predicted.probability), p.rank))


def _name_rows(photo: Classification, style: Style) -> list[tuple[str, str]]:
    """See `with_doubts`; guesses have a "?"."""
    unsure = [(f"{'-':>6}", style.note("unsure"))] if photo.unsure else []
    return unsure + [_name_row(found, "?" if guess else "") for found, guess in photo.told]


def _name_row(found: Prediction, mark: str = "") -> tuple[str, str]:
    group = f" ({found.group})" if found.group else ""
    return f"{found.probability:6.1%}", printable(f"{found.label}{mark}{group}")


def _about(result: SearchResult) -> str:
    """What is said of a result after its path."""
    told = ["(not there)"] if result.missing else []
    if result.copies:
        told.append(f"and {result.copies:,} cop{'y' if result.copies == 1 else 'ies'}")
    elif result.is_query or result.copy_of:
        told.append("the query" if result.is_query else "a copy")
    return "".join(f"  {part}" for part in told)


def _heading(answer: "Answer") -> str:
    """What was asked; a label that is not just the name of a class is followed by what it means."""
    names = answer.classes
    if names in ((), (answer.query,)):
        return answer.query
    more = f" and {len(names) - FEW_NAMES} more" if len(names) > FEW_NAMES else ""
    return f"{answer.query}: {', '.join(names[:FEW_NAMES])}{more}"


def _group_heading(group: "DuplicateGroup") -> str:
    spare = file_size(sum(photo.size for photo in group.photos[1:]))
    kept = ", ".join(KEPT_BECAUSE[name] for name in group.kept_because)
    return f"{LIKENESS_NAMES[group.likeness]}: {len(group.photos)} photos, {spare} without the first, kept for: {kept}"


def _group_row(photo: "DuplicatePhoto", style: Style) -> tuple[str, str]:
    size = f"{photo.width:5}×{photo.height:<5} {file_size(photo.size):>9}"
    return f"{size}  {local_time(photo.mtime_ns):%Y-%m-%d}", style.path(photo.path)
