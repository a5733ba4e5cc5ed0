"""What labels mean: classes by name, synonym and WordNet id, and kinds of what is named."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from told import told

from index.errors import UserError
from retrieval.models.model import Model
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.searching.labels import classes_called, label_words, read_nouns
from retrieval.searching.wordnet import WORDNET, read_wordnet

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGENET = [line.split("\t") for line in (REPOSITORY / "training/data/imagenet-1k.tsv").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def builtin() -> ModelSpec:
    return Model.load(device="cpu", threads=1).spec


@pytest.fixture(scope="module")
def imagenet(builtin: ModelSpec) -> ModelSpec:
    return replace(builtin, name="imagenet", classes=tuple(ClassName(name, id) for id, name in IMAGENET))


def names(label: str, spec: ModelSpec) -> list[str]:
    return [known.name for known in classes_called(label, spec)]


@pytest.mark.parametrize(
    "label", ["goldfish", "Goldfish", "  GOLDFISH ", "Carassius auratus", "carassius_auratus", "n01443537"]
)
def test_a_class_is_found_by_any_of_its_names(builtin: ModelSpec, label: str) -> None:
    assert names(label, builtin) == ["goldfish"]


def test_a_class_is_found_by_synonyms_that_its_model_does_not_have(imagenet: ModelSpec) -> None:
    assert all(not known.synonyms for known in imagenet.classes)
    assert names("Carassius auratus", imagenet) == ["goldfish"]


def test_every_class_means_itself(builtin: ModelSpec, imagenet: ModelSpec) -> None:
    for spec in (builtin, imagenet):
        for known in spec.classes:
            for label in filter(None, (known.name, known.id, *known.synonyms)):
                assert known in classes_called(label, spec)


def test_a_dog_is_what_imagenet_has_as_dogs(imagenet: ModelSpec) -> None:
    # The 118 breeds from Chihuahua to Mexican hairless lie together in the order of ImageNet.
    ids = [id for id, _ in IMAGENET]
    breeds = IMAGENET[ids.index("n02085620") : ids.index("n02113978") + 1]
    assert len(breeds) == 118
    assert names("dog", imagenet) == names("n02084071", imagenet) == [name for _, name in breeds]
    assert set(names("dog", imagenet)) < set(names("canine", imagenet)) < set(names("mammal", imagenet))
    assert len(names("bird", imagenet)) == 59


def test_a_word_with_several_meanings_means_all_of_them(imagenet: ModelSpec) -> None:
    assert [known.id for known in classes_called("crane", imagenet)] == ["n02012849", "n03126707"]
    assert [known.id for known in classes_called("n03126707", imagenet)] == ["n03126707"]
    assert {"tabby", "lion"} <= set(names("cat", imagenet))


def test_classes_without_an_id_are_found_by_their_names(builtin: ModelSpec) -> None:
    mine = replace(builtin, classes=(ClassName("M8_hex-bolt", None, ("bolt",)), ClassName("dog")))
    assert names("m8 hex bolt", mine) == names("bolt", mine) == ["M8_hex-bolt"]
    assert names("dog", mine) == ["dog"]
    with pytest.raises(UserError, match="no class called canine"):
        classes_called("canine", mine)


@pytest.mark.parametrize(
    ("label", "near"),
    [
        ("goldfsh", "goldfish"),
        ("retreiver", "retriever"),
        ("Chihuaua", "Chihuahua"),
        ("labrador", "Labrador retriever"),
    ],
)
def test_a_label_that_is_none_is_answered_by_those_that_are_near(builtin: ModelSpec, label: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"no class called {label}, .* did you mean .*\b{near}\b"):
        classes_called(label, builtin)


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("dogs", "dog"),
        ("wolves", "wolf"),
        ("Geese", "goose"),
        ("buses", "bus"),
        ("golden retrievers", "golden retriever"),
    ],
)
def test_a_plural_is_its_singular(imagenet: ModelSpec, plural: str, singular: str) -> None:
    assert names(plural, imagenet) == names(singular, imagenet)


@pytest.mark.parametrize(
    ("label", "kind"),
    [("puppy", "dog"), ("puppies", "dog"), ("kitten", "cat"), ("sedan", "car")],
)
def test_a_word_that_no_class_has_is_told_what_it_is_a_kind_of(builtin: ModelSpec, label: str, kind: str) -> None:
    with told(UserError, match=rf"no class called {label}, .* but of {kind}, .*; ask for {kind}$"):
        classes_called(label, builtin)
    assert classes_called(kind, builtin)


@pytest.mark.parametrize(
    "label", ["flower", "person", "wedding", "weddings", "weding", "room", "window", "baby", "photo", "sky", "children"]
)
def test_no_word_is_better_than_a_wrong_one(builtin: ModelSpec, label: str) -> None:
    few = replace(
        builtin,
        classes=tuple(
            ClassName(name, id)
            for name, id in [
                ("tower", "n04460130"),
                ("mower", "n03649909"),
                ("apron", "n02730930"),
                ("dwelling", "n03259505"),
                ("bedding", None),
            ]
        ),
    )
    with told(UserError, match=r"; `fc7 info my.onnx --format json` lists its classes$") as caught:
        classes_called(label, few, model="my.onnx")
    assert "did you mean" not in str(caught.value)


def test_nouns_lead_to_what_the_table_has() -> None:
    table, nouns = read_wordnet(), read_nouns()
    assert len(nouns) > 10_000
    for noun, about in nouns.items():
        assert noun == noun.casefold()
        words = about.split()
        assert all(word in table for word in words) or words == [about]
    assert nouns["wedding"] == ""


def test_words_for_a_shell_begin_as_asked_and_mean_something(builtin: ModelSpec) -> None:
    assert label_words(builtin, "goldf") == ["goldfish"]
    assert "golden_retriever" in label_words(builtin, "golden_r")
    for word in label_words(builtin, "ca"):
        assert names(word, builtin)
        assert not set(word) & set(" '\"")


@pytest.mark.parametrize("label", ["", "xyzzyxyzzy", "n99999999\x1b"])
def test_a_label_that_is_near_to_nothing_is_told(builtin: ModelSpec, label: str) -> None:
    with pytest.raises(UserError, match=rf"no class called {label},"):
        classes_called(label, builtin)


def test_the_table_has_every_class_and_leads_up_to_one_top(builtin: ModelSpec) -> None:
    rows = [line.split("\t") for line in WORDNET.read_text("utf-8").splitlines()]
    parents = {id: above.split() for id, _, above in rows}
    assert len(parents) == len(rows)
    assert all(re.fullmatch(r"n\d{8}", id) and name for id, name, _ in rows)
    assert {id for id, _ in IMAGENET} | {known.id for known in builtin.classes if known.id} <= set(parents)
    assert {id for above in parents.values() for id in above} <= set(parents)
    assert [id for id, above in parents.items() if not above] == ["n00001740"]


def test_the_licence_of_wordnet_comes_with_the_table() -> None:
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in WORDNET.with_name("wordnet-licence.txt").read_text()
