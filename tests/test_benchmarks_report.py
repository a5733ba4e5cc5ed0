"""What a table says of the machine it was measured on."""

import time

import pytest
import report

from retrieval.pipeline.machine import usable_cores


@pytest.mark.parametrize(("seconds", "said"), [(5.0, "; its host took 25% of the time"), (0.0, "")])
def test_a_table_says_what_the_host_took(monkeypatch: pytest.MonkeyPatch, seconds: float, said: str) -> None:
    monkeypatch.setattr(report, "AT_START", (time.monotonic() - 20, 7.0))
    monkeypatch.setattr(report, "taken_by_host", lambda: 7.0 + seconds * usable_cores())
    assert report.taken_away() == said
