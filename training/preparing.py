"""What a run does before its first step: check its recipe, read its pictures, fit one to the other."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from index.errors import DatasetError, ModelError, OptionError
from index.records import SkippedPhoto
from retrieval.model import Model, model_file
from training.architectures import AlexNetConfig
from training.dataset import Dataset, Split, mark_of, pack_marks, unpack_marks
from training.distillation import Lesson, as_lesson
from training.hardware import Hardware
from training.initial import Start
from training.networks import feature_grid
from training.pictures import Pictures, load_dataset
from training.processes import Processes
from training.recipe import Recipe
from training.report import ReadingReport, Report, tell_skipped
from training.sources import UNLABELLED, Source, scan_sources
from training.teacher import kept_answers


def check_crops(recipe: Recipe, config: AlexNetConfig) -> None:
    """Refuse crops that are malformed, or too small to leave anything of a map, before the pictures are read."""
    for _, side in recipe.crops(config.crop):
        if feature_grid(replace(config, crop=side)) < 1:
            raise OptionError(f"--grow {recipe.grow}: {side} pixels are too few for {config.arch}; begin with more")


ANSWERS = "answers"
"""The folder of a run in which a teacher's answers lie, where no other is named."""


@dataclass(frozen=True, eq=False)
class Taught:
    """A teacher, the folder that keeps its answers, and which of its classes are learned, where that is known."""

    teacher: Model
    file: Path
    folder: Path
    kept: Sequence[int] | None = None

    @classmethod
    def by(cls, file: Path, hardware: Hardware, *, folder: Path, kept: Sequence[int] | None = None) -> "Taught":
        """Load the teacher, on a GPU where training is. Raises ModelError."""
        gpu = hardware.device.type == "cuda"
        # Batches are asked side by side, a core each.
        return cls(Model.load(file, device="auto" if gpu else "cpu", threads=None if gpu else 1), file, folder, kept)


def find_pictures(
    sources: Sequence[Source],
    recipe: Recipe,
    *,
    hardware: Hardware,
    report: ReadingReport,
    names: Path | None = None,
    learned: str = "",
    taught: Taught | None = None,
    check_found: Callable[[Dataset], None] = lambda _: None,
) -> tuple[Dataset, Lesson | None]:
    """Return the pictures of all sources, and what a teacher says of those to learn from.

    `check_found` is called before the teacher is asked, and may raise. Raises DatasetError.
    """
    scan = partial(scan_sources, sources, validation=recipe.validation, seed=recipe.seed, names=names, learned=learned)
    if taught is None:
        dataset = scan()
        check_found(dataset)
        return dataset, None
    spec = taught.teacher.spec
    group, place = next(iter(spec.slices.items()))
    skipped: list[SkippedPhoto] = []
    dataset = scan(taught=spec.classes[place], group=group or "objects", skipped=skipped)
    check_found(dataset)
    tell_skipped(skipped, report)
    for source, draw in zip(sources, dataset.draws, strict=True):
        unlabelled = dataset.train.labels[draw.start] == UNLABELLED
        what = "pictures without labels" if unlabelled else "labelled pictures"
        report.note(f"{source.root}: {draw.stop - draw.start} {what} to learn from")
    check = dataset.validation
    parts = [
        dataset.train.paths,
        tuple(path for path, label in zip(check.paths, check.labels, strict=True) if label == UNLABELLED),
    ]
    report.note(f"{spec.name} says what is in {sum(map(len, parts))} pictures; that is kept in {taught.folder}")
    try:
        train, validation = (
            hardware.processes.in_turn(
                lambda paths=paths: kept_answers(  # type: ignore[misc]
                    taught.teacher, paths, dataset.root, taught.folder, progress=report.asking
                )
            )
            for paths in parts
        )
    except KeyboardInterrupt:
        report.note("Nothing is learned yet. Run the same command again: what the teacher has answered is kept")
        raise
    dataset, lesson = as_lesson(dataset, train, validation, evidence=recipe.evidence, kept=taught.kept)
    named = {group.name: group.size for group in dataset.groups} or {group or "objects": len(dataset.classes)}
    report.note("classes to learn: " + ", ".join(f"{size} {name}" for name, size in named.items()))
    if strange := list(named)[1:]:
        report.note(
            f"{spec.name} does not know the classes of {', '.join(strange)}: they are learned as a group of their own. "
            "If these folders are no classes, give what they lie in by --unlabelled instead"
        )
    return dataset, lesson


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
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes to learn from, "
        f"{len(dataset.validation)} to check with"
    )
    tell_skipped((SkippedPhoto(path, "not in the folder of a class") for path in dataset.classless), report)
    splits = load_dataset(dataset, config.resize, hardware=hardware, progress=report.loading, cache=cache)
    unreadable = {photo.path for split in splits for photo in split.skipped}
    labels, to_check = (
        [label for path, label in zip(split.paths, split.labels, strict=True) if path not in unreadable]
        for split in (dataset.train, dataset.validation)
    )
    error = None
    if len(labels) < 2 or len(to_check) < 2:
        few, purpose = (labels, "learn from") if len(labels) < 2 else (to_check, "check with")
        error = f"{len(few)} readable pictures to {purpose} are too few; add more to {dataset.root}"
    elif lesson is None and (missing := sorted(set(dataset.train.labels) - set(labels))):
        name = dataset.classes[missing[0]].name
        error = f"none of the pictures of {name} to learn from can be read; add others to {dataset.root}"
    if error is not None:
        tell_skipped([photo for split in splits for photo in split.skipped], report)
        raise DatasetError(error)
    return splits


