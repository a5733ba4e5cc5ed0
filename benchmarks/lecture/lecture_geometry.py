"""What shifting, turning and scaling a picture does to the maps of a network and to what it says."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lecture_results import Results, Values
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from index.errors import PhotoError
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.photos.scan import expand_paths
from training.pretrained.fine_tuning import read_pretrained

LAYERS = {"conv1": "relu1", "pool1": "pool1", "conv3": "relu3", "conv5": "relu5", "pool5": "pool5"}
"""Layers that are compared, and the module whose output is meant."""

SHIFTS = (1, 2, 4, 8, 16)
"""Pixels of the network's input that a picture is shifted by."""

VIEW = 192
"""Side of what is looked at of a photo, the half of its own."""

LARGE = 16
"""Photos that maps are compared on."""

WINDOW = 160
"""Side of the pictures that maps are compared on: wider than the network's own, so that there is an inside."""

SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
ANGLES = (5, 10, 20, 30, 45, 60, 90, 180)
SCALES = (0.5, 0.67, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)


def read_photos(folder: Path) -> list[Image.Image]:
    """Return the photos whose shorter side is VIEW pixels or more, shrunk to 2 × VIEW where it is longer."""
    images = []
    for path in expand_paths([folder], skipped=[]):
        try:
            image = open_photo(path, shorter_side=2 * VIEW).convert("RGB")
        except PhotoError:
            continue
        if min(image.size) >= VIEW:
            factor = min(2 * VIEW / min(image.size), 1)
            images.append(image.resize([math.ceil(side * factor) for side in image.size], reducing_gap=3.0))
    return images


def seen(image: Image.Image, *, shift: float = 0.0, angle: float = 0.0, scale: float = 1.0) -> Image.Image:
    """Return what a camera that is moved sees of a photo: a square of half its shorter side, from around its middle.

    It is shifted to the side by a share of its own side, turned by `angle` degrees, or its things made `scale` times
    larger. What comes into view is the rest of the photo, no border.
    """
    side = min(image.size) // 2
    width = side / scale
    turn = math.radians(angle)
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    x, y = image.width / 2 + shift * side, image.height / 2
    # From places of the result to places of the photo, both counted from their middles.
    matrix = (cos, sin, x - (cos + sin) * side / 2, -sin, cos, y - (cos - sin) * side / 2)
    assert width <= 2 * side, "a scale below 0.5 would show what lies beside the photo"
    return image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def responses(model: Model, images: Sequence[Image.Image]) -> dict[str, list[tuple[float, float, float]]]:
    """Return by kind of change: amount, mean cosine with the embedding before, share of labels that stayed."""

    def described(changed: Sequence[Image.Image]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        outputs = model.run([model.prepare(image) for image in changed])
        return outputs.embedding, outputs.probabilities.argmax(1)

    embeddings, labels = described([seen(image) for image in images])
    mirrored, named = described([seen(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images])

    def rows(name: str, amounts: Sequence[float]) -> list[tuple[float, float, float]]:
        found = []
        for amount in amounts:
            changed, named = described([seen(image, **{name: amount}) for image in images])
            found.append((amount, float((embeddings * changed).sum(1).mean()), float((named == labels).mean())))
        return found

    others = ~np.eye(len(images), dtype=bool)
    return {
        "shift": rows("shift", SHARES),
        "angle": rows("angle", ANGLES),
        "scale": rows("scale", SCALES),
        "mirror": [(0.0, float((embeddings * mirrored).sum(1).mean()), float((named == labels).mean()))],
        "other photo": [
            (0.0, float((embeddings @ embeddings.T)[others].mean()), float((labels[:, None] == labels)[others].mean()))
        ],
    }


def relative_difference(maps: Tensor, shifted: Tensor, places: float, *, edge: int) -> float:
    """Return |shifted maps - maps of the shifted picture| / |the latter|, both (n, maps, side, side).

    `places` is the shift to the left, in places of the map; between two places the maps are interpolated. `edge` places
    along each border are left out, and what was shifted in from outside.
    """
    whole = math.floor(places)
    part = places - whole
    width = maps.shape[-1] - whole - 1
    expected = (1 - part) * maps[..., whole : whole + width] + part * maps[..., whole + 1 : whole + 1 + width]
    expected, found = (x[..., edge : x.shape[-2] - edge, edge : width - edge] for x in (expected, shifted[..., :width]))
    return float((found - expected).norm() / found.norm())


@torch.inference_mode()
def equivariance(model: Path, images: Sequence[Image.Image]) -> dict[str, Values]:
    """Return by layer its stride and the relative difference for each shift, with and without the borders."""
    start = read_pretrained(model)
    network = start.network(start.config, 2).eval()
    pixels = torch.stack([torch.from_numpy(np.array(seen(image))) for image in images])
    x = (pixels.permute(0, 3, 1, 2).float() - start.normalisation.mean) / start.normalisation.std

    def maps(shift: int) -> dict[str, Tensor]:
        found, values = {}, x[..., :WINDOW, shift : shift + WINDOW].clone()
        for name, layer in network.features.named_children():
            values = layer(values)
            found[name] = values.clone()  # the ReLU that follows works in place
        return found

    still = maps(0)
    rows: dict[str, Values] = {}
    for name, module in LAYERS.items():
        stride = _stride(WINDOW / still[module].shape[-1])
        reach = 24 // stride + 1  # the borders reach 24 pixels far inside: the half of what a place of pool5 sees
        rows[name] = {"stride": stride, "borders": [], "inside": []}
        for shift in SHIFTS:
            moved = maps(shift)[module]
            rows[name]["borders"].append(relative_difference(still[module], moved, shift / stride, edge=0))
            rows[name]["inside"].append(relative_difference(still[module], moved, shift / stride, edge=reach))
    return rows


def _stride(ratio: float) -> int:
    """Return the power of two that the size of a map tells."""
    return int(2 ** round(math.log2(ratio)))


def move(results: Results, model: Path | None, photos: Path) -> None:
    """Measure both on real photos."""
    loaded = Model.load(model, device="cpu")
    settings = {"model": loaded.spec.fingerprint, "photos": photos.resolve().name}

    def run() -> Values:
        images = read_photos(photos)
        large = [image for image in images if min(image.size) >= 2 * VIEW][:LARGE]
        return {
            "photos": len(images),
            "responses": responses(loaded, images),
            "large": len(large),
            "shifts": list(SHIFTS),
            "maps": equivariance(model or Path("builtin"), large),
        }

    results.measure("moved", settings, run)
