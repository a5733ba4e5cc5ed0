"""What 8-bit numbers would bring: ONNX Runtime's static quantisation of a model file, its speed and its neighbours.

    python benchmarks/int8.py --calibrate FOLDER --neighbours FOLDER [--most N] MODEL...

MODEL is a model file or a name, as for -m. The ranges of activations are taken from 128 photos of `--calibrate`; of
`--neighbours`, which has a folder for each class, N photos drawn by a seed query one another. Convolutions and products
are quantised, weights by channel; the embedding's own arithmetic stays float32. The rate is that of batches of 16
prepared pictures on one thread, by processor time, both models in turn; what counts is the ratio, the median of nine
rounds, with the least and the most.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from models import BATCH, Answers, answers, photos_in
from numpy.typing import NDArray

from retrieval.evaluation.metrics import mean_average_precision, precision_at_k
from retrieval.models.model import Model, model_file
from retrieval.models.runtime import load_onnxruntime
from retrieval.photos.decode import open_photo

CALIBRATION, ROUNDS = 128, 9
QUANTISED = ("Conv", "Gemm", "MatMul")


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
            quantise(model, model_file(named), file, drawn(arguments.calibrate, CALIBRATION))
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
                print(f"| {model.spec.name} | {title} | {size} | {rate} | {numbers} | {share} |", flush=True)


def drawn(folder: Path, count: int) -> list[Path]:
    photos = photos_in(folder)
    return sorted(random.Random(0).sample(photos, min(count, len(photos))))


def quantise(model: Model, source: Path, out: Path, photos: list[Path]) -> None:
    """Write a model with 8-bit convolutions and products."""
    ort = load_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = batches(model, photos)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._batches, None)

    # Weights that are stored as float16 become float32 numbers first, which alone the quantiser looks for.
    plain = out.with_name("float32.onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(plain)
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    quantize_static(
        plain,
        out,
        Reader(),
        op_types_to_quantize=list(QUANTISED),
        nodes_to_exclude=[node.name for node in embedding_nodes(onnx.load(plain).graph)],
        per_channel=True,
        # Without VNNI instructions two products of 8 bits overflow the 16 bits that they are added in.
        reduce_range=not vnni(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    written = onnx.load(out)
    onnx.helper.set_model_props(written, {entry.key: entry.value for entry in onnx.load(source).metadata_props})
    onnx.save(written, out)


def vnni() -> bool:
    """Whether this processor has instructions for products of 8 bits, as far as Linux tells."""
    known = Path("/proc/cpuinfo")
    return known.exists() and "vnni" in known.read_text()


def embedding_nodes(graph: onnx.GraphProto) -> list[Any]:
    """Return the nodes that lead to the embedding and to nothing else."""
    used = needed(graph, [value.name for value in graph.output if value.name != "embedding"])
    return [node for node in graph.node if node.name not in used]


def needed(graph: onnx.GraphProto, names: list[str]) -> set[str]:
    """Return the names of the nodes that tensors are computed by."""
    makers = {output: node for node in graph.node for output in node.output}
    found, pending = set[str](), list(names)
    while pending:
        node = makers.get(pending.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            pending += node.input
    return found


def batches(model: Model, photos: list[Path]) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for start in range(0, len(photos), BATCH):
        part = photos[start : start + BATCH]
        yield {"pixels": np.stack([model.prepare(open_photo(photo, shorter_side=model.resize)) for photo in part])}


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
