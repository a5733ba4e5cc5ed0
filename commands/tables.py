"""Answers as text: tables for people; JSON, JSON lines, CSV and bare paths for programs.

Everything is yielded a piece at a time, as the answers arrive. File names that are not valid text keep their surrogate
escapes in CSV and paths, so that a stream with `errors="surrogateescape"` gives back their bytes; in JSON and tables
they are escaped.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from commands.installation import as_installed
from commands.terminal import PLAIN, Style
from index.records import OwnLabel, Prediction, SearchResult, SkippedPhoto, SyncCounts
from retrieval.answers import (
    Classification,
    Record,
    answered_query,
    checked_index,
    detected_photo,
    duplicate_group,
    local_time,
    measured_speed,
    model_layers,
    own_label,
    rounded,
    skipped_photo,
)
from retrieval.text import csv_line, file_size, photo_count, printable

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation
    from retrieval.detection.photos import DetectedPhoto
    from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
    from retrieval.evaluation.evaluate import PictureResult
    from retrieval.evaluation.speed import Measured, Speed
    from retrieval.indexing.check import CheckReport
    from retrieval.indexing.index_folders import FolderReport
    from retrieval.info import Facts
    from retrieval.models.cost import LayerCost, ModelCost
    from retrieval.pipeline.executor import Concurrency
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
MANY = 10  # parts of a value, of which a table shows only the first few
FEW = 3
LEAST_ROOM = 24  # columns for the value beside its name; with less it goes below
LAYER_COLUMNS = ("layer", "kind", "output", "neurons", "parameters", "forward", "backward", "ms")
LAYER_TEXTS = 3  # columns of text, which are flush left
WORTH_TELLING = 0.01
UNSEEN = "cannot be seen now; what the index holds of it is kept"
CHANGES_SHOWN = 20
TO_LOOK_AT = {"removed", "skipped", "still_skipped"}
"""What happened to photos that a user may not have meant."""


def format_predictions(photos: Iterable[Classification], format: str, *, style: Style = PLAIN) -> Iterator[str]:
    """Photos with their names as "table", "json", "jsonl", or their predictions alone as "csv"."""
    if format == "table":
        return _tables(((style.path(photo.path or Path()), _name_rows(photo, style)) for photo in photos), style)
    columns = ("label", "id", "probability", "group")
    records: Iterable[Record] = (photo.to_dict() for photo in photos)
    return _machine_format(records, format, ("path", "predictions"), columns)


def format_detections(photos: Iterable["DetectedPhoto"], format: str, *, style: Style = PLAIN) -> Iterator[str]:
    """Photos with what is where in them as "table", "json", "jsonl" or "csv"; a box is x,y,width,height."""
    if format == "table":
        tables = (
            (style.path(p.path), [(f"{d.probability:6.1%}", printable(f"{d.label}  {d.box}")) for d in p.detections])
            for p in photos
        )
        return _tables(tables, style)
    records: Iterable[Record] = map(detected_photo, photos)
    if format == "csv":
        records = (
            {**record, "detections": [{**d, "box": ",".join(map(str, d["box"]))} for d in record["detections"]]}
            for record in records
        )
    return _machine_format(records, format, ("path", "detections"), ("label", "id", "probability", "box"))


def _name_rows(photo: Classification, style: Style) -> list[tuple[str, str]]:
    """See `with_doubts`; guesses have a "?"."""
    unsure = [(f"{'-':>6}", style.note("unsure"))] if photo.unsure else []
    return unsure + [_name_row(found, "?" if guess else "") for found, guess in photo.told]


def _name_row(found: Prediction, mark: str = "") -> tuple[str, str]:
    group = f" ({found.group})" if found.group else ""
    return f"{found.probability:6.1%}", printable(f"{found.label}{mark}{group}")


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

        return _tables(((printable(_heading(answer)), rows(answer)) for answer in answers), style)
    records = (answered_query(answer, labelled=labelled) for answer in answers)
    return _machine_format(records, format, ("query", "results"), ("path", score, "copy_of", "is_query"))


def _about(result: SearchResult) -> str:
    """What is said of a result after its path."""
    told = ["(not there)"] if result.missing else []
    if result.copies:
        told.append(f"and {result.copies:,} cop{'y' if result.copies == 1 else 'ies'}")
    elif result.is_query or result.copy_of:
        told.append("the query" if result.is_query else "a copy")
    return "".join(f"  {part}" for part in told)


def format_labels(labels: Iterable[OwnLabel], format: str) -> Iterator[str]:
    """Labels of the user's own as lines ("table") or one "json" array."""
    if format == "json":
        yield _json([own_label(label) for label in labels], indent=2) + "\n"
        return
    for label in labels:
        taught = f"{photo_count(label.examples)} of it" + (
            f", {label.counterexamples} not of it" if label.counterexamples else ""
        )
        yield f"{label.photos:7,}  {printable(label.name)}  (taught by {taught})\n"


