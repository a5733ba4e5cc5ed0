"""The network on the CPU: pictures a second in ONNX Runtime, against the matrix product of the same machine.

    python benchmarks/network.py [--rounds 7] [--seconds 2] [--out runs/bench]

A network does nearly all its work in matrix products, so it can run no faster than these: the bound is the rate of a
float32 product of 4096 × 4096 × 4096, NumPy's or torch's, whichever is faster, divided by the multiply-adds of the
network. All networks but the built-in one are untrained, with 1,000 classes: weights do not change the time. Each
round measures the products and all networks in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from report import FOUND, Goal, save, table
from untrained import write_untrained

from retrieval.models.cost import model_cost
from retrieval.models.model import Model
from retrieval.pipeline.machine import usable_cores
from training.networks.architectures import ALEXNET, ALEXNET_OWT

SIDE = 4096
BATCH = 32
WITH, WITHOUT = "alexnet", "alexnet without normalisation"
OWT, BUILTIN = "alexnet-owt", "built-in"
CONFIGS = {WITH: ALEXNET, WITHOUT: ALEXNET.changed(norm="none"), OWT: ALEXNET_OWT}


@dataclass(frozen=True)
class Rates:
    """What each round measured: multiply-adds a second of the products, pictures a second of the networks."""

    numpy: tuple[float, ...]
    torch: tuple[float, ...]
    pictures: Mapping[str, tuple[float, ...]]
    multiply_adds: Mapping[str, int]
    """Of each network, for one picture."""

    def bound(self, network: str) -> list[float]:
        """Pictures a second that the faster of the products would allow, in each round."""
        return [max(rates) / self.multiply_adds[network] for rates in zip(self.numpy, self.torch, strict=True)]

    def share(self, network: str) -> tuple[float, ...]:
        """How much of the bound a network reaches, in each round."""
        return _ratios(self.pictures[network], self.bound(network))

    @property
    def share_with_normalisation(self) -> tuple[float, ...]:
        """The speed of `alexnet` divided by that without normalisation, in each round."""
        return _ratios(self.pictures[WITH], self.pictures[WITHOUT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each network, in each round")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_networks(Path(folder))
        rates = measure(
            paths, rounds=arguments.rounds, seconds=arguments.seconds, batch=arguments.batch, threads=arguments.threads
        )
    save(
        arguments.out,
        "network",
        text=described(rates, batch=arguments.batch),
        goals=goals(rates),
        packages=("onnxruntime", "numpy", "torch"),
    )


def write_networks(folder: Path) -> dict[str, Path | None]:
    """Write the networks' model files into a folder; that of the built-in model is None."""
    found: dict[str, Path | None] = {BUILTIN: None}
    for number, (name, config) in enumerate(CONFIGS.items()):
        found[name] = write_untrained(config, folder / f"{number}.onnx")
    return found


def measure(
    paths: Mapping[str, Path | None],
    *,
    rounds: int,
    seconds: float,
    batch: int = BATCH,
    side: int = SIDE,
    threads: int | None = None,
) -> Rates:
    """Measure the products and the networks of some model files in turn; `side` is that of the products' matrices."""
    torch.set_num_threads(threads or usable_cores())
    random = np.random.default_rng(0)
    factors = [random.standard_normal((side, side), np.float32) for _ in range(2)]
    left, right = factors
    tensors = [torch.from_numpy(factor) for factor in factors]
    works: dict[str, Callable[[], object]] = {}
    for name, path in paths.items():
        model = Model.load(path, device="cpu", threads=threads)
        pixels = random.integers(0, 256, (batch, model.spec.crop, model.spec.crop, 3), np.uint8)
        works[name] = lambda model=model, pixels=pixels: model.run(pixels)  # type: ignore[misc]
    multiply_adds = {
        name: sum(layer.forward for layer in model_cost(path, runs=1).layers) for name, path in paths.items()
    }

    products: list[tuple[float, float]] = []
    pictures: dict[str, list[float]] = {name: [] for name in paths}
    for round in range(-1, rounds):
        both = rate(lambda: left @ right, seconds), rate(lambda: tensors[0] @ tensors[1], seconds)
        runs = {name: rate(work, seconds) for name, work in works.items()}
        if round >= 0:  # the one before warms up
            products.append((both[0] * side**3, both[1] * side**3))
            for name, each in runs.items():
                pictures[name].append(each * batch)
    by_numpy, by_torch = zip(*products, strict=True)
    return Rates(by_numpy, by_torch, {name: tuple(each) for name, each in pictures.items()}, multiply_adds)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second `work` is done, from as many as `seconds` take, once at least."""
    done, start = 0, time.perf_counter()
    while not done or time.perf_counter() - start < seconds:
        work()
        done += 1
    return done / (time.perf_counter() - start)


def described(rates: Rates, *, batch: int) -> str:
    """Return the tables for the page."""
    products = table(
        (f"product of {SIDE}³, float32", "GFLOP/s", "range"),
        [
            (name, f"{median(each) * 2e-9:.0f}", f"{min(each) * 2e-9:.0f} to {max(each) * 2e-9:.0f}")
            for name, each in (("NumPy", rates.numpy), ("torch", rates.torch))
        ],
    )
    networks = table(
        ("network", "multiply-adds, millions", f"pictures/s, batch {batch}", "range", "bound", "share of it"),
        [
            (
                name,
                f"{rates.multiply_adds[name] / 1e6:.0f}",
                f"{median(each):.0f}",
                f"{min(each):.0f} to {max(each):.0f}",
                f"{median(rates.bound(name)):.0f}",
                f"{median(rates.share(name)):.2f}",
            )
            for name, each in rates.pictures.items()
        ],
    )
    return f"{products}\n\n{networks}"


def goals(rates: Rates) -> list[Goal]:
    """Return what the networks are held to."""
    return [
        Goal("`alexnet` without normalisation ÷ the matrix product's bound", 0.7, rates.share(WITHOUT)),
        Goal("`alexnet` with it ÷ the bound", 0.55, rates.share(WITH)),
        Goal("`alexnet` with normalisation ÷ without", 0.75, rates.share_with_normalisation),
    ]


def _ratios(above: tuple[float, ...], below: list[float] | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(above, below, strict=True))


if __name__ == "__main__":
    main()
