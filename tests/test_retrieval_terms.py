"""The most specific term that is likely enough, against sums over WordNet made in another way."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.records import Prediction
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec
from retrieval.searching.terms import EMPTY, Terms
from retrieval.searching.wordnet import read_wordnet
from training.data.name_tables import IMAGENET

CATS = {"tabby": "n02123045", "tiger cat": "n02123159", "Persian cat": "n02123394", "Egyptian cat": "n02124075"}
DOGS = {"beagle": "n02088364", "golden retriever": "n02099601"}
THINGS = {"folding chair": "n03376595", "rocking chair": "n04099969", "banjo": "n02787622"}
CLASSES = tuple(ClassName(name, id) for name, id in {**CATS, **DOGS, **THINGS}.items())
ALL_IDS = [line.split("\t")[0] for line in IMAGENET.read_text("utf-8").splitlines()]
WORDNET = read_wordnet()


def make_spec(classes: Sequence[ClassName], groups: Sequence[ClassGroup] = ()) -> ModelSpec:
    return ModelSpec("m", "a", tuple(classes), 8, 8, 2, 2, "f", groups=tuple(groups))


def answers(shares: Sequence[float], classes: Sequence[ClassName] = CLASSES) -> list[tuple[str, float]]:
    found = Terms(make_spec(classes)).likely(np.array(shares, np.float32))
    return [(term.label, round(term.probability, 3)) for term in found]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.22, 0.19, 0.0, 0.2, 0.1, 0.1, 0.1, 0.05, 0.04], [("domestic cat", 0.61)]),
        ([0.22, 0.51, 0.0, 0.2, 0.02, 0.02, 0.01, 0.01, 0.01], [("tiger cat", 0.51)]),
        ([0.15, 0.1, 0.0, 0.1, 0.15, 0.1, 0.2, 0.1, 0.1], [("carnivore", 0.6)]),
        ([0.1, 0.1, 0.0, 0.0, 0.1, 0.0, 0.3, 0.3, 0.1], [("chair", 0.6)]),
        # Together they would be an artifact, which tells nothing.
        ([0.1, 0.1, 0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.2], []),
    ],
)
def test_the_most_specific_term_that_is_likely_is_the_answer(
    shares: list[float], expected: list[tuple[str, float]]
) -> None:
    assert answers(shares) == expected


def test_what_is_true_of_every_class_is_no_answer() -> None:
    cats = [ClassName(name, id) for name, id in CATS.items()]
    assert answers([0.25, 0.25, 0.25, 0.25], cats) == []
    assert answers([0.25, 0.25, 0.25, 0.25], [ClassName(name) for name in "abcd"]) == []
    assert answers([0.6, 0.4], [ClassName("bolt"), ClassName("nut", "a folder, no WordNet id")]) == [("bolt", 0.6)]


def test_a_class_stands_for_the_classes_that_are_kinds_of_it() -> None:
    classes = [ClassName("dog", "n02084071"), *(ClassName(name, id) for name, id in DOGS.items()), CLASSES[0]]
    assert answers([0.3, 0.2, 0.1, 0.4], classes) == [("dog", 0.6)]


def test_each_group_answers_for_itself() -> None:
    spec = make_spec(
        [*CLASSES, ClassName("kitchen"), ClassName("beach")],
        [ClassGroup("objects", len(CLASSES)), ClassGroup("scenes", 2)],
    )
    terms = Terms(spec)
    shares = np.array([0.3, 0.3, 0, 0, 0.4, 0, 0, 0, 0, 0.2, 0.8], np.float32)
    beach, cat = terms.likely(shares)
    assert (beach.label, beach.id, beach.group) == ("beach", None, "scenes")
    assert (cat.label, cat.id, cat.group) == ("domestic cat", "n02121808", "objects")
    assert [beach.probability, cat.probability] == pytest.approx([0.8, 0.6])
    assert [term.label for term in terms.likely(shares, threshold=0.7)] == ["carnivore", "beach"]


def test_of_what_an_index_has_each_prediction_finds_its_group() -> None:
    spec = make_spec(
        [*CLASSES, ClassName("kitchen"), ClassName("beach")],
        [ClassGroup("objects", len(CLASSES)), ClassGroup("scenes", 2)],
    )
    beach = Prediction("beach", None, 0.4)
    cats = [Prediction(CLASSES[number].name, CLASSES[number].id, 0.3) for number in (0, 1)]
    predictions, [cat] = Terms(spec).of_stored([beach, *cats])
    assert [found.group for found in predictions] == ["scenes", "objects", "objects"]
    assert [found.label for found in predictions] == [found.label for found in (beach, *cats)]
    assert (cat.label, cat.group) == ("domestic cat", "objects")
    assert cat.probability == pytest.approx(0.6)
    assert Terms(spec).of_stored([]) == ((), ())


@cache
def kinds_of(id: str) -> frozenset[str]:
    return frozenset([id]).union(*map(kinds_of, WORDNET[id][1]))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from([0.3, 0.5, 0.8]))
def test_no_term_of_fewer_classes_is_likely(seed: int, count: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    ids = sorted(random.choice(ALL_IDS, count, replace=False).tolist())
    shares = random.dirichlet(np.full(count, 0.5)).astype(np.float32)
    found = Terms(make_spec([ClassName(id, id) for id in ids])).likely(shares, threshold=threshold)

    below = {term: [number for number, id in enumerate(ids) if term in kinds_of(id)] for term in WORDNET}
    allowed = {
        term: numbers
        for term, numbers in below.items()
        if term in ids or (0 < len(numbers) < len(ids) and WORDNET[term][0][0].replace(" ", "_") not in EMPTY.split())
    }
    likely = {term: len(numbers) for term, numbers in allowed.items() if shares[numbers].sum() >= threshold + 1e-5}
    if not found:
        assert not likely
        return
    [answer] = found
    assert answer.id in allowed
    assert answer.probability == pytest.approx(shares[allowed[answer.id]].sum(), abs=1e-5)
    assert answer.probability >= threshold
    assert len(allowed[answer.id]) <= min(likely.values(), default=len(ids))


def test_terms_that_tell_nothing_are_in_wordnet() -> None:
    names = {names[0].replace(" ", "_") for names, _ in WORDNET.values()}
    assert set(EMPTY.split()) <= names
