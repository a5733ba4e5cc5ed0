"""A checkpoint made into a model file once more: with another embedding, name or licence."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from index.records import SkippedPhoto
from retrieval.models.runtime import require_onnxruntime
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.photos.scan import scan_folder
from training.data.dataset import Split, holds_classes, scan_dataset
from training.data.name_tables import read_class_names
from training.data.pictures import load_dataset, load_pictures
from training.data.sources import UNLABELLED, photos_alone
from training.distillation.lesson import described_sources, find_pictures
from training.errors import DatasetError, ExportError
from training.export.embedding import EmbeddingRecipe, chosen
from training.export.export import export_model
from training.export.model_file import check_place
from training.loop.checkpoint import Checkpoint
from training.loop.hardware import Hardware
from training.loop.report import ReadingReport, tell_skipped
from training.loop.run_folder import ANSWERS
from training.networks.architectures import ResizeMode


def export_checkpoint(
    path: Path,
    out: Path,
    *,
    hardware: Hardware,
    report: ReadingReport,
    data: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
    half: bool = True,
    logit_adjustment: float = 0.0,
    prior_photos: Sequence[Path] = (),
    resize: int | None = None,
    resize_mode: ResizeMode | None = None,
    name: str | None = None,
    licence: str = "",
    names: Path | None = None,
) -> ModelSpec:
    """Export a checkpoint; its embedding is learned from `data`, by default the pictures that the run learned from.

    Its accuracy is measured on the pictures that the run set aside. With other pictures nobody knows which of them it
    learned from: then it is that of the run's last epoch, and with `logit_adjustment`, or where the model sees another
    part of a picture (`resize`, `resize_mode`), none. `prior_photos` are folders of photos, with labels or without, in
    which `logit_adjustment` sees how frequent each class is; by default it does in those that the embedding is learned
    from. Raises CheckpointError, DatasetError (the pictures are not there any more, or others), ExportError and
    MissingPackageError.
    """
    require_onnxruntime()
    check_place(out)
    checkpoint = Checkpoint.load(path)
    if names is not None:
        checkpoint.classes = renamed(checkpoint.classes, read_class_names(names))
    config = checkpoint.config.seeing(resize, resize_mode)
    if config.resize != checkpoint.config.resize and checkpoint.normalisation.mean.shape[-1] > 1:
        raise ExportError(
            f"{path} subtracts a mean picture of {checkpoint.config.resize} pixels: pictures have to be of that size",
            hint="leave out the size and the mode, or train with the mean colour",
        )
    as_trained = config == checkpoint.config and not logit_adjustment
    checkpoint = replace(checkpoint, config=config)
    root = data or Path(checkpoint.data["root"])
    if not os.path.isdir(root):
        raise DatasetError(
            f"the pictures that {path} learned from are not at {root} any more", hint="give their folder with --data"
        )
    recipe, start_learned = checkpoint.recipe, checkpoint.data.get("start_learned", "")
    if data is None and "sources" in checkpoint.data:
        sources, taught, _ = described_sources(
            checkpoint.data, (), hardware, answers=kept if os.path.isdir(kept := path.parent / ANSWERS) else None
        )
        dataset, _ = find_pictures(
            sources, recipe, hardware=hardware, report=report, learned=start_learned, taught=taught
        )
    elif "teacher" in checkpoint.data and not holds_classes(root):
        dataset = photos_alone(root, validation=recipe.validation, seed=recipe.seed)
    else:
        dataset = scan_dataset(root, validation=recipe.validation, seed=recipe.seed, learned=start_learned)
    learned = dataset.fingerprint == checkpoint.data["fingerprint"]
    if not learned and data is None:
        raise DatasetError(
            f"the pictures in {root} have changed since {path} learned from them",
            hint=f"add --data {root} to learn the embedding from them as they are now",
        )
    judged = dataset.validation_fingerprint
    # Files of earlier versions do not tell what they were validated with.
    same = learned and checkpoint.data.get("validation_fingerprint", judged) == judged
    if not same:
        did = "did not learn from these pictures" if not learned else "was not validated with these pictures"
        report.note(f"{path} {did}: its accuracy {'stays that of its training' if as_trained else 'is left out'}")
    if logit_adjustment and not learned and not prior_photos:
        report.note(f"how frequent classes are is taken from the pictures in {root}, not from those of the training")
    # Found before anything is decoded, which takes minutes.
    prior_split = find_photos(prior_photos, recipe.seed, report=report) if prior_photos and logit_adjustment else None
    # Decoding all of a large set would take most of the time.
    needed = chosen(len(dataset.train), checkpoint.recipe.seed).tolist()
    dataset = replace(dataset, train=dataset.train.take(needed))
    pictures, validation = load_dataset(
        dataset, config.resize, mode=config.resize_mode, hardware=hardware, progress=report.loading
    )
    prior = None
    if prior_split:
        used = (len(dataset.train) + len(dataset.validation)) * config.resize**2 * 3
        prior = load_pictures(
            prior_split,
            config.resize,
            mode=config.resize_mode,
            device=hardware.device,
            memory=max(hardware.memory - used, 0),
            workers=hardware.workers,
            progress=report.loading,
        )
    tell_skipped([*pictures.skipped, *validation.skipped, *(prior.skipped if prior is not None else ())], report)
    return export_model(
        checkpoint,
        out,
        pictures=pictures,
        validation=validation,
        embedding=embedding or EmbeddingRecipe(),
        accuracy=None if same else accuracy_in_training(checkpoint) if as_trained else {},
        device=hardware.device,
        half=half,
        logit_adjustment=logit_adjustment,
        prior=prior,
        name=name,
        licence=licence,
    )


def find_photos(folders: Sequence[Path], seed: int, *, report: ReadingReport) -> Split:
    """Return the photos in all folders, or as many of them as `chosen` takes. Raises DatasetError."""
    found: dict[Path, None] = {}
    unlisted: list[SkippedPhoto] = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        if not os.path.isdir(folder):
            raise DatasetError(f"there is no folder {folder}; give one that holds photos")
        scan = scan_folder(folder)
        if not scan.photos:
            raise DatasetError(
                f"{folder} holds no photos in which to see how frequent each class is",
                hint="give a folder of photos; tar files are not looked into",
            )
        found |= dict.fromkeys(folder / os.fsdecode(path) for path in scan.photos)
        unlisted += (SkippedPhoto(folder / os.fsdecode(path), reason) for path, reason in scan.unlisted.items())
    tell_skipped(unlisted, report)
    paths = tuple(found)
    return Split(paths, (UNLABELLED,) * len(paths)).take(chosen(len(paths), seed).tolist())


def renamed(classes: Sequence[ClassName], names: Mapping[str, ClassName]) -> tuple[ClassName, ...]:
    """Return classes with the names and synonyms that their ids, or else their present names, have in a table.

    The name of before stays as a synonym: folders are called by it.
    """

    def called(known: ClassName, new: ClassName | None) -> ClassName:
        if new is None:
            return known
        synonyms = dict.fromkeys((*new.synonyms, known.name))
        return ClassName(new.name, known.id, tuple(word for word in synonyms if word != new.name))

    return tuple(called(known, names.get(known.id or known.name)) for known in classes)


def accuracy_in_training(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the accuracy of a checkpoint's last epoch; nothing where that is not of its weights and of whole crops."""
    if checkpoint.step or not checkpoint.history or checkpoint.history[-1].side != checkpoint.config.crop:
        return {}
    last = checkpoint.history[-1]
    return {
        "top1": round(last.validation_top1, 4),
        "top5": round(last.validation_top5, 4),
        "source": "measured in training",
    }
