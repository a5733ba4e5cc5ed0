"""`fc7 train --head`: from folders of classes to a model file, in seconds, with any model file to begin with.

The network's layers stay as they are. What is learned is logistic regression on the embedding, which did as well as
fc7, its square root or both, with a fraction of the values; pictures mirrored as well gained nothing that could be told
from chance (benchmarks/small_sets.py). Needs onnx, not torch.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError
from index.records import SkippedPhoto
from retrieval.evaluation.evaluate import Evaluation, evaluate_answers
from retrieval.models.model import Model, model_file
from retrieval.models.runtime import Device
from retrieval.models.spec import ModelSpec
from retrieval.pipeline.embed import embed_paths
from retrieval.pipeline.memory import decode_within_budget
from training.data.dataset import Dataset, Split
from training.data.image_hashes import image_hash, pack_hashes, unpack_hashes
from training.data.sources import Source, scan_sources
from training.errors import DatasetError
from training.head.examples import Examples, scan_additions
from training.head.graph import write_with_head
from training.head.learn import accuracy_of, learn_head
from training.loop.report import ReadingReport, tell_skipped
from training.loop.results import write_confusion, write_mistakes
from training.loop.run_folder import CONFUSION, MISTAKES, MODEL, make_folder

KEPT = Path("(known from before)")
"""Stands for the path of a picture of which the model has kept the embedding alone."""
FEW = 10
"""Pictures of a class, with fewer than which it is likely to be mistaken."""
SAMPLE = 16
"""Pictures that the file is proven on."""


@dataclass(frozen=True)
class HeadResult:
    """What was left in the folder; `evaluation` is of pictures that were held out."""

    folder: Path
    spec: ModelSpec
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class EmbeddedSplit:
    """The pictures of a split that can be read: paths, labels (n,), embeddings (n, dim)."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    embeddings: NDArray[np.float32]


def train_head(
    sources: Sequence[Source],
    out: Path,
    start: Path,
    *,
    report: ReadingReport,
    names: Path | None = None,
    seed: int = 0,
    device: Device = "auto",
    add: bool = False,
) -> HeadResult:
    """Learn a last layer on the embeddings of the pictures, and leave the model file and tables in `out`.

    With `add` the classes of `start`, which this has made, stay, and the pictures are added to those it learned from.

    `start` is a model file or a name, see `model_file`. Where the data has a validation set, that is what the model is
    judged by; otherwise all pictures are learned from, and it is judged by 5-fold cross-validation: each fold by a
    classifier of the others. Raises DatasetError, ModelError, RunError and ExportError.
    """
    path = model_file(start)
    if path.suffix == ".pt":
        raise ModelError(
            f"{start} is a checkpoint and no model file", hint="give the model.onnx that lies beside a checkpoint"
        )
    with ExitStack() as held:
        make_folder(out, [source.root for source in sources], held)
        model = Model.load(start, device=device, threads=1)
        kept: Examples | None
        if add:
            kept = Examples.of(model.spec)
            dataset = scan_additions([source.root for source in sources], model.spec.classes, names=names)
            tell_added(dataset, model.spec, report)
        else:
            kept = None
            dataset = scan_sources(sources, seed=seed, names=names)
            tell_left_out(dataset, model.spec, report)
        return write_head(model, path, dataset, out, report=report, seed=seed, kept=kept)


