"""Whether a loss made for neighbours makes a trained network describe better: some more training by each of several.

    python benchmarks/metric_learning.py CHECKPOINT DATA UNSEEN [--epochs N] [--lr RATE] [--only NAME]…

CHECKPOINT is of a run of `fc7 train` on DATA, UNSEEN holds one folder for each class that the run never saw. From the
checkpoint each loss trains the same batches of DATA, the rate falling from RATE to nothing. Of what comes out, fc7 and
`embedding` (made as `fc7 export` does it by default) are measured as in embedding.py: each picture of UNSEEN queries
all others.

cross-entropy         the loss that the network has learned by: what more training alone brings
cosine softmax        cosines of fc7 with one vector a class ÷ 0.05; Zhai, Wu (2019), Classification is a strong
                      baseline for deep metric learning
contrastive           cross-entropy, and pictures of a class drawn together, others apart, among the two crops of each
                      picture in a batch, by cosines ÷ 0.1; Khosla et al. (2020), Supervised contrastive learning
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from descriptors import neighbour_scores, read_pictures
from embedding import activations, squares_of
from numpy.typing import NDArray
from report import table
from torch import Tensor

from training.data.augment import random_crops
from training.data.dataset import scan_dataset
from training.data.pictures import MemoryPictures, Pictures
from training.export.embedding import EmbeddingRecipe, EmbeddingTransform, chosen, fit_embedding, join_layers
from training.loop.checkpoint import Checkpoint
from training.loop.optimisation import chosen_precision, make_optimizer
from training.networks.alexnet import AlexNet

CPU = torch.device("cpu")
BATCH = 128
COSINE_TEMPERATURE = 0.05
CONTRASTIVE_TEMPERATURE = 0.1

Loss = Callable[[AlexNet, Tensor, Tensor], Tensor]
"""The loss of a network for crops (n, 3, side, side), which are n / len(labels) of each picture, and its labels."""


def cross_entropy(network: AlexNet, x: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of the scores."""
    return F.cross_entropy(network(x).float(), labels)


def cosine_softmax(network: AlexNet, x: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of cosines between fc7 and the weights of fc8."""
    fc7 = network.forward_features(x).float()
    return F.cross_entropy(F.normalize(fc7) @ F.normalize(network.fc8.weight).T / COSINE_TEMPERATURE, labels)


def contrastive(network: AlexNet, x: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of the scores and, as much again, that of neighbours among two crops of each picture."""
    fc7 = network.forward_features(x)
    labels = labels.repeat(2)
    return F.cross_entropy(network.fc8(fc7).float(), labels) + neighbours_loss(F.normalize(fc7.float()), labels)


def neighbours_loss(unit: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p(j of i's class | i) over all pairs of unit vectors (n, width); equation 2 of its paper.

    A vector without another of its class does not count.
    """
    itself = torch.eye(len(unit), dtype=torch.bool)
    alike = (labels[:, None] == labels) & ~itself
    log_p = (unit @ unit.T / CONTRASTIVE_TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(1)
    counted = alike.sum(1) > 0
    of_class = log_p.masked_fill(~alike, 0).sum(1)[counted] / alike.sum(1)[counted]
    return -of_class.mean()


LOSSES: dict[str, tuple[Loss, int]] = {
    "cross-entropy": (cross_entropy, 1),
    "cosine softmax": (cosine_softmax, 1),
    "contrastive": (contrastive, 2),
}
"""Each with the crops of a picture that it takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--pictures", type=int, default=100, help="pictures of each unseen class, at most")
    parser.add_argument("--only", action="append", choices=list(LOSSES), help="losses to train by")
    arguments = parser.parse_args()

    checkpoint = Checkpoint.load(arguments.checkpoint)
    size = checkpoint.config.resize
    train = scan_dataset(arguments.data, validation=checkpoint.recipe.validation, seed=checkpoint.recipe.seed).train
    pictures = MemoryPictures(train, size, device=CPU)
    order = chosen(len(pictures), seed=0)
    known = next(pictures.batches(order, len(order)))[0]
    names = sorted(folder.name for folder in arguments.unseen.iterdir() if folder.is_dir())
    images, labels = read_pictures(arguments.unseen, names, most=arguments.pictures)
    unseen = squares_of(images, size)

    def measured(title: str, cpu: str, checkpoint: Checkpoint) -> None:
        for descriptor, scores in described(checkpoint, known, unseen, labels).items():
            rows.append([title, descriptor, *(f"{score:.3f}" for score in scores), cpu])
            print(" · ".join(rows[-1]), file=sys.stderr, flush=True)

    rows: list[list[str]] = []
    measured("none", "", checkpoint)
    for name in arguments.only or LOSSES:
        loss, crops = LOSSES[name]
        start = time.process_time()
        network = tuned(checkpoint, pictures, loss, crops=crops, epochs=arguments.epochs, lr=arguments.lr)
        seconds = time.process_time() - start
        measured(name, f"{seconds:,.0f}", replace(checkpoint, network=network.state_dict(), average={}))
    print(table(("more training by", "descriptor", "P@1", "P@10", "mAP", "CPU, s"), rows))


def tuned(checkpoint: Checkpoint, pictures: Pictures, loss: Loss, *, crops: int, epochs: int, lr: float) -> AlexNet:
    """Return the checkpoint's network after some more epochs by a loss, with `crops` of each picture in a batch."""
    torch.manual_seed(0)
    network = checkpoint.build().train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = checkpoint.recipe.changed(lr=lr)
    optimizer, precision = make_optimizer(network, recipe), chosen_precision(recipe, CPU)
    steps = len(pictures) // BATCH * epochs
    done = 0
    for epoch in range(epochs):
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(epoch))
        for pixels, labels in pictures.batches(order[: len(order) // BATCH * BATCH], BATCH):
            x = torch.cat(
                [
                    random_crops(pixels, checkpoint.config.crop, checkpoint.normalisation, mirror=recipe.mirror)
                    for _ in range(crops)
                ]
            )
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - done / steps)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
                found = loss(network, x.contiguous(memory_format=torch.channels_last), labels)
            found.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
            if done % 100 == 0:
                print(f"{done} of {steps} steps, loss {found.item():.3f}", file=sys.stderr, flush=True)
    return network


def described(
    checkpoint: Checkpoint, known: Tensor, unseen: Tensor, labels: NDArray[np.int64]
) -> dict[str, tuple[float, float, float]]:
    """Return P@1, P@10 and mAP of fc7 and of `embedding`, whose PCA is learned from `known` pictures."""
    asked = activations(checkpoint, unseen)
    fc7 = EmbeddingTransform(EmbeddingRecipe(layers=("fc7",)))
    embedding = fit_embedding(join_layers(activations(checkpoint, known), recipe := EmbeddingRecipe()), recipe)
    return {
        name: neighbour_scores(transform(asked).numpy(), labels)
        for name, transform in (("fc7", fc7), ("embedding", embedding))
    }


if __name__ == "__main__":
    main()
