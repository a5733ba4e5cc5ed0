"""From stored squares to what the network sees: crops, mirror images, the mean subtracted, on the device."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval.photos.preprocess import as_small_jpeg
from retrieval.pipeline.machine import usable_cores

JPEG_SIDES = (0.5, 1.0)
"""The least and the largest share of its side at which a picture is saved as JPEG."""
JPEG_QUALITIES = (50, 95)
"""The least and the highest quality of it, as Pillow's."""
BLURRED_TO = (0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of its side that a picture may be shrunk to."""
ERASED_AREA = (0.02, 0.4)
"""Shares of a picture that random erasing takes; this and the next as in the paper."""
CROP_RATIO = 4 / 3
"""Width over height of a crop of any size, at most; height over width as well. Szegedy et al. (2015), section 6."""
ERASED_RATIO = 10 / 3
"""Height over width of what is erased, at most; width over height as well."""


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from the pixels (3, size, size) or (3, 1, 1), and what they are divided by (3, 1, 1)."""

    mean: Tensor
    std: Tensor
    colours: Tensor = field(default_factory=lambda: torch.zeros(3, 3))
    """The directions in which the training pixels' colours vary, as `principal_colours` returns them."""

    def to(self, device: torch.device) -> "Normalisation":
        """Return a copy on a device."""
        return Normalisation(self.mean.to(device), self.std.to(device), self.colours.to(device))

    def centre(self, crop: int) -> Tensor:
        """Return the mean that belongs to a central crop, (3, crop, crop) or (3, 1, 1)."""
        if self.mean.shape[1] == 1:
            return self.mean
        edge = (self.mean.shape[1] - crop) // 2
        return self.mean[:, edge : edge + crop, edge : edge + crop]


def principal_colours(covariance: Tensor) -> Tensor:
    """Return the eigenvectors of a colour covariance (3, 3), one a column, each times its eigenvalue.

    Both are those of colours from 0 to 1, the product is in grey levels of 255: with eigenvalues of grey levels, the
    noise of Krizhevsky, Sutskever, Hinton (2012), section 4.1, would drown the picture.
    """
    variances, directions = torch.linalg.eigh(covariance.double() / 255**2)
    colours: Tensor = 255 * directions * variances.clamp(min=0)
    return colours.float()


def centre_crops(pixels: Tensor, crop: int, normalisation: Normalisation) -> Tensor:
    """Return the centres (n, 3, crop, crop), normalised, of pixels uint8 (n, size, size, 3)."""
    edge = (pixels.shape[1] - crop) // 2
    middle = pixels[:, edge : edge + crop, edge : edge + crop]
    return (middle.permute(0, 3, 1, 2).float() - normalisation.centre(crop)) / normalisation.std


def random_crops(
    pixels: Tensor,
    crop: int,
    normalisation: Normalisation,
    *,
    mirror: bool,
    colour_noise: float = 0.0,
    scale: float = 1.0,
    side: int | None = None,
) -> Tensor:
    """Return a random crop of each picture, a random half of them mirrored, normalised (n, 3, side, side).

    Krizhevsky, Sutskever, Hinton (2012), section 4.1. The mean picture moves with the crop, as if it had been
    subtracted before. `colour_noise` shifts the colour of each picture along the principal ones, by N(0, colour_noise)
    times their eigenvalues. With a `scale` below 1 a crop shows any share of its picture from `scale` to all of it, in
    any shape up to CROP_RATIO, and is resized to `crop` (Szegedy et al. 2015, section 6). `side` shrinks the crops, to
    train on small pictures first. Draws from torch's default generator.
    """
    if scale < 1:
        chosen = _crops_of_any_size(pixels, crop, normalisation, mirror=mirror, scale=scale)
    else:
        chosen = _crops_of_one_size(pixels, crop, normalisation, mirror=mirror)
    if colour_noise:
        shifts = (colour_noise * torch.randn(len(pixels), 3)).to(pixels.device) @ normalisation.colours.T
        chosen = chosen + shifts[:, :, None, None]
    chosen = chosen / normalisation.std
    if side is not None and side != crop:
        chosen = F.interpolate(chosen, size=(side, side), mode="bilinear", antialias=True)
    return chosen


def _crops_of_one_size(pixels: Tensor, crop: int, normalisation: Normalisation, *, mirror: bool) -> Tensor:
    """Return crops (n, 3, crop, crop) less the mean."""
    n, size = pixels.shape[:2]
    device = pixels.device
    # Drawn on the CPU: the same seed then gives the same crops on every device.
    top, left = torch.randint(0, size - crop + 1, (2, n, 1))
    steps = torch.arange(crop)
    rows, columns = top + steps, left + steps
    if mirror:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
    rows, columns = rows.to(device)[:, :, None], columns.to(device)[:, None, :]
    chosen = pixels[torch.arange(n, device=device)[:, None, None], rows, columns].permute(0, 3, 1, 2).float()
    if normalisation.mean.shape[1] == 1:
        return chosen - normalisation.mean
    return chosen - normalisation.mean.permute(1, 2, 0)[rows, columns].permute(0, 3, 1, 2)


def _crops_of_any_size(
    pixels: Tensor, crop: int, normalisation: Normalisation, *, mirror: bool, scale: float
) -> Tensor:
    """Return crops (n, 3, crop, crop) less the mean, each of a share of its picture from `scale` to 1."""
    area, ratio, *place = torch.rand(4, len(pixels), 1)
    area, ratio = scale + (1 - scale) * area, CROP_RATIO ** (2 * ratio - 1)
    # Shares of the picture's side. Where a shape would reach beyond the picture it is cut to it.
    lengths = [(area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)]
    steps = (torch.arange(crop) + 0.5) / crop
    rows, columns = (2 * ((1 - length) * at + length * steps) - 1 for at, length in zip(place, lengths, strict=True))
    if mirror:
        columns = torch.where(torch.rand(len(pixels), 1) < 0.5, columns.flip(1), columns)
    grid = torch.stack([columns[:, None, :].expand(-1, crop, -1), rows[:, :, None].expand(-1, -1, crop)], dim=3).to(
        pixels.device
    )
    whole = pixels.permute(0, 3, 1, 2).float() - normalisation.mean
    return F.grid_sample(whole, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recompressed(pixels: Tensor, *, probability: float) -> Tensor:
    """Return pixels uint8 (n, size, size, 3) with some pictures, by chance, saved as smaller JPEGs and enlarged again.

    Where the photos of one set were stored smaller than those of another, the marks of JPEG are larger, and a network
    learns these for the classes of the set. Draws from torch's default generator, on the CPU.
    """
    if not probability:
        return pixels
    n, size = pixels.shape[:2]
    rows = torch.nonzero(torch.rand(n) < probability)[:, 0]
    least, most = (round(share * size) for share in JPEG_SIDES)
    sides = torch.randint(least, most + 1, (n,))[rows].tolist()
    qualities = torch.randint(JPEG_QUALITIES[0], JPEG_QUALITIES[1] + 1, (n,))[rows].tolist()
    if not len(rows):
        return pixels
    with ThreadPoolExecutor(usable_cores()) as threads:
        saved = list(threads.map(as_small_jpeg, pixels[rows.to(pixels.device)].cpu().numpy(), sides, qualities))
    pixels = pixels.clone()
    pixels[rows.to(pixels.device)] = torch.from_numpy(np.stack(saved)).to(pixels.device)
    return pixels


def blurred(x: Tensor, *, probability: float) -> Tensor:
    """Return x (n, 3, side, side) with some pictures, by chance, shrunk to a share of BLURRED_TO and enlarged again.

    Where sets of other sharpness show other classes, a network learns the sharpness for the class. Draws from torch's
    default generator, on the CPU.
    """
    if not probability:
        return x
    side = x.shape[-1]
    chosen, share = torch.rand(len(x)) < probability, torch.randint(len(BLURRED_TO), (len(x),))
    x = x.clone()
    for number, to in enumerate(BLURRED_TO):
        rows = torch.nonzero(chosen & (share == number))[:, 0].to(x.device)
        if len(rows):
            small = F.interpolate(x[rows], size=round(to * side), mode="bilinear", antialias=True)
            x[rows] = F.interpolate(small, size=side, mode="bicubic")
    return x


def erased(x: Tensor, *, probability: float) -> Tensor:
    """Return x (n, 3, side, side) with a box of each picture, by chance, set to the mean of all pictures, 0.

    Zhong, Zheng, Kang, Li, Yang (2020), with lying boxes as likely as upright ones; a box too long for the picture is
    cut to it. Draws from torch's default generator, on the CPU.
    """
    if not probability:
        return x
    n, side = len(x), x.shape[-1]
    chosen, area, ratio, down, right = torch.rand(5, n, 1)
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area
    ratio = torch.exp((2 * ratio - 1) * math.log(ERASED_RATIO))
    places = torch.arange(side)

    def along(start: Tensor, share: Tensor) -> Tensor:
        length = (side * share.sqrt()).round().clamp(1, side)
        first = (start * (side - length + 1)).floor()
        return (places >= first) & (places < first + length)

    rows = along(down, area * ratio) & (chosen < probability)
    boxes = rows[:, :, None] & along(right, area / ratio)[:, None, :]
    return x.masked_fill(boxes[:, None].to(x.device), 0.0)
