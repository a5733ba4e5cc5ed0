"""WordNet's table: what things are called, and what they are kinds of."""

from functools import cache
from pathlib import Path

# Made by docs/make_wordnet.py: id, tab, names with commas between them, tab, ids of what it is a kind of.
WORDNET = Path(__file__).with_name("wordnet.tsv")


@cache
def read_wordnet() -> dict[str, tuple[list[str], list[str]]]:
    """Read the table: by id the names, and the ids of what it is a kind of."""
    lines = (line.split("\t") for line in WORDNET.read_text("utf-8").splitlines())
    return {id: (names.split(", "), parents.split()) for id, names, parents in lines}


@cache
def kinds_of(id: str | None) -> tuple[str, ...]:
    """Return an id and those of all that it is a kind of; nothing for an id that the table does not have."""
    wordnet = read_wordnet()
    if id not in wordnet:
        return ()
    found, pending = {id: None}, [id]
    while pending:
        new = [parent for parent in wordnet[pending.pop()][1] if parent not in found]
        found |= dict.fromkeys(new)
        pending += new
    return tuple(found)


@cache
def depth(id: str | None) -> int:
    """Return the steps of the longest way up from an id; 0 for one that the table does not have."""
    wordnet = read_wordnet()
    return max((depth(parent) + 1 for parent in wordnet[id][1]), default=0) if id in wordnet else 0
