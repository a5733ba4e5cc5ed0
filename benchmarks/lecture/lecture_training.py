"""The training experiments of lecture.py: a small AlexNet on a part of a data set, with one thing changed at a time."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import torch
from lecture_part import CPU, Part, middles
from lecture_results import Results, Values
from torch import Tensor

from index.errors import UserError
from retrieval.evaluation.evaluate import evaluate
from retrieval.models.ensemble import Ensemble
from retrieval.models.model import Model
from training.data.normalisation import learn_normalisation
from training.errors import DatasetError
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.recipe import PAPER, Recipe
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_64, Activation, AlexNetConfig, ConvLayer

NETWORK = replace(
    ALEXNET_64,
    resize=36,
    crop=32,
    convs=(
        ConvLayer(16, 5, stride=2, padding=2, pool=True),
        ConvLayer(40, 3, padding=1),
        ConvLayer(56, 3, padding=1),
        ConvLayer(56, 3, padding=1),
        ConvLayer(32, 3, padding=1, pool=True),
    ),
    hidden=(512, 512),
    dropout=0.5,
).changed(norm="none")
"""A narrow `alexnet-64` for 32 pixels, whose conv1 skips every other place, without batch normalisation."""

RECIPE = replace(
    PAPER,
    arch="alexnet-64",
    epochs=50,
    batch_size=64,
    lr=0.01,
    nesterov=True,
    schedule="cosine",
    warmup=1.0,
    mean="colour",
    colour_noise=0.0,
)

FIRST_RATE = 0.005
"""Learning rate that the search for the fastest one of ReLU and of tanh begins with."""

LONGEST = 30
"""Epochs after which reaching the training error is given up."""

TARGET = 0.25
"""The training error of the paper's figure 1."""


@dataclass(frozen=True)
class Variant:
    """What is changed of the network, of the recipe and of the pictures."""

    network: Mapping[str, Any]
    recipe: Mapping[str, Any]
    crops: bool = True


VARIANTS = {
    "base": Variant({}, {}),
    "no crops": Variant({}, {}, crops=False),
    "no mirror images": Variant({}, {"mirror": False}),
    "neither": Variant({}, {"mirror": False}, crops=False),
    "no dropout": Variant({}, {"dropout": 0.0}),
    "response norm": Variant({"norm": "response"}, {}),
    "no overlap": Variant({"overlap": False}, {}),
}
BASE = "base"
"""Everything as in the paper but for local response normalisation, which takes half of the time."""


def trainer_of(part: Part, config: AlexNetConfig, recipe: Recipe, *, crops: bool = True) -> Trainer:
    """Return the trainer of an untrained network; its normalisation is that of the pictures as they are."""
    torch.manual_seed(recipe.seed)
    config = replace(config, dropout=recipe.dropout)
    return Trainer(
        AlexNet(config, len(part.classes)),
        recipe,
        pictures=part.pictures if crops else middles(part.pictures, config.crop),
        validation=part.checked,
        normalisation=learn_normalisation(recipe, part.pictures),
        device=CPU,
    )


def epochs_to(history: list[EpochMetrics], error: float) -> float:
    """Return after how many epochs the training error fell to `error`, between epochs by a straight line; or infinity.

    An epoch's training error is the mean while it was learned from, so it stands for the middle of the epoch.
    """
    before, at = 1.0, 0.0
    for row in history:
        now, middle = 1 - row.train_top1, row.epoch - 0.5
        if now <= error:
            return at + (middle - at) * (before - error) / (before - now)
        before, at = now, middle
    return inf


def speed(part: Part, config: AlexNetConfig, recipe: Recipe) -> Values:
    """Train on the middles of the pictures until the training error is reached, or to the recipe's end."""
    trainer = trainer_of(part, config, recipe, crops=False)
    diverged = False
    while trainer.epoch < recipe.epochs and not diverged and epochs_to(trainer.history, TARGET) == inf:
        try:
            trainer.train_epoch()
        except DatasetError:
            raise
        except UserError:  # the loss is NaN or infinite: the rate is too high
            diverged = True
    found = epochs_to(trainer.history, TARGET)
    error = [1 - row.train_top1 for row in trainer.history]
    return {"epochs": None if found == inf else found, "error": error, "diverged": diverged}


