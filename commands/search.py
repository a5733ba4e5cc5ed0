"""The command that finds photos in an index: search."""

import os
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import click

from commands.model_options import index_model_options
from commands.options import consistency_option, format_option, null_wants_paths, query_options, strict_option
from commands.pictures import Pictures, picture_options
from commands.streams import read_standard_input, report_incomplete, report_skipped, warn, write

if TYPE_CHECKING:
    from index.milvus.place import Consistency, IndexLocation
    from index.records import IncompletePhoto, SkippedPhoto
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

    from commands.tables import format_results
    from commands.terminal import style_of
    from index.open_index import open_index
    from retrieval.photos.scan import has_photo_suffix
    from retrieval.searching.search import search_index, with_texts

    skipped: list[SkippedPhoto] = []
    incomplete: list[IncompletePhoto] = []
    piped = read_standard_input(query.photos) if pictures.wanted else None
    opened = open_index(
        index, fingerprint=model.spec.fingerprint, device=model.device, consistency=consistency, warn=warn
    )
    with opened as photo_index:
        asked = with_texts(query, photo_index, model)
        if (query.since or query.before) and (undated := photo_index.photos.count_undated()):
            warn(f"{undated:,} photos were indexed by an older fc7, without their dates: `fc7 index` looks at them.")
        for text in asked.texts + asked.unlike_texts:
            if has_photo_suffix(os.fsencode(text)):
                warn(f"there is no photo {text}: it is looked for as words")
        if not model.spec.text:
            for path in query.photos + query.unlike:
                if " " in str(path) and not has_photo_suffix(os.fsencode(path)) and not os.path.lexists(path):
                    warn(
                        f"{path} is taken for a photo, because the model {model.spec.name} has no text half; "
                        "docs/models.md has models for words"
                    )
        answers = search_index(
            photo_index,
            model,
            asked,
            standard_input=sys.stdin.buffer if piped is None else BytesIO(piped),
            skipped=skipped,
            incomplete=incomplete,
        )
        format = "paths" if null else format
        end = "\0" if null else "\n"
        found = False
        drawn: list[Answer] = []

        def noted() -> "Iterator[Answer]":
            nonlocal found
            for answer in answers:
                found = found or bool(answer.results)
                if pictures.wanted:
                    drawn.append(answer)
                yield answer

        write(format_results(noted(), format, labelled=asked.for_labels, style=style_of(), end=end))
        if not found and not photo_index.summary().photos:
            warn(f"The index in {index} is empty: no photo in it can be found; add some with `fc7 index FOLDER`.")
    report_incomplete(incomplete)
    if drawn:
        from retrieval.figures.answers import search_rows

        pictures.show(search_rows(drawn, labelled=asked.for_labels, standard_input=piped))
    report_skipped(skipped, named=query.photos + query.unlike, strict=strict)
