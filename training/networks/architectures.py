"""The architectures: one small configuration each, and what of their shape can be chosen. Standard library only."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from index.errors import OptionError
from training.errors import CheckpointError
from training.loop.options import Option, options_of

Activation = Literal["relu", "tanh"]
Pooling = Literal["max", "average"]
LocalNorm = Literal["response", "contrast"]
ResizeMode = Literal["crop", "trim", "squash"]
"""As in retrieval/models/spec.py, which is not imported: it takes longer to load than all of this."""
Norm = Literal["batch", "response", "contrast", "none"]


@dataclass(frozen=True)
class ConvLayer:
    """One convolution, and whether local normalisation and pooling follow it."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    norm: bool = False
    pool: bool = False
    bias: float = 0.0
    """What the biases start from (the paper: 1 in conv2, conv4 and conv5, so that their ReLUs start alive)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of an architecture a run may choose."""

    activation: Annotated[Activation, "what each neuron's sum passes through"]
    pooling: Annotated[Pooling, "what is kept of each window of a map"]
    overlap: Annotated[bool, "pool windows of 3x3, two pixels apart, not 2x2"]
    squash: Annotated[bool, "show the network the whole of each picture, made a square, not its middle"]
    norm: Annotated[
        Norm,
        "batch: after every layer; response, contrast: over neighbours, after conv1 and conv2; "
        "take a lower --lr where batch is left out",
    ]


@dataclass(frozen=True)
class AlexNetConfig:
    """The architecture of a network; saved in each checkpoint, so that a file rebuilds its own network."""

    arch: str
    resize: int
    """Side in pixels that a picture is shrunk to."""
    crop: int
    """Side of the square that the network sees."""
    convs: tuple[ConvLayer, ...]
    hidden: tuple[int, int]
    dropout: float = 0.5
    batch_norm: bool = False
    init: Literal["gaussian", "he"] = "he"
    """`gaussian`: weights N(0, 0.01) as in the paper; `he`: N(0, g² / fan_in), He et al. (2015), g² = 2 for ReLU."""
    activation: Activation = "relu"
    pooling: Pooling = "max"
    overlap: bool = True
    """Windows of 3x3 pixels with stride 2, as in the paper; otherwise 2x2."""
    local_norm: LocalNorm = "response"
    """The kind of normalisation where a `ConvLayer` has one."""
    resize_mode: ResizeMode = "crop"
    """As in ModelSpec; with `trim` and `squash` `resize` is the same as `crop`."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "AlexNetConfig":
        """Read back what `dataclasses.asdict` made and JSON stored."""
        try:
            convs = tuple(ConvLayer(**layer) for layer in values["convs"])
            return cls(**{**values, "convs": convs, "hidden": tuple(values["hidden"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the network's configuration is not one that this fc7 knows ({error})") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @property
    def shape(self) -> Shape:
        """What `changed` can change, as it is."""
        local: Norm = self.local_norm if any(conv.norm for conv in self.convs) else "none"
        return Shape(
            activation=self.activation,
            pooling=self.pooling,
            overlap=self.overlap,
            squash=self.resize_mode == "squash",
            norm="batch" if self.batch_norm else local,
        )

    def changed(
        self,
        *,
        activation: Activation | None = None,
        pooling: Pooling | None = None,
        overlap: bool | None = None,
        squash: bool | None = None,
        norm: Norm | None = None,
    ) -> "AlexNetConfig":
        """Return a copy with the values that are not None; local normalisation follows conv1 and conv2."""
        given = {"activation": activation, "pooling": pooling, "overlap": overlap}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if norm is not None:
            local = norm in ("response", "contrast")
            changes["batch_norm"] = norm == "batch"
            changes["local_norm"] = norm if local else self.local_norm
            changes["convs"] = tuple(replace(conv, norm=local and i < 2) for i, conv in enumerate(self.convs))
        mode: ResizeMode | None = None if squash is None else "squash" if squash else "crop"
        return replace(self.seeing(mode=mode), **changes)

    def seeing(self, resize: int | None = None, mode: ResizeMode | None = None) -> "AlexNetConfig":
        """Return a copy that sees another part of a picture; the network is the same.

        `resize`: pixels that the shorter side is brought to, from which the middle `crop` are cut: the crop itself is
        the largest middle square. Raises OptionError for less than the crop, or another size with another mode.
        """
        mode = mode or self.resize_mode
        if mode != "crop":
            size = resize or self.crop
            if size != self.crop:
                raise OptionError(
                    f"{self.arch} sees a picture that is squashed as {self.crop} pixels, not {size}",
                    hint="leave out the size, or let it see the middle square",
                )
        else:
            size = resize or (self.resize if self.resize_mode == "crop" else CONFIGS[self.arch].resize)
            if size < self.crop:
                raise OptionError(f"{self.arch} sees {self.crop} pixels; resize pictures to at least that, not {size}")
        return replace(self, resize=size, resize_mode=mode)

    @property
    def window(self) -> int:
        """Side of the pooling windows, in pixels."""
        return 3 if self.overlap else 2

    def sides(self) -> list[tuple[int, int]]:
        """Return the side of each convolution's maps, before and after the pooling that may follow."""
        found, side = [], self.crop
        for conv in self.convs:
            before = (side + 2 * conv.padding - conv.kernel) // conv.stride + 1
            side = (before - self.window) // 2 + 1 if conv.pool else before
            found.append((before, side))
        return found


