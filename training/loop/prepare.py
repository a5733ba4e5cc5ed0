"""What a run does before its first step: check its recipe, read its pictures, fit one to the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index.errors import OptionError
from index.records import SkippedPhoto
from retrieval.evaluation.metrics import interval
from retrieval.logistic_regression import CrossValidation
from training.data.augment import centre_crops
from training.data.dataset import Dataset, Split
from training.data.image_hashes import image_hash, pack_hashes, unpack_hashes
from training.data.pictures import Pictures, load_dataset
from training.data.sources import UNLABELLED
from training.distillation.lesson import Lesson
from training.distillation.objective import Student
from training.errors import DatasetError
from training.head.learn import FOLDS
from training.loop.distributed import Processes
from training.loop.hardware import Hardware
from training.loop.recipe import Recipe
from training.loop.report import Report, tell_skipped
from training.loop.trainer import Trainer
from training.networks.alexnet import feature_grid
from training.networks.architectures import AlexNetConfig
from training.pretrained.fine_tuning import PretrainedWeights

FITTED = 8192
"""Pictures that the projections of a pretrained student are fitted to, at most."""


def check_crops(recipe: Recipe, config: AlexNetConfig) -> None:
    """Refuse crops that are malformed, or too small to leave anything of a map, before the pictures are read."""
    for _, side in recipe.crops(config.crop):
        if feature_grid(replace(config, crop=side)) < 1:
            raise OptionError(
                f"crops of {side} pixels are too small for {config.arch}", hint="begin with larger ones in --grow"
            )


def load_splits(
    dataset: Dataset,
    config: AlexNetConfig,
    hardware: Hardware,
    report: Report,
    *,
    lesson: Lesson | None = None,
    cache: Path | None = None,
) -> tuple[Pictures, Pictures]:
    """Decode the pictures; with a lesson, those to learn from carry their number for a label.

    Raises DatasetError where too few can be read.
    """
    if lesson is not None:
        paths = dataset.train.paths
        dataset = replace(dataset, train=Split(paths, tuple(range(len(paths)))))
    report.note(
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes for training, "
        f"{len(dataset.validation)} for validation"
    )
    tell_skipped((SkippedPhoto(path, "not in the folder of a class") for path in dataset.classless), report)
    splits = load_dataset(
        dataset, config.resize, mode=config.resize_mode, hardware=hardware, progress=report.loading, cache=cache
    )
    unreadable = {photo.path for split in splits for photo in split.skipped}
    labels, to_check = (
        [label for path, label in zip(split.paths, split.labels, strict=True) if path not in unreadable]
        for split in (dataset.train, dataset.validation)
    )
    error = None
    if len(labels) < 2 or len(to_check) < 2:
        few, purpose = (labels, "training") if len(labels) < 2 else (to_check, "validation")
        error = f"{len(few)} readable {purpose} pictures are too few; add more to {dataset.root}"
    elif missing := sorted(_known(dataset.train.labels, lesson) - _known(labels, lesson)):
        name = dataset.classes[missing[0]].name
        error = f"none of the training pictures of {name} can be read; add others to {dataset.root}"
    if error is not None:
        tell_skipped([photo for split in splits for photo in split.skipped], report)
        raise DatasetError(error)
    return splits


def _known(labels: Sequence[int], lesson: Lesson | None) -> set[int]:
    """Return the classes that pictures with these labels show; in a lesson these are the numbers of the pictures."""
    return set(labels) if lesson is None else set(lesson.labels[np.array(labels, np.intp)].tolist()) - {UNLABELLED}


def fitted_recipe(
    recipe: Recipe, pictures: int, processes: Processes, *, fit_batch: bool, fit_rate: bool, report: Report
) -> Recipe:
    """Return the recipe with batches small enough for eight an epoch, though of four pictures at least.

    With `fit_rate` the rate is lowered in proportion (Goyal et al. 2017). Processes share a batch evenly. Raises
    DatasetError for fewer pictures than a batch. `pictures` are those of an epoch.
    """
    if pictures < 2:
        raise DatasetError(f"an epoch of {pictures} pictures is too short", hint="give a higher --weight")
    batch_size = recipe.batch_size
    if fit_batch:
        fewer = max(min(batch_size, pictures // 8), min(pictures, 4))
        batch_size = max(fewer - fewer % processes.world_size, min(2 * processes.world_size, batch_size))
    if pictures < batch_size:
        raise DatasetError(
            f"{pictures} training pictures are fewer than one batch of {batch_size}", hint="give a smaller --batch-size"
        )
    if batch_size == recipe.batch_size:
        return recipe
    lr = recipe.lr * batch_size / recipe.batch_size if fit_rate else recipe.lr
    rate = f" at a rate of {lr:.4g} instead of {recipe.lr:g}" if fit_rate else ""
    report.note(f"batches of {batch_size} pictures instead of {recipe.batch_size}{rate}: the set is small")
    return replace(recipe, batch_size=batch_size, lr=lr)


def tell_known(dataset: Dataset, start: PretrainedWeights, report: Report) -> None:
    """Note how many validation pictures the start has learned from: where all are known, or a validation set is."""
    if learned := unpack_hashes(start.learned):
        known = sum(image_hash(path) in learned for path in dataset.validation.paths)
        if known:
            report.note(
                f"{known} of the {len(dataset.validation)} validation pictures are among those that {start.name} "
                "learned from: accuracy will look better than it is"
            )


def tell_start(trainer: Trainer, found: CrossValidation, labels: NDArray[np.int64], report: Report) -> None:
    """Validate a network whose fc8 was fitted, and note how good that alone is."""
    top1 = float((found.probabilities.argmax(1) == labels).mean())
    low, high = interval(top1, len(labels))
    of_label = found.probabilities[np.arange(len(labels)), labels]
    trainer.validate_start(-float(np.log(np.maximum(of_label, 1e-12)).mean()), top1)
    report.note(
        f"the last layer alone: top-1 {top1:.1%} ({low:.1%} to {high:.1%} with 95 % confidence) in {FOLDS}-fold "
        f"cross-validation; {trainer.history[0].validation_top1:.1%} of the validation pictures"
    )


def fit_to_teacher(trainer: Trainer, lesson: Lesson, report: Report) -> None:
    """Fit the projections of a pretrained student to the teacher's embeddings of up to FITTED pictures."""
    report.note("fitting the projections onto the teacher's embedding")
    student = trainer.learner
    assert isinstance(student, Student)
    order = torch.randperm(len(trainer.pictures), generator=torch.Generator().manual_seed(trainer.recipe.seed))[:FITTED]
    crop = trainer.network.config.crop

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for pixels, numbers in trainer.pictures.batches(order, 256):
            embeddings = torch.from_numpy(lesson.answers.embeddings[numbers.cpu().numpy()])
            known = embeddings.any(1)  # nothing is known of a picture that the teacher could not read
            if known.any():
                yield centre_crops(pixels[known.to(pixels.device)], crop, trainer.normalisation), embeddings[known]

    student.fit_projections(batches())


def describe_data(dataset: Dataset, pictures: Pictures, start: PretrainedWeights | None) -> dict[str, Any]:
    """Return what a checkpoint says of its pictures.

    `learned` are the hashes of all that the weights have seen; `start_learned`, of what the start had, decide what is
    set aside from the same folder again.
    """
    before = start.learned if start else ""
    return {
        "root": str(dataset.root.resolve()),
        "name": dataset.root.resolve().name,
        "pictures": len(pictures) - len(pictures.skipped),
        "fingerprint": dataset.fingerprint,
        "validation_fingerprint": dataset.validation_fingerprint,
        "learned": pack_hashes(unpack_hashes(before) | unpack_hashes(dataset.learned)),
        "start_learned": before,
        **({"fine_tuned_from": start.name, "licence": start.licence} if start else {}),
    }
