"""The training experiments of lecture.py: a small AlexNet on a part of a data set, with one thing changed at a time."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from lecture_results import Results, Values
from torch import Tensor

from index.errors import UserError
from index.records import SkippedPhoto
from retrieval.ensemble import Ensemble
from retrieval.evaluation import evaluate
from retrieval.model import Model
from retrieval.spec import ClassName
from training.architectures import ALEXNET_64, Activation, AlexNetConfig
from training.checkpoint import Checkpoint, EpochMetrics
from training.dataset import Split, scan_dataset
from training.embedding import EmbeddingRecipe
from training.export import export_model
from training.networks import AlexNet
from training.normalisation import learn_normalisation
from training.pictures import MemoryPictures, Pictures
from training.recipe import PAPER, Recipe
from training.trainer import Trainer

CPU = torch.device("cpu")


NETWORK = replace(
    ALEXNET_64,
    resize=36,
    crop=32,
    convs=tuple(replace(conv, filters=conv.filters // 4) for conv in ALEXNET_64.convs),
    hidden=(512, 512),
    dropout=0.5,
).changed(norm="none")
"""`alexnet-64` at 32 pixels with a quarter of its filters, half of its hidden neurons and no batch normalisation."""

RECIPE = replace(
    PAPER,
    arch="alexnet-64",
    epochs=15,
    batch_size=64,
    lr=0.02,
    nesterov=True,
    schedule="cosine",
    warmup=1.0,
    mean="colour",
    colour_noise=0.0,
)

RATES = (0.005, 0.01, 0.02, 0.04)
"""What the learning rate of ReLU and of tanh is chosen from, for each the one that gets there first."""

LONGEST = 40
"""Epochs after which reaching the training error is given up."""

TARGET = 0.25
"""The training error of the paper's figure 1."""


@dataclass(frozen=True)
class Part:
    """A few classes of a data set, decoded: pictures to learn from and to check with."""

    classes: tuple[ClassName, ...]
    train: Split
    check: Split
    pictures: Pictures
    checked: Pictures


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


class StoredPictures:
    """Squares that are decoded already, as `training.pictures.Pictures`."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.skipped: list[SkippedPhoto] = []
        self._pixels, self._labels = pixels, labels

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels uint8 (n, size, size, 3), labels int64 (n,))."""
        for numbers in torch.split(order, batch_size):
            yield self._pixels[numbers], self._labels[numbers]


def read_part(data: Path, *, classes: int, each: int) -> Part:
    """Draw classes by a seed, and `each` training pictures of each; the rest of them and the validation set check."""
    dataset = scan_dataset(data)
    chosen = sorted(random.Random(0).sample(range(len(dataset.classes)), classes))
    learn: list[tuple[Path, int]] = []
    check: list[tuple[Path, int]] = []
    for label, number in enumerate(chosen):
        paths, more = paths_of(dataset.train, number), paths_of(dataset.validation, number)
        random.Random(number).shuffle(paths)
        learn += [(path, label) for path in paths[:each]]
        check += [(path, label) for path in (*paths[each:], *more)]
    train, checked = as_split(learn), as_split(check)
    return Part(
        tuple(dataset.classes[number] for number in chosen),
        train,
        checked,
        MemoryPictures(train, NETWORK.resize, device=CPU),
        MemoryPictures(checked, NETWORK.resize, device=CPU),
    )


def paths_of(split: Split, label: int) -> list[Path]:
    return [path for path, found in zip(split.paths, split.labels, strict=True) if found == label]


def as_split(pairs: list[tuple[Path, int]]) -> Split:
    return Split(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def middles(pictures: Pictures, network: AlexNetConfig) -> StoredPictures:
    """Return the pictures cut to the central crop, so that a random crop of them is always the same."""
    pixels, labels = next(pictures.batches(torch.arange(len(pictures)), len(pictures)))
    edge = (network.resize - network.crop) // 2
    return StoredPictures(pixels[:, edge:-edge, edge:-edge], labels)


def trainer_of(part: Part, config: AlexNetConfig, recipe: Recipe, *, crops: bool = True) -> Trainer:
    """Return the trainer of an untrained network; its normalisation is that of the pictures as they are."""
    torch.manual_seed(recipe.seed)
    config = replace(config, dropout=recipe.dropout)
    return Trainer(
        AlexNet(config, len(part.classes)),
        recipe,
        pictures=part.pictures if crops else middles(part.pictures, config),
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


def speed(part: Part, activation: Activation, lr: float, seed: int, *, most: int) -> Values:
    """Train without anything that slows learning down until the training error is reached."""
    plain = {"dropout": 0.0, "weight_decay": 0.0, "mirror": False}
    recipe = RECIPE.changed(**plain, epochs=most, lr=lr, seed=seed, schedule="plateau", patience=most)
    trainer = trainer_of(part, NETWORK.changed(activation=activation), recipe, crops=False)
    try:
        while trainer.epoch < most and epochs_to(trainer.history, TARGET) == inf:
            trainer.train_epoch()
    except UserError:  # the rate is too high for it
        return {"epochs": None, "error": [1 - row.train_top1 for row in trainer.history], "diverged": True}
    found = epochs_to(trainer.history, TARGET)
    return {
        "epochs": None if found == inf else found,
        "error": [1 - row.train_top1 for row in trainer.history],
        "diverged": False,
    }


def relu_and_tanh(part: Part, results: Results, *, seeds: int, most: int) -> None:
    """Choose the rate of each activation with one seed, and measure the others at that rate."""
    settings = {**settings_of(part, NETWORK, RECIPE), "most": most}
    activations: tuple[Activation, ...] = ("relu", "tanh")
    for activation in activations:

        def run(lr: float, seed: int, activation: Activation = activation) -> Values:
            name = f"relu/{activation}/{lr:g}/{seed}"
            return results.measure(name, settings, lambda: speed(part, activation, lr, seed, most=most))

        found = {lr: run(lr, 0)["epochs"] or inf for lr in RATES}
        best = min(found, key=lambda lr: found[lr])
        for seed in range(1, seeds):
            run(best, seed)


def with_and_without(part: Part, results: Results, *, seeds: int, epochs: int) -> None:
    """Train each variant with each seed; a seed of all variants before the next."""
    for seed in range(seeds):
        for name, variant in VARIANTS.items():
            config = NETWORK.changed(**variant.network)
            recipe = RECIPE.changed(**variant.recipe, seed=seed, epochs=epochs)

            def run(
                name: str = name, variant: Variant = variant, config: AlexNetConfig = config, recipe: Recipe = recipe
            ) -> Values:
                trainer = trainer_of(part, config, recipe, crops=variant.crops)
                while trainer.epoch < recipe.epochs:
                    trainer.train_epoch()
                if name == BASE:
                    export(trainer, part, model_path(results, recipe.seed))
                last = trainer.history[-1]
                return {"top1": last.validation_top1, "train_top1": last.train_top1, "loss": last.validation_loss}

            results.measure(f"parts/{name}/{seed}", settings_of(part, config, recipe), run)


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
