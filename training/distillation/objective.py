"""Knowledge distillation: a teacher's probabilities and embedding as targets, and labels where there are some.

Hinton, Vinyals, Dean (2015) for the probabilities; Beyer et al. (2021), "a good teacher is patient and consistent", for
one view of a picture for both and many epochs.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from index.errors import OptionError
from training.distillation.lesson import Lesson
from training.export.embedding import EmbeddingRecipe, join_layers
from training.loop.objective import Outcome
from training.loop.recipe import Recipe
from training.networks.alexnet import AlexNet

IMITATING = ("pool5", "fc7")
"""The layers that are projected onto the teacher's embedding. pool5 learns it sooner, and takes fc7 along."""
RIDGE = 0.1
"""Added to the variances of a layer, as a share of their mean, when a projection is fitted."""
SCALE = 16.0
"""Layers come with unit length, many small numbers; with this they are of the size that a linear layer learns from."""


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
        projected = [projection(_layer(activations, name)) for name, projection in self.projections.items()]
        return self.network.fc8(activations["fc7"]), projected

    @torch.no_grad()
    def fit_projections(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the projections to batches of normalised pictures and the teacher's embeddings of them (n, dim).

        Ridge regression, for a network that has learned already: projections that begin at random can undo, in their
        first steps, what it knows (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
        """
        training = self.network.training
        self.network.eval()
        layers: dict[str, list[Tensor]] = {name: [] for name in self.projections}
        targets = []
        for x, embeddings in batches:
            activations = self.network.activations(x)
            for name, found in layers.items():
                found.append(_layer(activations, name).double().cpu())
            targets.append(embeddings.double().cpu())
        self.network.train(training)
        if not targets:
            return  # none could be read, as the first epoch will say
        y = torch.cat(targets)
        for name, projection in self.projections.items():
            assert isinstance(projection, nn.Linear)
            x = torch.cat(layers[name])
            centre, middle = x.mean(0), y.mean(0)
            x -= centre
            products = x.T @ x
            # Something also where a layer answers all pictures alike.
            products.diagonal().add_((RIDGE * products.trace() / len(products)).clamp(min=1e-6))
            weight = torch.linalg.solve(products, x.T @ (y - middle)).T
            projection.weight.copy_(weight)
            projection.bias.copy_(middle - weight @ centre)


def _layer(activations: dict[str, Tensor], name: str) -> Tensor:
    return join_layers(activations, EmbeddingRecipe(layers=(name,), root=False)) * SCALE


def _width(network: AlexNet, layer: str) -> int:
    with torch.no_grad():
        crop = network.config.crop
        training = network.training
        found = network.eval().activations(torch.zeros(1, 3, crop, crop, device=network.fc8.weight.device))
        network.train(training)
    return _layer(found, layer).shape[1]


def check_unmixed(recipe: Recipe) -> None:
    """Refuse, with OptionError, a recipe whose pictures no teacher has seen, before it is asked about the others."""
    if recipe.mixup or recipe.cutmix:
        raise OptionError("the teacher has not seen mixed pictures", hint="leave out --mixup and --cutmix")


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