def format_reports(reports: Iterable["FolderReport"], *, style: Style = PLAIN) -> Iterator[str]:
    """What was done about folders, as tables of counts."""

    def rows(counts: SyncCounts | None) -> list[tuple[str, str]]:
        if counts is None:
            return [("-", style.warning(UNSEEN))]
        named = ((name, f"{count:7,}") for name, count in asdict(counts).items() if count)
        counted = [
            (count, style.warning(shown) if name in TO_LOOK_AT else shown)
            for name, count in named
            for shown in (name.replace("_", " "),)
        ]
        return counted or [("0", "photos")]

    return _tables(((style.path(report.folder), rows(report.counts)) for report in reports), style)


def format_changes(reports: Iterable["FolderReport"], time: datetime, *, style: Style = PLAIN) -> Iterator[str]:
    """What has just been done about folders, a line for each photo with the time, up to CHANGES_SHOWN in a folder."""
    stamp = style.note(f"{time:%H:%M:%S}")
    for report in reports:
        if report.counts is None:
            yield f"{stamp}  {'-':<8}  {style.path(report.folder)}: {UNSEEN}\n"
        for what, path in report.changes[:CHANGES_SHOWN]:
            done = f"{what.replace('_', ' '):<8}"
            yield f"{stamp}  {style.warning(done) if what in TO_LOOK_AT else done}  {style.path(path)}\n"
        counts = asdict(report.counts) if report.counts else {}
        done_in_all = sum(count for name, count in counts.items() if name not in ("unchanged", "still_skipped"))
        if (more := done_in_all - CHANGES_SHOWN) > 0:
            yield f"{stamp}  and {more:,} more in {style.path(report.folder)}\n"


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
            ("\n".join(_wrapped(_group_heading(group), width, 0)), [_group_row(photo, style) for photo in group.photos])
            for group in groups
        )
        return _tables(tables, style)
    return _machine_format(map(duplicate_group, groups), format, ("likeness", "photos"), ())


def format_check(report: "CheckReport", place: "IndexLocation") -> Iterator[str]:
    """What a check of the index in `place` found, a line each, and what it looked at."""
    found = checked_index(report)
    yield from (f"{printable(problem)}\n" for problem in found["problems"])
    yield from (f"{printable(missing.told(place))}\n" for missing in report.missing)
    wrong = f"{len(found['problems']):,} problems" if found["problems"] else "nothing is wrong"
    yield f"{found['photos']:,} photos, {found['embedded']:,} of them embedded again: {wrong}\n"


def format_forgotten(counts: Iterable[tuple[Path, int]]) -> Iterator[str]:
    """Paths with how many photos an index has forgotten there."""
    return (f"{printable(str(path))}: {count:,} forgotten\n" for path, count in counts)


def format_moved(old: Path, new: Path, moved: int, known: int) -> Iterator[str]:
    """How many photos of a folder an index has in its new place now."""
    already = f", {known:,} were known there" if known else ""
    yield f"{printable(str(old))} is now {printable(str(new))}: {moved:,} moved{already}\n"


def format_skipped(photos: Iterable[SkippedPhoto], format: str) -> Iterator[str]:
    """Skipped photos with their reasons, as lines ("table") or one "json" array."""
    if format == "json":
        yield _json([skipped_photo(photo) for photo in photos], indent=2) + "\n"
    else:
        yield from (f"{printable(f'{photo.path}: {as_installed(photo.reason)}')}\n" for photo in photos)


def format_pictures(pictures: Iterable["PictureResult"]) -> Iterator[str]:
    """The pictures of an evaluation as CSV; `rank` is the place of its own class among the predictions."""
    yield csv_line(("path", "label", "predicted", "probability", "rank"))
    for p in pictures:
        yield csv_line((p.path, p.label, p.predicted.label, rounded(p.predicted.probability), p.rank))


