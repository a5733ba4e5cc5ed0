"""Several networks asked as one, on the middle of a picture or on ten crops of it; their probabilities are averaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError, OptionError
from index.records import Prediction
from retrieval.models.model import Model, Outputs
from retrieval.models.runtime import Device
from retrieval.models.spec import ModelSpec, require_classes
from retrieval.photos.preprocess import MIDDLE, ten_crops

if TYPE_CHECKING:
    from PIL.Image import Image

Crops = Literal[1, 10]
MIDDLE_ALONE = "leave out the ten crops"


class Ensemble:
    """Models that know the same classes; used where a `Model` is, to describe photos and to evaluate.

    Krizhevsky, Sutskever, Hinton (2012) average over ten crops in section 4.1 and over networks in section 6. fc7 and
    the embedding are the first model's, of the middle crop. Raises ModelError if the classes differ.
    """

    def __init__(self, models: Sequence[Model], *, crops: Crops = 1) -> None:
        self._models, self._ten = tuple(models), crops == 10
        self.spec: ModelSpec = models[0].spec
        for model in models[1:]:
            require_classes(model.spec)
            _check_classes(self.spec, model.spec)
        for model in models:
            if self._ten and (model.spec.resize_mode != "crop" or model.spec.resize == model.spec.crop):
                raise OptionError(
                    f"{model.spec.name} sees all of a picture's shorter side: there are no ten crops of that",
                    hint=MIDDLE_ALONE,
                )

    @classmethod
    def load(
        cls,
        paths: Sequence[Path],
        *,
        crops: Crops = 1,
        device: Device = "auto",
        threads: int | None = None,
        fast_start: bool = False,
        cache: Path | None = None,
    ) -> "Ensemble":
        """Load model files, or the built-in one if there is no path, as `Model.load` does. Raises what that does."""
        models = [
            Model.load(path, device=device, threads=threads, fast_start=fast_start, cache=cache)
            for path in paths or (None,)
        ]
        return cls(models, crops=crops)

    @property
    def crops(self) -> Crops:
        """How many crops of a picture are averaged over."""
        return 10 if self._ten else 1

    @property
    def models(self) -> tuple[Model, ...]:
        """The models themselves."""
        return self._models

    @property
    def specs(self) -> list[ModelSpec]:
        """What each of the models says about itself."""
        return [model.spec for model in self._models]

    @property
    def on_gpu(self) -> bool:
        """Whether all run on a GPU."""
        return all(model.on_gpu for model in self._models)

    @property
    def resize(self) -> int:
        """The largest side in pixels that a picture's shorter one is brought to."""
        return max(model.resize for model in self._models)

    def prepare(self, image: "Image") -> tuple[NDArray[np.uint8], ...]:
        """Return the crops (1 or 10, crop, crop, 3) that each network takes for a picture."""
        if not self._ten:
            return tuple(model.prepare(image)[None] for model in self._models)
        return tuple(ten_crops(image, resize=model.spec.resize, crop=model.spec.crop) for model in self._models)

    def run(self, pixels: Sequence[tuple[NDArray[np.uint8], ...]]) -> Outputs:
        """Return the mean probabilities of prepared pictures, and their fc7 and embedding."""
        # A crop of all pictures at a time: ten times as many would take ten times the memory.
        found = [
            model.run([crops[number][place] for crops in pixels])
            for number, model in enumerate(self._models)
            for place in range(10 if self._ten else 1)
        ]
        first = found[MIDDLE if self._ten else 0]
        probabilities: NDArray[np.float32] = np.mean([outputs.probabilities for outputs in found], axis=0)
        return Outputs(probabilities, first.fc7, first.embedding)

    def top_predictions(self, probabilities: NDArray[np.float32], k: int = 5) -> tuple[Prediction, ...]:
        """Return the k most probable classes of one picture's probabilities (classes,), best first."""
        return self._models[0].top_predictions(probabilities, k)


def _check_classes(first: ModelSpec, other: ModelSpec) -> None:
    names, others = ([(known.name, known.id) for known in spec.classes] for spec in (first, other))
    if names == others:
        return
    if len(names) != len(others):
        difference = f"{len(names)} classes and {len(others)}"
    else:
        number = next(i for i, pair in enumerate(zip(names, others, strict=True)) if pair[0] != pair[1])
        one, two = (", ".join(filter(None, known[number])) for known in (names, others))
        difference = f"class {number} is {one} in the one and {two} in the other"
    raise ModelError(
        f"{first.name} and {other.name} cannot be averaged ({difference})",
        hint="give models of the same classes with -m",
    )
