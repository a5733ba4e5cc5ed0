"""What a word for the things in photos means: the classes of a model that are called so, or are a kind of what is."""

import re
import unicodedata
from collections import defaultdict
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from index.errors import UserError
from retrieval.models.spec import ClassName, ModelSpec, require_classes

# Made by docs/make_wordnet.py: id, tab, names with commas between them, tab, ids of what it is a kind of.
WORDNET = Path(__file__).with_name("wordnet.tsv")


def classes_called(label: str, spec: ModelSpec) -> list[ClassName]:
    """Find the classes with this name, synonym or WordNet id, and those that are a kind of something with it.

    A word with several meanings finds the classes of all of them. Raises UserError, with names that are near, for a
    word that means none, and ModelError where the model has no classes.
    """
    require_classes(spec)
    meanings, spelled = _meanings(spec.classes)
    if plain(label) in meanings:
        return list(meanings[plain(label)])
    near = [spelled[word] for word in get_close_matches(plain(label), meanings)]
    what = f"the model {spec.name} has no class called {label}, nor kinds of it"
    if near:
        raise UserError(f"{what}; did you mean {' or '.join(near)}?")
    raise UserError(what, hint="`fc7 info MODEL --format json` lists its classes")


@lru_cache(maxsize=1)
def _meanings(classes: tuple[ClassName, ...]) -> tuple[dict[str, dict[ClassName, None]], dict[str, str]]:
    """List the classes that each plain word means, in their order, and how it is really spelled."""
    meanings: defaultdict[str, dict[ClassName, None]] = defaultdict(dict)
    spelled: dict[str, str] = {}
    wordnet = read_wordnet()
    for known in classes:
        for word in _words_for(known, wordnet):
            meanings[plain(word)][known] = None
            spelled.setdefault(plain(word), word)
    return meanings, spelled


def _words_for(known: ClassName, wordnet: dict[str, tuple[list[str], list[str]]]) -> list[str]:
    """List the names of a class and of all that it is a kind of, with their ids."""
    words = [known.name, *known.synonyms]
    ids = dict.fromkeys([known.id] if known.id else [])
    pending = list(ids)
    while pending:
        id = pending.pop()
        names, kinds_of = wordnet.get(id, ([], []))
        words += [id, *names]
        pending += [parent for parent in kinds_of if parent not in ids]
        ids |= dict.fromkeys(kinds_of)
    return words


def plain(word: str) -> str:
    """Return a word as words are compared: without capitals, with one space between its parts."""
    # Names of files on macOS have accents apart from their letters.
    return " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFC", word).strip().casefold()))


def read_wordnet() -> dict[str, tuple[list[str], list[str]]]:
    """Read WordNet's table: by id the names, and the ids of what it is a kind of."""
    lines = (line.split("\t") for line in WORDNET.read_text("utf-8").splitlines())
    return {id: (names.split(", "), parents.split()) for id, names, parents in lines}