def format_facts(facts: "Facts", format: str, *, width: int | None = None) -> Iterator[str]:
    """The rows of facts as "table", aligned, one of several parts on as many lines, or the values as "json" object.

    A table has `width` columns at most, except for words that are longer, as paths are.
    """
    if format == "json":
        yield _json(facts.values, indent=2) + "\n"
        return
    column = max((len(name) for name in facts.rows), default=0) + 2
    beside = width is None or width - column >= LEAST_ROOM
    for name, value in facts.rows.items():
        indent = " " * (column if beside else 2)
        lines = [part for line in _lines(value) for part in _wrapped(printable(line), width, len(indent))]
        if not beside:
            yield f"{name}\n"
        for number, line in enumerate(lines):
            yield f"{f'{name:<{column}}' if beside and number == 0 else indent}{line}\n"


def format_layers(cost: "ModelCost", format: str, *, width: int | None = None) -> Iterator[str]:
    """The layers as "table", in blocks where it does not fit into `width` columns, or as one "json" object."""
    if format == "json":
        yield _json(model_layers(cost), indent=2) + "\n"
        return
    rows = [_layer_row(layer) for layer in cost.in_table]
    widths = [max(map(len, column)) for column in zip(LAYER_COLUMNS, *rows, strict=True)]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        yield from (_aligned(row, widths, texts=LAYER_TEXTS) for row in (LAYER_COLUMNS, *rows))
    else:
        for row in rows:
            yield "  ".join(filter(None, row[:LAYER_TEXTS])) + "\n"
            numbers = zip(row[LAYER_TEXTS:], LAYER_COLUMNS[LAYER_TEXTS:], strict=True)
            yield from (f"{number:>15}  {column}\n" for number, column in numbers if number)
    yield _paragraph(
        f"forward, backward: millions of multiply-adds for one picture; ms: fastest of {cost.runs} runs "
        f"of one picture on {cost.threads} {'thread' if cost.threads == 1 else 'threads'}",
        width,
    )


def format_measured(measured: "Measured", format: str, *, source: str, width: int | None = None) -> Iterator[str]:
    """A measurement as "table" or as one "json" object; `source` says what photos they are."""
    if format == "json":
        yield _json(measured_speed(measured, source), indent=2) + "\n"
        return
    costs, usual, best = measured.usual_costs, measured.speeds[0], measured.best
    stages = [(name, measured.cores / seconds, seconds) for name, seconds in costs.of_cores if seconds]
    if costs.gpu:
        stages.append(("network", 1 / costs.gpu, costs.gpu))
    rows = [(name, f"{rate:,.1f}", f"{1e3 * seconds:.2f}") for name, rate, seconds in stages]
    rows += [("bound", f"{measured.bound:,.1f}", ""), ("indexing", f"{usual.rate:,.1f}", "")]
    yield f"{measured.model} on {measured.photos} photos, {source}\n\n"
    yield from (_aligned(row, (12, 9, 8), texts=1) for row in (("", "photos/s", "ms each"), *rows))
    yield "\n"
    speeds = [
        (
            str(speed.concurrency.workers),
            str(speed.concurrency.batch_size),
            f"{speed.rate:,.1f}",
            "best" if speed is best else "",
        )
        for speed in measured.speeds
    ]
    yield from (_aligned(row, (7, 5, 9, 0)) for row in (("workers", "batch", "photos/s", ""), *speeds))
    advice = (
        "the usual --workers and --batch-size are best"
        if best is usual
        else f"fastest is fc7 index {_speed_options(best, usual.concurrency)}"
    )
    taken = (
        f", less the {measured.taken:.0%} of their time that this virtual machine's host gave to others"
        if measured.taken >= WORTH_TELLING
        else ""
    )
    yield _paragraph(
        f"Indexing reaches {measured.ratio:.0%} of the bound, medians of {len(measured.costs)} rounds; "
        f"{measured.limit} limits it, and {advice}. A stage is as fast as {measured.cores} cores are that do nothing "
        f"else; the bound is what they could do in all stages if none ever waited{taken}. Files were read before, and "
        "lay in memory.",
        width,
    )


