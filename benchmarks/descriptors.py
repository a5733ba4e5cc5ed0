"""Nearest neighbours by a model's outputs against a hand-crafted descriptor, on labelled pictures.

    python benchmarks/descriptors.py DATA [-m MODEL] [--classes FILE] [--pictures N]

DATA has one folder a class. Each picture queries all others; P@1, P@10 and mAP for HOG (9 orientations, 16-pixel cells,
2×2 blocks, the picture at 128 pixels), fc7 as it is, and `embedding`. `--classes` limits it to the folders that a file
lists, a name a line: with classes that the model never saw, this is the measure of a describer.
"""

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog

from index.errors import PhotoError
from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.photos.preprocess import resize_only
from retrieval.photos.scan import scan_folder

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("--classes", type=Path, help="file with the names of the folders to take, one a line")
    parser.add_argument("--pictures", type=int, default=50, help="pictures of each class, at most")
    arguments = parser.parse_args()

    names = class_folders(arguments.data)
    if arguments.classes:
        chosen = set(arguments.classes.read_text().split())
        names = [name for name in names if name in chosen]
    images, labels = read_pictures(arguments.data, names, most=arguments.pictures)
    model = Model.load(arguments.model)

    print(f"{len(images)} pictures of {len(names)} classes; {model.spec.name} ({model.spec.fingerprint[:12]})")
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime", "scikit-image"))
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}\n"
    )
    print("| descriptor | values | P@1 | P@10 | mAP |\n|---|---|---|---|---|")
    found = {}
    for name, (values, scores) in compare(model, images, labels).items():
        found[name] = np.array(scores)
        print(f"| {name} | {values} | " + " | ".join(f"{score:.3f}" for score in scores) + " |")
    ratios = found["embedding"] / found["HOG"]
    print("| embedding ÷ HOG | | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def compare(
    model: Model, images: list[Image.Image], labels: NDArray[np.int64]
) -> dict[str, tuple[int, tuple[float, float, float]]]:
    """Return for HOG, fc7 and embedding how many values they have, and P@1, P@10 and mAP."""
    fc7, embedding = model_descriptors(model, images)
    handmade = unit_length(np.stack([hog_descriptor(image) for image in images]))
    return {
        name: (vectors.shape[1], neighbour_scores(vectors, labels))
        for name, vectors in (("HOG", handmade), ("fc7", unit_length(fc7)), ("embedding", embedding))
    }


def neighbour_scores(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return P@1, P@10 and mAP of vectors (n, dim) of unit length, each of which queries all others."""
    return (
        precision_at_k(vectors, labels, 1),
        precision_at_k(vectors, labels, min(10, len(vectors) - 1)),
        mean_average_precision(vectors, labels),
    )


def class_folders(data: Path) -> list[str]:
    """Return the names of the folders in `data`, one a class. Ends the program where there are not two."""
    names = sorted(folder.name for folder in data.iterdir() if folder.is_dir())
    if len(names) < 2:
        sys.exit(f"{data} has to hold one folder of pictures a class, and holds {len(names)}")
    return names


def read_pictures(data: Path, names: list[str], *, most: int) -> tuple[list[Image.Image], NDArray[np.int64]]:
    images, labels = [], []
    for label, name in enumerate(names):
        for path in list(scan_folder(data / name).photos)[:most]:
            try:
                images.append(open_photo(data / name / os.fsdecode(path)))
                labels.append(label)
            except PhotoError as error:
                print(f"left out {data / name / os.fsdecode(path)}: {error}", file=sys.stderr)
    return images, np.array(labels)


def model_descriptors(model: Model, images: list[Image.Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    batches = [
        model.run(np.stack([model.prepare(image) for image in images[start : start + BATCH]]))
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate([batch.fc7 for batch in batches]), np.concatenate([batch.embedding for batch in batches])


def hog_descriptor(image: Image.Image) -> NDArray[np.float32]:
    grey = np.asarray(Image.fromarray(resize_only(image, size=128)).convert("L"))
    return np.asarray(hog(grey, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(2, 2)), np.float32)


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


if __name__ == "__main__":
    main()
