"""What a training run tells while it goes on; commands/training_report.py shows it on a terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from index.records import SkippedPhoto

if TYPE_CHECKING:
    from training.loop.checkpoint import EpochMetrics


class Notes(Protocol):
    """Where lines are said."""

    def note(self, text: str) -> None:
        """Say one line."""


def tell_skipped(found: Iterable[SkippedPhoto], report: Notes) -> None:
    """List files that are neither training nor validation pictures, and why."""
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