def _heading(answer: "Answer") -> str:
    """What was asked; a label that is not just the name of a class is followed by what it means."""
    names = answer.classes
    if names in ((), (answer.query,)):
        return answer.query
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{answer.query}: {', '.join(names[:FEW])}{more}"


def _lines(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}: {part}" for name, part in value.items()] or ["none"]
    if isinstance(value, list | tuple) and len(value) > MANY:
        return [f"{len(value)}: {', '.join(map(str, value[:FEW]))}, …"]
    if isinstance(value, list | tuple):
        return [str(part) for part in value] or ["none"]
    return [str(value)]


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    """Return a text in lines that fit beside an indent; a word that is longer, as a path is, stays whole."""
    if width is None or indent + len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width - indent, 1), break_long_words=False, break_on_hyphens=False) or [""]


def _tables(tables: Iterable[tuple[str, Sequence[tuple[str, str]]]], style: Style) -> Iterator[str]:
    """Yield tables of a heading and rows of a value and a text, all of them safe to show."""
    for number, (heading, rows) in enumerate(tables):
        yield f"{'' if number == 0 else chr(10)}{style.heading(heading)}\n"
        yield from (f"  {value}  {text}\n" for value, text in rows)


def _group_heading(group: "DuplicateGroup") -> str:
    spare = file_size(sum(photo.size for photo in group.photos[1:]))
    kept = ", ".join(KEPT_BECAUSE[name] for name in group.kept_because)
    return f"{LIKENESS_NAMES[group.likeness]}: {len(group.photos)} photos, {spare} without the first, kept for: {kept}"


def _group_row(photo: "DuplicatePhoto", style: Style) -> tuple[str, str]:
    size = f"{photo.width:5}×{photo.height:<5} {file_size(photo.size):>9}"
    return f"{size}  {local_time(photo.mtime_ns):%Y-%m-%d}", style.path(photo.path)


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = (f"{count:,}" if count else "" for count in (layer.neurons, layer.parameters))
    products = (f"{count / 1e6:,.1f}" if count else "" for count in (layer.forward, layer.backward))
    time = f"{layer.milliseconds:.{1 if layer.milliseconds >= 100 else 2}f}"
    return layer.name, layer.kind, "×".join(map(str, layer.output)), *counts, *products, time


def _speed_options(speed: "Speed", usual: "Concurrency") -> str:
    """Return the options that choose a concurrency."""
    chosen = {"--workers": speed.concurrency.workers, "--batch-size": speed.concurrency.batch_size}
    default = {"--workers": usual.workers, "--batch-size": usual.batch_size}
    return " ".join(f"{option} {value}" for option, value in chosen.items() if value != default[option])


def _aligned(cells: Sequence[str], widths: Sequence[int], *, texts: int = 0) -> str:
    """Return a line of a table: as many `texts`, flush left, then numbers, flush right."""
    left = (cell.ljust(width) for cell, width in zip(cells[:texts], widths[:texts], strict=True))
    right = (cell.rjust(width) for cell, width in zip(cells[texts:], widths[texts:], strict=True))
    return "  ".join([*left, *right]).rstrip() + "\n"


def _paragraph(text: str, width: int | None) -> str:
    """Return a note below a table, after an empty line."""
    return f"\n{text if width is None else textwrap.fill(text, width)}\n"


def _machine_format(
    records: Iterable[Record], format: str, names: tuple[str, str], columns: Sequence[str]
) -> Iterator[str]:
    if format == "csv":
        yield csv_line((names[0], "rank", *columns))
        subject, rows = names
        for record in records:
            yield from (
                csv_line((record[subject], rank, *(_cell(row.get(name)) for name in columns)))
                for rank, row in enumerate(record[rows], 1)
            )
        return
    if format == "jsonl":
        yield from (_json(record) + "\n" for record in records)
    elif format == "json":
        opening = "[\n"
        for record in records:
            yield opening + _json(record)
            opening = ",\n"
        yield "[]\n" if opening == "[\n" else "\n]\n"
    else:
        raise ValueError(f"no format is called {format!r}")


def _cell(value: object) -> object:
    """Return a value as CSV has it: nothing for None, and the words of JSON for a truth value."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else value


def _json(value: object, *, indent: int | None = None) -> str:
    # A lone surrogate cannot be encoded; written with a backslash it is the JSON escape that stands for it.
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
