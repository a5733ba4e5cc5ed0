"""What a word for the things in photos means: the classes of a model that are called so, or are a kind of what is."""

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from index.errors import UserError
from retrieval.models.spec import ClassName, ModelSpec, require_classes
from retrieval.searching.wordnet import kinds_of, read_wordnet

# Made by docs/make_wordnet.py: noun, tab, ids of what it is a kind of, the nearest first, or the singular of a plural,
# or nothing.
NOUNS = Path(__file__).with_name("nouns.tsv")
WORDNET_ID = re.compile(r"n\d{8}")
PLURALS = (
    *(("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    *(("ves", "f"), ("ves", "fe"), ("s", "")),
)
ALIKE = 0.8
"""Share of their letters that a misspelled word and the one that is meant have in common, as difflib counts."""
MOST_NEAR = 3


def classes_called(label: str, spec: ModelSpec, *, model: str = "MODEL") -> list[ClassName]:
    """Find the classes with this name, synonym or WordNet id, and those that are a kind of something with it.

    A plural stands for its singular, and a word with several meanings finds the classes of all of them. Raises
    UserError for a word that means none, and ModelError where the model has no classes; `model` is how a hint names it.
    """
    require_classes(spec)
    meanings, spelled = _meanings(spec.classes)
    word = plain(label)
    for known in (word, *singulars(word)):
        if known in meanings:
            return list(meanings[known])
    what = f"the model {spec.name} has no class called {label}, nor kinds of it"
    if kind := _kind_of(word, meanings):
        raise UserError(f"{what}, but of {kind}, which it is a kind of", hint=f"ask for {kind}")
    if near := _near(word, meanings):
        raise UserError(f"{what}; did you mean {' or '.join(spelled[name] for name in near)}?")
    raise UserError(what, hint=f"`{shlex.join(['fc7', 'info', model, '--format', 'json'])}` lists its classes")


def label_words(spec: ModelSpec, beginning: str) -> list[str]:
    """List the words that begin so and mean classes of a model, as a shell takes them: without spaces and quotes."""
    _, spelled = _meanings(spec.classes)
    found = {
        re.sub(r"\s+", "_", word)
        for known, word in spelled.items()
        if known.startswith(plain(beginning)) and not WORDNET_ID.fullmatch(word) and "'" not in word
    }
    return sorted(found, key=lambda word: (word.casefold(), word))


def singulars(word: str) -> list[str]:
    """List what an English word may be the plural of, after the rules of morphy(7WN); it need not be a word."""
    about = read_nouns().get(word.rpartition(" ")[2], "")
    first = word[: len(word) - len(word.rpartition(" ")[2])]
    irregular = [first + about] if about and not WORDNET_ID.match(about) else []
    return irregular + [word[: -len(end)] + instead for end, instead in PLURALS if word.endswith(end)]


def _kind_of(word: str, meanings: Collection[str]) -> str | None:
    """Return what a noun is a kind of, where that means classes of the model."""
    nouns = read_nouns()
    for known in (word, *singulars(word)):
        if known in nouns:
            return next((read_wordnet()[id][0][0] for id in nouns[known].split() if id in meanings), None)
    return None


def _near(word: str, meanings: Collection[str]) -> list[str]:
    """Return the words with classes that may have been meant by one that is no noun: of which it is a part, or like it.

    No word is better than a wrong one: who misspells wedding does not look for bedding.
    """
    nouns = read_nouns()
    if any(known in nouns for known in (word, *singulars(word))):
        return []
    if longer := [name for name in meanings if word in name.split(" ")]:
        return longer[:MOST_NEAR]
    alike = get_close_matches(word, {*meanings, *nouns}, n=MOST_NEAR, cutoff=ALIKE)
    return [name for name in alike if name in meanings] if alike and alike[0] in meanings else []


@lru_cache(maxsize=1)
def _meanings(classes: tuple[ClassName, ...]) -> tuple[dict[str, dict[ClassName, None]], dict[str, str]]:
    """List the classes that each plain word means, in their order, and how it is really spelled."""
    meanings: defaultdict[str, dict[ClassName, None]] = defaultdict(dict)
    spelled: dict[str, str] = {}
    for known in classes:
        for word in _words_for(known):
            meanings[plain(word)][known] = None
            spelled.setdefault(plain(word), word)
    return meanings, spelled


def _words_for(known: ClassName) -> list[str]:
    """List the names of a class and of all that it is a kind of, with their ids."""
    wordnet = read_wordnet()
    words = [known.name, *known.synonyms, *([known.id] if known.id else [])]
    return words + [word for id in kinds_of(known.id) for word in (id, *wordnet[id][0])]


def plain(word: str) -> str:
    """Return a word as words are compared: without capitals, with one space between its parts."""
    # Names of files on macOS have accents apart from their letters.
    return " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFC", word).casefold())).strip()


@lru_cache(maxsize=1)
def read_nouns() -> dict[str, str]:
    """Read by noun the ids of what it is a kind of, or the singular of a plural, or nothing."""
    return dict(line.split("\t") for line in NOUNS.read_text("utf-8").splitlines())
