"""Checkpoints: all that training needs to go on exactly, in one file of tensors and plain values."""

import json
import os
import zipfile
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.errors import UserError
from index.files import replacing
from retrieval.models.spec import ClassGroup, ClassName
from training.data.augment import Normalisation
from training.errors import CheckpointError
from training.loop.recipe import Recipe
from training.loop.run_folder import recovery_hint
from training.networks.alexnet import AlexNet
from training.networks.architectures import AlexNetConfig

FORMAT_VERSION = 1


@dataclass(frozen=True)
class EpochMetrics:
    """One line of `metrics.csv`: rates and shares as fractions, `side` the pixels of the crops, times in seconds."""

    epoch: int
    side: int
    lr: float
    """The learning rate at its end."""
    train_loss: float
    train_top1: float
    validation_loss: float
    validation_top1: float
    validation_top5: float
    pictures_per_second: float
    waiting: float
    """Share of the time that training waited for pictures."""
    seconds: float


@dataclass(frozen=True)
class EpochTotals:
    """Sums over the batches of an epoch so far; `waited` are those of its seconds in which no picture was ready.

    A checkpoint has them as a list in this order.
    """

    loss: float = 0.0
    right: float = 0.0
    pictures: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class Checkpoint:
    """The state of a run after `epoch` whole epochs and `step` batches of the next."""

    config: AlexNetConfig
    recipe: Recipe
    classes: tuple[ClassName, ...]
    normalisation: Normalisation
    network: dict[str, Tensor]
    """The weights that the next step goes on from."""
    data: dict[str, Any]
    """Where the pictures lie, how many they are, what they are known again by, and terms of use from elsewhere."""
    epoch: int = 0
    step: int = 0
    totals: EpochTotals = EpochTotals()
    """Of the unfinished epoch."""
    history: list[EpochMetrics] = field(default_factory=list)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    """By what gradients in float16 are scaled."""
    random: dict[str, Tensor] = field(default_factory=dict)
    """States of the generators of random numbers, by device; with `:1`, `:2` … those of the processes beside it."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """Averages of the weights, where the recipe asks for them."""
    beside: dict[str, Tensor] = field(default_factory=dict)
    """Weights that learn beside the network and are thrown away: projections onto a teacher's embedding."""
    groups: tuple[ClassGroup, ...] = ()
    """What the classes consist of where they are several groups."""
    patience_from: int = 0
    """The epoch from which on epochs without progress count, where more were asked for after an early stop."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the averaged ones where there are some."""
        return self.average or self.network

    def save(self, path: Path) -> None:
        """Write the file; the one before it stays until this one is whole. Raises CheckpointError (disk full)."""
        header = {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "recipe": self.recipe.to_dict(),
            "classes": [[known.name, known.id, list(known.synonyms)] for known in self.classes],
            "groups": [[group.name, group.size] for group in self.groups],
            "data": self.data,
            "epoch": self.epoch,
            "step": self.step,
            "totals": list(astuple(self.totals)),
            "history": [asdict(row) for row in self.history],
            "patience_from": self.patience_from,
        }
        content = {
            "fc7": json.dumps(header),
            "mean": self.normalisation.mean,
            "deviation": self.normalisation.std,
            "colours": self.normalisation.colours,
            "network": self.network,
            "average": self.average,
            "beside": self.beside,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "random": self.random,
        }
        try:
            with replacing(path) as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:
            # What torch's own writer says when the disk is full ("unexpected pos 768 vs 662") helps nobody.
            reason = error.strerror if isinstance(error, OSError) else "the disk may be full"
            raise CheckpointError(
                f"{path} could not be written ({reason}); {recovery_hint(path.parent, error)}"
            ) from error

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read tensors and plain values, never code.

        Raises CheckpointError (missing, unreadable, damaged, foreign, newer).
        """
        if not os.path.isfile(path):
            raise CheckpointError(
                f"there is no checkpoint {path}", hint="`fc7 train DATA -o RUN` writes RUN/last.pt and RUN/best.pt"
            )
        if path.suffix == ".onnx":
            raise CheckpointError(
                f"{path} is a model file already, no checkpoint",
                hint="use it with -m, or name RUN/best.pt, which `fc7 train` writes beside RUN/model.onnx",
            )
        try:
            with zipfile.ZipFile(path) as archive:  # torch.load looks at no checksum
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(damaged)
            content = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}); make it readable, or use another checkpoint"
            ) from error
        except Exception as error:  # torch raises whatever its zip reader and unpickler raise
            raise CheckpointError(
                f"{path} is damaged or no checkpoint; train again, or use another of the run's checkpoints"
            ) from error
        if not isinstance(content, dict) or "fc7" not in content:
            raise CheckpointError(f"{path} is not a checkpoint of fc7", hint="`fc7 train` writes one")
        try:
            header = json.loads(content["fc7"])
            version = int(header["format_version"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is incomplete or of another version ({error}); train again") from error
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has checkpoint format {version}, this fc7 reads up to {FORMAT_VERSION}",
                hint="upgrade it with `pip install --upgrade fc7`",
            )
        try:
            return cls(
                config=AlexNetConfig.from_dict(header["config"]),
                recipe=Recipe(**header["recipe"]),
                classes=tuple(ClassName(name, id, tuple(synonyms)) for name, id, synonyms in header["classes"]),
                # Files of earlier versions have no colours, average, scaler, patience_from, beside and groups.
                normalisation=Normalisation(
                    content["mean"], content["deviation"], content.get("colours", torch.zeros(3, 3))
                ),
                network=content["network"],
                average=content.get("average", {}),
                beside=content.get("beside", {}),
                groups=tuple(ClassGroup(name, size) for name, size in header.get("groups", ())),
                data=header["data"],
                epoch=header["epoch"],
                step=header["step"],
                totals=EpochTotals(*header["totals"]),
                history=[EpochMetrics(**row) for row in header["history"]],
                optimizer=content["optimizer"],
                scaler=content.get("scaler", {}),
                random=content["random"],
                patience_from=header.get("patience_from", 0),
            )
        except (KeyError, TypeError, ValueError, UserError) as error:
            raise CheckpointError(f"{path} is incomplete or of another version ({error}); train again") from error

    def build(self) -> AlexNet:
        """Return the network with its weights, ready for inference. Raises CheckpointError if they do not fit."""
        network = AlexNet(self.config, len(self.classes))
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint's weights do not fit the architecture {self.config.arch} that it names"
            ) from error
        return network.eval()
