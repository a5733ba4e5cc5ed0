"""A copy of a model file that computes in 8-bit numbers, by ONNX Runtime's static quantisation.

Where a processor has no instructions for 16-bit matrix products this can be faster (benchmarks/int8.py). The ranges of
what goes through the network are taken from photos; weights have a scale for each channel. Convolutions and products
are quantised with what stands between them, so that a rectifier is part of the layer before it. What leads to the
embedding alone, after the network's last layer, stays as it is.
"""

import hashlib
import logging
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from index.errors import PhotoError
from index.records import SkippedPhoto
from retrieval.models.model import Model, model_file
from retrieval.models.runtime import load_quantisation, reason_of, write_simplified
from retrieval.models.spec import ModelSpec
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.executor import BATCH_SIZE
from retrieval.pipeline.memory import decode_within_budget
from training.errors import DatasetError, ExportError
from training.export.model_file import check_place, write_model_file
from training.loop.report import ReadingReport, tell_skipped
from training.onnx_import.graphs import needed
from training.onnx_import.import_network import check_same

PHOTOS, FEWEST_PHOTOS = 160, 16
"""Photos that are read, at most and at least; every fifth of them judges and gives no ranges."""
EVERY = 5
NEAR = 0.97
"""The mean cosine of embeddings of 8-bit and float32 numbers, below which neighbours are likely to be lost."""
OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "Clip", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool")
LAYERS = {"Conv", "Gemm", "MatMul"}
"""Those that quantisation is for."""


@dataclass(frozen=True)
class Quantised:
    """The file that was written, and the mean cosine of its embeddings with those of the model it was made of."""

    spec: ModelSpec
    cosine: float


def write_int8(
    start: Path, photos: Path, out: Path, *, name: str, report: ReadingReport, keep_other: bool
) -> Quantised:
    """Write a model file in 8-bit numbers; `start` is one or a name, see `model_file`, `photos` a folder of any photos.

    With `keep_other` another model's file is never written over. Raises ModelError, DatasetError for a folder with too
    few photos, and ExportError for a model that cannot be quantised.
    """
    check_place(out)
    model = Model.load(start, device="cpu")
    if model.spec.text:
        raise ExportError(
            f"{start} also takes words, and its text half goes with its own numbers; take a model without"
        )
    pixels = _prepared(model, photos, report)
    checked = np.arange(len(pixels)) % EVERY == 0
    graph = _quantised(model_file(start), pixels[~checked])
    digest = hashlib.sha256(model.spec.fingerprint.encode() + graph.graph.SerializeToString(deterministic=True))
    spec = replace(
        model.spec,
        name=name,
        fingerprint=digest.hexdigest(),
        training={
            **model.spec.training,
            "numbers": "int8",
            "quantised_from": model.spec.name,
            "base_fingerprint": model.spec.fingerprint,
            "calibration_photos": int((~checked).sum()),
        },
        accuracy={},  # measured with other numbers
        examples="",  # which the other numbers made
        date=datetime.now(UTC).date().isoformat(),
    )
    if keep_other:
        check_same(out, spec)
    cosines: list[float] = []

    def prove(loaded: Model) -> None:
        found, known = loaded.run(pixels[checked]), model.run(pixels[checked])
        if not (np.isfinite(found.embedding).all() and np.isfinite(found.probabilities).all()):
            raise ExportError(f"{start} gives no numbers any more when computed in 8 bits; keep it as it is")
        cosines.append(float((found.embedding * known.embedding).sum(axis=1).mean()))

    write_model_file(graph, spec, out, prove=prove)
    return Quantised(spec, cosines[-1])


def _prepared(model: Model, folder: Path, report: ReadingReport) -> NDArray[np.uint8]:
    """Return photos as the network takes them, uint8 (n, crop, crop, 3), drawn from all in a folder and below it."""
    if not os.path.isdir(folder):
        raise DatasetError(f"there is no folder {folder}", hint="give one with photos like yours to --calibrate")
    skipped: list[SkippedPhoto] = []
    paths = expand_paths([folder], skipped=skipped)
    drawn = sorted(random.Random(0).sample(paths, min(len(paths), PHOTOS)))
    pixels = []
    for number, path in enumerate(drawn, 1):
        try:
            pixels.append(
                decode_within_budget(path, lambda photo: model.prepare(photo.image), shorter_side=model.resize)
            )
        except PhotoError as error:
            skipped.append(SkippedPhoto(path, str(error)))
        report.loading(number, len(drawn))
    tell_skipped(skipped, report)
    if len(pixels) < FEWEST_PHOTOS:
        raise DatasetError(
            f"{len(pixels) or 'no'} photos in {folder} can be read, and {FEWEST_PHOTOS} are needed at least; "
            f"give a folder with {PHOTOS} or more"
        )
    return np.stack(pixels)


def _quantised(source: Path, pixels: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the graph of a model file with 8-bit layers, its ranges from `pixels` (n, crop, crop, 3)."""
    with TemporaryDirectory(prefix="fc7-") as folder:
        plain, out = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        write_simplified(source, plain)  # weights stored as float16 become float32, which alone is quantised
        graph = onnx.load(plain)
        chosen = [node.name for node in needed(graph.graph, _all_but_embedding(graph.graph))[0]]
        quantisation = load_quantisation()
        try:
            with _quiet():
                quantisation.quantize_static(
                    graph,
                    out,
                    _reader(quantisation, pixels),
                    op_types_to_quantize=list(OPERATORS),
                    nodes_to_quantize=chosen,
                    per_channel=True,
                    # Without VNNI instructions, products of 8 bits overflow the 16 bits that they are added in: the
                    # weights get 7 bits, so that one file is right on all processors.
                    reduce_range=True,
                    activation_type=quantisation.QuantType.QUInt8,
                    weight_type=quantisation.QuantType.QInt8,
                )
            quantised = onnx.load(out)
        except Exception as error:  # what it raises has no common base
            raise ExportError(f"{source} cannot be computed in 8 bits ({reason_of(error)})") from error
    stored = {name for node in quantised.graph.node if node.op_type in LAYERS for name in node.input}
    if not any(node.op_type == "DequantizeLinear" and stored & set(node.output) for node in quantised.graph.node):
        raise ExportError(f"{source} has no layer that can be computed in 8 bits; it would be no faster")
    return quantised


def _all_but_embedding(graph: onnx.GraphProto) -> Sequence[str]:
    return [value.name for value in graph.output if value.name != "embedding"]


def _reader(quantisation: Any, pixels: NDArray[np.uint8]) -> Any:
    """Return what ONNX Runtime asks for batches."""

    class Reader(quantisation.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _batches(pixels)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._batches, None)

    return Reader()


def _batches(pixels: NDArray[np.uint8]) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for start in range(0, len(pixels), BATCH_SIZE):
        yield {"pixels": pixels[start : start + BATCH_SIZE]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime from advising what is done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
