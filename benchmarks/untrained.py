"""Model files whose weights do not matter: of a network as it is before training, for what it costs to run."""

from pathlib import Path

import torch

from retrieval.models.spec import ClassName
from training.data.augment import Normalisation
from training.export.embedding import fc7_alone
from training.export.export import Description, InferenceNetwork, for_inference, write_model
from training.networks.alexnet import AlexNet
from training.networks.architectures import AlexNetConfig
from training.pretrained.import_alexnet import random_pictures

CLASSES = 1000
NORMALISATION = Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0))


def untrained(config: AlexNetConfig) -> AlexNet:
    """Return a network with 1,000 classes as it is before training, the same each time."""
    torch.manual_seed(0)
    return AlexNet(config, CLASSES).eval()


def write_untrained(config: AlexNetConfig, path: Path) -> Path:
    """Write the model file of that network, and return its path."""
    # Rounded before: untrained, its answers are almost nothing, and rounding would change them.
    network = for_inference(untrained(config), half=True)
    classes = tuple(ClassName(str(number)) for number in range(CLASSES))
    write_model(
        InferenceNetwork.of(network, NORMALISATION, fc7_alone(network)),
        Description(classes, training={}, accuracy={}),
        path,
        sample=random_pictures(2, config.resize),
    )
    return path
