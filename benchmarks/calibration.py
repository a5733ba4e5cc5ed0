"""How many photos the embedding has to be learned from, until it describes nearly as well as fc7 alone.

    python benchmarks/calibration.py CHECKPOINT DATA

CHECKPOINT is of a run of `fc7 train`, DATA a data set whose validation pictures it was not trained on. 3,000 of them,
drawn by a seed, query one another; the embedding is learned from N of the others, whose labels it never sees.
"""

import argparse
import random
from pathlib import Path

import torch

from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from training.data.augment import centre_crops
from training.data.dataset import Split, scan_labelled
from training.data.pictures import MemoryPictures
from training.export.embedding import EmbeddingRecipe, EmbeddingTransform, fc7_alone, learn_embedding
from training.loop.checkpoint import Checkpoint

QUERIES = 3_000
COUNTS = (10, 32, 64, 125, 250, 500, 1_000, 2_000, 6_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()

    checkpoint = Checkpoint.load(arguments.checkpoint)
    network, normalisation = checkpoint.build(), checkpoint.normalisation
    split = scan_labelled(arguments.data, checkpoint.classes)
    order = random.Random(0).sample(range(len(split)), len(split))
    queries = pictures_of(split, order[:QUERIES], checkpoint.config.resize)
    rest = order[QUERIES:]

    pixels, labels = next(queries.batches(torch.arange(len(queries)), len(queries)))
    found = []
    with torch.inference_mode():
        for part in torch.split(pixels, 250):
            found.append(network.activations(centre_crops(part, checkpoint.config.crop, normalisation)))
    activations = {name: torch.cat([values[name] for values in found]) for name in found[0]}

    def show(title: str, transform: EmbeddingTransform) -> None:
        embeddings = transform(activations).numpy()
        scores = precision_at_k(embeddings, labels.numpy(), 10), mean_average_precision(embeddings, labels.numpy())
        print(f"| {title} | {transform.recipe.dim} | {scores[0]:.4f} | {scores[1]:.4f} |", flush=True)

    print(f"{checkpoint.config.arch} after {checkpoint.epoch} epochs, {len(queries)} pictures, {len(rest)} others\n")
    print("| learned from | values | P@10 | mAP |\n|---|---|---|---|")
    show("nothing: fc7 alone", fc7_alone(network))
    for count in COUNTS:
        if count <= len(rest):
            few = pictures_of(split, rest[:count], checkpoint.config.resize)
            show(f"{count:,} pictures", learn_embedding(network, few, normalisation, EmbeddingRecipe()))


def pictures_of(split: Split, numbers: list[int], size: int) -> MemoryPictures:
    return MemoryPictures(split.take(numbers), size, device=torch.device("cpu"))


if __name__ == "__main__":
    main()
