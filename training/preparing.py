"""What a run does before its first step: check its recipe, read its pictures, fit one to the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from index.errors import DatasetError
from index.records import SkippedPhoto
from training.architectures import AlexNetConfig
from training.dataset import Dataset
from training.hardware import Hardware
from training.initial import Start
from training.networks import feature_grid
from training.pictures import Pictures, load_dataset
from training.processes import Processes
from training.recipe import Recipe
from training.report import Report


def check_crops(recipe: Recipe, config: AlexNetConfig) -> None:
    """Refuse crops that are malformed, or too small to leave anything of a map, before the pictures are read."""
    for _, side in recipe.crops(config.crop):
        if feature_grid(replace(config, crop=side)) < 1:
            raise DatasetError(f"--grow {recipe.grow}: {side} pixels are too few for {config.arch}; begin with more")


def load_splits(
    dataset: Dataset, config: AlexNetConfig, hardware: Hardware, report: Report
) -> tuple[Pictures, Pictures]:
    """Decode the pictures. Raises DatasetError where too few can be read."""
    report.note(
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes to learn from, "
        f"{len(dataset.validation)} to check with"
    )
    splits = load_dataset(dataset, config.resize, hardware=hardware, progress=report.loading)
    for split, purpose in zip(splits, ("learn from", "check with"), strict=True):
        if len(split) < 2:
            tell_skipped([photo for known in splits for photo in known.skipped], [], report)
            raise DatasetError(f"{len(split)} readable pictures to {purpose} are too few; add more to {dataset.root}")
    return splits


def fitted_recipe(recipe: Recipe, pictures: int, processes: Processes, *, fit_batch: bool, report: Report) -> Recipe:
    """Return the recipe with eight batches or more an epoch, the rate lowered in proportion (Goyal et al. 2017).

    A batch is divided evenly among the processes. Raises DatasetError for fewer pictures than a batch.
    """
    batch_size = recipe.batch_size
    if fit_batch:
        fewer = max(min(batch_size, pictures // 8), min(pictures, 4))
        batch_size = max(fewer - fewer % processes.count, min(2 * processes.count, batch_size))
    if pictures < batch_size:
        raise DatasetError(
            f"{pictures} pictures to learn from are fewer than one batch of {batch_size}; give a smaller --batch-size"
        )
    if batch_size == recipe.batch_size:
        return recipe
    report.note(f"batches of {batch_size} pictures instead of {recipe.batch_size}: the set is small")
    return replace(recipe, batch_size=batch_size, lr=recipe.lr * batch_size / recipe.batch_size)


def describe_data(dataset: Dataset, pictures: Pictures, start: Start | None) -> dict[str, Any]:
    """Return what a checkpoint says of its pictures."""
    return {
        "root": str(dataset.root.resolve()),
        "name": dataset.root.resolve().name,
        "pictures": len(pictures),
        "fingerprint": dataset.fingerprint,
        **({"fine_tuned_from": start.name} if start else {}),
    }


def tell_skipped(found: Sequence[SkippedPhoto], known: list[SkippedPhoto], report: Report) -> None:
    """List the files that could not be read and are not `known` yet."""
    for photo in found:
        if photo not in known:
            report.note(f"left out: {photo.path}: {photo.reason}")
            known.append(photo)
