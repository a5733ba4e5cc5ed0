"""Where fine-tuning begins: scores of the classes (fc8) that fit fc7 already, by logistic regression.

A new fc8 drawn at random sends gradients of no meaning into the layers below (Kumar et al. 2022, "LP-FT").
"""

import numpy as np
import torch

from retrieval.logistic_regression import CrossValidation
from training.data.augment import Normalisation, centre_crops
from training.data.pictures import Pictures
from training.errors import DatasetError
from training.head.learn import learn_head
from training.networks.alexnet import AlexNet

BATCH = 64


@torch.no_grad()
def fit_scores(
    network: AlexNet, pictures: Pictures, normalisation: Normalisation, *, seed: int
) -> tuple[CrossValidation, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Set fc8 of a network on the CPU by what it makes of the pictures' centres.

    Return what cross-validation says, and the labels (n,) of the pictures that could be read. Raises DatasetError.
    """
    network.eval()
    features, labels = [], []
    for pixels, known in pictures.batches(torch.arange(len(pictures)), BATCH):
        if len(known):
            crops = centre_crops(pixels.cpu(), network.config.crop, normalisation)
            features.append(network.forward_features(crops).float())
            labels.append(known.cpu())
    if not features:
        raise DatasetError("none of the training pictures could be read")
    rows, numbers = torch.cat(features).numpy(), torch.cat(labels).numpy()
    scale = max(float(rows.std()), 1e-12)
    found, classifier = learn_head(rows / scale, numbers, network.classes, seed=seed)
    network.fc8.weight.data = torch.from_numpy(classifier.weights / scale).float()
    network.fc8.bias.data = torch.from_numpy(classifier.bias).float()
    return found, numbers
