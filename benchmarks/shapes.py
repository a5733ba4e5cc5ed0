"""What shapes and losses are worth to a network that learns from a teacher: short trainings, judged by neighbours.

    python benchmarks/shapes.py SET... [--unlabelled SET]... --teacher MODEL --cache FOLDER --judge FOLDER -o RESULTS

SETs, the teacher and the cache are those of `fc7 train --teacher`; of each set a share of --weight is drawn an epoch.
Every variant is an `alexnet-128` with one thing changed, trained from nothing. JUDGE has a folder for each class, best
such that no picture of them is in a SET: every third of its photos queries the others. The embedding is made as in a
model file, its PCA learned from 4,000 training pictures. A training that RESULTS holds already is not done again.
Time is the processor's for all of the training, validation not included, as a ratio to the first row's.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from recipes import every, read_results, scaled, write_results
from torch import Tensor

from commands.training_report import TerminalReport
from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from retrieval.models.spec import group_slices
from training.data.augment import Normalisation, centre_crops
from training.data.dataset import Split, scan_dataset
from training.data.normalisation import learn_normalisation
from training.data.pictures import MemoryPictures, Pictures
from training.data.sources import Source
from training.distillation.lesson import Taught, find_pictures
from training.distillation.objective import TeacherObjective
from training.export.embedding import EmbeddingRecipe, fit_embedding, join_layers
from training.loop.hardware import choose_hardware
from training.loop.prepare import load_splits
from training.loop.recipe import RECIPES
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_128, AlexNetConfig, ConvLayer

SHAPE = ALEXNET_128.changed(squash=True)
FIRST = "alexnet-128"
LEARNED_FROM, CHECKED, JUDGED = 4000, 16, 3
"""Pictures that the PCA is learned from; of so many validation pictures, and photos to judge by, one is taken."""


def in_groups() -> AlexNetConfig:
    """Return the shape with the groups of the paper's two columns: conv2, conv4 and conv5."""
    return replace(
        SHAPE, convs=tuple(replace(conv, groups=1 + (number in (1, 3, 4))) for number, conv in enumerate(SHAPE.convs))
    )


def coarse_conv1() -> AlexNetConfig:
    """Return the shape with the paper's conv1, at every fourth pixel, and no pool2, so that fc6 stays as large."""
    _, conv2, *rest = SHAPE.convs
    return replace(SHAPE, convs=(ConvLayer(48, 11, stride=4, padding=5, pool=True), replace(conv2, pool=False), *rest))


@dataclass(frozen=True)
class Variant:
    """What differs from alexnet-128 and the recipe of all."""

    recipe: dict[str, Any] = field(default_factory=dict)
    config: AlexNetConfig = SHAPE


