"""Where fine-tuning starts: the weights of a checkpoint or of a model file, and what it knows of classes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from index.errors import ModelError
from retrieval.models.model import model_file
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec, group_slices
from training.data.augment import Normalisation
from training.errors import CheckpointError
from training.loop.checkpoint import Checkpoint
from training.loop.recipe import RECIPES
from training.networks.alexnet import AlexNet
from training.networks.architectures import AlexNetConfig


@dataclass(frozen=True)
class PretrainedWeights:
    """The shape of a network, its weights by name without fc8, and how its pictures are normalised."""

    name: str
    config: AlexNetConfig
    weights: dict[str, Tensor]
    normalisation: Normalisation
    licence: str = ""
    """Terms of use, which hold for what is made of the weights too."""
    learned: str = ""
    """The hashes of the pictures that the weights learned from, packed."""
    classes: tuple[ClassName, ...] = ()
    groups: tuple[ClassGroup, ...] = ()
    scores: tuple[Tensor, Tensor] | None = None
    """Weight (classes, fc7) and bias (classes,) of fc8, for a network that learns the same classes."""

    def network(self, config: AlexNetConfig, classes: int) -> AlexNet:
        """Return a network with these weights and a new fc8. Raises CheckpointError if they do not fit the shape."""
        network = AlexNet(config, classes)
        try:
            missing, unexpected = network.load_state_dict(self.weights, strict=False)
        except RuntimeError as error:
            raise CheckpointError(f"the weights of {self.name} do not fit the architecture that it names") from error
        if unexpected or {name.partition(".")[0] for name in missing} != {"fc8"}:
            raise CheckpointError(f"{self.name} does not hold all weights of the architecture {self.config.arch}")
        return network

    @torch.no_grad()
    def give_scores(self, network: AlexNet, classes: Sequence[ClassName], groups: Sequence[ClassGroup]) -> int:
        """Give a network fc8's weights of those of its classes that are known here, and return how many that are.

        Classes are the same that have one WordNet id, or where there is none one name, in groups of one name where both
        have groups. A new fc8 can undo, in its first steps, what the layers below have learned.
        """
        shape = (len(self.classes), network.fc8.in_features)
        if self.scores is None or self.scores[0].shape != shape or self.scores[1].shape != shape[:1]:
            return 0
        ours, theirs = (self.groups, groups) if self.groups and groups else ((), ())
        places: dict[tuple[str, str], int] = {}
        for group, number, known in _numbered(self.classes, ours):
            places.setdefault((group, known.id or known.name), number)
        for group, number, known in _numbered(self.classes, ours):  # a name of its own goes before another's synonym
            for word in () if known.id else known.synonyms:
                places.setdefault((group, word), number)
        weight, bias = self.scores
        found = 0
        for group, number, wanted in _numbered(classes, theirs):
            if (old := places.get((group, wanted.id or wanted.name))) is not None:
                network.fc8.weight[number], network.fc8.bias[number] = weight[old], bias[old]
                found += 1
        return found


def read_pretrained(path: Path) -> PretrainedWeights:
    """Read a checkpoint (.pt), a model file (.onnx) or, by the word `builtin`, the model that comes with fc7.

    Raises CheckpointError and ModelError.
    """
    path = model_file(path)
    if path.suffix != ".onnx":
        checkpoint = Checkpoint.load(path)
        weights, scores = _apart(checkpoint.weights)
        licence, learned = (checkpoint.data.get(key, "") for key in ("licence", "learned"))
        return PretrainedWeights(
            path.name,
            _known(checkpoint.config),
            weights,
            checkpoint.normalisation,
            licence,
            learned,
            checkpoint.classes,
            checkpoint.groups,
            scores,
        )
    if not os.path.isfile(path):
        raise ModelError(f"there is no model file {path}", hint="leave out --from to start from nothing")
    try:
        model = onnx.load(path)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path} is not a readable ONNX model ({error})") from error
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}, path=str(path))
    # What batch normalisation did is part of a model file's weights.
    config = replace(_config(spec, path), batch_norm=False)
    stored = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    weights = {}
    for name in AlexNet(config, 2).state_dict():
        layer, _, kind = name.rpartition(".")
        found = stored.get(key := f"{layer.rpartition('.')[2]}.{kind}", stored.get(f"{key}.float16"))
        if found is not None:
            weights[name] = torch.from_numpy(found.astype(np.float32))
    weights, scores = _apart(weights)
    if "mean" not in stored:
        raise ModelError(f"{path} holds no mean of its training pictures; start from a model made by fc7")
    # A mean picture was cut to the centre for the file; its colour holds for all crops.
    mean = torch.from_numpy(stored["mean"].astype(np.float32))[0].mean((1, 2), keepdim=True)
    std = torch.from_numpy(stored["deviation"].astype(np.float32))[0] if "deviation" in stored else torch.ones(3, 1, 1)
    return PretrainedWeights(
        path.name,
        config,
        weights,
        Normalisation(mean, std),
        spec.licence,
        spec.learned,
        spec.classes,
        spec.groups,
        scores,
    )


def _numbered(classes: Sequence[ClassName], groups: Sequence[ClassGroup]) -> Iterator[tuple[str, int, ClassName]]:
    """Yield each class with the name of its group and its number."""
    for group, place in group_slices(groups, len(classes)).items():
        for number in range(place.start, place.stop):
            yield group, number, classes[number]


def _apart(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor] | None]:
    """Return the weights without fc8, and fc8's weight and bias where both are there."""
    below = {name: values for name, values in weights.items() if not name.startswith("fc8.")}
    weight, bias = weights.get("fc8.weight"), weights.get("fc8.bias")
    return below, None if weight is None or bias is None else (weight, bias)


def _config(spec: ModelSpec, path: Path) -> AlexNetConfig:
    if spec.arch not in RECIPES:
        raise ModelError(
            f"{path} is a network of another kind ({spec.arch})",
            hint="start from a model or checkpoint of `fc7 train`, or learn from it with --teacher",
        )
    try:
        return _known(AlexNetConfig.from_dict(dict(spec.arch_config)))
    except CheckpointError as error:
        raise ModelError(f"{path} cannot be started from: {error}") from error


def _known(config: AlexNetConfig) -> AlexNetConfig:
    if config.arch not in RECIPES:
        raise CheckpointError(f"{config.arch} is none of the architectures that can be trained, {', '.join(RECIPES)}")
    return config
