"""The commands that draw pictures: of a collection, of networks, of what they see in photos, of training runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupt import starting
from commands.options import Command, cache_folder, index_option, top_option
from commands.parameter_types import LOCAL_PATH, PATH
from commands.pictures import look_options
from commands.streams import report_skipped

if TYPE_CHECKING:
    from index.records import SkippedPhoto
    from retrieval.figures.canvas import Look
    from retrieval.models.model import Model


@click.group("show", epilog="Example: fc7 show filters builtin -o filters.png")
def show_command() -> None:
    """Draw pictures of a collection, of networks, and of training runs.

    MODEL is a model file, builtin, or the name of an imported one. Looking inside a network needs onnx:
    pip install 'fc7[onnx]'.
    """


def out_option(command: Command) -> Command:
    return click.option(
        "-o", "--out", required=True, type=LOCAL_PATH, help="Picture to write: .png, .jpg, .webp or .pdf."
    )(look_options()(command))


model_argument = click.argument("model", type=PATH)


@show_command.command("filters", epilog="Example: fc7 show filters builtin -o filters.png")
@model_argument
@out_option
def filters_command(model: Path, out: Path, look: "Look") -> None:
    """Draw the filters of the first layer, all on one scale."""
    from retrieval.figures.drawing import check_suffix, save
    from retrieval.figures.filters import draw_filters, first_filters

    check_suffix(out)
    save(draw_filters(first_filters(model), str(model), look), out, look)


@show_command.command("activations", epilog="Example: fc7 show activations builtin photo.jpg --layer relu2 -o maps.png")
@model_argument
@click.argument("photo", type=PATH)
@click.option("--layer", default="conv1", help="Which layer, by its name in the ONNX file.")
@out_option
def activations_command(model: Path, photo: Path, layer: str, out: Path, look: "Look") -> None:
    """Draw the maps of a layer that are strongest for a photo."""
    from retrieval.figures.activations import draw_activations
    from retrieval.figures.drawing import check_suffix, open_photo_for, save

    check_suffix(out)
    loaded = _load(model)
    save(draw_activations(loaded, open_photo_for(loaded, photo), layer, look), out, look)


@show_command.command("attention", epilog="Example: fc7 show attention builtin photo.jpg --label dog -o dog.png")
@model_argument
@click.argument("photo", type=PATH)
@click.option("--label", help="Name, synonym, WordNet id or kind.", show_default="the most probable one")
@out_option
def attention_command(model: Path, photo: Path, label: str | None, out: Path, look: "Look") -> None:
    """Draw what in a photo speaks for a label.

    A network that averages its last maps gives its class activation map. With others parts of the photo are hidden, one
    after the other: where the label becomes less probable, there it was seen.
    """
    from retrieval.figures.attention import draw_attention
    from retrieval.figures.drawing import check_suffix, open_photo_for, save
    from retrieval.models.spec import require_classes

    check_suffix(out)
    loaded = _load(model)
    require_classes(loaded.spec)
    picture = open_photo_for(loaded, photo)
    label = label or loaded.classify([picture], k=1)[0][0].label
    save(draw_attention(loaded, picture, label, look), out, look)


@show_command.command("architecture", epilog="Example: fc7 show architecture builtin -o network.png")
@model_argument
@out_option
def architecture_command(model: Path, out: Path, look: "Look") -> None:
    """Draw the layers of a network: sizes, parameters, multiply-adds."""
    from retrieval.figures.architecture import draw_architecture, layers_of
    from retrieval.figures.drawing import check_suffix, save

    check_suffix(out)
    loaded = _load(model)
    save(draw_architecture(layers_of(model), loaded.spec.name, loaded.spec.crop, look), out, look)


@show_command.command("curves", epilog="Example: fc7 show curves runs/first runs/second -o curves.png")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@out_option
def curves_command(runs: Sequence[Path], out: Path, look: "Look") -> None:
    """Draw loss and accuracy of training runs by epoch; needs matplotlib: pip install 'fc7[figures]'."""
    from retrieval.figures.charts import draw_curves, save_figure
    from retrieval.figures.drawing import check_suffix

    check_suffix(out)
    save_figure(draw_curves(runs, look), out, look)


@show_command.command("confusion", epilog="Example: fc7 show confusion runs/first -o confusion.png")
@click.argument("run", type=PATH)
@out_option
def confusion_command(run: Path, out: Path, look: "Look") -> None:
    """Draw which classes a trained network takes for which; needs matplotlib: pip install 'fc7[figures]'."""
    from retrieval.figures.charts import draw_confusion, save_figure
    from retrieval.figures.drawing import check_suffix

    check_suffix(out)
    save_figure(draw_confusion(run, look), out, look)


@show_command.command("nearest", epilog="Example: fc7 show nearest builtin 12 --index my-index -o unit12.png")
@model_argument
@click.argument("unit", type=int)
@index_option
@top_option(12, "photos")
@out_option
def nearest_command(model: Path, unit: int, index: Path, top: int, out: Path, look: "Look") -> None:
    """Draw the photos of an index that excite a unit of fc7 most; UNIT is its number, from 0.

    All photos of the index are read, because it does not keep fc7.
    """
    from commands.progress_bar import ProgressBar
    from index.photo_index import PhotoIndex
    from retrieval.figures.drawing import check_suffix, save
    from retrieval.figures.nearest import draw_nearest, most_exciting

    check_suffix(out)
    loaded, skipped = _load(model, threads=1), list["SkippedPhoto"]()
    with PhotoIndex.open(index) as photos, ProgressBar("Reading", sys.stderr) as progress:
        found = most_exciting(loaded, photos, unit, top=top, skipped=skipped, progress=progress)
    save(draw_nearest(found, unit, loaded.spec.name, look), out, look)
    report_skipped(skipped)


def page_option(command: Command) -> Command:
    return click.option(
        "-o", "--out", required=True, type=LOCAL_PATH, help="File to write: .html, .png, .jpg, .webp or .pdf."
    )(look_options(html=True)(command))


@show_command.command("map", epilog="Example: fc7 show map -o map.html")
@index_option
@click.option(
    "--method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    help="How photos get their places: pca is quick; umap shows groups better, and needs umap-learn.",
)
@click.option("--photos", "most", type=click.IntRange(1, 2000), default=400, help="How many photos to show at most.")
@page_option
def map_command(index: Path, method: Any, most: int, out: Path, look: "Look") -> None:
    """Draw the collection in the plane: photos that look alike are near each other, and none covers another.

    Of photos that are nearly the same one is shown. Of more photos than --photos, those are shown that stand for groups
    of others, so that each region is there. A .html is one file, zoomed and moved by mouse, touch and keyboard.
    umap is installed by: pip install 'fc7[map]'.
    """
    from commands.progress_bar import ProgressBar
    from index.photo_index import PhotoIndex
    from retrieval.figures.map import map_of, side_for, write_map
    from retrieval.figures.sheet import check_sheet
    from retrieval.photos.previews import Previews

    check_sheet(out)
    skipped = list["SkippedPhoto"]()
    with (
        PhotoIndex.open(index) as photos,
        Previews(cache_folder() / "previews") as previews,
        ProgressBar("Reading", sys.stderr) as progress,
    ):
        drawn = map_of(
            photos, previews, method=method, most=most, side=side_for(out, look), skipped=skipped, progress=progress
        )
    write_map(drawn, out, look)
    report_skipped(skipped)


@show_command.command("collage", epilog="Example: fc7 show collage -o collage.png")
@index_option
@click.option("--photos", "most", type=click.IntRange(1, 200), default=24, help="How many photos to show at most.")
@page_option
def collage_command(index: Path, most: int, out: Path, look: "Look") -> None:
    """Draw what is in the collection: one photo for each group of photos that look alike, larger for larger groups.

    Below each are the label that is most common in its group, and how many photos that has.
    """
    from commands.progress_bar import ProgressBar
    from index.photo_index import PhotoIndex
    from retrieval.figures.collage import SIDE, collage_of, write_collage
    from retrieval.figures.sheet import check_sheet
    from retrieval.photos.previews import Previews

    check_sheet(out)
    skipped = list["SkippedPhoto"]()
    with (
        PhotoIndex.open(index) as photos,
        Previews(cache_folder() / "previews") as previews,
        ProgressBar("Reading", sys.stderr) as progress,
    ):
        drawn = collage_of(photos, previews, most=most, side=SIDE * look.scale, skipped=skipped, progress=progress)
    write_collage(drawn, out, look)
    report_skipped(skipped)


def _load(model: Path, **options: Any) -> "Model":
    with starting():
        from retrieval.models.model import Model

        return Model.load(model, device="cpu", cache=cache_folder(), **options)
