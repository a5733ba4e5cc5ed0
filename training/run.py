"""A training run from a folder of pictures to a model file, and going on with one that stopped."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from index.errors import CheckpointError, DatasetError, RunError
from index.records import SkippedPhoto
from retrieval.evaluation import Evaluation, evaluate
from retrieval.model import Model, require_onnxruntime
from retrieval.spec import ModelSpec
from training.architectures import CONFIGS, AlexNetConfig
from training.checkpoint import Checkpoint, EpochMetrics
from training.dataset import Dataset, scan_dataset
from training.embedding import EmbeddingRecipe
from training.export import export_model
from training.hardware import Hardware
from training.initial import Start
from training.interrupt import deferred_interrupts
from training.networks import AlexNet, feature_grid
from training.normalisation import learn_normalisation
from training.pictures import Pictures, load_dataset
from training.recipe import RECIPES, Recipe
from training.results import write_confusion, write_metrics, write_mistakes
from training.schedule import stalled
from training.trainer import Trainer, uses_bfloat16

LAST, BEST, MODEL = "last.pt", "best.pt", "model.onnx"
METRICS, CONFUSION, MISTAKES = "metrics.csv", "confusion.csv", "mistakes.csv"


class Report(Protocol):
    """What a run tells while it goes on."""

    def note(self, text: str) -> None:
        """Say one line."""

    def loading(self, done: int, total: int) -> None:
        """Pictures decoded into memory."""

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Batches of an epoch, with the mean loss, top-1 and pictures a second so far."""

    def epoch(self, row: EpochMetrics, epochs: int) -> None:
        """Finish an epoch."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left in its folder; `spec` and `evaluation` are None if it was interrupted."""

    folder: Path
    history: tuple[EpochMetrics, ...]
    skipped: tuple[SkippedPhoto, ...]
    spec: ModelSpec | None = None
    evaluation: Evaluation | None = None


def first_recipe(*, arch: str | None, start: Start | None) -> Recipe:
    """Return the recipe to change from: that of fine-tuning, or else the default of an architecture."""
    return RECIPES[start.config.arch].for_fine_tuning() if start is not None else RECIPES[arch or "alexnet-64"]


def train(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    hardware: Hardware,
    report: Report,
    config: AlexNetConfig | None = None,
    start: Start | None = None,
    fit_batch: bool = True,
    names: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
) -> TrainResult:
    """Train a network on the pictures of `data`, and leave checkpoints, the model file and tables in `out`.

    `config` is by default that of `recipe.arch`; `start` gives one with weights to fine-tune. `fit_batch` takes smaller
    batches for a set of few pictures. A first SIGINT or SIGTERM saves after the batch in hand and returns. Raises
    DatasetError, RunError, CheckpointError and MissingPackageError.
    """
    require_onnxruntime()  # needed last, after hours perhaps
    _make_folder(out)
    config = replace(start.config if start else config or CONFIGS[recipe.arch], dropout=recipe.dropout)
    if config.arch != recipe.arch:
        raise CheckpointError(
            f"the weights to start from are those of {config.arch}, not {recipe.arch}; leave out --arch"
        )
    _check_crops(recipe, config)
    dataset = scan_dataset(data, validation=recipe.validation, seed=recipe.seed, names=names)
    pictures, validation = _load(dataset, config, hardware, report)
    torch.manual_seed(recipe.seed)
    recipe = _fitted(recipe, len(pictures), fit_batch=fit_batch, report=report)
    network = start.network(config, len(dataset.classes)) if start else AlexNet(config, len(dataset.classes))
    normalisation = learn_normalisation(recipe, pictures, known=start.normalisation if start else None)
    checkpoint = Checkpoint(config, recipe, dataset.classes, normalisation, {}, _describe(dataset, pictures, start))
    trainer = _trainer(checkpoint, network, pictures, validation, hardware)
    return _learn(trainer, checkpoint, dataset, out, report=report, embedding=embedding)


def resume(
    data: Path,
    out: Path,
    *,
    hardware: Hardware,
    report: Report,
    epochs: int | None = None,
    embedding: EmbeddingRecipe | None = None,
) -> TrainResult:
    """Go on exactly where the run in `out` stopped, with its own recipe, of which the number of epochs may be new.

    The rest as `train`. Raises DatasetError also where `data` is not what the run learned from.
    """
    require_onnxruntime()
    checkpoint = Checkpoint.load(out / LAST)
    checkpoint.recipe = recipe = checkpoint.recipe.changed(epochs=epochs)
    dataset = scan_dataset(data, validation=recipe.validation, seed=recipe.seed)
    if checkpoint.data["fingerprint"] != dataset.fingerprint:
        raise DatasetError(
            f"{data} is not the set of pictures that the run in {out} learned from; start a new run with another -o"
        )
    pictures, validation = _load(dataset, checkpoint.config, hardware, report)
    network = AlexNet(checkpoint.config, len(checkpoint.classes))
    trainer = _trainer(checkpoint, network, pictures, validation, hardware)
    trainer.restore(checkpoint)
    return _learn(trainer, checkpoint, dataset, out, report=report, embedding=embedding)


def _load(dataset: Dataset, config: AlexNetConfig, hardware: Hardware, report: Report) -> tuple[Pictures, Pictures]:
    """Decode the pictures. Raises DatasetError where too few can be read."""
    report.note(
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes to learn from, "
        f"{len(dataset.validation)} to check with"
    )
    splits = load_dataset(dataset, config.resize, hardware=hardware, progress=report.loading)
    for split, purpose in zip(splits, ("learn from", "check with"), strict=True):
        if len(split) < 2:
            _tell_skipped([], *splits, report=report)
            raise DatasetError(f"{len(split)} readable pictures to {purpose} are too few; add more to {dataset.root}")
    return splits


