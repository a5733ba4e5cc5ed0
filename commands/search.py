"""The command that finds photos in an index: search."""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from commands.model_options import index_model_options
from commands.options import consistency_option, format_option, null_wants_paths, query_options, strict_option
from commands.pictures import Pictures, picture_options
from commands.streams import read_standard_input, report_incomplete, report_skipped, standard_input, warn, write

if TYPE_CHECKING:
    from index.milvus.place import Consistency, IndexLocation
    from index.records import IncompletePhoto, SkippedPhoto
    from index.searchable import SearchableIndex
    from retrieval.models.model import Model
    from retrieval.searching.search import Answer, Query


@click.command("search", epilog="Example: fc7 search photo.jpg -k 20 -0 | xargs -0 cp -t found")
@query_options
@index_model_options(few=True, remote=True)
@format_option("table", "json", "jsonl", "csv", "paths")
@click.option("-0", "--null", is_flag=True, help="Print paths, each ended by a NUL, as xargs -0 takes them.")
@picture_options("sheet", "Draw what is found")
@consistency_option
@strict_option
def search_command(
    *,
    model: "Model",
    index: "IndexLocation",
    query: "Query",
    format: str,
    null: bool,
    pictures: Pictures,
    consistency: "Consistency | None",
    strict: bool,
) -> None:
    """Find the indexed photos that look most like PHOTO, or what is in photos by --label.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input. Each is looked
    for by itself, unless --average makes one query of all. A photo that is indexed need not be there any more.

    A table has one line for files of the same bytes, and none for PHOTO itself. Other formats have all, and json, jsonl
    and csv mark them: copy_of, is_query.

    If the model of the index has a text half, as CLIP has, PHOTO can be words: "a dog on a beach". What exists, or is
    indexed, is a photo; everything else is words, and answered after the photos. --not takes words as well.

    --label takes a name that the model knows, a synonym, a WordNet id, or a word for several classes: goldfish, dog,
    vehicle. Alone it lists photos by the probability that the model gave it, as far as it is among the names that are
    kept of each photo, five of each group of classes. With PHOTO it leaves out photos that have it at less than 20 %.

    A date is what the camera wrote (EXIF), by its own clock. Photos without one are none of --since and --until.
    """
    null_wants_paths(null, format)

    from commands.photo_tables import format_results
    from commands.terminal import style_of
    from index.open_index import open_index
    from retrieval.searching.search import search_index, with_texts

    skipped: list[SkippedPhoto] = []
    incomplete: list[IncompletePhoto] = []
    drawn: list[Answer] = []
    piped = read_standard_input(query.photos) if pictures.wanted else None
    opened = open_index(
        index, fingerprint=model.spec.fingerprint, device=model.device, consistency=consistency, warn=warn
    )
    with opened as photo_index:
        asked = with_texts(query, photo_index, model)
        warn_of_query(asked, photo_index, model)
        answers = search_index(
            photo_index,
            model,
            asked,
            standard_input=standard_input(piped),
            skipped=skipped,
            incomplete=incomplete,
        )
        format, end = ("paths", "\0") if null else (format, "\n")
        shown = warn_of_empty_index(pictures.keep(answers, drawn), photo_index, index)
        write(format_results(shown, format, labelled=asked.for_labels, style=style_of(), end=end))
    report_incomplete(incomplete)
    if drawn:
        from retrieval.figures.answers import search_rows

        pictures.show(search_rows(drawn, labelled=asked.for_labels, standard_input=piped))
    report_skipped(skipped, named=query.photos + query.unlike, strict=strict)


def warn_of_query(query: "Query", index: "SearchableIndex", model: "Model") -> None:
    """Warn where an answer may not be what was meant: photos without dates, words and names mixed up."""
    from retrieval.photos.scan import has_photo_suffix

    if (query.since or query.before) and (undated := index.photos.count_undated()):
        warn(f"{undated:,} photos were indexed by an older fc7, without their dates: `fc7 index` looks at them.")
    for text in query.texts + query.unlike_texts:
        if has_photo_suffix(os.fsencode(text)):
            warn(f"there is no photo {text}: it is looked for as words")
    if not model.spec.text:
        for path in query.photos + query.unlike:
            if " " in str(path) and not has_photo_suffix(os.fsencode(path)) and not os.path.lexists(path):
                warn(
                    f"{path} is taken for a photo, because the model {model.spec.name} has no text half; "
                    "docs/models.md has models for words"
                )


def warn_of_empty_index(
    answers: "Iterable[Answer]", index: "SearchableIndex", place: "IndexLocation"
) -> "Iterator[Answer]":
    """Yield answers; after them, if nothing was found, warn where there is nothing to be found."""
    found = False
    for answer in answers:
        found = found or bool(answer.results)
        yield answer
    if not found and not index.summary().photos:
        warn(f"The index in {place} is empty: no photo in it can be found; add some with `fc7 index FOLDER`.")
