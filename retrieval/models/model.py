"""A model file at work: prepared pictures in, probabilities, fc7 and embeddings out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError
from index.records import Prediction
from retrieval.models.runtime import Device, open_session, require_onnxruntime
from retrieval.models.spec import ModelSpec
from retrieval.models.temperature import calibrated
from retrieval.models.text import TextHalf
from retrieval.photos import preprocess
from retrieval.pipeline.executor import BATCH_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

BUILTIN = Path(__file__).with_name("builtin.onnx")
BUILTIN_NAME = Path("builtin")
"""What a user writes for the built-in model, where no name would mean another."""


IMPORTABLE = ("alexnet", "clip-vit-b32", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
"""Networks that `fc7 import` makes a model file of, by name."""


def models_folder() -> Path:
    """Return where imported models lie that are used by name."""
    import platformdirs  # most commands do not need it

    return platformdirs.user_data_path("fc7", appauthor=False) / "models"


def model_file(named: Path | None) -> Path:
    """Return the model file that is named: a file, or by one word the built-in or an imported one.

    None and the word `builtin` name the built-in one. A file in the current folder goes before a name.
    """
    if named is None or named == BUILTIN_NAME:
        return BUILTIN
    if len(named.parts) == 1 and not named.suffix and not os.path.isfile(named):
        imported = models_folder() / f"{named}.onnx"
        if str(named) in IMPORTABLE or os.path.isfile(imported):
            return imported
    return named


def model_word(path: Path | None) -> str:
    """Return what a user writes for a model file, None for the built-in one: a name where it has one, or its path."""
    if path is None or path == BUILTIN:
        return str(BUILTIN_NAME)
    return path.stem if path.parent == models_folder() else str(path)


@dataclass(frozen=True)
class Outputs:
    """What a model says of n pictures: probabilities (n, classes), fc7 (n, fc7_dim), unit embedding (n, dim).

    Of a model without classes the probabilities are (n, 0).
    """

    probabilities: NDArray[np.float32]
    fc7: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Model:
    """One `.onnx` file in ONNX Runtime, with the preparation of pictures that it was trained with."""

    def __init__(
        self,
        session: Any,
        spec: ModelSpec,
        *,
        path: Path | None = None,
        device: Device = "auto",
        cache: Path | None = None,
    ) -> None:
        """Use `load`; `path` is that of its file, None for the built-in model; `device` is where it was to run."""
        self.device = device
        self._cache = cache
        self._session = session
        self.spec = spec
        self.path = path

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        *,
        device: Device = "auto",
        threads: int | None = None,
        fast_start: bool = False,
        shares_cores: bool = False,
        cache: Path | None = None,
    ) -> "Model":
        """Load a model file, or one by name: see `model_file`.

        `device` auto takes a GPU where ONNX Runtime has one; `threads` is how many a run uses, by default one a
        core. With `fast_start` it is loaded sooner and takes a little longer for each picture, which suits a few. With
        `shares_cores` its threads sleep between two runs, so that the cores are free for other work. In the folder
        `cache` its optimised graph is kept, which is loaded sooner still the next time.

        Raises ModelError (missing, damaged, foreign or newer file), MissingPackageError (no ONNX Runtime) and UserError
        (no CUDA device where one is asked for).
        """
        word, path = path, model_file(path)
        named = None if path == BUILTIN else path
        require_onnxruntime()
        if not os.path.isfile(path):
            if word is not None and str(word) in IMPORTABLE:
                raise ModelError(f"{word} is not imported yet", hint=f"run `fc7 import {word}`")
            other = "name another with -m" if path == BUILTIN else "take the built-in one, by the word builtin"
            raise ModelError(
                f"there is no model file {path}",
                hint="make one with `fc7 train DATA -o RUN` or `fc7 import` (--list tells which there are), or "
                f"{other}",
            )
        session = open_session(
            path, device=device, threads=threads, fast_start=fast_start, shares_cores=shares_cores, cache=cache
        )
        spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map, path=str(path))
        if path == BUILTIN:
            spec = replace(spec, name=str(BUILTIN_NAME))  # whatever its run was called
        _check_graph(session, spec, path)
        return cls(session, spec, path=named, device=device, cache=cache)

    @property
    def providers(self) -> list[str]:
        """The ONNX Runtime providers that really run it, the preferred one first."""
        return list(self._session.get_providers())

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.providers[0] != "CPUExecutionProvider"

    @property
    def resize(self) -> int:
        """The side in pixels that a picture's shorter one is brought to."""
        return self.spec.resize

    @cached_property
    def text(self) -> TextHalf | None:
        """The half that embeds words, None where the network has none. Raises ModelError where its file is missing."""
        if not self.spec.text or self.path is None:
            return None
        return TextHalf.beside(self.path, self.spec, cache=self._cache)

    @cached_property
    def _labels(self) -> "list[Label]":
        return labels_of(self.spec)

    def prepare(self, image: "Image") -> NDArray[np.uint8]:
        """Return the pixels (crop, crop, 3) that the network takes for a picture."""
        spec = self.spec
        return preprocess.prepare(image, resize=spec.resize, crop=spec.crop, mode=spec.resize_mode)

    def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
        """Return all outputs for n prepared pictures, as one array (n, crop, crop, 3) or one each."""
        found = self.run_uncalibrated(pixels)
        return replace(found, probabilities=calibrated(found.probabilities, self.spec))

    def run_uncalibrated(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
        """As `run`, with the network's own probabilities, which are those at temperature 1."""
        names = ["fc7", "embedding", *(["probabilities"] if self.spec.classes else [])]
        fc7, embedding, *rest = self._session.run(names, {"pixels": np.ascontiguousarray(pixels)})
        return Outputs(rest[0] if rest else np.empty((len(fc7), 0), np.float32), fc7, embedding)

    def embed(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Return the embeddings (n, dim) of pictures, each of unit length."""
        batches = [outputs.embedding for outputs in self._in_batches(images)]
        return np.concatenate([np.empty((0, self.spec.dim), np.float32), *batches])

    def classify(self, images: Sequence["Image"], *, k: int = 5) -> list[tuple[Prediction, ...]]:
        """Return the k most probable classes of each picture, best first."""
        return [self.top_predictions(row, k) for outputs in self._in_batches(images) for row in outputs.probabilities]

    def _in_batches(self, images: "Sequence[Image]") -> Iterator[Outputs]:
        """Run pictures 16 at a time: the maps of the first layers of all together would take a megabyte each."""
        for start in range(0, len(images), BATCH_SIZE):
            yield self.run([self.prepare(image) for image in images[start : start + BATCH_SIZE]])

    def top_predictions(self, probabilities: NDArray[np.float32], k: int = 5) -> tuple[Prediction, ...]:
        """Return the k most probable classes of one picture's probabilities (classes,), best first."""
        return most_probable(self._labels, probabilities, k)


Label = tuple[str, str | None, str]
"""The name of a class, its id and its group."""


def labels_of(spec: ModelSpec) -> list[Label]:
    """Return the classes of a model as they are told."""
    slices = spec.slices
    # A single group needs no name.
    groups = [group if len(slices) > 1 else "" for group, place in slices.items() for _ in spec.classes[place]]
    return [(known.name, known.id, group) for known, group in zip(spec.classes, groups, strict=True)]


def most_probable(labels: Sequence[Label], probabilities: NDArray[np.float32], k: int) -> tuple[Prediction, ...]:
    """Return the k most probable of the labels by their probabilities (labels,), best first."""
    best = np.argsort(-probabilities, kind="stable")[:k]
    chosen = [labels[int(i)] for i in best]
    return tuple(
        Prediction(name, id, float(probabilities[i]), group) for i, (name, id, group) in zip(best, chosen, strict=True)
    )


def _check_graph(session: Any, spec: ModelSpec, path: Path) -> None:
    """Raise ModelError where the graph does not take and give what its metadata say."""
    expected = {
        "pixels": [spec.crop, spec.crop, 3],
        **({"probabilities": [len(spec.classes)]} if spec.classes else {}),
        "fc7": [spec.fc7_dim],
        "embedding": [spec.dim],
    }
    found = {value.name: list(value.shape[1:]) for value in [*session.get_inputs(), *session.get_outputs()]}
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise ModelError(
                f"{path} says that {name} is of shape {shape} for each picture, "
                f"and its graph has {found.get(name, 'none')}",
                hint="make it again with `fc7 export` or `fc7 import`",
            )
