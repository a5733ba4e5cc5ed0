"""Noise along the principal colours: Krizhevsky, Sutskever, Hinton (2012), section 4.1."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import CPU, TINY, TINY_RECIPE, as_split, write_shapes

from training.data.augment import Normalisation, principal_colours, random_crops
from training.data.normalisation import mean_picture
from training.data.pictures import load_pictures
from training.loop.checkpoint import Checkpoint
from training.loop.recipe import RECIPES
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_64

COLOURS = torch.tensor([[3.0, 1.0, 0.0], [3.0, -1.0, 0.5], [3.0, 0.0, -0.5]])
PLAIN = Normalisation(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_mean_and_covariance_are_those_of_all_pixels(tmp_path: Path, memory: int) -> None:
    split = as_split(write_shapes(tmp_path, each=3))
    pictures = load_pictures(split, 32, device=CPU.device, memory=memory, workers=0)
    mean, covariance = mean_picture(pictures, seed=0)
    pixels = np.concatenate([batch.numpy() for batch, _ in pictures.batches(torch.arange(9), 4)]).astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean(0).transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(pixels.reshape(-1, 3).T, bias=True), rtol=1e-9)


def test_principal_colours_are_eigenvectors_times_eigenvalues() -> None:
    mixed = np.random.default_rng(1).standard_normal((3, 3)) * 40
    covariance = mixed @ mixed.T
    colours = principal_colours(torch.from_numpy(covariance)).double().numpy()
    eigenvalues = np.linalg.norm(colours, axis=0) / 255  # of colours from 0 to 1
    np.testing.assert_allclose(np.sort(eigenvalues), np.linalg.eigvalsh(covariance) / 255**2, rtol=1e-5)
    np.testing.assert_allclose(covariance / 255**2 @ colours, colours * eigenvalues, rtol=1e-5, atol=1e-6)


def test_each_picture_is_shifted_as_a_whole_by_its_own_multiples() -> None:
    normalisation = replace(PLAIN, colours=COLOURS)
    pixels = torch.full((4000, 4, 4, 3), 100, dtype=torch.uint8)
    torch.manual_seed(5)
    shifts = random_crops(pixels, 3, normalisation, mirror=True, colour_noise=0.1) - 100
    assert torch.equal(shifts, shifts[:, :, :1, :1].expand_as(shifts))
    multiples = torch.linalg.solve(COLOURS, shifts[:, :, 0, 0].T)
    assert multiples.mean(1).abs().max() < 0.01
    torch.testing.assert_close(multiples.std(1), torch.full((3,), 0.1), rtol=0.05, atol=0)
    torch.testing.assert_close(torch.corrcoef(multiples), torch.eye(3), rtol=0, atol=0.06)


def test_the_shift_is_of_grey_levels_before_they_are_divided() -> None:
    pixels = torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))

    def crops(deviation: float) -> torch.Tensor:
        torch.manual_seed(7)
        normalisation = Normalisation(torch.full((3, 1, 1), 9.0), torch.full((3, 1, 1), deviation), COLOURS)
        return random_crops(pixels, 6, normalisation, mirror=True, colour_noise=0.5)

    torch.testing.assert_close(crops(50.0) * 50, crops(1.0))


def test_without_noise_nothing_is_drawn_for_it() -> None:
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    torch.manual_seed(8)
    random_crops(pixels, 6, PLAIN, mirror=True)
    state = torch.get_rng_state()
    torch.manual_seed(8)
    random_crops(pixels, 6, replace(PLAIN, colours=COLOURS), mirror=True, colour_noise=0.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_paper_has_it_and_the_recipe_of_small_pictures_has_not() -> None:
    assert RECIPES["alexnet"].colour_noise == 0.1
    assert RECIPES[ALEXNET_64.arch].colour_noise == 0


def test_a_run_that_goes_on_draws_the_same_noise(tmp_path: Path) -> None:
    pictures = load_pictures(
        as_split(write_shapes(tmp_path / "data", each=8)), TINY.resize, device=CPU.device, memory=1 << 30, workers=0
    )
    _, covariance = mean_picture(pictures, seed=0)
    normalisation = Normalisation(
        torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0), principal_colours(covariance)
    )
    recipe = replace(TINY_RECIPE, epochs=2, grow="", colour_noise=0.1)

    def trainer(normalisation: Normalisation) -> Trainer:
        torch.manual_seed(1)
        return Trainer(
            AlexNet(TINY, 3),
            recipe,
            pictures=pictures,
            validation=pictures,
            normalisation=normalisation,
            device=CPU.device,
        )

    whole = trainer(normalisation)
    whole.train_epoch()
    checkpoint = Checkpoint(TINY, recipe, (), normalisation, {}, {})
    whole.save_into(checkpoint).save(tmp_path / "last.pt")
    whole.train_epoch()

    saved = Checkpoint.load(tmp_path / "last.pt")
    assert torch.equal(saved.normalisation.colours, normalisation.colours)
    resumed = trainer(saved.normalisation)
    resumed.restore(saved)
    resumed.train_epoch()
    assert all(
        torch.equal(value, resumed.network.state_dict()[name]) for name, value in whole.network.state_dict().items()
    )
    assert resumed.history[-1].train_loss == whole.history[-1].train_loss
