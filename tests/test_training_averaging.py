"""The running average of weights: its formula, what it judges, and that it is kept and resumed exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training_trainer import NORMALISATION
from training_samples import CPU, TINY, TINY_RECIPE, as_split, checkpoint_of, lively, write_shapes

from training.data.pictures import MemoryPictures
from training.loop.checkpoint import Checkpoint
from training.loop.optimisation import WeightAverage
from training.loop.trainer import Trainer
from training.loop.validation import validate
from training.networks.alexnet import AlexNet
from training.pretrained.fine_tuning import read_pretrained

RECIPE = TINY_RECIPE.changed(ema=0.9, batch_size=4, epochs=2, precision="float32")


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[[], Trainer]:
    pictures = MemoryPictures(as_split(write_shapes(tmp_path / "data", each=4)), TINY.resize, device=CPU.device)

    def make() -> Trainer:
        torch.manual_seed(0)
        return Trainer(
            AlexNet(TINY, 3),
            RECIPE,
            pictures=pictures,
            validation=pictures,
            normalisation=NORMALISATION,
            device=CPU.device,
        )

    return make


def test_the_average_is_exponential_with_a_decay_that_grows_at_first() -> None:
    network = lively(TINY, 3)
    average = WeightAverage(network, 0.5)
    expected = {name: value.double().numpy().copy() for name, value in network.state_dict().items()}
    for step in range(20):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.add_(torch.ones_like(value) * (step + 1))
        average.update(network, step=step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double().numpy()
    for name, value in average.network.state_dict().items():
        if value.is_floating_point():  # weights, and the means and variances of batch normalisation
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5)
        else:
            assert value == network.state_dict()[name]
    assert not average.network.training


@pytest.mark.slow
def test_the_averaged_network_is_the_one_that_is_validated(make_trainer: Callable[[], Trainer]) -> None:
    trainer = make_trainer()
    trainer.train_epoch()
    assert trainer.average is not None
    found = trainer.history[-1]

    def loss(network: AlexNet) -> float:
        return validate(network, trainer.validation, NORMALISATION, side=found.side)[0]

    assert loss(trainer.average.network) == found.validation_loss
    assert loss(trainer.network) != found.validation_loss


def test_a_checkpoint_builds_and_starts_from_the_average(make_trainer: Callable[[], Trainer], tmp_path: Path) -> None:
    trainer = make_trainer()
    trainer.train_epoch()
    saved = checkpoint_of(lively(replace(TINY, arch="alexnet-64"), 3))
    trainer.save_into(saved).save(tmp_path / "last.pt")
    assert trainer.average is not None
    averaged = trainer.average.network.state_dict()
    for name, value in Checkpoint.load(tmp_path / "last.pt").build().state_dict().items():
        assert torch.equal(value, averaged[name]), name
    for name, value in read_pretrained(tmp_path / "last.pt").weights.items():
        assert torch.equal(value, averaged[name]), name


def test_a_stopped_run_goes_on_with_its_average(make_trainer: Callable[[], Trainer], tmp_path: Path) -> None:
    whole = make_trainer()
    whole.train_epoch()
    whole.train_epoch()
    checkpoint = checkpoint_of(lively(TINY, 3))
    stopped = make_trainer()
    assert not stopped.train_epoch(stop=lambda: stopped.step == 2)
    stopped.save_into(checkpoint).save(tmp_path / "last.pt")
    resumed = make_trainer()
    resumed.restore(Checkpoint.load(tmp_path / "last.pt"))
    resumed.train_epoch()
    resumed.train_epoch()
    for name, value in whole.judged.state_dict().items():
        assert torch.equal(resumed.judged.state_dict()[name], value), name
    assert resumed.history[-1].validation_loss == whole.history[-1].validation_loss
