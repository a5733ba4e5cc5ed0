"""Photos to embeddings: one after the other through torch, as img2vec does it, against `fc7 index`."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from untrained import NORMALISATION, untrained, write_untrained

from index.index_writer import IndexWriter
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from training.networks.alexnet import AlexNet
from training.networks.architectures import CONFIGS


def one_by_one(network: AlexNet, paths: Sequence[Path]) -> NDArray[np.float32]:
    """Open, resize and run photo after photo: fc7 (n, hidden). The network has all cores for each, Pillow one."""
    found = []
    side = network.config.crop
    for path in paths:
        with Image.open(path) as photo:
            picture = photo.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
        normalised = (pixels - NORMALISATION.mean) / NORMALISATION.std
        with torch.inference_mode():
            found.append(network.forward_features(normalised[None])[0].numpy())
    return np.stack(found)


def by_index(model: Model, folder: Path) -> int:
    """Make an index of a folder, from nothing, as `fc7 index` does; return its number of photos."""
    with tempfile.TemporaryDirectory() as temporary:
        spec = model.spec
        place = Path(temporary) / "index"
        with IndexWriter.open_for_writing(
            place, fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
        ) as index:
            index_folders(index, model, [folder])
            return index.summary().photos


def seconds_both_ways(
    network: AlexNet,
    model: Model,
    paths: Sequence[Path],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, float]]:
    """Take turns, `rounds` times after once to warm up: seconds by `clock` one by one, and by an index."""
    [folder] = {path.parent for path in paths}
    found = []
    for _ in range(rounds + 1):
        start = clock()
        vectors = one_by_one(network, paths)
        middle = clock()
        photos = by_index(model, folder)
        found.append((middle - start, clock() - middle))
        if not len(vectors) == photos == len(paths):
            raise ValueError(f"{folder} holds photos that were not looked at")
    return found[1:]


def network_and_model(arch: str, file: Path) -> tuple[AlexNet, Model]:
    """Make an untrained network, which costs as much as a trained one, and its model, loaded as `fc7 index` does it."""
    config = CONFIGS[arch]
    return untrained(config), Model.load(write_untrained(config, file), device="cpu", threads=1)