VARIANTS = {
    FIRST: Variant(),
    "the same from another seed, which shows what chance does": Variant({"seed": 1}),
    "conv1 11×11 at every fourth pixel, no pool2": Variant(config=coarse_conv1()),
    "conv2, conv4, conv5 in two groups": Variant(config=in_groups()),
    "0.7 times as wide": Variant(config=scaled(SHAPE, 0.7)),
    "1.4 times as wide": Variant(config=scaled(SHAPE, 1.4)),
    "fc6 and fc7 of 512": Variant(config=replace(SHAPE, hidden=(512, 512))),
    "the teacher's embedding is not imitated": Variant({"imitation": 0.0}),
    "no labels": Variant({"label_share": 0.0}),
    "labels alone where there are some": Variant({"label_share": 1.0}),
    "dropout 0.2": Variant({"dropout": 0.2}),
    "crops of 35 to 100 %": Variant({"scale": 0.35}),
    "half of the pictures as small JPEGs": Variant({"jpeg": 0.5}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET", type=Path)
    parser.add_argument("--unlabelled", action="append", default=[], metavar="SET", type=Path)
    parser.add_argument("--teacher", required=True, metavar="MODEL", type=Path)
    parser.add_argument("--cache", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--judge", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("-o", "--out", required=True, metavar="RESULTS", type=Path)
    parser.add_argument("--weight", type=float, default=0.1, help="share of each set that an epoch draws")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="variants to train")
    arguments = parser.parse_args()

    common = RECIPES["alexnet-128"].changed(
        epochs=arguments.epochs, warmup=0.3, grow="0:64,0.9:112", scale=0.75, dropout=0.0, imitation=5.0, evidence=40
    )
    hardware = choose_hardware()
    sources = [Source(root, arguments.weight) for root in arguments.sets]
    sources += [Source(root, arguments.weight, labelled=False) for root in arguments.unlabelled]
    with TerminalReport(sys.stderr) as report:
        taught = Taught.by(arguments.teacher, hardware, folder=arguments.cache)
        dataset, lesson = find_pictures(sources, common, hardware=hardware, report=report, taught=taught)
        assert lesson is not None
        dataset = replace(dataset, validation=every(CHECKED, dataset.validation))
        pictures, validation = load_splits(dataset, SHAPE, hardware, report, lesson=lesson, cache=arguments.cache)
        judge = judged_photos(arguments.judge)
    normalisation = learn_normalisation(common, pictures)
    found = read_results(
        arguments.out, {"data": dataset.fingerprint, "epochs": arguments.epochs, "weight": arguments.weight}
    )
    for name, variant in VARIANTS.items():
        if name in found["times"] or (arguments.only and name not in arguments.only):
            continue
        recipe = common.changed(**variant.recipe)
        torch.manual_seed(recipe.seed)
        trainer = Trainer(
            AlexNet(replace(variant.config, dropout=recipe.dropout), len(dataset.classes)),
            recipe,
            pictures=pictures,
            validation=validation,
            normalisation=normalisation,
            device=hardware.device,
            objective=TeacherObjective(recipe, lesson, hardware.device),
            draws=dataset.draws,
            groups=tuple(group_slices(dataset.groups, len(dataset.classes)).values()),
        )
        print(f"{name}: {recipe.epochs} epochs of {trainer.steps} batches", file=sys.stderr, flush=True)
        found["times"][name] = trained(trainer)
        found["results"].append(
            {
                "variant": name,
                "pictures": recipe.epochs * trainer.steps * recipe.batch_size,
                "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
                "top1": trainer.history[-1].validation_top1,
                **neighbours(trainer.network, pictures, judge, normalisation),
            }
        )
        write_results(arguments.out, found)
    print_table(found)


def judged_photos(folder: Path) -> MemoryPictures:
    """Read every third photo of a folder of classes, as squares of their middle."""
    dataset = scan_dataset(folder, validation=0.5)
    paths = (*dataset.train.paths, *dataset.validation.paths)
    labels = (*dataset.train.labels, *dataset.validation.labels)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    split = Split(tuple(paths[n] for n in order), tuple(labels[n] for n in order))
    return MemoryPictures(every(JUDGED, split), SHAPE.resize, device=torch.device("cpu"))


def trained(trainer: Trainer) -> float:
    """Train to the end; return the processor's seconds, those of validation left out."""
    total = 0.0
    while trainer.epoch < trainer.recipe.epochs:
        epoch = trainer.epoch
        start = time.process_time()
        # Stopped after its last batch, before it validates; then it has only that left to do.
        trainer.train_epoch(stop=lambda: trainer.step == trainer.steps)
        total += time.process_time() - start
        if trainer.epoch == epoch:
            trainer.train_epoch()
    return total


@torch.inference_mode()
def neighbours(
    network: AlexNet, pictures: Pictures, judge: MemoryPictures, normalisation: Normalisation
) -> dict[str, float]:
    """Return P@1, P@10 and mAP of an embedding that is made as in a model file."""
    network.eval()
    recipe = EmbeddingRecipe()

    def joined(part: Pictures, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for pixels, labels in part.batches(order, 256):
            yield join_layers(network.activations(centre_crops(pixels, SHAPE.crop, normalisation)), recipe), labels

    few = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:LEARNED_FROM]
    transform = fit_embedding(torch.cat([rows for rows, _ in joined(pictures, few)]), recipe)
    assert transform.matrix is not None
    assert transform.offset is not None
    found = list(joined(judge, torch.arange(len(judge))))
    rows = torch.cat([rows for rows, _ in found]) @ transform.matrix.T + transform.offset
    embeddings = torch.nn.functional.normalize(rows).numpy()
    labels = torch.cat([labels for _, labels in found]).numpy()
    return {
        "p1": precision_at_k(embeddings, labels, 1),
        "p10": precision_at_k(embeddings, labels, 10),
        "map": mean_average_precision(embeddings, labels),
    }


def print_table(found: dict[str, Any]) -> None:
    print("| alexnet-128 | parameters, millions | pictures | time | top-1 | P@1 | P@10 | mAP |\n" + "|---" * 8 + "|")
    times = found["times"]
    for result in found["results"]:
        name = result["variant"]
        ratio = f"{times[name] / times[FIRST]:.2f}" if FIRST in times else ""
        scores = " | ".join(f"{result[key]:.3f}" for key in ("p1", "p10", "map"))
        print(
            f"| {name} | {result['parameters'] / 1e6:.1f} | {result['pictures']:,} | {ratio} | {result['top1']:.1%} "
            f"| {scores} |"
        )


if __name__ == "__main__":
    main()
