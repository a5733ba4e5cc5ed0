"""What the tests of training share: pictures of coloured shapes, and networks small enough to learn them in seconds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from retrieval.models.spec import ClassName
from training.data.augment import Normalisation
from training.data.dataset import Split
from training.loop.checkpoint import Checkpoint
from training.loop.hardware import Hardware
from training.loop.recipe import RECIPES
from training.networks.alexnet import AlexNet
from training.networks.architectures import AlexNetConfig, ConvLayer

# Two threads gain nothing on networks this small, and wait for each other where the cores are busy.
torch.set_num_threads(1)

COLOURS = ("red", "green", "blue")
SHAPES = {"blue disc": (50, 70, 220), "green cross": (60, 190, 80), "red square": (220, 60, 50)}
CPU = Hardware(torch.device("cpu"), workers=1)

TINY = AlexNetConfig(
    arch="tiny",
    resize=32,
    crop=28,
    convs=(
        ConvLayer(8, 5, stride=2, padding=2, pool=True),
        ConvLayer(8, 3, padding=1),
        ConvLayer(8, 3, padding=1),
        ConvLayer(8, 3, padding=1),
        ConvLayer(8, 3, padding=1, pool=True),
    ),
    hidden=(16, 16),
    dropout=0.1,
    batch_norm=True,
)
TINY_RECIPE = replace(RECIPES["alexnet-64"], arch="tiny", epochs=6, batch_size=12, dropout=0.1, grow="0:20,0.5:28")


def reduced(config: AlexNetConfig) -> AlexNetConfig:
    """The same network with an eighth of its filters, and 32 hidden neurons."""
    convs = tuple(replace(conv, filters=conv.filters // 8) for conv in config.convs)
    return replace(config, convs=convs, hidden=(32, 32))


def lively(config: AlexNetConfig, classes: int, *, seed: int = 0) -> AlexNet:
    """A network as training might leave it: no layer silent, statistics of batches that are not those it began with."""
    torch.manual_seed(seed)
    network = AlexNet(replace(config, init="he"), classes)
    torch.nn.init.normal_(network.fc8.weight, std=0.3)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.2)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(std=0.2)
            layer.running_var.uniform_(0.5, 1.5)
    network.config = config
    return network.eval()


def checkpoint_of(network: AlexNet, normalisation: Normalisation | None = None) -> Checkpoint:
    """A checkpoint of a network that no run has trained."""
    return Checkpoint(
        network.config,
        replace(TINY_RECIPE, arch=network.config.arch),
        tuple(ClassName(f"class {number}", f"n{number:08}") for number in range(network.classes)),
        normalisation or Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0)),
        network.state_dict(),
        {"root": "pictures", "name": "pictures", "pictures": 9, "fingerprint": "0" * 64},
    )


def write_shapes(folder: Path, *, each: int, seed: int = 0, size: int = 40) -> Path:
    """Write `each` pictures of every class of SHAPES into a folder of their class, anywhere on a grey noise."""
    random = np.random.default_rng(seed)
    for name, colour in SHAPES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            noise = random.integers(90, 160, (size, size, 1), np.uint8).repeat(3, axis=2)
            picture = Image.fromarray(noise)
            draw, radius = ImageDraw.Draw(picture), int(random.integers(6, 12))
            x, y = (int(place) for place in random.integers(radius, size - radius, 2))
            box = (x - radius, y - radius, x + radius, y + radius)
            if "disc" in name:
                draw.ellipse(box, fill=colour)
            elif "square" in name:
                draw.rectangle(box, fill=colour)
            else:
                draw.line((*box[:2], *box[2:]), fill=colour, width=5)
                draw.line((box[0], box[3], box[2], box[1]), fill=colour, width=5)
            picture.save(folder / name / f"{number:03}.png")
    return folder


def write_colours(
    folder: Path, *, each: int, seed: int = 0, labelled: bool = False, colours: Sequence[str] = COLOURS
) -> Path:
    """Write pictures of one colour in some pattern, into a folder of the colour where they are to be labelled.

    The model of conftest.py names them surely.
    """
    random = np.random.default_rng(seed)
    for colour in colours:
        for number in range(each):
            pixels = np.zeros((4, 4, 3), np.uint8)
            pixels[:, :, COLOURS.index(colour)] = random.integers(90, 256, (4, 4))
            path = folder / colour / f"{number:03}.png" if labelled else folder / f"{colour}{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((40, 40), Image.Resampling.NEAREST).save(path)
    return folder


def as_split(folder: Path) -> Split:
    """The pictures of a folder of classes, in order."""
    paths = sorted(folder.glob("*/*"))
    names = sorted({path.parent.name for path in paths})
    return Split(tuple(paths), tuple(names.index(path.parent.name) for path in paths))
