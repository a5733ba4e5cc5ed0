"""Model files whose weights do not matter: of a network as it is before training, for what it costs to run."""

from pathlib import Path

import torch

from retrieval.spec import ClassName
from training.architectures import AlexNetConfig
from training.augment import Normalisation
from training.embedding import fc7_alone
from training.export import for_inference, write_model
from training.importing import random_pictures
from training.networks import AlexNet

CLASSES = 1000


def write_untrained(config: AlexNetConfig, path: Path) -> Path:
    """Write the model file of an untrained network with 1,000 classes, and return its path."""
    torch.manual_seed(0)
    network = for_inference(AlexNet(config, CLASSES), half=True)
    write_model(
        network,
        path,
        trained=network,
        normalisation=Normalisation(torch.full((3, 1, 1), 120.0), torch.ones(3, 1, 1)),
        transform=fc7_alone(network),
        sample=random_pictures(2, config.resize),
        half=True,
        classes=tuple(ClassName(str(number)) for number in range(CLASSES)),
        training={},
        accuracy={},
    )
    return path
