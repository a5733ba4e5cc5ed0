"""What `embedding` is best made of: layers, their pooling, its dimension, whitening, and the size of the picture.

    python benchmarks/embedding.py CHECKPOINT DATA UNSEEN [--pictures N] [--power P] [--vary root dim ...]

CHECKPOINT is of a run of `fc7 train` on DATA, UNSEEN holds one folder for each class that the run never saw. The PCA is
learned from 20,000 training pictures of DATA; each picture of UNSEEN queries all others of UNSEEN. One value at a time
is changed from what `fc7 export` does by default, but for --power, its whitening. HOG (see descriptors.py) is measured
in the same run.
"""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from descriptors import hog_descriptor, neighbour_scores, read_pictures, unit_length
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from retrieval.photos.preprocess import resize_only
from training.data.augment import centre_crops
from training.data.dataset import Split, scan_dataset
from training.data.pictures import MemoryPictures
from training.export.embedding import EmbeddingRecipe, EmbeddingTransform, chosen, fit_embedding, join_layers
from training.loop.checkpoint import Checkpoint

CPU = torch.device("cpu")
LAYERS = ("fc7", "fc6", "pool5", "fc6,fc7", "pool5,fc7", "pool5,fc6", "pool5,fc6,fc7")
VALUES: Mapping[str, tuple[Any, ...]] = {
    "layers": tuple(tuple(layers.split(",")) for layers in LAYERS),
    "grid": (1, 2, 3),
    "dim": (32, 64, 128, 256, 512),
    "power": (0.0, 0.25, 0.5, 0.75, 1.0),
    "root": (False, True),
}
SIDES = (40, 48, 56, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("--pictures", type=int, default=100, help="pictures of each unseen class, at most")
    parser.add_argument(
        "--power", type=float, default=EmbeddingRecipe().power, help="whitening, where it is not varied"
    )
    parser.add_argument(
        "--vary", nargs="+", choices=[*VALUES, "side"], default=[*VALUES, "side"], help="what is varied; all by default"
    )
    arguments = parser.parse_args()

    usual = EmbeddingRecipe(power=arguments.power)
    checkpoint = Checkpoint.load(arguments.checkpoint)
    dataset = scan_dataset(arguments.data, validation=checkpoint.recipe.validation, seed=checkpoint.recipe.seed)
    train = dataset.train
    names = sorted(folder.name for folder in arguments.unseen.iterdir() if folder.is_dir())
    if known := {known.id or known.name for known in dataset.classes} & set(names):
        parser.error(f"{len(known)} classes of {arguments.unseen} were learned from, such as {min(known)}")
    images, labels = read_pictures(arguments.unseen, names, most=arguments.pictures)
    training = squares(
        [train.paths[number] for number in chosen(len(train), seed=0).tolist()], checkpoint.config.resize
    )
    unseen = squares_of(images, checkpoint.config.resize)

    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-image", "torch"))
    print(
        f"{checkpoint.config.arch} after {checkpoint.epoch} epochs on {len(checkpoint.classes)} classes; "
        f"{len(images)} pictures of {len(names)} others\n"
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}\n"
        "\n| descriptor | values | P@1 | P@10 | mAP |\n|---|---|---|---|---|"
    )

    def show(title: str, vectors: NDArray[np.float32]) -> None:
        scores = " | ".join(f"{score:.3f}" for score in neighbour_scores(vectors, labels))
        print(f"| {title} | {vectors.shape[1]} | {scores} |", flush=True)

    show("HOG", unit_length(np.stack([hog_descriptor(image) for image in images])))
    learned, asked = activations(checkpoint, training), activations(checkpoint, unseen)
    for name in ("fc7", "fc6", "pool5"):
        as_it_is = EmbeddingTransform(EmbeddingRecipe(layers=(name,)))
        show(f"{name}, nothing learned", as_it_is(asked).numpy())
    for field in (field for field in VALUES if field in arguments.vary):
        for value in VALUES[field]:
            recipe = replace(usual, **{field: value})
            show(title(recipe), fit_embedding(join_layers(learned, recipe), recipe)(asked).numpy())
    for side in SIDES if "side" in arguments.vary else ():
        whole = fit_embedding(join_layers(activations(checkpoint, training, side), usual), usual)
        show(f"the whole picture at {side} pixels", whole(activations(checkpoint, unseen, side)).numpy())


def squares_of(images: Sequence[Image.Image], size: int) -> Tensor:
    """Return the middle of pictures as `training.data.pictures.square` does, uint8 (n, size, size, 3)."""
    return torch.from_numpy(np.stack([resize_only(image, size=size) for image in images]))


def squares(paths: list[Path], size: int) -> Tensor:
    """Return decoded pictures, uint8 (n, size, size, 3)."""
    pictures = MemoryPictures(Split(tuple(paths), (0,) * len(paths)), size, device=CPU)
    return next(pictures.batches(torch.arange(len(pictures)), len(pictures)))[0]


@torch.inference_mode()
def activations(checkpoint: Checkpoint, pixels: Tensor, side: int | None = None) -> dict[str, Tensor]:
    """Return the layers for central crops, or for whole pictures brought to `side` pixels."""
    network, config = checkpoint.build().eval(), checkpoint.config
    found = []
    for part in torch.split(pixels, 250):
        x = centre_crops(part, config.crop if side is None else config.resize, checkpoint.normalisation)
        if side is not None:
            x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        found.append(network.activations(x))
    return {name: torch.cat([values[name] for values in found]) for name in found[0]}


def title(recipe: EmbeddingRecipe) -> str:
    places = f" ({'roots, ' if recipe.root else ''}{recipe.grid}×{recipe.grid})" if "pool5" in recipe.layers else ""
    return f"{' + '.join(recipe.layers)}{places}, whitening {recipe.power:g}"


if __name__ == "__main__":
    main()