def write_head(
    model: Model,
    base: Path,
    dataset: Dataset,
    out: Path,
    *,
    report: ReadingReport,
    seed: int,
    kept: Examples | None = None,
) -> HeadResult:
    """Learn a last layer for a model, whose file is `base`, as `train_head`, in a folder that is there.

    It is learned from what is `kept` too.
    """
    if dataset.divided:  # nothing has to be set aside
        paths = dataset.train.paths + dataset.validation.paths
        together = sorted(zip(paths, dataset.train.labels + dataset.validation.labels, strict=True))
        whole = Split(tuple(path for path, _ in together), tuple(label for _, label in together))
        dataset = replace(dataset, train=whole, validation=Split((), ()))
    classes = len(dataset.classes)
    skipped = [SkippedPhoto(path, "not in the folder of a class") for path in dataset.classless]
    total = len(dataset.train) + len(dataset.validation)
    train = embed_split(model, dataset.train, skipped=skipped, report=report, total=total)
    check = embed_split(model, dataset.validation, skipped=skipped, report=report, total=total, done=len(dataset.train))
    tell_skipped(skipped, report)
    if not train.paths:
        raise DatasetError(f"none of the pictures in {dataset.root} can be read; add others to it")
    train = train if kept is None else with_kept(train, kept)
    tell_few(train.labels, dataset, report)
    found, classifier = learn_head(train.embeddings, train.labels, classes, seed=seed)
    folds = int(found.folds.max()) + 1
    if len(check.paths):
        judged, probabilities = check, classifier.probabilities(check.embeddings)
        source = f"{len(check.paths)} pictures of the validation set"
    else:
        judged, probabilities = train, found.probabilities
        source = f"{folds}-fold cross-validation of {len(train.paths)} pictures"
    known = tell_known(judged.paths, model.spec, report)
    read = [path for path in train.paths if path != KEPT]
    hashes = {image_hash(path) for path in read}
    spec = write_with_head(
        base,
        model.spec,
        classifier,
        out / MODEL,
        name=out.name,
        classes=dataset.classes,
        training={
            "name": dataset.root.resolve().name,
            "pictures": len(train.paths),
            "fingerprint": dataset.fingerprint,
            "head": {"strength": found.strength, "folds": folds, "seed": seed, "learned_before": known},
            "fine_tuned_from": model.spec.name,
            "base_fingerprint": model.spec.fingerprint,
        },
        accuracy={**accuracy_of(probabilities, judged.labels), "source": source},
        learned=pack_hashes(unpack_hashes(model.spec.learned) | {digest for digest in hashes if digest}),
        examples=Examples(train.embeddings, train.labels).packed(),
        sample=np.stack([prepared(model, path) for path in read[:: len(read) // SAMPLE + 1]]),
    )
    evaluation = evaluate_answers(
        Model.load(out / MODEL, device="cpu"),
        judged.paths,
        judged.labels,
        probabilities.astype(np.float32),
        judged.embeddings,
        skipped,
    )
    write_confusion(out / CONFUSION, evaluation, dataset.classes)
    write_mistakes(out / MISTAKES, evaluation)
    return HeadResult(out, spec, evaluation)


def prepared(model: Model, path: Path) -> NDArray[np.uint8]:
    """Decode a picture within the budget of memory, as the model takes it: (crop, crop, 3)."""
    return decode_within_budget(path, lambda photo: model.prepare(photo.image), shorter_side=model.resize)


def embed_split(
    model: Model,
    split: Split,
    *,
    skipped: list[SkippedPhoto],
    report: ReadingReport,
    total: int,
    done: int = 0,
) -> EmbeddedSplit:
    """Return what the model says of a split; what cannot be read is appended to `skipped`."""
    label_of = dict(zip(split.paths, split.labels, strict=True))

    def progress(here: int, _: int) -> None:
        report.loading(done + here, total)

    found = [
        (photo.path, photo.embedding) for photo in embed_paths(model, split.paths, skipped=skipped, progress=progress)
    ]
    return EmbeddedSplit(
        tuple(path for path, _ in found),
        np.array([label_of[path] for path, _ in found], np.int64),
        np.array([row for _, row in found], np.float32).reshape(-1, model.spec.dim),
    )


def with_kept(split: EmbeddedSplit, kept: Examples) -> EmbeddedSplit:
    """Return a split with what is kept of other pictures before it."""
    others = kept.without(split.embeddings)
    return EmbeddedSplit(
        (KEPT,) * len(others.labels) + split.paths,
        np.concatenate([others.labels, split.labels]),
        np.concatenate([others.embeddings, split.embeddings]),
    )


def tell_added(dataset: Dataset, spec: ModelSpec, report: ReadingReport) -> None:
    """Note what is added to a model."""
    new = ", ".join(found.name for found in dataset.classes[len(spec.classes) :])
    more = sum(label < len(spec.classes) for label in dataset.train.labels)
    told = [f"new classes: {new}"] * bool(new) + [f"{more} pictures of classes that it has"] * bool(more)
    report.note(f"added to {spec.name}: {'; '.join(told)}")


def tell_left_out(dataset: Dataset, spec: ModelSpec, report: ReadingReport) -> None:
    """Note which classes a model of the user's own is about to lose, for want of their folders."""
    given = {found.id or found.name for found in dataset.classes}
    lost = [found.name for found in spec.classes if (found.id or found.name) not in given]
    if spec.examples and lost:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        report.note(f"{spec.name} knows {shown}, and the new model will not: --add keeps its classes")


def tell_few(labels: NDArray[np.int64], dataset: Dataset, report: ReadingReport) -> None:
    """Note which classes have few pictures. Raises DatasetError for one with fewer than two."""
    counts = np.bincount(labels, minlength=len(dataset.classes))
    named = [(known.name, int(count)) for known, count in zip(dataset.classes, counts, strict=True)]
    for name, count in named:
        if count < 2:
            raise DatasetError(
                f"{count or 'none'} of the pictures of {name} can be read, and two are needed at least; "
                f"add others to {dataset.root}"
            )
    few = sorted((count, name) for name, count in named if count < FEW)
    report.note(f"{len(labels)} pictures of {len(named)} classes to learn from")
    if few:
        shown = ", ".join(f"{name} ({count})" for count, name in few[:5])
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        report.note(f"few pictures of {shown}{more}: expect mistakes there, and add photos until there are {2 * FEW}")


def tell_known(paths: Sequence[Path], spec: ModelSpec, report: ReadingReport) -> int:
    """Note how many of the pictures that judge a head the layers below have learned from already, and return it.

    A head that is learned again has learned from them itself, but of these its layers knew `learned_before` at most.
    """
    head: Any = spec.training.get("head")
    learned = unpack_hashes(spec.learned)
    known = sum(path == KEPT or image_hash(path) in learned for path in paths) if learned else 0
    if head:
        known = min(known, head["learned_before"])
    if known:
        report.note(
            f"{known} of the pictures are among those that {spec.name} learned from: "
            "accuracy will look better than it is"
        )
    return int(known)