ALEXNET = AlexNetConfig(
    arch="alexnet",
    resize=256,
    crop=224,
    convs=(
        ConvLayer(96, 11, stride=4, padding=2, norm=True, pool=True),
        ConvLayer(256, 5, padding=2, groups=2, norm=True, pool=True, bias=1.0),
        ConvLayer(384, 3, padding=1),
        ConvLayer(384, 3, padding=1, groups=2, bias=1.0),
        ConvLayer(256, 3, padding=1, groups=2, pool=True, bias=1.0),
    ),
    hidden=(4096, 4096),
    init="gaussian",
)
"""Krizhevsky, Sutskever, Hinton (2012), section 3.5; its two columns are the groups of conv2, conv4 and conv5."""

ALEXNET_OWT = AlexNetConfig(
    arch="alexnet-owt",
    resize=256,
    crop=224,
    convs=(
        ConvLayer(64, 11, stride=4, padding=2, pool=True),
        ConvLayer(192, 5, padding=2, pool=True),
        ConvLayer(384, 3, padding=1),
        ConvLayer(256, 3, padding=1),
        ConvLayer(256, 3, padding=1, pool=True),
    ),
    hidden=(4096, 4096),
)
"""The one-tower variant (Krizhevsky 2014, "One weird trick") with the filters that torchvision ships."""

ALEXNET_64 = AlexNetConfig(
    arch="alexnet-64",
    resize=64,
    crop=56,
    convs=(
        ConvLayer(48, 5, padding=2, pool=True),
        ConvLayer(128, 3, padding=1, pool=True),
        ConvLayer(224, 3, padding=1),
        ConvLayer(224, 3, padding=1),
        ConvLayer(128, 3, padding=1, pool=True),
    ),
    hidden=(1024, 1024),
    dropout=0.2,
    batch_norm=True,
)
"""The same idea for 64-pixel pictures: 56 is cropped from 64 as 224 from 256. conv1 looks at every pixel."""

ALEXNET_128 = replace(
    ALEXNET_64,
    arch="alexnet-128",
    resize=128,
    crop=112,
    convs=(ConvLayer(48, 7, stride=2, padding=3, pool=True), *ALEXNET_64.convs[1:]),
)
"""For photos: four times the pixels at the same cost, since conv1 looks at every second one, as in the paper."""

CONFIGS = {config.arch: config for config in (ALEXNET, ALEXNET_OWT, ALEXNET_64, ALEXNET_128)}


def shape_options() -> list[Option]:
    """Return the values of a shape that the command line offers."""
    return options_of({arch: config.shape for arch, config in CONFIGS.items()})
