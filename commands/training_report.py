"""What training shows on a terminal: lines and a bar while it goes on, and at its end how good the model is."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from commands.progress_bar import ProgressBar
from retrieval.evaluation.evaluate import Evaluation
from retrieval.info import summary_line
from retrieval.text import printable
from training.loop.run_folder import CONFUSION, MISTAKES, MODEL

if TYPE_CHECKING:
    from training.head.train_head import HeadResult
    from training.loop.checkpoint import EpochMetrics
    from training.loop.run import TrainResult

PAIRS = 3
"""Of classes that are told, at most."""


def summary(result: "TrainResult | HeadResult") -> Iterator[str]:
    """Yield the lines about a run, safe to show on a terminal; none about one that was interrupted."""
    if result.spec is None or result.evaluation is None:
        return
    yield summary_line(result.folder / MODEL, result.spec)
    found = result.evaluation
    kind = "held-out" if "head" in result.spec.training else "validation"
    wrong = sum(picture.rank > 1 for picture in found.results)
    yield printable(
        f"{wrong} of {found.pictures} {kind} pictures mistaken: {result.folder / MISTAKES}; "
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


class TerminalReport:
    """The `Report` of a run, written to `stream`.

    A context manager: its bars are gone when it ends, also by an exception.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fetching = ProgressBar("Fetching", stream)
        self._loading = ProgressBar("Reading", stream)
        self._asking = ProgressBar("Asking the teacher", stream)
        self._training = ProgressBar("Epoch 1", stream)

    def note(self, text: str) -> None:
        """Write one line."""
        self._clear()
        self._stream.write(printable(text) + "\n")
        self._stream.flush()

    def fetching(self, done: int, total: int) -> None:
        """Show how many bytes of a file have come."""
        _draw(self._fetching, done, total)

    def loading(self, done: int, total: int) -> None:
        """Show how many pictures are decoded."""
        _draw(self._loading, done, total)

    def asking(self, done: int, total: int) -> None:
        """Show how many pictures a teacher has answered."""
        _draw(self._asking, done, total)

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Show the state of an epoch; the time left is that of the whole run."""
        self._training.label = f"Epoch {epoch}/{epochs}"
        position, end = (epoch - 1) * total + done, epochs * total
        self._training(position, end, f"loss {loss:.3f}  top-1 {top1:.1%}  {rate:,.0f} pictures/s")

    def epoch(self, row: "EpochMetrics", epochs: int) -> None:
        """Write the line of a finished epoch."""
        self.note(
            f"Epoch {row.epoch}/{epochs}: loss {row.train_loss:.3f}, top-1 {row.train_top1:.1%}; "
            f"validation loss {row.validation_loss:.3f}, top-1 {row.validation_top1:.1%}, "
            f"top-5 {row.validation_top5:.1%}; {row.pictures_per_second:,.0f} pictures/s, {row.seconds:.0f} s "
            f"({row.waiting:.0%} waiting for pictures)"
        )

    def __enter__(self) -> "TerminalReport":
        return self

    def __exit__(self, *exception: object) -> None:
        self._clear()

    def _clear(self) -> None:
        for bar in (self._fetching, self._loading, self._asking, self._training):
            bar.clear()


def _draw(bar: ProgressBar, done: int, total: int) -> None:
    bar(done, total)
    if done >= total:  # what comes next is no part of this
        bar.clear()
