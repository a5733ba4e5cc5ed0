"""The commands for labels of one's own: taught by a few photos, then found and named like those of the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.model_options import index_model_options
from commands.options import format_option, index_option, strict_option, top_option
from commands.parameter_types import PATH
from commands.streams import report_skipped, write

if TYPE_CHECKING:
    from index.records import SkippedPhoto
    from retrieval.models.model import Model


@click.group("label", epilog="Example: fc7 label add Rex rex1.jpg rex2.jpg rex3.jpg; fc7 search --label Rex")
def label_command() -> None:
    """Teach an index labels of your own from a few photos.

    fc7 search --label and fc7 classify --index then know them, and photos that are indexed later get them too.
    """


@label_command.command("add", epilog="Example: fc7 label add Rex rex/*.jpg --not wolf.jpg")
@click.argument("name")
@click.argument("photos", metavar="[PHOTO]...", nargs=-1, type=PATH)
@click.option(
    "--not",
    "unlike",
    metavar="PHOTO",
    multiple=True,
    type=PATH,
    envvar="FC7_LABEL_ADD_NOT",
    help="It is not in this photo; can be given several times.",
)
@index_model_options()
@strict_option
def add_command(
    name: str, photos: Sequence[Path], *, unlike: Sequence[Path], model: "Model", index: Path, strict: bool
) -> None:
    """Teach the label NAME by photos that show it, or teach more of it; five photos are a good start.

    PHOTO is a file, or a folder, which stands for the photos in it. What is learned separates them from the other
    photos of the index, and of --not.
    """
    if not photos and not unlike:
        raise click.UsageError("name a PHOTO that shows it, or one that does not with --not")

    from commands.photo_tables import format_labels
    from index.index_writer import IndexWriter
    from retrieval.searching.own_labels import add_label

    skipped: list[SkippedPhoto] = []
    with IndexWriter.open_to_edit(index, fingerprint=model.spec.fingerprint) as photo_index:
        label = add_label(photo_index, model, name, photos, unlike=unlike, skipped=skipped)
    write(format_labels([label], "table"))
    report_skipped(skipped, named=(*photos, *unlike), strict=strict)


@label_command.command("list", epilog="Example: fc7 label list")
@index_option
@format_option("table", "json")
def list_command(*, index: Path, format: str) -> None:
    """List the labels that were taught."""
    from commands.photo_tables import format_labels
    from index.photo_index import PhotoIndex

    with PhotoIndex.open(index) as photo_index:
        labels = photo_index.own_labels.all()
    write(format_labels(labels, format))
    if not labels:
        click.echo("No labels of your own yet; teach one with fc7 label add NAME PHOTO...", err=True)


@label_command.command("remove", epilog="Example: fc7 label remove Rex")
@click.argument("name")
@index_option
def remove_command(name: str, *, index: Path) -> None:
    """Remove the label NAME from the index; no photo is touched."""
    from index.index_writer import IndexWriter
    from retrieval.searching.own_labels import known_name

    with IndexWriter.open_to_edit(index) as photo_index:
        photo_index.own_labels.remove(known_name(photo_index, name))


@label_command.command("suggest", epilog="Example: fc7 label suggest Rex -k 5")
@click.argument("name")
@top_option(10, "photos")
@index_option
@format_option("table", "json", "jsonl", "csv", "paths")
def suggest_command(name: str, *, top: int, index: Path, format: str) -> None:
    """List photos to say yes or no to next: those of which it is least sure whether they show NAME.

    Say so with fc7 label add NAME PHOTO... and --not PHOTO.
    """
    from commands.photo_tables import format_results
    from commands.terminal import style_of
    from index.photo_index import PhotoIndex
    from retrieval.searching.own_labels import suggestions
    from retrieval.searching.search import Answer

    with PhotoIndex.open(index) as photo_index:
        found = suggestions(photo_index, name, top)
    write(format_results([Answer(name, found)], format, labelled=True, style=style_of()))
