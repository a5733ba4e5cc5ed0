"""A new training run: the default recipe of what it starts from, with the changes that are asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.data.sources import Source
from training.loop.hardware import Hardware
from training.loop.recipe import RECIPES, Recipe
from training.loop.report import Report
from training.loop.run import TrainResult, train
from training.networks.architectures import CONFIGS
from training.pretrained.fine_tuning import PretrainedWeights, read_pretrained

NO_MARGIN_SCALE = 0.75
"""Least share of its square that a crop shows where a network sees all of it: there is no margin to shift a crop in."""


def first_recipe(*, arch: str | None, start: PretrainedWeights | None, teacher: bool = False) -> Recipe:
    """Return the recipe to change from: that of fine-tuning, or else the default of an architecture."""
    if start is not None and not teacher:
        return RECIPES[start.config.arch].for_fine_tuning()
    return RECIPES[start.config.arch if start else arch or ("alexnet-128" if teacher else "alexnet-64")]


def train_new(
    sources: Sequence[Source],
    out: Path,
    *,
    hardware: Hardware,
    report: Report,
    arch: str | None,
    start: Path | None,
    teacher: Path | None,
    shape: Mapping[str, Any],
    changes: Mapping[str, Any],
    names: Path | None,
    cache: Path | None,
) -> TrainResult:
    """Train a new run in `out`, from nothing or from the model or checkpoint `start`.

    `shape` has values of a Shape, and `changes` values of a Recipe; None there leaves the default. Without a batch size
    or a rate they are fitted to the number of pictures. The rest, and what is raised, as `train`.
    """
    pretrained = hardware.processes.together(lambda: read_pretrained(start) if start else None)
    recipe = first_recipe(arch=arch, start=pretrained, teacher=teacher is not None).changed(arch=arch, **changes)
    config = (pretrained.config if pretrained else CONFIGS[recipe.arch]).changed(**shape)
    if config.resize == config.crop and changes["scale"] is None:
        recipe = recipe.changed(scale=NO_MARGIN_SCALE)
    return train(
        sources,
        out,
        recipe,
        hardware=hardware,
        report=report,
        config=config if shape else None,
        start=pretrained,
        start_file=start,
        fit_batch=changes["batch_size"] is None,
        fit_rate=changes["lr"] is None,
        names=names,
        teacher=teacher,
        cache=cache,
    )
