"""A training run from a folder of pictures to a model file, and resuming one that stopped."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from index.errors import OptionError
from index.records import SkippedPhoto
from retrieval.evaluation.evaluate import Evaluation, evaluate
from retrieval.models.model import Model, model_file
from retrieval.models.runtime import require_onnxruntime
from retrieval.models.spec import ModelSpec, group_slices
from training.data.dataset import Dataset
from training.data.normalisation import learn_normalisation, sample_crops
from training.data.pictures import Pictures
from training.data.sources import Source
from training.distillation.lesson import Lesson, Taught, describe_sources, described_sources, find_pictures
from training.distillation.objective import TeacherObjective, check_unmixed
from training.errors import CheckpointError, DatasetError, RunError
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.head.scores import fit_scores
from training.head.train_head import write_head
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.hardware import Hardware, why_not_compiled
from training.loop.interrupt import deferred_interrupts
from training.loop.optimisation import chosen_precision, gained, name_of, stalled
from training.loop.prepare import (
    check_crops,
    describe_data,
    fit_to_teacher,
    fitted_recipe,
    load_splits,
    tell_known,
    tell_start,
)
from training.loop.recipe import Recipe
from training.loop.report import Report, tell_skipped
from training.loop.results import write_confusion, write_metrics, write_mistakes
from training.loop.run_folder import ANSWERS, BEST, CONFUSION, LAST, METRICS, MISTAKES, MODEL, make_folder, take_folder
from training.loop.trainer import Trainer, drawn
from training.networks.alexnet import AlexNet, with_batch_norm
from training.networks.architectures import CONFIGS, AlexNetConfig
from training.pretrained.fine_tuning import PretrainedWeights

SECONDS_BETWEEN_CHECKPOINTS = 300
FEW_PICTURES = 2000
"""With fewer, the last layer of a pretrained network names more right than a network learned from nothing."""
RISING = 1.5
"""How many times its first value the loss has to be for it to be said."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left in its folder; `spec` and `evaluation` are None if it was interrupted."""

    folder: Path
    history: tuple[EpochMetrics, ...]
    skipped: tuple[SkippedPhoto, ...]
    spec: ModelSpec | None = None
    evaluation: Evaluation | None = None


