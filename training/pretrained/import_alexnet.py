"""From published weights to a model file, with the user's class names and an embedding learned from any photos."""

import os
import random
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from index.records import SkippedPhoto
from retrieval.models.runtime import require_onnxruntime
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.photos.scan import expand_paths
from training.data.dataset import Split
from training.data.name_tables import read_class_names
from training.data.pictures import MemoryPictures
from training.errors import DatasetError
from training.export.embedding import EmbeddingRecipe, fc7_alone, learn_embedding
from training.export.export import Description, InferenceNetwork, sample_of, write_model
from training.export.model_file import check_place
from training.loop.report import Notes, tell_skipped
from training.networks.architectures import ALEXNET_OWT
from training.pretrained.torchvision import PublishedWeights, fetch_alexnet, read_weights, torchvision_normalisation

ALEXNET = Path("alexnet")
"""Given as the weights, this name has them fetched."""

CALIBRATION_PHOTOS = 2_000
"""Photos that the embedding is learned from, at most. By benchmarks/calibration.py (docs/results.md) more make it no
better, and from 250 on its 256 values find nearly as much as the 1,024 of fc7 alone."""

ENOUGH_PHOTOS = 500
FEWEST_PHOTOS = 100
"""With fewer, fc7 alone describes clearly better."""

RANDOM_PICTURES = 16


class ImportReport(Notes, Protocol):
    """What an import tells while it goes on."""

    def fetching(self, done: int, total: int) -> None:
        """Bytes fetched."""

    def loading(self, done: int, total: int) -> None:
        """Photos decoded."""


def import_weights(
    weights: Path,
    out: Path,
    *,
    labels: Path,
    cache: Path,
    report: ImportReport,
    calibrate: Path | None = None,
    url: str | None = None,
    half: bool = True,
) -> ModelSpec:
    """Write the model file of torchvision's AlexNet, or of another network of the same layers.

    `weights` may be ALEXNET, which is fetched into `cache`, from `url` if that is given. `labels` has a line for each
    class, in their order. `calibrate` is a folder of any photos. Raises CheckpointError, DownloadError, DatasetError,
    ExportError and MissingPackageError.
    """
    # What may be wrong is looked for before anything is fetched.
    require_onnxruntime()
    classes = tuple(read_class_names(labels).values())
    photos = _find_photos(calibrate, report) if calibrate is not None else ()
    check_place(out)
    if weights == ALEXNET:
        weights = fetch_alexnet(cache, url=url, progress=report.fetching)
    published = read_weights(weights)
    check_labels(classes, published, labels)

    trained, normalisation = published.network, torchvision_normalisation()
    if photos:
        pictures = MemoryPictures(
            Split(photos, (0,) * len(photos)), ALEXNET_OWT.resize, device=torch.device("cpu"), progress=report.loading
        )
        tell_skipped(pictures.skipped, report)
        transform = learn_embedding(trained, pictures, normalisation, EmbeddingRecipe())
        sample = sample_of(pictures)
        if transform.pictures < FEWEST_PHOTOS:
            report.note(
                f"an embedding learned from {transform.pictures} photos may describe worse than fc7 alone; "
                f"give {ENOUGH_PHOTOS} or more, or leave out --calibrate"
            )
    else:
        transform, sample = fc7_alone(trained), random_pictures(RANDOM_PICTURES, ALEXNET_OWT.resize)
        report.note(
            "no photos to learn the embedding from (--calibrate): it is fc7 of unit length; "
            f"ONNX Runtime and torch are compared on {RANDOM_PICTURES} random pictures"
        )
    description = Description(
        classes=classes,
        training={"weights": published.name, "sha256": published.sha256},
        accuracy=published.accuracy,
        licence=published.licence,
    )
    return write_model(
        InferenceNetwork.of(trained, normalisation, transform, half=half), description, out, sample=sample
    )


def random_pictures(count: int, size: int) -> Tensor:
    """Return smooth patches of random colours, uint8 (count, size, size, 3), always the same."""
    coarse = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear")
    return (smooth * 255).byte().permute(0, 2, 3, 1).contiguous()


def _find_photos(folder: Path, report: ImportReport) -> tuple[Path, ...]:
    """Return photos in a folder and below it, drawn from all of them if they are very many."""
    if not os.path.isdir(folder):
        raise DatasetError(f"there is no folder {folder}; give one with photos to learn the embedding from")
    skipped: list[SkippedPhoto] = []
    photos = expand_paths([folder], skipped=skipped)
    tell_skipped(skipped, report)
    if not photos:
        raise DatasetError(f"no photos in {folder} or below it", hint="give another folder, or leave out --calibrate")
    return tuple(random.Random(0).sample(photos, min(len(photos), CALIBRATION_PHOTOS)))


def check_labels(classes: tuple[ClassName, ...], published: PublishedWeights, labels: Path) -> None:
    expected = published.network.classes
    if len(classes) != expected:
        raise DatasetError(
            f"{labels} names {len(classes)} classes, {published.name} has {expected}; "
            "give a file with one line for each class, in their order"
        )
    ids = [str(known.id) for known in classes]
    if published.is_torchvisions and ids != sorted(ids):
        raise DatasetError(
            f"the lines of {labels} are not in the order of ImageNet's classes, which is that of their ids; sort them"
        )
