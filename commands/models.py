"""The commands for models: export, info, bench."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from commands.interrupt import starting
from commands.model_options import resize_options
from commands.options import cache_folder, completed_by, default_index, device_option, format_option
from commands.parameter_types import LOCAL_PATH, PATH, IndexPlace, NumberRange
from commands.streams import table_width, write
from index.errors import OptionError

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation


@click.command("export", epilog="Example: fc7 export runs/tiny/best.pt -o tiny.onnx")
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--out", required=True, type=LOCAL_PATH, help="Model file to write (.onnx).")
@click.option("--data", type=PATH, help="Pictures to learn the embedding from; those of its training, if moved.")
@click.option("--float32", is_flag=True, help="Keep every digit of the weights; the file is twice as large.")
@click.option("--name", show_default="that of the file", help="What the model is called in its metadata.")
@click.option(
    "--names", type=PATH, help="File with a line for each class to be called otherwise: id or name, tab, names."
)
@click.option("--licence", default="", show_default=False, help="Terms of use, kept in its metadata.")
@resize_options(resize="as in training", mode="as in training")
@click.option(
    "--layers", default="pool5,fc7", help="Layers that the embedding is made of: pool5, fc6, fc7, with commas between."
)
@click.option("--dim", type=click.IntRange(min=1), default=256, help="Values of the embedding, at most.")
@click.option("--whitening", type=NumberRange(0, 1), default=0.25, help="0: rotate only; 1: whiten fully.")
@click.option(
    "--logit-adjustment",
    metavar="TAU",
    type=NumberRange(0, 1),
    default=0.0,
    help="1: name things as if all classes were equally frequent; 0: as they were in training. Menon et al. 2021.",
)
@click.option(
    "--prior-photos",
    metavar="FOLDER",
    type=PATH,
    multiple=True,
    show_default="those that the embedding is learned from",
    help="Photos like those that the model is for: --logit-adjustment sees in them how frequent each class is; repeat "
    "for several.",
)
@device_option
def export_command(
    checkpoint: Path,
    *,
    out: Path,
    data: Path | None,
    float32: bool,
    name: str | None,
    names: Path | None,
    licence: str,
    resize: int | None,
    resize_mode: Literal["crop", "trim", "squash"] | None,
    layers: str,
    dim: int,
    whitening: float,
    logit_adjustment: float,
    prior_photos: tuple[Path, ...],
    device: str,
) -> None:
    """Write a trained network as one model file, proven to answer as the network does."""
    if prior_photos and not logit_adjustment:
        raise click.UsageError(
            "--prior-photos needs --logit-adjustment: add --logit-adjustment 0.5, or leave out --prior-photos"
        )
    with starting():
        from commands.training_report import TerminalReport
        from retrieval.info import summary_line
        from training.export.checkpoint_export import export_checkpoint
        from training.export.embedding import EmbeddingRecipe
        from training.loop.hardware import choose_hardware

    with TerminalReport(sys.stderr) as report:
        spec = export_checkpoint(
            checkpoint,
            out,
            hardware=choose_hardware(device),
            report=report,
            data=data,
            embedding=EmbeddingRecipe(layers=tuple(layers.split(",")), dim=dim, power=whitening),
            half=not float32,
            logit_adjustment=logit_adjustment,
            prior_photos=prior_photos,
            resize=resize,
            resize_mode=resize_mode,
            name=name,
            licence=licence,
            names=names,
        )
    write([f"{summary_line(out, spec)}\n"])


@click.command("info", epilog="Example: fc7 info model.onnx")
@click.argument("file", required=False, type=IndexPlace(remote=True), shell_complete=completed_by("complete_models"))
@click.option("--skipped", is_flag=True, help="List the photos that an index had to skip, and why.")
@click.option("--layers", is_flag=True, help="List the layers of a model: what each consists of, costs and takes.")
@format_option("table", "json")
def info_command(file: "IndexLocation | None", *, skipped: bool, layers: bool, format: str) -> None:
    """Describe a model, an index or this installation.

    FILE is a model file, the folder of an index, or its URL in Milvus. Without it: versions, and the devices that would
    really be used; with --skipped, the index of FC7_INDEX, or that in your data directory; with --layers, the built-in
    model.
    """
    if skipped and layers:
        raise click.UsageError("--skipped is about an index, --layers about a model; leave out one of them")
    if layers:
        if not isinstance(file, Path | None):
            raise OptionError(f"{file} is in Milvus, and no model")
        from commands.model_tables import format_layers
        from retrieval.models.cost import model_cost

        write(format_layers(model_cost(file), format, width=table_width()))
        return

    if skipped:
        from commands.index_tables import format_skipped
        from retrieval.info import skipped_in_index

        write(format_skipped(skipped_in_index(file or default_index()), format))
        return
    show(file, format)


def show(file: "IndexLocation | None", format: str) -> None:
    """Print the facts of a model, an index, or without either of this installation."""
    from commands.model_tables import format_facts
    from retrieval.info import facts_of, installation_facts

    facts = installation_facts(default_index(), cache=cache_folder()) if file is None else facts_of(file)
    write(format_facts(facts, format, width=table_width()))


@click.command("bench", epilog="Example: fc7 bench --photos ~/Pictures")
@click.argument("model", metavar="[MODEL]", required=False, type=PATH, envvar="FC7_MODEL")
@click.option(
    "--photos",
    type=PATH,
    metavar="FOLDER",
    show_default="those of the index of FC7_INDEX or in your data directory, or some made for it",
    help="Photos to measure with.",
)
@device_option
@format_option("table", "json")
def bench_command(model: Path | None, *, photos: Path | None, device: Any, format: str) -> None:
    """Measure how fast photos are indexed on this machine.

    MODEL is a model file or a name, by default the built-in one. Each stage is measured by itself, then all of them
    together with several numbers of --workers and sizes of a batch. Takes about a minute; nothing is written except
    into a temporary folder.
    """
    from tempfile import TemporaryDirectory

    from commands.model_tables import format_measured
    from commands.progress_bar import ProgressBar
    from retrieval.evaluation.speed import concurrencies_to_try, enough_photos, measure
    from retrieval.evaluation.speed_photos import photos_to_measure
    from retrieval.models.model import Model

    loaded = Model.load(model, device=device, threads=1)
    with TemporaryDirectory(prefix="fc7-bench-") as work, ProgressBar("Measuring", sys.stderr) as progress:
        source, found = photos_to_measure(photos, default_index(), Path(work))
        chosen = enough_photos(loaded, found)
        measured = measure(loaded, chosen, concurrencies=concurrencies_to_try(loaded), progress=progress)
    write(format_measured(measured, format, source=source, width=table_width()))