def relu_and_tanh(part: Part, results: Results, *, seeds: int, most: int) -> None:
    """Find the fastest rate of each activation with one seed, and train the others at that rate.

    Without anything that slows learning down: dropout, decay, crops, mirror images.
    """
    plain = RECIPE.changed(dropout=0.0, weight_decay=0.0, mirror=False, epochs=most, schedule="plateau", patience=most)
    activations: tuple[Activation, ...] = ("relu", "tanh")
    for activation in activations:
        config = NETWORK.changed(activation=activation)
        needed = partial(epochs_needed, part=part, results=results, config=config, recipe=plain)
        best = fastest_rate(needed)
        for seed in range(1, seeds):
            needed(best, seed)


def epochs_needed(
    lr: float, seed: int = 0, *, part: Part, results: Results, config: AlexNetConfig, recipe: Recipe
) -> float:
    """Return the epochs to the training error at a rate, infinity where it is not reached."""
    recipe = recipe.changed(lr=lr, seed=seed)
    name = f"relu/{config.activation}/{lr:g}/{seed}"
    return (
        results.measure(name, settings_of(part, config, recipe), lambda: speed(part, config, recipe))["epochs"] or inf
    )


def fastest_rate(epochs: Callable[[float], float]) -> float:
    """Return the rate at which the fewest epochs are needed: halved, or else doubled, as long as that is better."""
    best = FIRST_RATE
    for factor in (0.5, 2.0):
        while epochs(best * factor) < epochs(best):
            best *= factor
        if best != FIRST_RATE:
            break
    return best


def with_and_without(part: Part, results: Results, *, seeds: int, epochs: int) -> None:
    """Train each variant with each seed; a seed of all variants before the next."""
    for seed in range(seeds):
        for name, variant in VARIANTS.items():
            config = NETWORK.changed(**variant.network)
            recipe = RECIPE.changed(**variant.recipe, seed=seed, epochs=epochs)

            file = model_path(results, seed) if name == BASE else None

            def run(
                variant: Variant = variant,
                config: AlexNetConfig = config,
                recipe: Recipe = recipe,
                file: Path | None = file,
            ) -> Values:
                trainer = trainer_of(part, config, recipe, crops=variant.crops)
                while trainer.epoch < recipe.epochs:
                    trainer.train_epoch()
                if file is not None:
                    export(trainer, part, file)
                last = trainer.history[-1]
                return {"top1": last.validation_top1, "train_top1": last.train_top1, "loss": last.validation_loss}

            results.measure(f"parts/{name}/{seed}", settings_of(part, config, recipe), run, file=file)


def settings_of(part: Part, config: AlexNetConfig, recipe: Recipe) -> Values:
    return {
        "classes": [known.id or known.name for known in part.classes],
        "pictures": [len(part.train), len(part.check)],
        "network": asdict(config),
        "recipe": recipe.to_dict(),
    }


def model_path(results: Results, seed: int) -> Path:
    return results.folder / f"seed-{seed}.onnx"


def export(trainer: Trainer, part: Part, out: Path) -> None:
    empty: dict[str, Tensor] = {}
    checkpoint = Checkpoint(
        trainer.network.config, trainer.recipe, part.classes, trainer.normalisation, empty, {"name": "part"}
    )
    export_model(
        trainer.save_into(checkpoint),
        out,
        pictures=trainer.pictures,
        validation=trainer.validation,
        embedding=EmbeddingRecipe(dim=64),
    )


def averaged(part: Part, results: Results, *, seeds: int) -> None:
    """Judge the exported networks on one crop and on ten, each alone and all together, as `fc7 evaluate` does."""
    models = [Model.load(model_path(results, seed)) for seed in range(seeds)]
    settings = {"models": [model.spec.fingerprint for model in models], "pictures": len(part.check)}

    def judge(chosen: list[Model], crops: Any) -> float:
        return evaluate(Ensemble(chosen, crops=crops), part.check.paths, part.check.labels).top1

    def run() -> Values:
        return {
            f"{crops}": {"alone": [judge([model], crops) for model in models], "together": judge(models, crops)}
            for crops in (1, 10)
        }

    results.measure("averaged", settings, run)
