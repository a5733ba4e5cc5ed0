"""The network on the CPU is fast enough for half of the goals of network.py."""

from pathlib import Path

import network
import pytest
from network import WITH, WITHOUT, Rates
from untrained import write_untrained

from training.networks.architectures import ALEXNET


def test_the_bound_is_that_of_the_faster_product() -> None:
    rates = Rates((200.0, 300.0), (240.0, 150.0), {WITH: (6.0, 6.0), WITHOUT: (8.0, 12.0)}, {WITH: 10, WITHOUT: 10})
    assert rates.share(WITHOUT) == (8 / 24, 12 / 30)
    assert rates.share_with_normalisation == (6 / 8, 6 / 12)


@pytest.mark.slow
def test_the_network_keeps_up_with_the_matrix_product(tmp_path: Path) -> None:
    paths: dict[str, Path | None] = {
        WITH: write_untrained(ALEXNET, tmp_path / "with.onnx"),
        WITHOUT: write_untrained(ALEXNET.changed(norm="none"), tmp_path / "without.onnx"),
    }
    rates = network.measure(paths, rounds=3, seconds=0.2, batch=8, side=1024)
    assert 700e6 < rates.multiply_adds[WITHOUT] < 750e6
    for goal in network.goals(rates):
        assert max(goal.measured) > goal.goal / 2, goal.what