def train(
    data: Path | Sequence[Source],
    out: Path,
    recipe: Recipe,
    *,
    hardware: Hardware,
    report: Report,
    config: AlexNetConfig | None = None,
    start: PretrainedWeights | None = None,
    start_file: Path | None = None,
    fit_batch: bool = True,
    fit_rate: bool = True,
    names: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
    teacher: Path | None = None,
    cache: Path | None = None,
) -> TrainResult:
    """Train a network on the pictures of `data`, and leave checkpoints, the model file and tables in `out`.

    With a `teacher`, a model file, the network learns what that says of the pictures, and labels beside where there are
    some. In `cache` decoded pictures and the teacher's answers are kept; without it answers lie in `out`.
    `config` is by default that of `start`, else of `recipe.arch`; `start` has weights to fine-tune, and how its
    pictures are normalised. Without a teacher its last layer is learned first, and fine-tuning makes the model only if
    the last epoch is better in validation; otherwise it is that of `train_head` for `start_file`, where that is a model
    file.
    `fit_batch` takes smaller batches for a set of few pictures, and `fit_rate` then a lower rate. A first SIGINT or
    SIGTERM saves after the batch in hand, or after validation, and returns. Raises DatasetError, RunError,
    CheckpointError, ModelError and MissingPackageError.
    """
    require_onnxruntime()  # needed last, after hours perhaps
    sources = [Source(data)] if isinstance(data, Path) else list(data)

    def prepare() -> tuple[Trainer, Checkpoint, Dataset]:
        shape = replace(config or (start.config if start else CONFIGS[recipe.arch]), dropout=recipe.dropout)
        if shape.arch != recipe.arch:
            raise CheckpointError(
                f"the weights to start from are those of {shape.arch}, not {recipe.arch}", hint="leave out --arch"
            )
        chosen_precision(recipe, hardware.device)
        check_crops(recipe, shape)
        if teacher:
            check_unmixed(recipe)
        taught = Taught.by(teacher, hardware, folder=cache or out / ANSWERS) if teacher else None
        dataset, lesson = find_pictures(
            sources,
            recipe,
            hardware=hardware,
            report=report,
            names=names,
            learned=start.learned if start else "",
            taught=taught,
        )
        if start:
            tell_known(dataset, start, report)
        pictures, validation = load_splits(dataset, shape, hardware, report, lesson=lesson, cache=cache)
        torch.manual_seed(recipe.seed)
        epoch = len(pictures) - len(pictures.skipped)
        if dataset.draws:
            epoch = min(epoch, sum(map(drawn, dataset.draws)))
        fitted = fitted_recipe(recipe, epoch, hardware.processes, fit_batch=fit_batch, fit_rate=fit_rate, report=report)
        network = start.network(shape, len(dataset.classes)) if start else AlexNet(shape, len(dataset.classes))
        if start is None and lesson is None and len(pictures) < FEW_PICTURES:
            report.note(
                f"{len(pictures)} pictures are few to learn a network from nothing: --from builtin --head takes "
                "seconds, and names more of them right"
            )
        normalisation = learn_normalisation(fitted, pictures, known=start.normalisation if start else None)
        if lesson and start and CONFIGS[shape.arch].batch_norm and not shape.batch_norm:
            # A model file has it merged into its weights.
            network = with_batch_norm(network, sample_crops(pictures, normalisation, shape.crop, seed=recipe.seed))
            shape = network.config
        fitted = fitted.changed(mean="colour" if normalisation.mean.shape[-1] == 1 else "picture")
        described = describe_data(dataset, pictures, start)
        if start_file is not None:
            described["start_file"] = str(start_file)
        if lesson or len(sources) > 1 or dataset.draws or cache:
            described |= describe_sources(sources, lesson, taught, cache)
        checkpoint = Checkpoint(shape, fitted, dataset.classes, normalisation, {}, described, groups=dataset.groups)
        first = fit_scores(network, pictures, normalisation, seed=recipe.seed) if start and not lesson else None
        if start and lesson:
            known = start.give_scores(network, dataset.classes, dataset.groups)
            report.note(f"{known} of the {len(dataset.classes)} classes begin with the last layer of {start.name}")
        trainer = _trainer(checkpoint, network, pictures, validation, hardware, report, dataset, lesson)
        if first is not None:
            tell_start(trainer, *first, report)
        if start and lesson:
            fit_to_teacher(trainer, lesson, report)
        return trainer, checkpoint, dataset

    processes = hardware.processes
    with ExitStack() as held:
        processes.on_main(lambda: make_folder(out, [source.root for source in sources], held, cache=cache))
        return _learn(*processes.together(prepare), out, report=report, embedding=embedding)


