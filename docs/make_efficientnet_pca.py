"""Learns the PCA that makes embeddings of EfficientNet-Lite: training/pretrained/efficientnet-lite*.npz.

    python docs/make_efficientnet_pca.py SETS [NAME...]

SETS is what docs/make_training_photos.py makes, with Tiny-ImageNet-200 beside it. Without a NAME it is done for all.
With --judge FOLDER nothing is written: photos of its folders, each a class, query one another, by what is made of their
last maps with or without square roots, PCA and whitening.
"""

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.pipeline.machine import usable_cores
from training.pretrained import import_efficientnet as efficientnet_import
from training.pretrained.efficientnet import NETWORKS, WIDTH
from training.pretrained.import_efficientnet import Projection, import_efficientnet, learn_projection, roots

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
    parser.add_argument("--judge", metavar="FOLDER", type=Path)
    arguments = parser.parse_args()
    photos = chosen(arguments.sets)
    for name in arguments.names:
        if arguments.judge:
            compare(name, photos, arguments.judge)
            continue
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


def compare(name: str, photos: list[Path], folder: Path) -> None:
    """Print P@1, P@10 and mAP on the photos of a folder for each way to make an embedding."""
    judged = sorted(path for path in folder.rglob("*") if path.is_file())
    labels = np.unique([path.parent.name for path in judged], return_inverse=True)[1]
    learned, asked = last_maps(name, photos), last_maps(name, judged)
    print(f"{name}: {len(photos):,} photos to learn from, {len(judged):,} of {labels.max() + 1} classes to judge by\n")
    print("| made of the last maps by | values | P@1 | P@10 | mAP |\n|---|---|---|---|---|")

    def show(title: str, vectors: NDArray[np.float64]) -> None:
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        scores = [
            precision_at_k(unit, labels, 1),
            precision_at_k(unit, labels, 10),
            mean_average_precision(unit, labels),
        ]
        print(f"| {title} | {vectors.shape[1]} | {' | '.join(f'{score:.3f}' for score in scores)} |", flush=True)

    show("nothing", asked.astype(np.float64))
    for dim in (128, 256, 512):
        for power in (0.0, 0.25, 0.5):
            for rooted in (False, True):
                # A PCA of roots of squares is one of the values themselves.
                rows, others = (learned, asked) if rooted else (learned**2, asked**2)
                made = learn_projection(rows, dim=dim, power=power)
                title = f"{'square roots, ' if rooted else ''}PCA, whitening {power:g}"
                show(title, roots(others.astype(np.float64)) @ made.matrix.T.astype(np.float64) + made.offset)


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
    nothing = Projection(np.eye(WIDTH, dtype=np.float32), np.zeros(WIDTH, np.float32), 0, 0.0)
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
