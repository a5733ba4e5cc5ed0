"""What a training run shows while it goes on: lines on a stream, and a bar where that is a terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TextIO

from index.records import SkippedPhoto
from retrieval.formats import printable
from retrieval.progress_bar import ProgressBar

if TYPE_CHECKING:
    from training.checkpoint import EpochMetrics


class Notes(Protocol):
    """Where lines are said."""

    def note(self, text: str) -> None:
        """Say one line."""


def tell_skipped(found: Iterable[SkippedPhoto], report: Notes) -> None:
    """List files that are not learned from or checked with, and why."""
    for photo in found:
        report.note(f"left out: {photo.path}: {photo.reason}")


class ReadingReport(Notes, Protocol):
    """What is told while pictures are read."""

    def loading(self, done: int, total: int) -> None:
        """Pictures decoded."""

    def asking(self, done: int, total: int) -> None:
        """Pictures that a teacher has answered."""


class Report(ReadingReport, Protocol):
    """What a run tells while it goes on."""

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Batches of an epoch, with the mean loss, top-1 and pictures a second so far."""

    def epoch(self, row: "EpochMetrics", epochs: int) -> None:
        """Finish an epoch."""


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


class SilentReport:
    """The `Report` of a process beside the one that reports."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def loading(self, done: int, total: int) -> None:
        """Show nothing."""

    def asking(self, done: int, total: int) -> None:
        """Show nothing."""

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Show nothing."""

    def epoch(self, row: "EpochMetrics", epochs: int) -> None:
        """Write nothing."""


def _draw(bar: ProgressBar, done: int, total: int) -> None:
    bar(done, total)
    if done >= total:  # what comes next is no part of this
        bar.clear()
