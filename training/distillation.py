"""Learning from a better network: its probabilities and its embedding as targets, and labels where there are some.

Hinton, Vinyals, Dean (2015) for the probabilities; Beyer et al. (2021), "a good teacher is patient and consistent", for
one view of a picture for both and many epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from index.errors import DatasetError, OptionError
from retrieval.spec import group_slices
from training.dataset import Dataset, Split
from training.embedding import EmbeddingRecipe, join_layers
from training.networks import AlexNet
from training.objective import Outcome
from training.recipe import Recipe
from training.sources import UNLABELLED
from training.teacher import Answers

IMITATING = ("pool5", "fc7")
"""The layers that are projected onto the teacher's embedding. pool5 learns it sooner, and takes fc7 along."""

SURE = 0.5
"""The probability from which on a teacher's word counts as evidence that a class is to be seen."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What there is to learn of n training pictures.

    `labels` (n,) number the student's classes, UNLABELLED where there is none; `kept` are the teacher's classes that
    are learned, which are the student's first.
    """

    labels: NDArray[np.int64]
    answers: Answers
    kept: NDArray[np.int64]
    slices: tuple[slice, ...]
    """The student's groups of classes; the first is the teacher's."""


def as_lesson(
    dataset: Dataset, train: Answers, validation: Answers, *, evidence: int, kept: Sequence[int] | None = None
) -> tuple[Dataset, Lesson]:
    """Return the data set with those of the teacher's classes that its pictures show, and what there is to learn.

    A class counts as shown by `evidence` pictures that carry its label or of which the teacher is sure; `kept` names
    the classes instead, as an earlier part of the run found them. `validation` are the answers for validation pictures
    without labels, in their order, which get the teacher's best; one that it could not read stays, for whoever reads it
    to list. Raises DatasetError where fewer than two classes are shown.
    """
    taught = train.probabilities.shape[1]
    labels = np.array(dataset.train.labels, np.int64)
    if kept is None:
        counts = np.zeros(taught, np.int64)
        for start in range(0, len(labels), 8192):
            rows = train.probabilities[start : start + 8192]
            best = np.where(rows.max(1) >= SURE, rows.argmax(1), UNLABELLED)
            known = labels[start : start + 8192]
            best = np.where((known >= 0) & (known < taught), known, best)
            counts += np.bincount(best[best >= 0], minlength=taught)
        chosen = np.flatnonzero(counts >= evidence)
    else:
        chosen = np.array(kept, np.int64)
    if len(chosen) < 2:
        raise DatasetError(
            f"{evidence} or more pictures show {len(chosen)} of the teacher's classes; {_more_evidence(evidence)}"
        )
    numbers = np.full(len(dataset.classes), UNLABELLED, np.int64)
    numbers[chosen] = np.arange(len(chosen))
    numbers[taught:] = len(chosen) + np.arange(len(dataset.classes) - taught)
    classes = (*(dataset.classes[number] for number in chosen), *dataset.classes[taught:])
    groups = tuple(
        replace(group, size=len(chosen)) if place == 0 else group for place, group in enumerate(dataset.groups)
    )
    checked = np.array(dataset.validation.labels, np.int64)
    said = validation.probabilities
    checked[checked < 0] = np.where(said.any(1), said.argmax(1), chosen[0])
    checked = numbers[checked]
    paths = dataset.validation.paths
    shown = [place for place, label in enumerate(checked) if label >= 0]
    if len(shown) < 2:
        raise DatasetError(
            f"{len(shown)} pictures of the classes to learn are too few to check with; {_more_evidence(evidence)}"
        )
    return (
        replace(
            dataset,
            classes=classes,
            groups=groups,
            validation=Split(tuple(paths[n] for n in shown), tuple(int(checked[n]) for n in shown)),
        ),
        Lesson(
            np.where(labels >= 0, numbers[labels], UNLABELLED),
            train,
            chosen,
            tuple(group_slices(groups, len(classes)).values()),
        ),
    )


def _more_evidence(evidence: int) -> str:
    return "give more photos" + (", or a lower --evidence" if evidence > 1 else "")


