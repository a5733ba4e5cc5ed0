"""How fast a GPU trains the AlexNet of 2012: pictures a second, its share of the card's matrix rate, 90 epochs.

    python benchmarks/gpu.py [--batch-sizes 128 1024] [--pictures N] [--rounds N] [-o FOLDER]
    python benchmarks/gpu.py --device cpu --small

It needs torch, numpy and Pillow, and makes its own photos. Without a CUDA device it says so and measures nothing;
--device cpu runs all of it there, and --small takes a network and matrices small enough for that, and keeps no result.

Trained is as `fc7 train` does it: on a batch that lies on the device (compute alone: crops, forward, backward,
update), on pictures kept on the device, and on photos of 500×400 pixels that workers read. Numbers are bfloat16;
float32 of which products are rounded to TF32; and float32 all through. The card's own rate is that of a product of two
matrices of 8192×8192 in the same numbers. Multiply-adds are those of convolutions and dense layers, both ways.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from loading import KEPT, READ, READY, OneBatch, first, measure, steady, trainers_of
from PIL import Image
from report import FOUND, processor, save, table
from torch import nn

from training.data.dataset import Split
from training.data.pictures import FolderPictures, MemoryPictures, Pictures
from training.loop.hardware import choose_hardware
from training.loop.recipe import RECIPES
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET, AlexNetConfig

EPOCHS, IMAGENET, CLASSES = 90, 1_281_167, 1_000
FILES, DISTINCT = 2_048, 32
PRODUCTS, WARM_UP = 20, 3


@dataclass(frozen=True)
class Numbers:
    """What numbers a network is multiplied in; `rounded` lets products of float32 be rounded to TF32."""

    name: str
    precision: str
    type: torch.dtype
    rounded: bool


NUMBERS = (
    Numbers("bfloat16", "bfloat16", torch.bfloat16, rounded=False),
    Numbers("float32 as TF32", "float32", torch.float32, rounded=True),
    Numbers("float32", "float32", torch.float32, rounded=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--pictures", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here, so nothing is measured; --device cpu --small tries the benchmark itself")
        return
    with tempfile.TemporaryDirectory() as temporary:
        compare(arguments, Path(temporary))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    hardware, config = choose_hardware(arguments.device), eighth(ALEXNET) if arguments.small else ALEXNET
    device, side = hardware.device, 256 if arguments.small else 8192
    paths = write_photos(folder, min(arguments.pictures, FILES))
    repeated = tuple(paths[number % len(paths)] for number in range(arguments.pictures))
    split = Split(repeated, tuple(number % CLASSES for number in range(len(repeated))))
    memory = MemoryPictures(split, config.resize, device=device)
    few = MemoryPictures(first(split, 8), config.resize, device=device)
    read = FolderPictures(split, config.resize, device=device, workers=hardware.workers)
    work = 2 * training_multiply_adds(config, CLASSES)
    rows = []
    for numbers in NUMBERS:
        with rounding(numbers.rounded):
            product = product_rate(numbers.type, device, side)
            for batch_size in arguments.batch_sizes:
                recipe = steady(
                    RECIPES["alexnet"], rounds=arguments.rounds, batch_size=batch_size, precision=numbers.precision
                )
                kinds: dict[str, Pictures] = {READY: OneBatch(memory, batch_size), KEPT: memory, READ: read}
                found = measure(trainers_of(config, recipe, kinds, few, CLASSES, device), rounds=arguments.rounds)
                rates = [median(one.rate for one in found[name]) for name in kinds]
                rows.append(
                    [
                        numbers.name,
                        str(batch_size),
                        *(f"{rate:,.0f}" for rate in rates),
                        *(duration(EPOCHS * IMAGENET / rate) for rate in (rates[0], rates[2])),
                        f"{product / 1e12:,.4g}",
                        f"{rates[0] * work / product:.1%}",
                    ]
                )
                print(" · ".join(rows[-1]), flush=True)
    heads = (
        *("numbers", "batch", READY, KEPT, READ),
        *("90 epochs, compute alone", "90 epochs, photos read", "matrix product, TFLOP/s", "share of it"),
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    text = (
        f"{name}; {config.arch}{', an eighth of its filters' * arguments.small}, pictures a second of training, "
        f"{arguments.pictures:,} photos, {hardware.workers} workers, {arguments.rounds} rounds; "
        f"{work / 1e9:.2f} GFLOP a picture; 90 epochs of {IMAGENET:,} pictures, which took the paper five to six days "
        "on two GTX 580:\n\n"
    ) + table(heads, rows)
    if arguments.small:
        print(text)
    else:
        save(arguments.out, "gpu", text=text, goals=[], packages=["torch"])


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of 500×400 pixels of coloured patches with a camera's noise, which take as long as photos do."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for path in paths[:DISTINCT]:
        patches = Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8))
        smooth = np.asarray(patches.resize((500, 400), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + 4 * random.standard_normal(smooth.shape, np.float32)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    for number, path in enumerate(paths[DISTINCT:]):
        path.write_bytes(paths[number % DISTINCT].read_bytes())
    return paths


def eighth(config: AlexNetConfig) -> AlexNetConfig:
    """Return the network with an eighth of its filters and 64 hidden neurons."""
    return replace(
        config, convs=tuple(replace(conv, filters=conv.filters // 8) for conv in config.convs), hidden=(64, 64)
    )


def training_multiply_adds(config: AlexNetConfig, classes: int) -> int:
    """Return the multiply-adds of a training step for one picture: forward, for the weights, for the inputs.

    Nothing needs the gradient of the picture itself, so the first layer has two of the three.
    """
    network = AlexNet(config, classes).to("meta")
    counts: list[int] = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        counts.append(layer.weight[0].numel() * output[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network.eval()(torch.empty(1, 3, config.crop, config.crop, device="meta"))
    return 3 * sum(counts) - counts[0]


@contextmanager
def rounding(allowed: bool) -> Iterator[None]:
    """Let convolutions and products of float32 be rounded to TF32, or not, and set back what was before."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def product_rate(type: torch.dtype, device: torch.device, side: int) -> float:
    """Return the operations a second, two for a multiply-add, of products of two square random matrices."""
    left, right = (torch.randn(side, side, device=device).to(type) for _ in range(2))
    result = torch.empty_like(left)

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(left, right, out=result)

    multiply(WARM_UP)
    return PRODUCTS * 2 * side**3 / seconds_of(lambda: multiply(PRODUCTS), device)


def seconds_of(work: Callable[[], None], device: torch.device) -> float:
    """Return how long work takes on a device, by its own clock where it is a GPU."""
    if device.type == "cpu":
        before = time.perf_counter()
        work()
        return time.perf_counter() - before
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def duration(seconds: float) -> str:
    """Return minutes, hours or days, whichever reads best."""
    for unit, size in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 60:,.1f} minutes"


if __name__ == "__main__":
    main()
