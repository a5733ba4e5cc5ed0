"""How far a model's probabilities can be trusted, and how often its answers are right when it may say "dog".

    python benchmarks/confidence.py --photos FOLDER [--photos FOLDER]... [--most N] [--write] MODEL...

MODEL is a model file or a name, as for -m. FOLDER holds photos that no model learned from, each in a folder named by
the WordNet id or the name of its class, or called <WordNet id>_<name>. Of each FOLDER at most N photos are taken, drawn
by a seed; half of them fit, the other half judges.

A temperature is fitted on each FOLDER by itself. That of a group of classes is the highest of them: to be too modest
about one kind of photo does less harm than to be too sure of another. With --write it is written into the model file,
whose embeddings and indexes stay as they are; a few seconds, beside those that the network needs for the photos.
"""

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from models import answers, photos_in, wordnet_id
from numpy.typing import NDArray

from retrieval.evaluation.calibration import calibration_error, fit_temperature, reliability
from retrieval.models.model import Model, model_file
from retrieval.models.spec import ModelSpec
from retrieval.models.temperature import tempered
from retrieval.searching.terms import GroupTerms
from retrieval.searching.wordnet import kinds_of

THRESHOLDS = (0.4, 0.5, 0.6, 0.7)
BINS = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model says of the photos of a folder in the group of their classes: probabilities (n, classes).

    `targets` (n,) are the numbers of their classes in the group, -1 where the model does not know it; `truths` are for
    each what it is and all that it is a kind of.
    """

    folder: str
    group: str
    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
    truths: list[set[str]]

    def half(self, number: int) -> "Judged":
        return Judged(
            self.folder,
            self.group,
            self.probabilities[number::2],
            self.targets[number::2],
            self.truths[number::2],
        )

    def at(self, temperature: float) -> "Judged":
        return replace(self, probabilities=tempered(self.probabilities, temperature))

    @property
    def known(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The photos of classes that the model has."""
        rows = self.targets >= 0
        return self.probabilities[rows], self.targets[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", type=Path)
    parser.add_argument("--photos", action="append", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="photos of each FOLDER (default: 1000)")
    parser.add_argument("--write", action="store_true", help="write the temperatures into the model files")
    arguments = parser.parse_args()

    for named in arguments.models:
        model = Model.load(named, device="cpu", threads=1)
        model.spec = replace(model.spec, temperatures=())
        sets = [judged for folder in arguments.photos if (judged := ask(model, folder, arguments.most))]
        temperatures = show_calibration(model.spec, sets)
        show_names(model.spec, sets, temperatures)
        if arguments.write:
            from training.export.model_file import write_temperatures

            write_temperatures(model_file(named), [round(temperatures[name], 2) for name in model.spec.slices])
            print(f"\nwritten into {model_file(named)}")


def ask(model: Model, folder: Path, most: int) -> Judged | None:
    """Ask a model about photos of a folder; None where it has no name for any of them."""
    photos = photos_in(folder)
    random.Random(0).shuffle(photos)
    numbers = [
        {
            key: number
            for number, known in enumerate(model.spec.classes[place])
            for key in (known.id, known.name, *known.synonyms)
        }
        for place in model.spec.slices.values()
    ]
    known_of = [sum(wordnet_id(photo) in names for photo in photos[:most]) for names in numbers]
    best = int(np.argmax(known_of))
    if not known_of[best]:
        return None
    found = answers(model, photos[:most])
    ids = [wordnet_id(photo) for photo in found.photos]
    name, place = list(model.spec.slices.items())[best]
    truths = [{*kinds_of(id), id} for id in ids]
    targets = np.array([numbers[best].get(id, -1) for id in ids])
    for truth, target in zip(truths, targets, strict=True):
        truth |= {model.spec.classes[place][target].name} if target >= 0 else set()
    return Judged("/".join(folder.parts[-2:]), name, found.probabilities[:, place], targets, truths)


def show_calibration(spec: ModelSpec, sets: Sequence[Judged]) -> dict[str, float]:
    """Print what temperatures do, and return that of each group."""
    fitted = [fit_temperature(*judged.half(0).known) for judged in sets]
    chosen = {
        name: max((t for t, judged in zip(fitted, sets, strict=True) if judged.group == name), default=1.0)
        for name in spec.slices
    }
    print(f"\n{spec.name}: " + ", ".join(f"{name or 'temperature'} {value:.2f}" for name, value in chosen.items()))
    print("\n| photos | group | n | top-1 | confidence | ECE | its own temperature | ECE with it | ECE as chosen |")
    print("|---|---|---|---|---|---|---|---|---|")
    for judged, own in zip(sets, fitted, strict=True):
        probabilities, targets = judged.half(1).known
        errors = [error_at(probabilities, targets, value) for value in (1.0, own, chosen[judged.group])]
        top1 = (probabilities.argmax(1) == targets).mean()
        sure = probabilities.max(1).mean()
        print(
            f"| {judged.folder} | {judged.group} | {len(targets)} | {top1:.1%} | {sure:.1%} | {errors[0]:.3f} "
            f"| {own:.2f} | {errors[1]:.3f} | {errors[2]:.3f} |"
        )
    print("\nReliability: of the names with this probability, how many are right, and of how many; before → after\n")
    print("| probability | " + " | ".join(judged.folder for judged in sets) + " |")
    print("|---" * (len(sets) + 1) + "|")
    columns = [
        (reliability(*half.known, bins=BINS), reliability(*half.at(chosen[half.group]).known, bins=BINS))
        for half in (judged.half(1) for judged in sets)
    ]
    for number in range(BINS):
        cells = [
            " → ".join(f"{bin.accuracy:.0%} of {bin.photos}" if bin.photos else "-" for bin in (before, after))
            for before, after in ((first[number], second[number]) for first, second in columns)
        ]
        print(f"| {number / BINS:.1f} to {(number + 1) / BINS:.1f} | {' | '.join(cells)} |")
    return chosen


def error_at(probabilities: NDArray[np.float32], targets: NDArray[np.int64], temperature: float) -> float:
    return calibration_error(reliability(tempered(probabilities, temperature), targets))


def show_names(spec: ModelSpec, sets: Sequence[Judged], temperatures: dict[str, float]) -> None:
    """Print how often the first answer is right: the class, or something that it is a kind of."""
    print("\n| photos | n | answer | unsure | right, of all | right, of the answers | bits a photo |")
    print("|---|---|---|---|---|---|---|")
    for judged in sets:
        place = spec.slices[judged.group]
        terms = GroupTerms(spec.classes[place])
        fit, judge = (judged.half(number).at(temperatures[judged.group]) for number in (0, 1))
        rows = {"the likeliest class": best_classes(judge)}
        rows |= {f"a term of {threshold:.0%}": by_threshold(terms, judge, threshold) for threshold in THRESHOLDS}
        gain = gain_for(terms, fit, accuracy(terms, fit, by_threshold(terms, fit, 0.5)))
        rows["the greatest gain (Deng et al.)"] = by_gain(terms, judge, gain)
        for name, found in rows.items():
            show_answers(f"{judged.folder} | {len(judge.targets)} | {name}", terms, judge, found)


def show_answers(title: str, terms: GroupTerms, judged: Judged, found: Sequence[int | None]) -> None:
    right = [n for n, truth in zip(found, judged.truths, strict=True) if n is not None and is_right(terms, n, truth)]
    photos, given = len(found), sum(number is not None for number in found)
    bits = sum(math.log2(judged.probabilities.shape[1] / terms.sizes[number]) for number in right) / photos
    print(
        f"| {title} | {1 - given / photos:.1%} | {len(right) / photos:.1%} | {len(right) / max(given, 1):.1%} "
        f"| {bits:.2f} |"
    )


def is_right(terms: GroupTerms, number: int, truth: set[str]) -> bool:
    term = terms.terms[number]
    return (term.id or term.name) in truth


def accuracy(terms: GroupTerms, judged: Judged, found: Sequence[int | None]) -> float:
    """Return the share of answers that are not wrong, those that are unsure included."""
    pairs = zip(found, judged.truths, strict=True)
    return sum(number is None or is_right(terms, number, truth) for number, truth in pairs) / len(found)


def best_classes(judged: Judged) -> list[int | None]:
    return [int(number) for number in judged.probabilities.argmax(1)]


def by_threshold(terms: GroupTerms, judged: Judged, threshold: float) -> list[int | None]:
    return [terms.most_specific(terms.probabilities(row), threshold) for row in judged.probabilities]


def by_gain(terms: GroupTerms, judged: Judged, gain: float) -> list[int | None]:
    """Choose the term with the greatest (bits + gain) × probability, or none, which has no bits (Deng et al. 2012)."""
    bits = np.log2(judged.probabilities.shape[1] / terms.sizes)
    scores = [(bits + gain) * terms.probabilities(row) for row in judged.probabilities]
    return [int(row.argmax()) if row.max() > gain else None for row in scores]


def gain_for(terms: GroupTerms, judged: Judged, wanted: float) -> float:
    """Return the least gain with which so many answers are not wrong, by bisection, as DARTS does."""
    low, high = 0.0, 1000.0
    for _ in range(16):
        middle = (low + high) / 2
        if accuracy(terms, judged, by_gain(terms, judged, middle)) >= wanted:
            high = middle
        else:
            low = middle
    return high


if __name__ == "__main__":
    main()
