"""What there is to learn: the pictures of all sources, and what a teacher says of them."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError
from index.records import SkippedPhoto
from retrieval.models.model import Model, model_file
from retrieval.models.spec import group_slices, require_classes
from training.data.dataset import Dataset, Split
from training.data.sources import UNLABELLED, Source, scan_sources
from training.distillation.teacher import Answers, kept_answers
from training.errors import DatasetError
from training.loop.hardware import Hardware
from training.loop.recipe import Recipe
from training.loop.report import ReadingReport, tell_skipped

SURE = 0.5
"""The probability from which on a teacher's word counts as evidence that a class is to be seen."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What there is to learn of n training pictures.

    `labels` (n,) number the student's classes, UNLABELLED where there is none; `kept` are the teacher's classes that
    are learned, which are the student's first.
    """

    labels: NDArray[np.int64]
    answers: Answers
    kept: NDArray[np.int64]
    slices: tuple[slice, ...]
    """The student's groups of classes; the first is the teacher's."""


def as_lesson(
    dataset: Dataset, train: Answers, validation: Answers, *, evidence: int, kept: Sequence[int] | None = None
) -> tuple[Dataset, Lesson]:
    """Return the data set with those of the teacher's classes that its pictures show, and what there is to learn.

    A class counts as shown by `evidence` pictures that carry its label or of which the teacher is sure; `kept` names
    the classes instead, as an earlier part of the run found them. `validation` are the answers for validation pictures
    without labels, in their order, which get the teacher's best; one that it could not read stays, for whoever reads it
    to list. Raises DatasetError where fewer than two classes are shown.
    """
    taught = train.probabilities.shape[1]
    labels = np.array(dataset.train.labels, np.int64)
    if kept is None:
        counts = np.zeros(taught, np.int64)
        for start in range(0, len(labels), 8192):
            rows = train.probabilities[start : start + 8192]
            best = np.where(rows.max(1) >= SURE, rows.argmax(1), UNLABELLED)
            known = labels[start : start + 8192]
            best = np.where((known >= 0) & (known < taught), known, best)
            counts += np.bincount(best[best >= 0], minlength=taught)
        chosen = np.flatnonzero(counts >= evidence)
    else:
        chosen = np.array(kept, np.int64)
    if len(chosen) < 2:
        told = ""
        if problems := train.problems:
            first, why = next(iter(problems.items()))
            told = f"; {len(problems):,} of {len(train):,} could not be read, first {dataset.train.paths[first]}: {why}"
        raise DatasetError(
            f"{evidence} or more pictures show {len(chosen)} of the teacher's classes{told}; {_more_evidence(evidence)}"
        )
    numbers = np.full(len(dataset.classes), UNLABELLED, np.int64)
    numbers[chosen] = np.arange(len(chosen))
    numbers[taught:] = len(chosen) + np.arange(len(dataset.classes) - taught)
    classes = (*(dataset.classes[number] for number in chosen), *dataset.classes[taught:])
    groups = tuple(
        replace(group, size=len(chosen)) if place == 0 else group for place, group in enumerate(dataset.groups)
    )
    checked = np.array(dataset.validation.labels, np.int64)
    said = validation.probabilities
    checked[checked < 0] = np.where(said.any(1), said.argmax(1), chosen[0])
    checked = numbers[checked]
    paths = dataset.validation.paths
    shown = [place for place, label in enumerate(checked) if label >= 0]
    if len(shown) < 2:
        raise DatasetError(
            f"{len(shown)} pictures of the classes to learn are too few for validation; {_more_evidence(evidence)}"
        )
    return (
        replace(
            dataset,
            classes=classes,
            groups=groups,
            validation=Split(tuple(paths[n] for n in shown), tuple(int(checked[n]) for n in shown)),
        ),
        Lesson(
            np.where(labels >= 0, numbers[labels], UNLABELLED),
            train,
            chosen,
            tuple(group_slices(groups, len(classes)).values()),
        ),
    )


def _more_evidence(evidence: int) -> str:
    return "give more photos" + (", or a lower --evidence" if evidence > 1 else "")


@dataclass(frozen=True, eq=False)
class Taught:
    """A teacher, the folder that keeps its answers, and which of its classes are learned, where that is known."""

    teacher: Model
    file: Path
    folder: Path
    kept: Sequence[int] | None = None

    @classmethod
    def by(cls, file: Path, hardware: Hardware, *, folder: Path, kept: Sequence[int] | None = None) -> "Taught":
        """Load the teacher, on a GPU where training is. Raises ModelError, also for one without classes to teach."""
        gpu = hardware.device.type == "cuda"
        # Batches are asked side by side, a core each.
        teacher = Model.load(file, device="auto" if gpu else "cpu", threads=None if gpu else 1)
        require_classes(teacher.spec)
        return cls(teacher, file, folder, kept)


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
        what = "training pictures without labels" if unlabelled else "labelled training pictures"
        report.note(f"{source.root}: {draw.stop - draw.start} {what}")
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


def describe_sources(
    sources: Sequence[Source], lesson: Lesson | None, taught: Taught | None, cache: Path | None
) -> dict[str, Any]:
    """Return what a checkpoint says of several sources and of a teacher, for `described_sources` to read."""
    described: dict[str, Any] = {
        "name": " + ".join(source.root.resolve().name for source in sources),
        # Not resolved: what a link leads to has other paths, for which the teacher would be asked again.
        "sources": [[os.path.abspath(source.root), source.weight, source.labelled] for source in sources],
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
