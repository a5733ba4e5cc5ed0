"""How pictures are normalised: by the mean and standard deviation of the training pictures."""

from dataclasses import replace

import torch
from torch import Tensor

from training.data.augment import Normalisation, centre_crops, principal_colours
from training.data.pictures import MemoryPictures, Pictures
from training.errors import DatasetError
from training.loop.recipe import Recipe

SAMPLE = 10_000
"""Pictures of a large set that the mean picture is taken over."""
CROPS = 512
"""Pictures whose activations are looked at."""


def learn_normalisation(recipe: Recipe, pictures: Pictures, *, known: Normalisation | None = None) -> Normalisation:
    """Return what a recipe asks for; `known` is that of weights to start from, which only learns new colours."""
    if known and not recipe.colour_noise:
        return known
    mean, covariance = mean_picture(pictures, seed=recipe.seed)
    colours = principal_colours(covariance)
    if known:
        return replace(known, colours=colours)
    if recipe.mean == "picture":
        return Normalisation(mean, torch.ones(3, 1, 1), colours)
    std = covariance.diagonal().clamp(min=1.0).sqrt().float()
    return Normalisation(mean.mean((1, 2), keepdim=True), std.reshape(3, 1, 1), colours)


def sample_crops(pictures: Pictures, normalisation: Normalisation, crop: int, *, seed: int) -> Tensor:
    """Return the normalised centres (n, 3, crop, crop) of up to CROPS random pictures, on the CPU."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[:CROPS]
    found = [centre_crops(pixels.cpu(), crop, normalisation) for pixels, _ in pictures.batches(order, 64)]
    if not found:
        raise DatasetError("none of the training pictures could be read")
    return torch.cat(found)


def mean_picture(pictures: Pictures, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return the mean (3, size, size) and the colours' covariance (3, 3), float64, of all pictures or of 10,000."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[:SAMPLE]
    if isinstance(pictures, MemoryPictures):
        order = torch.arange(len(pictures))
    total: Tensor | None = None
    products, count = torch.zeros(3, 3, dtype=torch.float64), 0
    for pixels, _ in pictures.batches(order, 64):
        values = pixels.double()
        batch = values.sum(0).cpu()
        total = batch if total is None else total + batch
        colours = values.reshape(-1, 3)
        products += (colours.T @ colours).cpu()
        count += len(pixels)
    if total is None or not count:
        raise DatasetError("none of the training pictures could be read")
    mean = total / count
    colour = mean.mean((0, 1))
    covariance = products / (count * mean.shape[0] * mean.shape[1]) - torch.outer(colour, colour)
    return mean.permute(2, 0, 1).float(), covariance
