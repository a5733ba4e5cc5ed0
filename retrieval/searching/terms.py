"""The most specific term that is likely enough: "domestic cat 61 %", where no breed of cat is.

The probability of a term is that of all classes which are a kind of it, as in Deng, Krause, Berg, Fei-Fei (2012),
"Hedging Your Bets: Optimizing Accuracy-Specificity Trade-Offs in Large Scale Visual Recognition". They search for the
term of the greatest expected gain; here it is the most specific one whose probability reaches a threshold, which can be
told in one sentence. benchmarks/confidence.py compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from index.records import Prediction
from retrieval.models.model import labels_of
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.searching.wordnet import depth, kinds_of, read_wordnet

LIKELY = 0.5
"""The probability from which a name is an answer: it is right more often than not."""

EMPTY = """
abstraction agent anapsid article artifact barrier causal_agent chordate commodity consumer_goods conveyance covering
device diapsid durables entity equipment furnishing geological_formation implement instrument instrumentality
living_thing matter mechanism metatherian natural_object nutriment object obstruction organism part physical_entity
piece placental plant_organ plant_part protective_covering prototherian relation reproductive_structure restraint
solid structure substance system whole
"""
"""Terms that tell a reader nothing, or that biologists alone know."""


class Terms:
    """The terms that a model's classes are kinds of, for each group of classes."""

    def __init__(self, spec: ModelSpec) -> None:
        groups = spec.slices
        self._labels = labels_of(spec)
        self._groups = [
            (name if len(groups) > 1 else "", place, GroupTerms(spec.classes[place])) for name, place in groups.items()
        ]

    def likely(self, probabilities: NDArray[np.float32], *, threshold: float = LIKELY) -> tuple[Prediction, ...]:
        """Return of each group the most specific term that is likely enough, by one photo's probabilities (classes,).

        The most probable is first. A group where no term is likely enough has none.
        """
        found = []
        for group, place, terms in self._groups:
            sums = terms.probabilities(probabilities[place])
            if (number := terms.most_specific(sums, threshold)) is not None:
                term = terms.terms[number]
                found.append(Prediction(term.name, term.id, min(float(sums[number]), 1.0), group))
        return tuple(sorted(found, key=lambda answer: -answer.probability))

    def of_stored(self, stored: Sequence[Prediction]) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...]]:
        """Return the predictions that an index has of a photo with their groups, and what `likely` says by them.

        An index has a photo's most probable classes alone, so a term may be more probable than it says, never less.
        """
        numbers: dict[tuple[str, str | None], list[int]] = {}
        for number, (name, id, _) in enumerate(self._labels):
            numbers.setdefault((name, id), []).append(number)
        probabilities = np.zeros(len(self._labels), np.float32)
        grouped = []
        for found in stored:
            number = numbers[found.label, found.id].pop(0)
            probabilities[number] = found.probability
            grouped.append(replace(found, group=self._labels[number][2]))
        return tuple(grouped), self.likely(probabilities)


@dataclass(frozen=True, slots=True)
class Term:
    """What a photo may be called: a class, or what classes are a kind of; `classes` numbers these within a group."""

    name: str
    id: str | None
    classes: list[int]
    depth: int
    """How far below the top of WordNet it is; of two terms for the same classes the lower one is the better name."""


class GroupTerms:
    """The terms for classes that exclude one another: the classes, and what they are kinds of, if that tells something.

    A term for all classes tells nothing: its probability is 1, whatever is in the photo.
    """

    def __init__(self, classes: Sequence[ClassName]) -> None:
        wordnet = read_wordnet()
        below: dict[str, list[int]] = {}
        for number, known in enumerate(classes):
            for id in kinds_of(known.id):
                below.setdefault(id, []).append(number)
        named, empty = {known.id for known in classes}, set(EMPTY.split())
        self.terms = [
            Term(known.name, known.id, below.get(known.id or "", [number]), depth(known.id))
            for number, known in enumerate(classes)
        ]
        self.terms += [
            Term(wordnet[id][0][0], id, numbers, depth(id))
            for id, numbers in below.items()
            if id not in named and wordnet[id][0][0].replace(" ", "_") not in empty and len(numbers) < len(classes)
        ]
        self.sizes = np.array([len(term.classes) for term in self.terms])
        self._depths = np.array([term.depth for term in self.terms])
        self._members = np.fromiter(chain.from_iterable(term.classes for term in self.terms), np.intp)
        self._starts = np.cumsum(self.sizes) - self.sizes

    def probabilities(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of the terms, by those of the classes (classes,)."""
        found: NDArray[np.float32] = np.add.reduceat(probabilities[self._members], self._starts)
        return found

    def most_specific(self, sums: NDArray[np.float32], threshold: float) -> int | None:
        """Return which term of the fewest classes has at least this probability, None if there is none."""
        [likely] = np.nonzero(sums >= threshold)
        if not len(likely):
            return None
        return int(likely[np.lexsort((-self._depths[likely], -sums[likely], self.sizes[likely]))[0]])
