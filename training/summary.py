"""What `fc7 train` says at its end: how good the model is, what it mistakes, and where to look."""

from collections import Counter
from collections.abc import Iterator

from retrieval.evaluation import Evaluation
from retrieval.facts import summary_line
from retrieval.formats import printable
from training.run import TrainResult
from training.run_folder import CONFUSION, MISTAKES, MODEL

PAIRS = 3
"""Of classes that are told, at most."""


def summary(result: TrainResult) -> Iterator[str]:
    """Yield the lines about a run, safe to show on a terminal; none about one that was interrupted."""
    if result.spec is None or result.evaluation is None:
        return
    yield summary_line(result.folder / MODEL, result.spec)
    found = result.evaluation
    wrong = sum(picture.rank > 1 for picture in found.results)
    yield printable(
        f"{wrong} of {found.pictures} validation pictures mistaken: {result.folder / MISTAKES}; "
        f"all classes: {result.folder / CONFUSION}"
    )
    for (label, predicted), count in most_confused(found):
        yield printable(f"  {count} of {label} taken for {predicted}")


def most_confused(evaluation: Evaluation) -> list[tuple[tuple[str, str], int]]:
    """Return pairs of a class and what its pictures were taken for, the most frequent first, and how often."""
    wrong = [result for result in evaluation.results if result.rank > 1]
    pairs = Counter(((r.label, r.id or ""), (r.predicted.label, r.predicted.id or "")) for r in wrong)
    most = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:PAIRS]
    # ImageNet has two kinds of crane, which only their ids tell apart.
    return [
        ((label, predicted) if label != predicted else (f"{label} ({id})", f"{predicted} ({other})"), count)
        for ((label, id), (predicted, other)), count in most
    ]
