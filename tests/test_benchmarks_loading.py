"""Pictures come to training nearly as fast as it takes them: half of the goals of loading.py."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from loading import KEPT, READ, READY, OneBatch, Round, first, measure, ratios, sample_split, steady, trainers_of

from training.data.pictures import FolderPictures, MemoryPictures, Pictures
from training.loop.recipe import RECIPES
from training.networks.architectures import ALEXNET_64

CPU = torch.device("cpu")

# Two threads would wait for each other, and for the workers, where the cores are busy.
torch.set_num_threads(1)


def test_a_ratio_is_of_one_round() -> None:
    found = {READY: [Round(100, 0, 1), Round(50, 0, 1)], KEPT: [Round(90, 0, 1), Round(49, 0, 1)]}
    assert ratios(found, KEPT) == (0.9, 0.98)


@pytest.mark.slow
def test_pictures_come_in_time(tmp_path: Path) -> None:
    split = sample_split(tmp_path, 128)
    memory = MemoryPictures(split, ALEXNET_64.resize, device=CPU)
    few = MemoryPictures(first(split, 8), ALEXNET_64.resize, device=CPU)
    read = FolderPictures(split, ALEXNET_64.resize, device=CPU, workers=2)
    kinds: dict[str, Pictures] = {READY: OneBatch(memory, 32), KEPT: memory, READ: read}
    recipe = steady(RECIPES["alexnet-64"], rounds=4, batch_size=32)
    found = measure(trainers_of(ALEXNET_64, recipe, kinds, few, 10, CPU), rounds=4)
    assert [len(rounds) for rounds in found.values()] == [4, 4, 4]
    assert max(ratios(found, KEPT)) > 0.9 / 2
    # Of an epoch of four batches a good part is starting the workers, so this one is told by how long was not waited.
    assert min(one.waiting for one in found[READ]) < 0.5
