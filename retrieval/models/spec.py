"""What a model file says about itself: `ModelSpec`, kept in the file's ONNX metadata as JSON values."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any, Literal, get_args

from index.errors import ModelError

FORMAT_VERSION = 3
"""The newest that is read; raised when a reader of the old format would use a new file wrongly.

2 has `resize_mode`, 3 its value `trim`.
"""

ResizeMode = Literal["crop", "trim", "squash"]


def format_version_of(mode: ResizeMode) -> int:
    """Return the oldest format whose readers prepare pictures so."""
    return {"crop": 1, "squash": 2, "trim": 3}[mode]


KEY_PREFIX = "fc7."


@dataclass(frozen=True)
class ClassName:
    """One class: its name, its WordNet id where it has one, and other names for it."""

    name: str
    id: str | None = None
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassGroup:
    """Classes that follow one another and exclude one another: their probabilities add up to 1."""

    name: str
    size: int


@dataclass(frozen=True)
class ModelSpec:
    """How a model is used and where it comes from (timm calls the first part the pretrained configuration).

    `resize` is what a picture's shorter side is brought to, in pixels, `crop` the side of the central square that the
    network takes; `dim` and `fc7_dim` are the lengths of the outputs `embedding` and `fc7`. A model without classes
    has no output `probabilities`.
    """

    name: str
    arch: str
    classes: tuple[ClassName, ...]
    resize: int
    crop: int
    dim: int
    fc7_dim: int
    fingerprint: str
    """SHA-256 over the weights; an index belongs to one fingerprint."""
    arch_config: Mapping[str, Any] = field(default_factory=dict)
    embedding: Mapping[str, Any] = field(default_factory=dict)
    """How `embedding` was made: layers, whitening power, pictures it was learned from."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Data (name, size, fingerprint), recipe, seed, time."""
    learned: str = ""
    """Hashes of the pictures that it learned from, where a part of a set was set aside (training/data/dataset.py)."""
    examples: str = ""
    """Embeddings that the last layer was learned from, so that it can be given more classes (training/head)."""
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    date: str = ""
    groups: tuple[ClassGroup, ...] = ()
    """What `classes` consist of, in their order, where a model answers several questions; empty: they are one group."""
    resize_mode: ResizeMode = "crop"
    """What becomes a square of `crop` pixels otherwise. squash: the whole picture, whatever its shape; trim: as much of
    its middle as 5:4 lets in (retrieval/photos/preprocess.py)."""
    temperatures: tuple[float, ...] = ()
    """What the scores of each group are divided by (retrieval/models/temperature.py); empty: by 1."""
    text: bool = False
    """Whether it has a text half, which lies in a file of its own beside it (retrieval/models/text.py)."""
    format_version: int = 1

    @property
    def slices(self) -> dict[str, slice]:
        """The place of each group among the classes, by name; of classes that are not divided the name is empty."""
        return group_slices(self.groups, len(self.classes))

    def to_metadata(self) -> dict[str, str]:
        """Return the entries of ONNX `metadata_props`, each value a JSON text."""
        values = {
            **self.__dict__,
            "classes": [[c.name, c.id, list(c.synonyms)] for c in self.classes],
            "groups": [[group.name, group.size] for group in self.groups],
        }
        # In ASCII: the name of a class may come from a folder whose name is no valid text.
        return {KEY_PREFIX + key: json.dumps(value) for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, path: str) -> "ModelSpec":
        """Read the entries back; ModelError if the file at `path` is not one of ours or of a newer format."""
        try:
            values = {
                key.removeprefix(KEY_PREFIX): json.loads(text)
                for key, text in metadata.items()
                if key.startswith(KEY_PREFIX)
            }
            version = int(values["format_version"])
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                f"{path} is an ONNX file, but not a model made by fc7",
                hint="make one of it with `fc7 import FILE --name NAME`",
            ) from None
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{path} has model format {version}, this fc7 reads up to {FORMAT_VERSION}",
                hint="upgrade it with `pip install --upgrade fc7`",
            )
        try:
            classes = tuple(ClassName(name, id, tuple(synonyms)) for name, id, synonyms in values.pop("classes"))
            groups = tuple(ClassGroup(str(name), int(size)) for name, size in values.pop("groups", ()))
            if groups and (sum(group.size for group in groups) != len(classes) or min(g.size for g in groups) < 1):
                raise ValueError("its groups do not add up to its classes")
            temperatures = tuple(map(float, values.pop("temperatures", ())))
            if temperatures and (
                len(temperatures) != max(len(groups), 1) or not all(0 < value < inf for value in temperatures)
            ):
                raise ValueError("its temperatures are not one above 0 for each group of classes")
            spec = cls(
                classes=classes,
                groups=groups,
                temperatures=temperatures,
                **{key: values[key] for key in values if key in cls.__dataclass_fields__},
            )
            base64.b64decode(spec.learned, validate=True)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path} has incomplete metadata ({error})", hint="export it again with `fc7 export`"
            ) from error
        sizes = (spec.crop, spec.resize, spec.dim, spec.fc7_dim)
        if any(type(size) is not int or size < 1 for size in sizes) or spec.crop > spec.resize:
            raise ModelError(
                f"{path} cannot be used as its metadata say: a crop of {spec.crop} from {spec.resize} pixels, "
                f"{spec.fc7_dim} values of fc7, {spec.dim} of the embedding",
                hint="export it again with `fc7 export`",
            )
        if spec.resize_mode not in get_args(ResizeMode):
            raise ModelError(f"{path} wants pictures to be prepared by {spec.resize_mode!r}, which is unknown")
        return spec


class NoClassesError(ModelError):
    """A model has no classes, and names nothing."""


def require_classes(spec: ModelSpec) -> None:
    """Raise NoClassesError where a model has no classes, for whatever needs names."""
    if not spec.classes:
        how = "words do without: `fc7 search WORDS`, `fc7 classify --labels a,b,c`" if spec.text else ""
        raise NoClassesError(
            f"the model {spec.name} has no classes: it embeds photos and finds similar ones, and names nothing",
            hint=how or "take another model with -m, or import it again with `--classes FILE`",
        )


def group_slices(groups: Sequence[ClassGroup], classes: int) -> dict[str, slice]:
    """Return the place of each group among `classes` classes, by name; without groups one place with no name."""
    ends = list(accumulate(group.size for group in groups)) or [classes]
    names = [group.name for group in groups] or [""]
    return {name: slice(start, end) for name, start, end in zip(names, [0, *ends], ends, strict=False)}
