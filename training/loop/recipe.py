"""How a network is trained: `Recipe`, and the default one of each architecture. Standard library only."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from index.errors import OptionError
from training.loop.options import Option, options_of

Mean = Literal["picture", "colour"]
Schedule = Literal["plateau", "cosine", "linear"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

BOUNDS: Mapping[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (2, math.inf),  # batch normalisation knows nothing of one picture
    "lr": (0, math.inf),
    "momentum": (0, 1),
    "weight_decay": (0, math.inf),
    "warmup": (0, math.inf),
    "patience": (1, math.inf),
    "label_smoothing": (0, 1),
    "dropout": (0, 1),
    "colour_noise": (0, math.inf),
    "mixup": (0, math.inf),
    "cutmix": (0, math.inf),
    "erasing": (0, 1),
    "blur": (0, 1),
    "jpeg": (0, 1),
    "scale": (0.01, 1),
    "ema": (0, 1),
    "validation": (0, 1),
    "seed": (0, 2**32 - 1),
    "head_epochs": (0, math.inf),
    "lower_lr": (0, 1),
    "stop_after": (0, math.inf),
    "label_share": (0, 1),
    "imitation": (0, math.inf),
    "evidence": (0, math.inf),
}
"""The least and the largest value that makes sense."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every value that training depends on; saved in each checkpoint and in the model's metadata."""

    arch: str
    epochs: Annotated[int, "passes over the training pictures"]
    batch_size: Annotated[int, "pictures a step, of all processes; fewer for a set of few pictures"]
    lr: Annotated[float, "learning rate, at its peak"]
    momentum: Annotated[float, "momentum of SGD"]
    nesterov: Annotated[bool, "Nesterov's form of momentum"]
    weight_decay: Annotated[float, "decay of weights (not of biases and normalisation)"]
    schedule: Annotated[
        Schedule, "plateau: rate divided by 10 when validation stalls; cosine, linear: lowered to nothing"
    ]
    warmup: Annotated[float, "epochs over which the rate rises from nothing"]
    patience: Annotated[int, "plateau: epochs without a better top-1 before the rate is lowered"]
    label_smoothing: Annotated[float, "share of the target spread over all classes"]
    dropout: Annotated[float, "share of fc6 and fc7 dropped while training"]
    mean: Annotated[Mean, "subtract the mean picture, or the mean colour and divide by the standard deviation"]
    grow: Annotated[str, "sides of the crops by share of the training done, e.g. 0:32,0.5:40,0.8:56"]
    mirror: Annotated[bool, "mirror a random half of the pictures"]
    colour_noise: Annotated[float, "standard deviation of the noise along the principal colours; the paper: 0.1"] = 0.0
    mixup: Annotated[float, "two pictures added up, their shares from Beta(a, a) of this a; Zhang 2018: 0.2"] = 0.0
    cutmix: Annotated[float, "a box of one picture put over another, likewise; Yun 2019: 1"] = 0.0
    erasing: Annotated[float, "share of pictures in which a box is erased; Zhong 2020: 0.5"] = 0.0
    blur: Annotated[
        float, "share of pictures shrunk and enlarged again, so that sharpness tells nothing of a class"
    ] = 0.0
    jpeg: Annotated[
        float, "share of pictures saved as small JPEGs of a random quality, so that such marks tell nothing of a class"
    ] = 0.0
    scale: Annotated[
        float,
        "least share of a picture that a crop shows, in any shape; 1: all crops are alike; Szegedy 2015: 0.08; where "
        "the network sees all of the square 0.75, if not given",
    ] = 1.0
    ema: Annotated[float, "decay of a running average of the weights that makes the model, e.g. 0.999"] = 0.0
    validation: Annotated[float, "share of each class set aside where the data has no validation set"]
    precision: Annotated[
        Precision, "auto: bfloat16 where the processor multiplies matrices of it, else float32; float16: GPUs"
    ]
    seed: Annotated[int, "seed of everything random"]
    head_epochs: Annotated[int, "first epochs in which only fc8 learns"] = 0
    lower_lr: Annotated[
        float, "rate of the layers below fc8, as a share of --lr; below 1 they keep their batch statistics"
    ] = 1.0
    stop_after: Annotated[
        int,
        "epochs without a better validation top-1 to stop after; 0: never; with --from, unless one was better",
    ] = 0
    label_share: Annotated[float, "with --teacher: weight of a label beside the teacher's probabilities"] = 0.5
    imitation: Annotated[float, "with --teacher: weight of the cosine to its embedding, of pool5 and of fc7"] = 2.5
    evidence: Annotated[int, "with --teacher: pictures that have to show a class of its for it to be learned"] = 10

    def __post_init__(self) -> None:
        """Refuse, with OptionError, a value that would only be found wanting in the midst of a run."""
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:  # said this way round, NaN is refused as well
                flag = "--" + name.replace("_", "-")
                limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
                raise OptionError(f"{name.replace('_', ' ')} {value} is not {limits}", hint=f"give another {flag}")
        for name, choices in (("mean", Mean), ("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise OptionError(f"{name} {getattr(self, name)} is none of {', '.join(get_args(choices))}")
        if self.nesterov and not self.momentum:
            raise OptionError(
                "Nesterov momentum needs a momentum above 0", hint="add --no-nesterov to train without --momentum"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def changed(self, **values: Any) -> "Recipe":
        """Return a copy with the values that are not None."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    def for_fine_tuning(self) -> "Recipe":
        """Return the recipe for a pretrained network whose fc8 fits already: all learn slowly, those below slowest."""
        return replace(
            self,
            epochs=10,
            batch_size=32,
            lr=0.001,
            lower_lr=0.1,
            nesterov=True,
            schedule="cosine",
            warmup=1.0,
            label_smoothing=0.0,
            grow="",
            mixup=0.0,
            cutmix=0.0,
            erasing=0.0,
            blur=0.0,
            jpeg=0.0,
            scale=1.0,
            ema=0.0,
            validation=0.2,
            stop_after=3,
        )

    def crops(self, full: int) -> tuple[tuple[float, int], ...]:
        """Return (share of the training done, side of the crops) in rising order, ending at `full` pixels.

        Raises OptionError if `grow` is not of that form.
        """
        if not self.grow:
            return ((0.0, full),)
        try:
            steps = [(float(share), int(side)) for share, side in (step.split(":") for step in self.grow.split(","))]
        except ValueError:
            steps = []
        shares, sides = [share for share, _ in steps], [side for _, side in steps]
        rising = all(before < after for before, after in pairwise(shares)) and sides == sorted(sides)
        if not rising or not steps or shares[0] != 0 or shares[-1] >= 1 or sides[0] < 16 or sides[-1] != full:
            raise OptionError(
                f"{self.grow} does not read share:side,share:side with rising shares from 0, "
                f"rising sides from 16 and the last side {full}",
                hint="give --grow in this form",
            )
        return tuple(steps)


PAPER = Recipe(
    arch="alexnet",
    epochs=90,
    batch_size=128,
    lr=0.01,
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
    schedule="plateau",
    warmup=0.0,
    patience=5,
    label_smoothing=0.0,
    dropout=0.5,
    mean="picture",
    grow="",
    mirror=True,
    colour_noise=0.1,
    validation=0.1,
    precision="auto",
    seed=0,
)
"""Krizhevsky, Sutskever, Hinton (2012), section 5; how many epochs count as stalled is not printed there."""

ALEXNET_64 = replace(
    PAPER,
    arch="alexnet-64",
    epochs=16,
    batch_size=256,
    lr=0.2,
    nesterov=True,
    schedule="cosine",
    warmup=1.0,
    label_smoothing=0.1,
    dropout=0.2,
    mean="colour",
    colour_noise=0.0,
    grow="0:32,0.5:40,0.85:56",
)
"""What served best on two cores: docs/results.md."""

RECIPES: Mapping[str, Recipe] = {
    "alexnet": PAPER,
    "alexnet-owt": replace(PAPER, arch="alexnet-owt", mean="colour"),
    "alexnet-64": ALEXNET_64,
    "alexnet-128": replace(ALEXNET_64, arch="alexnet-128", epochs=10, grow="0:64,0.6:80,0.85:112"),
}


def recipe_options() -> list[Option]:
    """Return the values of a recipe that the command line offers."""
    return options_of(RECIPES, {"--from": {arch: recipe.for_fine_tuning() for arch, recipe in RECIPES.items()}})