def resume(
    data: Path | Sequence[Source],
    out: Path,
    *,
    hardware: Hardware,
    report: Report,
    epochs: int | None = None,
    embedding: EmbeddingRecipe | None = None,
) -> TrainResult:
    """Resume exactly where the run in `out` stopped, with its own recipe, of which the number of epochs may be new.

    With more `epochs` the rate and the crops are those of the longer run at that place, so both may go back, and a run
    that stopped early goes on. The rest as `train`. Raises DatasetError also where `data` is not what the run learned
    from, or was validated with.
    """
    require_onnxruntime()

    def prepare() -> tuple[Trainer, Checkpoint, Dataset]:
        if os.path.isdir(out / ANSWERS) and not os.path.exists(out / LAST):
            raise RunError(f"the run in {out} has learned nothing yet", hint="run the command without --resume")
        checkpoint = Checkpoint.load(out / LAST)
        if epochs is not None and epochs < checkpoint.epoch:
            raise OptionError(
                f"{epochs} epochs are fewer than the {checkpoint.epoch} that the run in {out} has done",
                hint="give more --epochs",
            )
        checkpoint.recipe = recipe = checkpoint.recipe.changed(epochs=epochs)
        if epochs is not None:
            checkpoint.patience_from = checkpoint.epoch
        chosen_precision(recipe, hardware.device)
        sources = [Source(data)] if isinstance(data, Path) else list(data)
        sources, taught, cache = described_sources(checkpoint.data, sources, hardware, answers=out / ANSWERS)

        def check_same(found: Dataset, key: str, done: str) -> None:
            fingerprint = getattr(found, key)
            # Files of earlier versions do not tell what they were validated with.
            if checkpoint.data.get(key, fingerprint) != fingerprint:
                raise DatasetError(
                    f"{found.root} is not the set of pictures that the run in {out} {done}",
                    hint="start a new run with another -o",
                )

        dataset, lesson = find_pictures(
            sources,
            recipe,
            hardware=hardware,
            report=report,
            learned=checkpoint.data.get("start_learned", ""),
            taught=taught,
            check_found=lambda found: check_same(found, "fingerprint", "learned from"),
        )
        check_same(dataset, "validation_fingerprint", "was validated with")
        pictures, validation = load_splits(dataset, checkpoint.config, hardware, report, lesson=lesson, cache=cache)
        network = AlexNet(checkpoint.config, len(checkpoint.classes))
        trainer = _trainer(checkpoint, network, pictures, validation, hardware, report, dataset, lesson)
        trainer.restore(checkpoint)
        return trainer, checkpoint, dataset

    processes = hardware.processes
    with ExitStack() as held:
        # Where there is no folder, it says more that there is no checkpoint.
        processes.on_main(lambda: take_folder(out, held) if os.path.isdir(out) else None)
        return _learn(*processes.together(prepare), out, report=report, embedding=embedding)


