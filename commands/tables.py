"""Answers as text, the common part: tables for people; JSON, JSON lines and CSV for programs.

Everything is yielded a piece at a time, as the answers arrive. File names that are not valid text keep their surrogate
escapes in CSV and paths, so that a stream with `errors="surrogateescape"` gives back their bytes; in JSON and tables
they are escaped.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from commands.terminal import Style
from retrieval.answers import Record
from retrieval.text import csv_line


def two_columns(tables: Iterable[tuple[str, Sequence[tuple[str, str]]]], style: Style) -> Iterator[str]:
    """Yield tables of a heading and rows of a value and a text, all of them safe to show."""
    for number, (heading, rows) in enumerate(tables):
        yield f"{'' if number == 0 else chr(10)}{style.heading(heading)}\n"
        yield from (f"  {value}  {text}\n" for value, text in rows)


def aligned(cells: Sequence[str], widths: Sequence[int], *, texts: int = 0) -> str:
    """Return a line of a table: as many `texts`, flush left, then numbers, flush right."""
    left = (cell.ljust(width) for cell, width in zip(cells[:texts], widths[:texts], strict=True))
    right = (cell.rjust(width) for cell, width in zip(cells[texts:], widths[texts:], strict=True))
    return "  ".join([*left, *right]).rstrip() + "\n"


def paragraph(text: str, width: int | None) -> str:
    """Return a note below a table, after an empty line."""
    return f"\n{text if width is None else textwrap.fill(text, width)}\n"


def wrapped(text: str, width: int | None, indent: int) -> list[str]:
    """Return a text in lines that fit beside an indent; a word that is longer, as a path is, stays whole."""
    if width is None or indent + len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width - indent, 1), break_long_words=False, break_on_hyphens=False) or [""]


def machine_format(
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
        yield from (as_json(record) + "\n" for record in records)
    elif format == "json":
        opening = "[\n"
        for record in records:
            yield opening + as_json(record)
            opening = ",\n"
        yield "[]\n" if opening == "[\n" else "\n]\n"
    else:
        raise ValueError(f"no format is called {format!r}")


def _cell(value: object) -> object:
    """Return a value as CSV has it: nothing for None, and the words of JSON for a truth value."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else value


def as_json(value: object, *, indent: int | None = None) -> str:
    # A lone surrogate cannot be encoded; written with a backslash it is the JSON escape that stands for it.
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
