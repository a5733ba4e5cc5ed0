"""What training shows on a terminal: no bar stays there when an error follows it."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from commands.importing import import_command
from commands.models import export_command
from commands.training import train_command
from commands.training_report import TerminalReport
from index.errors import UserError

CLEARED = "\r\x1b[K"


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def read_pictures(report: TerminalReport) -> None:
    report.loading(1, 2)


def fetch_weights(report: TerminalReport) -> None:
    report.fetching(1, 2)


def train_a_little(report: TerminalReport) -> None:
    report.batch(1, 2, 5, 10, 2.5, 0.25, 14.0)


@pytest.mark.parametrize("draw", [read_pictures, fetch_weights, train_a_little])
@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_an_exception_takes_the_bar_away(draw: Callable[[TerminalReport], None], error: type[BaseException]) -> None:
    stream = Terminal()

    def work() -> None:
        with TerminalReport(stream) as report:
            draw(report)
            assert not stream.getvalue().endswith(CLEARED)
            raise error

    with pytest.raises(error):
        work()
    assert stream.getvalue().endswith(CLEARED)


@pytest.mark.parametrize(
    ("command", "work", "draw"),
    [
        (train_command, "training.loop.new_run.train_new", train_a_little),
        (export_command, "training.export.checkpoint_export.export_checkpoint", read_pictures),
        (import_command, "training.pretrained.import_alexnet.import_weights", fetch_weights),
    ],
)
def test_an_error_of_a_command_begins_a_line(
    command: click.Command,
    work: str,
    draw: Callable[[TerminalReport], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, report: TerminalReport, **__: Any) -> None:
        draw(report)
        raise UserError("it went wrong")

    stream = Terminal()
    monkeypatch.setattr(work, fail)
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(UserError, match="it went wrong"):
        command.main([str(tmp_path / "in"), "-o", str(tmp_path / "out")], standalone_mode=False)
    assert stream.getvalue().endswith(CLEARED)
