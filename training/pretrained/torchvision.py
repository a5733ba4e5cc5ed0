"""Published weights: torchvision's AlexNet as a network of ours."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.pipeline.progress import Progress
from training.data.augment import Normalisation
from training.errors import CheckpointError
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_OWT
from training.pretrained.download import download, file_digest, file_name

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
ALEXNET_SHA256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
ALEXNET_ACCURACY = {"top1": 0.56522, "top5": 0.79066, "source": "published by torchvision, not measured here"}
"""On the 50,000 validation pictures of ImageNet."""

LAYERS = {
    "features.0": "features.conv1",
    "features.3": "features.conv2",
    "features.6": "features.conv3",
    "features.8": "features.conv4",
    "features.10": "features.conv5",
    "classifier.1": "hidden.fc6",
    "classifier.4": "hidden.fc7",
    "classifier.6": "fc8",
}
"""Our name of each layer of torchvision's that has weights; the others are ReLUs, pooling and dropout."""


@dataclass(frozen=True, eq=False)
class PublishedWeights:
    """A network read from a file, and what is known of it: accuracy and licence of torchvision's own file only."""

    network: AlexNet
    name: str
    sha256: str
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""

    @property
    def is_torchvisions(self) -> bool:
        """Whether this is the very file that torchvision publishes."""
        return self.sha256 == ALEXNET_SHA256


def fetch_alexnet(folder: Path, *, url: str | None = None, progress: Progress | None = None) -> Path:
    """Return torchvision's file in `folder`, fetched from PyTorch's address or from `url` unless it is there.

    Raises DownloadError.
    """
    url = url or ALEXNET_URL
    name = file_name(url)
    promised = promised_digest(name)
    return download(
        url,
        folder,
        sha256=ALEXNET_SHA256 if ALEXNET_SHA256.startswith(promised) else promised,
        otherwise=f"Without a network here, fetch {url} on another machine, bring the file, and run "
        f"`fc7 import {name} -o MODEL.onnx --labels LABELS.tsv`",
        progress=progress,
    )


def read_weights(path: Path) -> PublishedWeights:
    """Read a file of torchvision's AlexNet: tensors alone, never code. Raises CheckpointError."""
    if not os.path.isfile(path):
        raise CheckpointError(f"there is no file {path}", hint="`fc7 import --list` says what has a name")
    try:
        digest = file_digest(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    promised = promised_digest(path.name)
    if not digest.startswith(promised):
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 begins with {digest[: len(promised)]}, and not with {promised} as its "
            "name says; fetch it again (or rename it, if that is no checksum)"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its zip reader and unpickler raise
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors, of which nothing is loaded; fetch it again, "
            "or write it with `torch.save(network.state_dict(), FILE)`"
        ) from error
    network = as_network(state, str(path))
    if digest != ALEXNET_SHA256:
        return PublishedWeights(network, path.name, digest)
    licence = "BSD-3-Clause (torchvision); learned from ImageNet, whose own terms hold"
    return PublishedWeights(network, path.name, digest, ALEXNET_ACCURACY, licence)


def promised_digest(name: str) -> str:
    """Return the beginning of the SHA-256 that a file's name tells, as PyTorch names them; empty if it tells none."""
    found = re.search(r"-([0-9a-f]{8,64})\b", name)
    return found[1] if found else ""


def as_network(state: object, path: str) -> AlexNet:
    """Return the network with the weights of torchvision's AlexNet, whatever its number of classes.

    Raises CheckpointError, which names `path` and the entry that is missing, too many or of another shape.
    """
    if not isinstance(state, dict) or not all(isinstance(values, Tensor) for values in state.values()):
        raise CheckpointError(f"{path} is not a table of weights as `torch.save(network.state_dict(), FILE)` writes it")
    scores = state.get("classifier.6.bias")
    with torch.device("meta"):  # shapes only: the random start would be thrown away
        network = AlexNet(ALEXNET_OWT, len(scores) if scores is not None and scores.ndim else 1000)
    shapes = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    theirs = {f"{layer}.{kind}": f"{ours}.{kind}" for layer, ours in LAYERS.items() for kind in ("weight", "bias")}
    if missing := sorted(theirs.keys() - state.keys()):
        raise CheckpointError(f"{path} has no {missing[0]}; it is not torchvision's AlexNet")
    if unknown := sorted(map(str, state.keys() - theirs.keys())):
        raise CheckpointError(f"{path} has {unknown[0]}, which torchvision's AlexNet has not")
    for name, ours in theirs.items():
        if tuple(state[name].shape) != shapes[ours]:
            found, expected = (" × ".join(map(str, shape)) for shape in (state[name].shape, shapes[ours]))
            raise CheckpointError(f"{path}: {name} is {found}, in torchvision's AlexNet {expected}")
        if not math.isfinite(state[name].float().sum()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; fetch the file again")
    network.load_state_dict({ours: state[name].float() for name, ours in theirs.items()}, assign=True)
    return network.eval()


def torchvision_normalisation() -> Normalisation:
    """Return the mean colour and standard deviation of torchvision's models, for pixels from 0 to 255."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return Normalisation(mean.reshape(3, 1, 1) * 255, std.reshape(3, 1, 1) * 255)
