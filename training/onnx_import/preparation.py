"""How the pixels of a picture are prepared for a network that others trained: size, scale, mean, std, order."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import OptionError
from retrieval.models.spec import ResizeMode
from training.errors import ExportError

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preset:
    """What is usual for the networks of one origin; each channel of a picture becomes (pixels × scale - mean) / std.

    `share` is the part of the resized picture that the network sees (timm's `crop_pct`).
    """

    mean: Colour = (0.0, 0.0, 0.0)
    std: Colour = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    share: float = 0.875
    bgr: bool = False


PRESETS: Mapping[str, Preset] = {
    # torchvision's models, and most of timm's: IMAGENET_DEFAULT_MEAN and _STD there; Keras calls it "torch".
    "imagenet": Preset((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Inception and many of Google's, from -1 to 1: timm's IMAGENET_INCEPTION_MEAN; Keras calls it "tf".
    "inception": Preset((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # OpenAI's CLIP and those trained after it: timm's OPENAI_CLIP_MEAN.
    "clip": Preset((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), share=1.0),
    # Keras' VGG and ResNet ("caffe"): blue first, from 0 to 255.
    "caffe": Preset((103.939, 116.779, 123.68), scale=1.0, bgr=True),
    # From 0 to 1; and from 0 to 255, for networks that prepare the rest themselves, as Keras' EfficientNet.
    "unit": Preset(),
    "pixels": Preset(scale=1.0),
}


@dataclass(frozen=True)
class Preparation:
    """How a picture is prepared: brought to `resize`, its middle of `side` pixels, then as in `Preset`."""

    side: int
    resize: int
    mode: ResizeMode
    mean: Colour
    std: Colour
    scale: float
    bgr: bool = False

    def __post_init__(self) -> None:
        """Refuse, with OptionError, what makes no sense."""
        numbers = (*self.mean, *self.std, self.scale)
        if not all(np.isfinite(numbers)) or min(self.std) <= 0 or self.scale <= 0:
            raise OptionError(
                "the scale and each standard deviation must be above 0, and all finite",
                hint="give other --scale or --std",
            )
        if not 1 <= self.side <= self.resize:
            raise OptionError(
                f"pictures resized to {self.resize} pixels are smaller than the {self.side} that the network takes",
                hint="give a larger --resize",
            )

    @property
    def factor(self) -> NDArray[np.float32]:
        """What each channel of the pixels (0 to 255) is multiplied with: (3,)."""
        return (self.scale / np.array(self.std, np.float64)).astype(np.float32)

    @property
    def offset(self) -> NDArray[np.float32]:
        """What is added to each channel then: (3,)."""
        return (-np.array(self.mean, np.float64) / np.array(self.std, np.float64)).astype(np.float32)

    def by_hand(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return pixels (n, side, side, 3) as the network takes them, computed apart from the graph."""
        ordered = pixels[..., ::-1] if self.bgr else pixels
        found: NDArray[np.float64] = (ordered.astype(np.float64) * self.scale - np.array(self.mean)) / np.array(
            self.std
        )
        return found


@dataclass(frozen=True)
class Wishes:
    """What the user says of the preparation; None where nothing was said."""

    preset: str | None = None
    size: int | None = None
    resize: int | None = None
    mode: ResizeMode | None = None
    mean: Colour | None = None
    std: Colour | None = None
    scale: float | None = None
    bgr: bool = False

    def preparation(self, side: int | None, *, raw: bool = False) -> Preparation:
        """Return the preparation for a network that takes `side` pixels, or any if that is None.

        `raw`: it takes bytes. Raises OptionError where something is missing.
        """
        if side is not None and self.size not in (None, side):
            raise OptionError(f"the network takes pictures of {side} pixels, not {self.size}", hint="leave out --size")
        size = side or self.size
        if size is None:
            raise OptionError(
                "the network takes pictures of any size", hint="say with --size how many pixels, such as 224"
            )
        normalised = self.preset or self.mean or self.std
        if not normalised and not raw:
            raise OptionError(
                "how its pictures are normalised is not in the file",
                hint=f"give --preset {' or '.join(PRESETS)}, or --mean and --std",
            )
        usual = PRESETS[self.preset or ("pixels" if raw else "unit")]
        mode = self.mode or "crop"
        resize = self.resize or (round(size / usual.share) if mode == "crop" else size)
        return Preparation(
            side=size,
            resize=resize,
            mode=mode,
            mean=self.mean or usual.mean,
            std=self.std or usual.std,
            scale=self.scale or usual.scale,
            bgr=self.bgr or usual.bgr,
        )


def colour(text: str) -> Colour:
    """Read one number, or three with commas between. Raises ValueError."""
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    red, green, blue = numbers  # ValueError for another number of them
    return red, green, blue


def read_preprocessor(path: Path) -> Wishes:
    """Read the preprocessor_config.json of a transformers-style export. Raises ExportError."""
    values = read_json(path)
    if not values:
        raise ExportError(f"there is no {path}, which tells how pictures are prepared; copy it there too")
    try:
        size, crop = _sides(values.get("size")), _sides(values.get("crop_size"))
        cropped = bool(values.get("do_center_crop", crop is not None))
        normalised, rescaled = values.get("do_normalize", True), values.get("do_rescale", True)
        return Wishes(
            preset="unit",
            size=crop if cropped and crop else size,
            resize=size if cropped else None,
            mode="crop" if cropped or "shortest_edge" in str(values.get("size")) else "squash",
            mean=colour(",".join(map(str, values["image_mean"]))) if normalised else None,
            std=colour(",".join(map(str, values["image_std"]))) if normalised else None,
            scale=float(values.get("rescale_factor", 1 / 255)) if rescaled else 1.0,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} does not tell how pictures are prepared ({error}); copy it there again") from error


def _sides(size: object) -> int | None:
    """Return the pixels that a size is, written as a number or as an object, None where it is not there.

    Raises ValueError for what is no square.
    """
    match size:
        case None:
            return None
        case int(side) | {"shortest_edge": int(side)}:
            return side
        case {"height": int(height), "width": int(width)} if height == width:
            return height
    raise ValueError(f"a size of {size}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, nothing where there is no such file. Raises ExportError."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read ({error}); copy it there again") from error
    if not isinstance(values, dict):
        raise ExportError(f"{path} is not as transformers writes it; copy it there again")
    return values