def _trainer(
    checkpoint: Checkpoint,
    network: AlexNet,
    pictures: Pictures,
    validation: Pictures,
    hardware: Hardware,
    report: Report,
    dataset: Dataset,
    lesson: Lesson | None,
) -> Trainer:
    reason = why_not_compiled(hardware.device) if hardware.compiled else None
    if reason is not None:
        report.note(f"torch.compile does not work here ({reason}); training goes on without it")
    return Trainer(
        network,
        checkpoint.recipe,
        pictures=pictures,
        validation=validation,
        normalisation=checkpoint.normalisation,
        device=hardware.device,
        processes=hardware.processes,
        compiled=hardware.compiled and reason is None,
        objective=TeacherObjective(checkpoint.recipe, lesson, hardware.device) if lesson else None,
        draws=dataset.draws,
        groups=tuple(group_slices(dataset.groups, len(dataset.classes)).values()),
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
    recipe, processes = trainer.recipe, trainer.processes
    skipped: list[SkippedPhoto] = []
    _tell_skipped(skipped, trainer, report)
    several = f" in {processes.world_size} processes" if processes.world_size > 1 else ""
    report.note(
        f"{recipe.arch}, {name_of(trainer.precision)} on {trainer.device}{several}, "
        f"{recipe.epochs} epochs of {trainer.steps} batches"
    )
    if not _run_epochs(trainer, checkpoint, out, skipped=skipped, report=report):
        return TrainResult(out, tuple(trainer.history), tuple(skipped))

    def finish() -> tuple[ModelSpec, Evaluation]:
        best = Checkpoint.load(out / BEST)
        if best.history and best.epoch == 0:
            report.note("fine-tuning gains nothing in validation: the model is the start with a last layer of its own")
            base = model_file(Path(best.data.get("start_file", "")))
            if base.suffix == ".onnx" and os.path.isfile(base):
                head = write_head(Model.load(base, threads=1), base, dataset, out, report=report, seed=recipe.seed)
                return head.spec, head.evaluation
        spec = export_model(
            best,
            out / MODEL,
            pictures=trainer.pictures,
            validation=trainer.validation,
            embedding=embedding or EmbeddingRecipe(),
            device=trainer.device,
            name=out.name,
        )
        evaluation = evaluate(Model.load(out / MODEL, threads=1), dataset.validation.paths, dataset.validation.labels)
        write_confusion(out / CONFUSION, evaluation, checkpoint.classes)
        write_mistakes(out / MISTAKES, evaluation)
        return spec, evaluation

    return TrainResult(out, tuple(trainer.history), tuple(skipped), *processes.on_main(finish))


def _run_epochs(
    trainer: Trainer, checkpoint: Checkpoint, out: Path, *, skipped: list[SkippedPhoto], report: Report
) -> bool:
    """Train until the recipe's end, or until validation has stalled for long; False if a signal asked to stop."""
    recipe = trainer.recipe

    def tell(done: int, total: int, loss: float, top1: float, rate: float) -> None:
        report.batch(trainer.epoch + 1, recipe.epochs, done, total, loss, top1, rate)

    saved = time.monotonic()
    if trainer.history and trainer.epoch == 0 and not trainer.step:
        trainer.save_into(checkpoint)
        trainer.processes.on_main(partial(_save, trainer, checkpoint, out, whole=True))

    def stop() -> bool:
        # An epoch may take an hour: it is left, saved and resumed at once, which costs next to nothing.
        return interrupted() or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS

    told = False
    with deferred_interrupts() as interrupted:
        while trainer.epoch < recipe.epochs:
            if _gets_no_better(trainer, since=checkpoint.patience_from):
                report.note(f"stopped after epoch {trainer.epoch}: {recipe.stop_after} were no better in validation")
                break
            whole = trainer.train_epoch(stop=stop, report=tell)
            _tell_skipped(skipped, trainer, report)
            trainer.save_into(checkpoint)
            trainer.processes.on_main(partial(_save, trainer, checkpoint, out, whole=whole))
            saved = time.monotonic()
            if whole:
                report.epoch(trainer.history[-1], recipe.epochs)
                if not told and trainer.history[-1].train_loss > RISING * trainer.history[0].train_loss:
                    told = True
                    report.note(f"the loss rises; a new run with an --lr below {recipe.lr:g} may learn more")
            # A signal may have come in validation, too.
            if trainer.processes.any(interrupted()):
                return False
    return True


def _save(trainer: Trainer, checkpoint: Checkpoint, out: Path, *, whole: bool) -> None:
    # last.pt comes last: what it says is done, is done, wherever a power cut falls.
    if whole and _makes_the_model(trainer):
        checkpoint.save(out / BEST)
    if whole:
        write_metrics(out / METRICS, trainer.history)
    checkpoint.save(out / LAST)


def _makes_the_model(trainer: Trainer) -> bool:
    """Return whether the model is to be that of the epoch that has just ended, as far as is known by now.

    In fine-tuning it is the last epoch or none: the best of many epochs, by few pictures, is the luckiest.
    """
    history = trainer.history
    if history[0].epoch > 0:
        return stalled(history) == 0
    return len(history) == 1 or (trainer.epoch == trainer.recipe.epochs and gained(history))


def _gets_no_better(trainer: Trainer, *, since: int) -> bool:
    """Return whether to stop early; while crops are still to grow, there is more to come."""
    patience, history = trainer.recipe.stop_after, trainer.history
    full = bool(history) and history[-1].side == trainer.network.config.crop
    if full and history[0].epoch == 0 and stalled(history) < len(history) - 1:
        return False  # it gains, and the model is that of the last epoch
    return full and 0 < patience <= min(stalled(history), trainer.epoch - since)


def _tell_skipped(known: list[SkippedPhoto], trainer: Trainer, report: Report) -> None:
    """List files that could not be read; workers find them only as they go, so more may follow after an epoch."""
    for found in trainer.processes.gather([*trainer.pictures.skipped, *trainer.validation.skipped]):
        new = [photo for photo in found if photo not in known]
        tell_skipped(new, report)
        known += new