def _trainer(
    checkpoint: Checkpoint, network: AlexNet, pictures: Pictures, validation: Pictures, hardware: Hardware
) -> Trainer:
    return Trainer(
        network,
        checkpoint.recipe,
        pictures=pictures,
        validation=validation,
        normalisation=checkpoint.normalisation,
        device=hardware.device,
    )


def _learn(
    trainer: Trainer,
    checkpoint: Checkpoint,
    dataset: Dataset,
    out: Path,
    *,
    report: Report,
    embedding: EmbeddingRecipe | None,
) -> TrainResult:
    """Train to the end, unless a signal asks to stop, and leave the model file and the tables."""
    recipe, device = trainer.recipe, trainer.device
    skipped: list[SkippedPhoto] = []
    _tell_skipped(skipped, trainer.pictures, trainer.validation, report=report)
    arithmetic = "bfloat16" if uses_bfloat16(recipe, device) else "float32"
    report.note(f"{recipe.arch}, {arithmetic} on {device}, {recipe.epochs} epochs of {trainer.steps} batches")
    if not _run_epochs(trainer, checkpoint, out, skipped=skipped, report=report):
        return TrainResult(out, tuple(trainer.history), tuple(skipped))
    spec = export_model(
        Checkpoint.load(out / BEST),
        out / MODEL,
        pictures=trainer.pictures,
        validation=trainer.validation,
        embedding=embedding or EmbeddingRecipe(),
        device=device,
        name=out.name,
    )
    evaluation = evaluate(Model.load(out / MODEL), dataset.validation.paths, dataset.validation.labels)
    write_confusion(out / CONFUSION, evaluation, checkpoint.classes)
    write_mistakes(out / MISTAKES, evaluation)
    return TrainResult(out, tuple(trainer.history), tuple(skipped), spec, evaluation)


def _run_epochs(
    trainer: Trainer, checkpoint: Checkpoint, out: Path, *, skipped: list[SkippedPhoto], report: Report
) -> bool:
    """Train until the recipe's end, or until validation has stalled for long; False if a signal asked to stop."""
    recipe = trainer.recipe

    def tell(done: int, total: int, loss: float, top1: float, rate: float) -> None:
        report.batch(trainer.epoch + 1, recipe.epochs, done, total, loss, top1, rate)

    with deferred_interrupts() as interrupted:
        while trainer.epoch < recipe.epochs and not _gets_no_better(trainer):
            whole = trainer.train_epoch(stop=interrupted, report=tell)
            _tell_skipped(skipped, trainer.pictures, trainer.validation, report=report)
            trainer.save_into(checkpoint)
            # last.pt comes last: what it says is done, is done, wherever a power cut falls.
            if whole and stalled(trainer.history) == 0:
                checkpoint.save(out / BEST)
            if whole:
                write_metrics(out / METRICS, trainer.history)
            checkpoint.save(out / LAST)
            if not whole:
                return False
            report.epoch(trainer.history[-1], recipe.epochs)
    return True


def _gets_no_better(trainer: Trainer) -> bool:
    """Return whether to stop early; while crops are still to grow, there is more to come."""
    patience, history = trainer.recipe.stop_after, trainer.history
    full = bool(history) and history[-1].side == trainer.network.config.crop
    return full and 0 < patience <= stalled(history)


def _tell_skipped(known: list[SkippedPhoto], *splits: Pictures, report: Report) -> None:
    """List files that could not be read; workers find them only as they go, so more may follow after an epoch."""
    for photo in [photo for split in splits for photo in split.skipped if photo not in known]:
        report.note(f"left out: {photo.path}: {photo.reason}")
        known.append(photo)


def _make_folder(out: Path) -> None:
    if (out / LAST).exists():
        raise RunError(
            f"there is a run in {out} already; go on with it with --resume, or choose another folder with -o"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {out} cannot be made ({error.strerror}); choose another with -o") from error


def _check_crops(recipe: Recipe, config: AlexNetConfig) -> None:
    """Refuse crops that are malformed, or too small to leave anything of a map, before the pictures are read."""
    for _, side in recipe.crops(config.crop):
        if feature_grid(replace(config, crop=side)) < 1:
            raise DatasetError(f"--grow {recipe.grow}: {side} pixels are too few for {config.arch}; begin with more")


def _fitted(recipe: Recipe, pictures: int, *, fit_batch: bool, report: Report) -> Recipe:
    """Return the recipe with eight batches or more an epoch, the rate lowered in proportion (Goyal et al. 2017)."""
    batch_size = max(min(recipe.batch_size, pictures // 8), min(pictures, 4)) if fit_batch else recipe.batch_size
    if pictures < batch_size:
        raise DatasetError(
            f"{pictures} pictures to learn from are fewer than one batch of {batch_size}; give a smaller --batch-size"
        )
    if batch_size == recipe.batch_size:
        return recipe
    report.note(f"batches of {batch_size} pictures instead of {recipe.batch_size}: the set is small")
    return replace(recipe, batch_size=batch_size, lr=recipe.lr * batch_size / recipe.batch_size)


def _describe(dataset: Dataset, pictures: Pictures, start: Start | None) -> dict[str, Any]:
    return {
        "root": str(dataset.root.resolve()),
        "name": dataset.root.resolve().name,
        "pictures": len(pictures),
        "fingerprint": dataset.fingerprint,
        **({"fine_tuned_from": start.name} if start else {}),
    }