class Student(nn.Module):
    """A network, and a projection of each layer of IMITATING onto a teacher's embedding of `dim` values."""

    def __init__(self, network: AlexNet, dim: int) -> None:
        super().__init__()
        self.network = network
        self.projections = nn.ModuleDict(
            {name: nn.Linear(_width(network, name), dim) for name in IMITATING}  # thrown away after training
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (n, classes) and the projected layers, each (n, dim), of normalised pictures."""
        activations = self.network.activations(x)
        projected = [
            projection(join_layers(activations, EmbeddingRecipe(layers=(name,))) * SCALE)
            for name, projection in self.projections.items()
        ]
        return self.network.fc8(activations["fc7"]), projected


SCALE = 16.0
"""Layers come with unit length, many small numbers; with this they are of the size that a linear layer learns from."""


def _width(network: AlexNet, layer: str) -> int:
    with torch.no_grad():
        crop = network.config.crop
        training = network.training
        found = network.eval().activations(torch.zeros(1, 3, crop, crop, device=network.fc8.weight.device))
        network.train(training)
    return join_layers(found, EmbeddingRecipe(layers=(layer,))).shape[1]


def check_unmixed(recipe: Recipe) -> None:
    """Refuse, with OptionError, a recipe whose pictures no teacher has seen, before it is asked about the others."""
    if recipe.mixup or recipe.cutmix:
        raise OptionError("the teacher has not seen mixed pictures; leave out --mixup and --cutmix")


class TeacherObjective:
    """The loss of a student: cross-entropy with the teacher's probabilities and labels, cosines to its embedding."""

    def __init__(self, recipe: Recipe, lesson: Lesson, device: torch.device) -> None:
        self._recipe, self._lesson, self._device = recipe, lesson, device
        self._labels = torch.from_numpy(lesson.labels)

    def module(self, network: AlexNet) -> nn.Module:
        """Return the student that a step runs."""
        return Student(network, self._lesson.answers.embeddings.shape[1]).to(self._device)

    def prepare(self, x: Tensor, numbers: Tensor) -> tuple[Tensor, Any]:
        """Return the pictures as they are, and the targets of the pictures with these numbers."""
        rows = numbers.cpu().numpy()
        probabilities = torch.from_numpy(self._lesson.answers.probabilities[rows][:, self._lesson.kept]).float()
        embeddings = torch.from_numpy(self._lesson.answers.embeddings[rows]).float()
        return x, tuple(
            part.to(self._device) for part in (probabilities, embeddings, self._labels[torch.from_numpy(rows)])
        )

    def outcome(self, outputs: Any, targets: Any) -> Outcome:
        """Return the loss, and which pictures are named as their labels or else the teacher would (n,)."""
        logits, projected = outputs
        probabilities, embeddings, labels = targets
        first, *others = self._lesson.slices
        mass = probabilities.sum(1, keepdim=True)
        target = probabilities / mass.clamp(min=1e-6)
        labelled = (labels >= first.start) & (labels < first.stop)
        share = self._recipe.label_share
        hard = F.one_hot(labels.clamp(first.start, first.stop - 1), first.stop).float()
        target = torch.where(labelled[:, None], (1 - share) * target + share * hard, target)
        # What the teacher sees in classes that are not learned says nothing of those that are.
        weight = torch.where(labelled, torch.ones_like(mass[:, 0]), mass[:, 0])
        scores = logits[:, first].float()
        loss = -(target * F.log_softmax(scores, 1)).sum(1).mul(weight).mean()
        right = scores.argmax(1) == target.argmax(1)
        for group in others:
            of_group = (labels >= group.start) & (labels < group.stop)
            found = logits[:, group].float()
            truth = torch.where(of_group, labels - group.start, 0)
            each = F.cross_entropy(found, truth, reduction="none", label_smoothing=self._recipe.label_smoothing)
            loss = loss + (each * of_group).mean()
            right = torch.where(of_group, found.argmax(1) == truth, right)
        for values in projected:
            loss = loss + self._recipe.imitation * (1 - F.cosine_similarity(values.float(), embeddings)).mean()
        return Outcome(loss, right.sum())
