"""The command that finds what is where in photos: detect."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.model_options import model_options
from commands.options import format_option, photos_argument, strict_option, top_option
from commands.parameter_types import LOCAL_PATH, NumberRange
from commands.pictures import look_options
from commands.streams import report_incomplete, report_skipped, write

if TYPE_CHECKING:
    from index.records import IncompletePhoto, SkippedPhoto
    from retrieval.detection.photos import DetectedPhoto
    from retrieval.figures.canvas import Look
    from retrieval.models.model import Model


@click.command("detect", epilog="Example: fc7 detect photo.jpg --picture boxes.png")
@photos_argument("PHOTO...")
@model_options
@top_option(10, "boxes for each photo")
@click.option(
    "--min-probability", type=NumberRange(0, 1), default=0.2, help="Leave out what is less probable than this."
)
@click.option(
    "--picture",
    metavar="OUT",
    type=LOCAL_PATH,
    help="Also draw the boxes and the heat map; a folder for several photos.",
)
@look_options("picture")
@format_option("table", "json", "jsonl", "csv")
@strict_option
def detect_command(
    photos: Sequence[Path],
    *,
    model: "Model",
    top: int,
    min_probability: float,
    picture: Path | None,
    look: "Look | None",
    format: str,
    strict: bool,
) -> None:
    """Find what is where in photos: labels, each with the box that it is in.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input. A box is x, y,
    width and height in pixels of the upright photo.

    The network is run over the photo at several sizes. A network that averages its last maps, as EfficientNet-Lite
    does, shows where each label comes from; one that ends in fully connected layers, as the built-in one does,
    classifies windows, and its boxes are rough. Needs onnx: pip install 'fc7[onnx]'.
    """
    from commands.photo_tables import format_detections
    from commands.progress_bar import ProgressBar
    from commands.terminal import style_of
    from retrieval.detection.convolutional import ScoreMaps
    from retrieval.detection.photos import detect_paths
    from retrieval.figures.detections import DetectionPictures

    pictures = None if picture is None or look is None else DetectionPictures.to(picture, photos, look)
    maps = ScoreMaps.of(model.path, model.spec)
    skipped: list[SkippedPhoto] = []
    incomplete: list[IncompletePhoto] = []
    with ProgressBar("Detecting", sys.stderr, hidden=sys.stdout.isatty()) as progress:
        detected = detect_paths(
            maps,
            photos,
            min_probability=min_probability,
            top=top,
            keep_images=pictures is not None,
            standard_input=sys.stdin.buffer,
            skipped=skipped,
            incomplete=incomplete,
            progress=progress,
        )

        def drawn() -> "Iterator[DetectedPhoto]":
            for photo in detected:
                if pictures is not None:
                    pictures.draw(photo)
                yield photo

        write(format_detections(drawn(), format, style=style_of()))
    report_incomplete(incomplete)
    report_skipped(skipped, named=photos, strict=strict)
