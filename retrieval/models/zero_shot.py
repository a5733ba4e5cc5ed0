"""Zero-shot classification: the embeddings of labels, as words, are compared with that of a photo.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", section 3.1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError, OptionError
from index.records import Prediction
from retrieval.models.ensemble import Ensemble
from retrieval.models.model import Model, Outputs, labels_of, most_probable
from retrieval.models.spec import ClassName, ModelSpec, require_classes
from retrieval.models.text import TextHalf

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval.pipeline.embed import Embedder

PROMPT = "a photo of a {}"
"""What a label is put into, in place of {}: the network learned from captions, not from single words."""


class ZeroShot:
    """A model with a text half that knows the labels it is given as its classes; used where a `Model` is."""

    def __init__(self, model: Model, labels: Sequence[str], *, prompt: str = PROMPT) -> None:
        """Raises ModelError where the model has no text half, OptionError for labels or a prompt that make no sense."""
        if model.text is None:
            raise ModelError(
                f"the model {model.spec.name} knows no words but its classes",
                hint="take one with a text half with -m, such as CLIP: docs/models.md",
            )
        for label in labels:
            if labels.count(label) > 1:
                raise OptionError(f"the label {label!r} is there twice", hint="name each once in --labels")
        self._model = model
        self._embeddings = embed_labels(model.text, labels, prompt=prompt)
        self._scale = model.text.spec.scale
        self.spec: ModelSpec = replace(model.spec, classes=tuple(map(ClassName, labels)), groups=(), temperatures=())
        self._labels = labels_of(self.spec)

    @property
    def on_gpu(self) -> bool:
        """Whether photos are embedded on a GPU."""
        return self._model.on_gpu

    @property
    def resize(self) -> int:
        """The side in pixels that a picture's shorter one is brought to."""
        return self._model.resize

    def prepare(self, image: "Image") -> NDArray[np.uint8]:
        """Return the pixels (crop, crop, 3) that the network takes for a picture."""
        return self._model.prepare(image)

    def run(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Outputs:
        """Return the outputs for n prepared pictures; the probabilities (n, labels) are a softmax over the labels."""
        found = self._model.run(pixels)
        logits = self._scale * (found.embedding @ self._embeddings.T)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return replace(found, probabilities=shares / shares.sum(axis=1, keepdims=True))

    def top_predictions(self, probabilities: NDArray[np.float32], k: int = 5) -> tuple[Prediction, ...]:
        """Return the k most probable labels of one picture's probabilities (labels,), best first."""
        return most_probable(self._labels, probabilities, k)


def embed_labels(half: TextHalf, labels: Sequence[str], *, prompt: str = PROMPT) -> NDArray[np.float32]:
    """Return the embeddings (n, dim) of labels, each put into the prompt. Raises OptionError, and what `embed` does."""
    if not labels:
        raise OptionError("there are no labels", hint="give some with commas between: --labels cat,dog")
    for label in labels:
        if not label.strip():
            raise OptionError("a label is empty", hint="give words with single commas between: --labels cat,dog")
    if "{}" not in prompt:
        raise OptionError(f"the prompt {prompt!r} has no {{}} where the label goes; write for example {PROMPT!r}")
    return half.embed([prompt.replace("{}", label) for label in labels])


def naming(model: Ensemble, labels: Sequence[str] = (), *, prompt: str | None = None) -> "Embedder[Any]":
    """Return what names photos: a model by its classes, or by `labels`. Raises ModelError where it can do neither."""
    if not labels:
        if prompt is not None:
            raise OptionError("a prompt is for labels", hint="give some with --labels")
        require_classes(model.spec)
        return model
    [first, *others] = model.models
    if others or model.crops != 1:
        raise OptionError("labels are compared by one model, on one crop", hint="leave out the other -m and --crops")
    return ZeroShot(first, labels, prompt=PROMPT if prompt is None else prompt)