def fitted_recipe(
    recipe: Recipe, pictures: int, processes: Processes, *, fit_batch: bool, fit_rate: bool, report: Report
) -> Recipe:
    """Return the recipe with batches small enough for eight an epoch, though of four pictures at least.

    With `fit_rate` the rate is lowered in proportion (Goyal et al. 2017). Processes share a batch evenly. Raises
    DatasetError for fewer pictures than a batch. `pictures` are those of an epoch.
    """
    if pictures < 2:
        raise DatasetError(f"an epoch of {pictures} pictures is too short; give a higher --weight")
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
    lr = recipe.lr * batch_size / recipe.batch_size if fit_rate else recipe.lr
    rate = f" at a rate of {lr:.4g} instead of {recipe.lr:g}" if fit_rate else ""
    report.note(f"batches of {batch_size} pictures instead of {recipe.batch_size}{rate}: the set is small")
    return replace(recipe, batch_size=batch_size, lr=lr)


def tell_known(dataset: Dataset, start: Start, report: Report) -> None:
    """Note how many pictures to check with the start has learned from: where all are known, or a validation set is."""
    if learned := unpack_marks(start.learned):
        known = sum(mark_of(path) in learned for path in dataset.validation.paths)
        if known:
            report.note(
                f"{known} of the {len(dataset.validation)} pictures to check with are among those that {start.name} "
                "learned from: accuracy will look better than it is"
            )


def describe_data(dataset: Dataset, pictures: Pictures, start: Start | None) -> dict[str, Any]:
    """Return what a checkpoint says of its pictures.

    `learned` are the marks of all that the weights have seen; `start_learned`, of what the start had, decide what is
    set aside from the same folder again.
    """
    before = start.learned if start else ""
    return {
        "root": str(dataset.root.resolve()),
        "name": dataset.root.resolve().name,
        "pictures": len(pictures) - len(pictures.skipped),
        "fingerprint": dataset.fingerprint,
        "validation_fingerprint": dataset.validation_fingerprint,
        "learned": pack_marks(unpack_marks(before) | unpack_marks(dataset.learned)),
        "start_learned": before,
        **({"fine_tuned_from": start.name, "licence": start.licence} if start else {}),
    }


def describe_sources(
    sources: Sequence[Source], lesson: Lesson | None, taught: Taught | None, cache: Path | None
) -> dict[str, Any]:
    """Return what a checkpoint says of several sources and of a teacher, for `described_sources` to read."""
    described: dict[str, Any] = {
        "name": " + ".join(source.root.resolve().name for source in sources),
        "sources": [[str(source.root.resolve()), source.weight, source.labelled] for source in sources],
        "cache": str(cache.resolve()) if cache else None,
    }
    if taught is not None and lesson is not None:
        spec = taught.teacher.spec
        described["teacher"] = {"name": spec.name, "fingerprint": spec.fingerprint}
        # From anywhere; what is no file here is a name.
        described["teacher_file"] = str(taught.file.resolve() if os.path.exists(taught.file) else taught.file)
        described["answers"] = str(taught.folder.resolve())
        described["kept"] = lesson.kept.tolist()
    return described


def described_sources(
    data: Mapping[str, Any], given: Sequence[Source], hardware: Hardware, *, answers: Path | None = None
) -> tuple[list[Source], Taught | None, Path | None]:
    """Return the sources of an earlier run, at the places now `given`, its teacher and its cache.

    Where it has no cache, the teacher's answers lie in `answers`, by default where they lay when it began. Raises
    DatasetError where there are others, and ModelError for a teacher that is gone or another one now.
    """
    before = [Source(Path(root), weight, labelled) for root, weight, labelled in data.get("sources", ())]
    count = len(before) or 1
    if given and count != len(given):
        raise DatasetError(
            f"the run learned from {count} folder{'s' * (count > 1)}, not {len(given)}; name them all, in their order"
        )
    if before and given:
        sources = [replace(old, root=new.root) for old, new in zip(before, given, strict=True)]
    else:
        sources = before or list(given)
    cache = Path(data["cache"]) if data.get("cache") else None
    if "teacher" not in data:
        return sources, None, cache
    file, folder = Path(data["teacher_file"]), cache or answers or Path(data["answers"])
    if not os.path.isfile(model_file(file)):
        raise ModelError(
            f"the run's teacher, {data['teacher']['name']}, is not at {model_file(file)} any more; put it back, or "
            "start a new run"
        )
    taught = Taught.by(file, hardware, folder=folder, kept=data["kept"])
    if taught.teacher.spec.fingerprint != data["teacher"]["fingerprint"]:
        raise ModelError(f"{file} is another model than the run's teacher was; put that one back, or start a new run")
    return sources, taught, cache
