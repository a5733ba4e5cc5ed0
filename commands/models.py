"""The commands for models: export, import, info, bench."""

import sys
from pathlib import Path
from typing import Any

import click

from commands.options import PATH, cache_folder, completed_by, default_index, device_option, format_option
from commands.streams import starting, table_width, write
from index.errors import MissingPackageError


@click.command("export", epilog="Example: fc7 export runs/tiny/best.pt -o tiny.onnx")
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--out", required=True, type=PATH, help="Model file to write (.onnx).")
@click.option("--data", type=PATH, help="Pictures to learn the embedding from; those of its training, if moved.")
@click.option("--float32", is_flag=True, help="Keep every digit of the weights; the file is twice as large.")
@click.option("--name", show_default="that of the file", help="What the model is called in its metadata.")
@click.option(
    "--names", type=PATH, help="File with a line for each class to be called otherwise: id or name, tab, names."
)
@click.option("--licence", default="", show_default=False, help="Terms of use, kept in its metadata.")
@click.option(
    "--layers", default="pool5,fc7", help="Layers that the embedding is made of: pool5, fc6, fc7, with commas between."
)
@click.option("--dim", type=click.IntRange(min=1), default=256, help="Values of the embedding, at most.")
@click.option("--whitening", type=click.FloatRange(0, 1), default=0.25, help="0: rotate only; 1: whiten fully.")
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
    layers: str,
    dim: int,
    whitening: float,
    device: str,
) -> None:
    """Write a trained network as one model file, proven to answer as the network does."""
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
            name=name,
            licence=licence,
            names=names,
        )
    write([f"{summary_line(out, spec)}\n"])


@click.command("import", epilog="Example: fc7 import efficientnet-lite0")
@click.argument("weights", required=False, type=PATH)
@click.option(
    "-o",
    "--out",
    type=PATH,
    show_default="where fc7 finds it by its name",
    help="Model file to write (.onnx).",
)
@click.option(
    "--list",
    "listing",
    is_flag=True,
    envvar="FC7_IMPORT_LIST",
    help="List the networks that can be imported by name, and what each is good for.",
)
@click.option("--size", type=click.IntRange(min=1), help="EfficientNet-Lite: pixels of the pictures that it takes.")
@click.option(
    "--labels",
    type=PATH,
    show_default="the 1,000 of ImageNet",
    help="File with a line for each class, in order: id, tab, name.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=PATH,
    help="Any photos, best 500 or more, to learn the embedding of alexnet from.",
)
@click.option("--float32", is_flag=True, help="Keep every digit of the weights; the file is twice as large.")
@click.option("--url", show_envvar=True, show_default="PyTorch's", help="Address that alexnet is fetched from.")
def import_command(
    weights: Path | None,
    *,
    out: Path | None,
    listing: bool,
    size: int | None,
    labels: Path | None,
    calibrate: Path | None,
    float32: bool,
    url: str | None,
) -> None:
    """Make a model file of published weights.

    WEIGHTS is a name: efficientnet-lite0, -lite1 or -lite2, whose weights come with the extra efficientnet; or alexnet,
    which is fetched (244 MB) and kept in your cache folder. Then -m takes the name wherever it takes a model file. Or
    it is a file with the layers of torchvision's alexnet-owt-7be5be79.pth; that needs -o.

    Without --calibrate, the embedding of alexnet that search compares is fc7 itself, 4,096 values.
    """
    from training.pretrained.catalogue import EXTRA, NAMES, listed, place_of

    if listing:
        from commands.tables import format_facts

        write(format_facts(listed(), "table", width=table_width()))
        return
    if weights is None:
        raise click.UsageError("name WEIGHTS, or ask for --list")
    name = str(weights)
    if out is None and name not in NAMES:
        raise click.UsageError(
            f"{weights} is none of {', '.join(NAMES)}; for a file of weights say with -o where to write"
        )
    efficientnet = name in NAMES and NAMES[name].in_package
    others = {"--labels": labels, "--calibrate": calibrate, "--float32": float32, "--url": url}
    given = others if efficientnet else {"--size": size}
    if strange := [option for option, value in given.items() if value]:
        raise click.UsageError(f"{strange[0]} is not for {name}; leave it out")
    with starting():
        from retrieval.info import summary_line
        from training.export.model_file import made_folder

    if out is None:
        out = place_of(name, size)
        made_folder(out.parent)
    if efficientnet:
        with starting():
            try:
                from training.pretrained.import_efficientnet import import_efficientnet
            except ModuleNotFoundError as error:
                raise MissingPackageError(
                    f"{name} needs {error.name}, which is not installed: pip install 'fc7[{EXTRA}]'"
                ) from error
        spec = import_efficientnet(name, out, side=size)
    else:
        with starting():
            from commands.training_report import TerminalReport
            from training.data.dataset import IMAGENET
            from training.pretrained.import_alexnet import import_weights
        with TerminalReport(sys.stderr) as report:
            spec = import_weights(
                weights,
                out,
                labels=labels or IMAGENET,
                cache=cache_folder(),
                report=report,
                calibrate=calibrate,
                url=url,
                half=not float32,
            )
    write([f"{summary_line(out, spec)}\n"])


@click.command("info", epilog="Example: fc7 info model.onnx")
@click.argument("file", required=False, type=PATH, shell_complete=completed_by("complete_models"))
@click.option("--skipped", is_flag=True, help="List the photos that an index had to skip, and why.")
@click.option("--layers", is_flag=True, help="List the layers of a model: what each consists of, costs and takes.")
@format_option("table", "json")
def info_command(file: Path | None, *, skipped: bool, layers: bool, format: str) -> None:
    """Tell about a model, an index or this installation.

    FILE is a model file or the folder of an index. Without it: versions, and the devices that would really be used;
    with --skipped, the index of FC7_INDEX, or that in your data directory; with --layers, the built-in model.
    """
    if skipped and layers:
        raise click.UsageError("--skipped is about an index, --layers about a model; leave out one of them")
    if layers:
        from commands.tables import format_layers
        from retrieval.models.cost import model_cost

        write(format_layers(model_cost(file), format, width=table_width()))
        return

    from commands.tables import format_facts, format_skipped
    from retrieval.info import facts_of, installation_facts, skipped_in_index

    if skipped:
        write(format_skipped(skipped_in_index(file or default_index()), format))
        return
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

    MODEL is a model file, by default the built-in one. Each stage is measured by itself, then all of them together with
    several numbers of --workers and sizes of a batch. Takes about a minute; nothing is written except into a
    temporary folder.
    """
    from tempfile import TemporaryDirectory

    from commands.progress_bar import ProgressBar
    from commands.tables import format_measured
    from retrieval.evaluation.speed import concurrencies_to_try, enough_photos, measure
    from retrieval.evaluation.speed_photos import photos_to_measure
    from retrieval.models.model import Model

    loaded = Model.load(model, device=device, threads=1)
    with TemporaryDirectory(prefix="fc7-bench-") as work, ProgressBar("Measuring", sys.stderr) as progress:
        source, found = photos_to_measure(photos, default_index(), Path(work))
        chosen = enough_photos(loaded, found)
        measured = measure(loaded, chosen, concurrencies=concurrencies_to_try(loaded), progress=progress)
    write(format_measured(measured, format, source=source, width=table_width()))
