"""The tables that a run leaves in its folder: a line an epoch, the confusion matrix, the mistaken pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from index.files import replacing
from retrieval.evaluation.evaluate import Evaluation
from retrieval.models.spec import ClassName
from retrieval.text import csv_line
from training.errors import RunError
from training.loop.run_folder import recovery_hint

if TYPE_CHECKING:
    from training.loop.checkpoint import EpochMetrics


def write_metrics(path: Path, history: "Sequence[EpochMetrics]") -> None:
    """Write a line an epoch. Raises RunError where the file cannot be written."""
    from training.loop.checkpoint import EpochMetrics  # needs torch, which the other tables do without

    names = [column.name for column in fields(EpochMetrics)]
    rows = ([round(value, 6) for value in asdict(row).values()] for row in history)
    _write(path, [names, *rows])


def write_mistakes(path: Path, evaluation: Evaluation) -> None:
    """Write a line for each picture whose class was not the most probable, the surest mistakes first."""
    wrong = sorted(
        (result for result in evaluation.results if result.rank > 1),
        key=lambda result: -result.predicted.probability,
    )
    rows = ([r.path, r.label, r.predicted.label, round(r.predicted.probability, 4), r.rank] for r in wrong)
    _write(path, [["path", "label", "predicted", "probability", "rank"], *rows])


def write_confusion(path: Path, evaluation: Evaluation, classes: Sequence[ClassName]) -> None:
    """Write the confusion matrix: a line for each class, a column for each class that its pictures were taken for."""
    # By id as well: ImageNet has two kinds of crane.
    counts = Counter(((r.label, r.id), (r.predicted.label, r.predicted.id)) for r in evaluation.results)
    keys = [(known.name, known.id) for known in classes]
    rows = ([label[0], *(counts[label, predicted] for predicted in keys)] for label in keys)
    _write(path, [["label", *(known.name for known in classes)], *rows])


def _write(path: Path, rows: Iterable[Sequence[object]]) -> None:
    try:
        with replacing(path) as file:
            file.writelines(csv_line(row).encode("utf-8", "surrogateescape") for row in rows)
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror}); {recovery_hint(path.parent, error)}"
        ) from error
