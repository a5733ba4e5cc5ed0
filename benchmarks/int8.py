"""What 8-bit numbers would bring: ONNX Runtime's static quantisation of a model file, its speed and its neighbours.

    python benchmarks/int8.py --calibrate FOLDER --neighbours FOLDER [--most N] MODEL...

MODEL is a model file or a name, as for -m. Its copy is that of `fc7 import MODEL --int8 --calibrate FOLDER`. Of
`--neighbours`, which has a folder for each class, N photos drawn by a seed query one another. The rate is that of
batches of 16 prepared pictures on one thread, by processor time, both models in turn; what counts is the ratio, the
median of nine rounds, with the least and the most.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from models import BATCH, Answers, answers, photos_in

from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from retrieval.models.model import Model, model_file
from training.export.int8 import write_int8
from training.loop.report import SilentReport

ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", type=Path)
    parser.add_argument("--calibrate", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--neighbours", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--most", type=int, default=2000, metavar="N")
    arguments = parser.parse_args()

    chosen = drawn(arguments.neighbours, arguments.most)
    print("| model | numbers | MB | rate ÷ float32's | P@1 | P@10 | mAP | mAP ÷ float32's |")
    print("|---|---|---|---|---|---|---|---|")
    for named in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            model = Model.load(named, device="cpu", threads=1)
            file = Path(folder) / "int8.onnx"
            write_int8(named, arguments.calibrate, file, name="int8", report=SilentReport(), keep_other=False)
            small = Model.load(file, device="cpu", threads=1)
            ratios = ratios_of(model, small)
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            scores = [scores_of(answers(one, chosen), arguments.neighbours) for one in (model, small)]
            for title, path, rate, found in (
                ("float32", model_file(named), "1", scores[0]),
                ("int8", file, ratio, scores[1]),
            ):
                numbers = " | ".join(f"{score:.3f}" for score in found)
                share = f"{found[-1] / scores[0][-1]:.3f}"
                size = f"{path.stat().st_size / 1e6:.1f}"
                print(f"| {named} | {title} | {size} | {rate} | {numbers} | {share} |", flush=True)


def drawn(folder: Path, count: int) -> list[Path]:
    photos = photos_in(folder)
    return sorted(random.Random(0).sample(photos, min(count, len(photos))))


def ratios_of(model: Model, small: Model) -> list[float]:
    """Return how many times as fast the second is, a ratio for each round, the two in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, model.spec.crop, model.spec.crop, 3), np.uint8)
    ratios = []
    for round in range(ROUNDS + 1):
        seconds = []
        for one in (model, small):
            start = time.thread_time()
            one.run(pixels)
            seconds.append(time.thread_time() - start)
        if round:  # the first one warms up
            ratios.append(seconds[0] / seconds[1])
    return ratios


def scores_of(found: Answers, folder: Path) -> tuple[float, float, float]:
    """Return P@1, P@10 and mAP of photos whose classes are the folders that they lie in."""
    classes = [photo.relative_to(folder).parts[0] for photo in found.photos]
    labels = np.unique(classes, return_inverse=True)[1]
    vectors = found.embeddings
    return (
        precision_at_k(vectors, labels, 1),
        precision_at_k(vectors, labels, 10),
        mean_average_precision(vectors, labels),
    )


if __name__ == "__main__":
    main()
