import io

import pytest

from commands.progress_bar import ProgressBar
from commands.training_report import TerminalReport
from training.loop.checkpoint import EpochMetrics


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What was drawn, each drawing a line."""
        return self.getvalue().split("\r\x1b[K")[1:]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by ten seconds whenever it is looked at."""
    times = [0.0]

    def monotonic() -> float:
        times[0] += 10
        return times[0]

    monkeypatch.setattr("time.monotonic", monotonic)
    monkeypatch.setenv("COLUMNS", "120")
    return times


def test_nothing_is_drawn_off_a_terminal() -> None:
    stream = io.StringIO()
    with ProgressBar("Indexing", stream) as progress:
        progress(1, 2)
    assert stream.getvalue() == ""


def test_a_hidden_bar_is_not_drawn() -> None:
    stream = Terminal()
    with ProgressBar("Indexing", stream, hidden=True) as progress:
        progress(1, 2)
    assert stream.getvalue() == ""


def test_it_tells_how_much_is_done_and_what_is_left(clock: list[float]) -> None:
    stream = Terminal()
    with ProgressBar("Indexing", stream) as progress:
        progress(0, 4000)
        progress(1000, 4000)
    first, second, end = stream.lines()
    assert first == "Indexing [                    ]   0%  … left  0 of 4,000  "
    assert second == "Indexing [#####               ]  25%  0:00:30 left  1,000 of 4,000  "
    assert end == ""


def test_what_cannot_be_counted_is_said(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    with ProgressBar("Indexing", stream) as progress:
        progress.say("sorting")
        monkeypatch.setenv("COLUMNS", "16")
        progress.say("sorting")
    assert stream.lines() == ["Indexing: sorting …", "Indexing: sorti", ""]
    quiet = io.StringIO()
    ProgressBar("Indexing", quiet).say("sorting")
    assert quiet.getvalue() == ""


def test_what_an_earlier_run_did_does_not_count_for_the_speed(clock: list[float]) -> None:
    stream = Terminal()
    progress = ProgressBar("Epoch 9", stream)
    progress(900, 1000)
    progress(950, 1000)
    assert "0:00:10 left" in stream.lines()[-1]


def test_it_stays_on_one_line_of_a_narrow_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    ProgressBar("Indexing", stream)(1, 10_000_000, "a long note")
    assert max(map(len, stream.lines())) == 39


def test_it_is_not_drawn_too_often() -> None:
    stream = Terminal()
    progress = ProgressBar("Indexing", stream)
    for done in range(10_000):
        progress(done, 10_000)
    assert len(stream.lines()) < 100


def test_the_line_is_gone_after_an_exception(clock: list[float]) -> None:
    stream = Terminal()

    def work() -> None:
        with ProgressBar("Indexing", stream) as progress:
            progress(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_training_run_writes_a_line_for_each_epoch() -> None:
    stream = io.StringIO()
    report = TerminalReport(stream)
    report.note("100 pictures")
    report.loading(100, 100)
    report.batch(1, 3, 10, 10, 2.5, 0.25, 1234.0)
    report.epoch(
        EpochMetrics(
            epoch=1,
            side=32,
            lr=0.1,
            train_loss=2.5,
            train_top1=0.25,
            validation_loss=2.0,
            validation_top1=0.5,
            validation_top5=0.9,
            pictures_per_second=1234.0,
            waiting=0.02,
            seconds=12.3,
        ),
        3,
    )
    assert stream.getvalue() == (
        "100 pictures\n"
        "Epoch 1/3: loss 2.500, top-1 25.0%; validation loss 2.000, top-1 50.0%, top-5 90.0%; 1,234 pictures/s, 12 s "
        "(2% waiting for pictures)\n"
    )


def test_the_bar_of_a_training_run_is_that_of_all_epochs(clock: list[float]) -> None:
    stream = Terminal()
    report = TerminalReport(stream)
    report.batch(2, 3, 5, 10, 2.5, 0.25, 1234.0)
    assert stream.lines()[-1] == (
        "Epoch 2/3 [##########          ]  50%  … left  15 of 30  loss 2.500  top-1 25.0%  1,234 pictures/s"
    )
