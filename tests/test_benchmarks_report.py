"""What a table says of the machine it was measured on."""

import pytest
import report


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ((130, 1_300), ", 10% of the processors' time taken away by the host"),
        ((100, 1_300), ""),  # a machine of its own
        ((100, 1_000), ""),  # no time has passed, or nothing is known
    ],
)
def test_a_table_says_what_the_host_took(monkeypatch: pytest.MonkeyPatch, now: tuple[int, int], said: str) -> None:
    monkeypatch.setattr(report, "AT_START", (100, 1_000))
    monkeypatch.setattr(report, "processor_time", lambda: now)
    assert report.taken_away() == said


def test_the_processors_time_grows() -> None:
    before = report.processor_time()
    sum(range(10**7))
    stolen, wanted = report.processor_time()
    assert 0 <= stolen <= wanted
    assert (stolen, wanted) >= before
