"""Learns the PCA that makes embeddings of EfficientNet-Lite, which comes with fc7: training/efficientnet-lite*.npz.

    python docs/make_efficientnet_pca.py SETS [NAME...]

SETS is what docs/make_training_photos.py makes, with Tiny-ImageNet-200 beside it. Without a NAME it is done for all.
"""

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from retrieval.model import Model
from retrieval.photos import open_photo
from retrieval.pipeline import usable_cores
from training import efficientnet_import
from training.efficientnet import NETWORKS, WIDTH
from training.efficientnet_import import Projection, import_efficientnet, learn_projection

PHOTOS = {
    "scenes/train": 4000,
    "mini-imagenet": 3000,
    "imagenette": 500,
    "imagewoof": 300,
    "cats-dogs": 500,
    "butterflies": 300,
    "clothing": 300,
    "ikea-unlabelled": 300,
    "houses-unlabelled": 200,
    "intel-scenes": 300,
    "cars-unlabelled": 300,
    "dog-cat-breeds": 200,
    "pacs-photo": 200,
    "bsds-unlabelled": 200,
    "trash": 100,
    "tiny-imagenet-200/train": 1000,
}
"""Photos of each set: of many kinds of thing, and most of them as large as people's own when they are shrunk."""
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    arguments = parser.parse_args()
    photos = chosen(arguments.sets)
    for name in arguments.names:
        projection = learn_projection(last_maps(name, photos))
        path = Path(efficientnet_import.__file__).with_name(f"{name}.npz")
        np.savez(
            path,
            matrix=projection.matrix.astype(np.float16),
            offset=projection.offset,
            pictures=projection.pictures,
            power=projection.power,
        )
        print(f"{path}: learned from {projection.pictures:,} photos")


def chosen(sets: Path) -> list[Path]:
    """Return the photos, drawn by a seed."""
    drawn = random.Random(0)
    found: list[Path] = []
    for name, count in PHOTOS.items():
        files = sorted(path for path in (sets / name).rglob("*") if path.is_file())
        found += drawn.sample(files, min(count, len(files)))
    return found


def last_maps(name: str, photos: list[Path]) -> NDArray[np.float32]:
    """Return fc7 (n, 1280) of the photos."""
    nothing = Projection(np.eye(2, WIDTH, dtype=np.float32), np.zeros(2, np.float32), 0, 0.0)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        import_efficientnet(name, file, projection=nothing)
        model = Model.load(file, threads=1)

    def ask(part: list[Path]) -> NDArray[np.float32]:
        return model.run([model.prepare(open_photo(photo, shorter_side=model.resize)) for photo in part]).fc7

    with ThreadPoolExecutor(usable_cores()) as threads:
        parts = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
        return np.concatenate(list(threads.map(ask, parts)))


if __name__ == "__main__":
    main()
