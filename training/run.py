"""A training run from a folder of pictures to a model file, and going on with one that stopped."""

import csv
import io
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import torch

from index.errors import CheckpointError, DatasetError
from index.files import replacing
from index.records import SkippedPhoto
from retrieval.spec import ModelSpec
from training.augment import Normalisation
from training.checkpoint import Checkpoint, EpochMetrics
from training.dataset import Dataset, scan_dataset
from training.embedding import EmbeddingRecipe
from training.export import export_model
from training.hardware import Hardware
from training.networks import CONFIGS, AlexNet, AlexNetConfig
from training.pictures import Pictures, load_pictures, mean_picture
from training.recipe import Recipe
from training.trainer import Trainer, uses_bfloat16

LAST, BEST, MODEL, METRICS = "last.pt", "best.pt", "model.onnx", "metrics.csv"


class Report(Protocol):
    """What a run tells while it goes on."""

    def note(self, text: str) -> None:
        """Say one line."""

    def loading(self, done: int, total: int) -> None:
        """Pictures decoded into memory."""

    def batch(self, epoch: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Batches of an epoch, with the mean loss, top-1 and pictures a second so far."""

    def epoch(self, row: EpochMetrics, epochs: int) -> None:
        """Finish an epoch."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left in its folder; `spec` is None if it was interrupted."""

    folder: Path
    history: tuple[EpochMetrics, ...]
    skipped: tuple[SkippedPhoto, ...]
    spec: ModelSpec | None


def train(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    hardware: Hardware,
    report: Report,
    resume: bool = False,
    fit_batch: bool = True,
    names: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
) -> TrainResult:
    """Train a network on the pictures of `data`; leave `last.pt`, `best.pt`, `metrics.csv` and `model.onnx` in `out`.

    `resume` goes on exactly where the run in `out` stopped, with its own recipe; only the number of epochs may be new.
    `fit_batch` takes smaller batches for a set of few pictures. A first SIGINT or SIGTERM saves after the batch in hand
    and returns. Raises DatasetError and CheckpointError.
    """
    checkpoint = _open_run(out, recipe, resume=resume)
    if checkpoint is not None:
        recipe = replace(checkpoint.recipe, epochs=recipe.epochs)
    config = checkpoint.config if checkpoint is not None else replace(CONFIGS[recipe.arch], dropout=recipe.dropout)
    recipe.crops(config.crop)  # refuses a malformed value before the pictures are read
    dataset = scan_dataset(data, validation=recipe.validation, seed=recipe.seed, names=names)
    if checkpoint is not None and checkpoint.data["fingerprint"] != dataset.fingerprint:
        raise DatasetError(
            f"{data} is not the set of pictures that the run in {out} learned from; start a new run with another -o"
        )
    report.note(
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes to learn from, "
        f"{len(dataset.validation)} to check with"
    )
    pictures, validation = _load(dataset, config, hardware, report)
    skipped = (*pictures.skipped, *validation.skipped)
    for photo in skipped:
        report.note(f"left out: {photo.path}: {photo.reason}")

    if checkpoint is None:
        recipe = _fitted(recipe, len(pictures), report) if fit_batch else recipe
        if len(pictures) < recipe.batch_size:
            raise DatasetError(
                f"{data} has {len(pictures)} pictures to learn from, fewer than one batch of {recipe.batch_size}; "
                "give a smaller --batch-size"
            )
        checkpoint = Checkpoint(
            config,
            recipe,
            dataset.classes,
            _normalisation(recipe, pictures),
            network={},
            data={
                "root": str(data.resolve()),
                "name": data.resolve().name,
                "pictures": len(pictures),
                "fingerprint": dataset.fingerprint,
            },
        )
    torch.manual_seed(recipe.seed)
    trainer = Trainer(
        AlexNet(config, len(dataset.classes)),
        recipe,
        pictures=pictures,
        validation=validation,
        normalisation=checkpoint.normalisation,
        device=hardware.device,
    )
    if checkpoint.network:
        trainer.restore(checkpoint)
    checkpoint.recipe = recipe
    arithmetic = "bfloat16" if uses_bfloat16(recipe, hardware.device) else "float32"
    report.note(f"{config.arch}, {arithmetic} on {hardware.device}, {recipe.epochs} epochs of {trainer.steps} batches")

    with _interruptible() as interrupted:
        while trainer.epoch < recipe.epochs:
            whole = trainer.train_epoch(stop=interrupted, report=lambda *told: report.batch(trainer.epoch + 1, *told))
            trainer.save_into(checkpoint).save(out / LAST)
            if not whole:
                return TrainResult(out, tuple(trainer.history), skipped, None)
            if _is_best(trainer.history):
                checkpoint.save(out / BEST)
            _write_metrics(out / METRICS, trainer.history)
            report.epoch(trainer.history[-1], recipe.epochs)
    best = Checkpoint.load(out / BEST)
    spec = export_model(
        best,
        out / MODEL,
        pictures=pictures,
        validation=validation,
        embedding=embedding or EmbeddingRecipe(),
        name=out.name,
    )
    return TrainResult(out, tuple(trainer.history), skipped, spec)


def export_checkpoint(
    path: Path,
    out: Path,
    *,
    hardware: Hardware,
    report: Report,
    data: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
    half: bool = True,
) -> ModelSpec:
    """Export a checkpoint; its embedding is learned from `data`, by default the pictures that the run learned from.

    Raises CheckpointError, DatasetError (the pictures are not there any more) and ExportError.
    """
    checkpoint = Checkpoint.load(path)
    root = data or Path(checkpoint.data["root"])
    if not root.is_dir():
        raise DatasetError(
            f"the pictures that {path} learned from are not at {root} any more; give their folder with --data"
        )
    dataset = scan_dataset(root, validation=checkpoint.recipe.validation, seed=checkpoint.recipe.seed)
    if len(dataset.classes) != len(checkpoint.classes):
        raise DatasetError(
            f"{root} has {len(dataset.classes)} classes, {path} learned {len(checkpoint.classes)}; "
            "give its own folder with --data"
        )
    pictures, validation = _load(dataset, checkpoint.config, hardware, report)
    return export_model(
        checkpoint,
        out,
        pictures=pictures,
        validation=validation,
        embedding=embedding or EmbeddingRecipe(),
        half=half,
    )


def _open_run(out: Path, recipe: Recipe, *, resume: bool) -> Checkpoint | None:
    """Make the run's folder, or find the checkpoint to go on from."""
    if resume:
        checkpoint = Checkpoint.load(out / LAST)
        if checkpoint.recipe.arch != recipe.arch:
            raise CheckpointError(
                f"the run in {out} trains {checkpoint.recipe.arch}, not {recipe.arch}; leave out --arch to go on"
            )
        return checkpoint
    if (out / LAST).exists():
        raise CheckpointError(
            f"there is a run in {out} already; go on with it with --resume, or choose another folder with -o"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"the folder {out} cannot be made ({error.strerror}); choose another with -o") from error
    return None


def _load(dataset: Dataset, config: AlexNetConfig, hardware: Hardware, report: Report) -> tuple[Pictures, Pictures]:
    total = len(dataset.train) + len(dataset.validation)
    held = len(dataset.validation) * config.resize**2 * 3

    def load(split_name: str, memory: int, before: int) -> Pictures:
        split = dataset.train if split_name == "train" else dataset.validation
        return load_pictures(
            split,
            config.resize,
            device=hardware.device,
            memory=memory,
            workers=hardware.workers,
            progress=lambda done, _: report.loading(before + done, total),
        )

    validation = load("validation", hardware.memory, 0)
    return load("train", hardware.memory - held, len(dataset.validation)), validation


def _normalisation(recipe: Recipe, pictures: Pictures) -> Normalisation:
    mean, deviation = mean_picture(pictures, seed=recipe.seed)
    if recipe.mean == "picture":
        return Normalisation(mean, torch.ones(3, 1, 1))
    return Normalisation(mean.mean((1, 2), keepdim=True), deviation.reshape(3, 1, 1).clamp(min=1.0))


def _fitted(recipe: Recipe, pictures: int, report: Report) -> Recipe:
    """Return the recipe with eight batches or more an epoch, the rate lowered in proportion (Goyal et al. 2017)."""
    batch_size = max(min(recipe.batch_size, pictures // 8), min(pictures, 4))
    if batch_size == recipe.batch_size:
        return recipe
    report.note(f"batches of {batch_size} pictures instead of {recipe.batch_size}: the set is small")
    return replace(recipe, batch_size=batch_size, lr=recipe.lr * batch_size / recipe.batch_size)


def _is_best(history: list[EpochMetrics]) -> bool:
    """Return whether the last epoch is the best; what was measured on full-sized crops counts more."""
    *others, last = history
    return all((last.side, last.validation_top1) > (row.side, row.validation_top1) for row in others)


def _write_metrics(path: Path, history: list[EpochMetrics]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(EpochMetrics)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: round(value, 6) for key, value in asdict(row).items()} for row in history)
    try:
        with replacing(path) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise CheckpointError(f"{path} could not be written ({error}); make room and go on with --resume") from error


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a wish that can be asked for; a second one interrupts at once."""
    asked = threading.Event()

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
