"""Makes folders of training photos from clones of public GitHub repositories; it fetches nothing itself.

    git clone --bare https://github.com/thunderInfy/imagenette clones/thunderInfy/imagenette
    python docs/make_training_photos.py clones photos --only imagenette
    python docs/make_training_photos.py --list    # the sets, their repositories, commits and terms

A clone may lie in clones/owner/name, clones/owner+name/repo or clones/name, and may be bare or not. The photos are read
from one commit of it, without a checkout. They go to:

    photos/<set>/train/<class>/, photos/<set>/val/<class>/    labelled, and the set has a part for validation
    photos/<set>/<class>/                                     labelled, and it has none
    photos/<set>-unlabelled/                                  without labels

The sets called judge-... are for judging only. None of their photos goes to another set, and of the others no file goes
to two places: the set that comes first in the table has it. Photos that are already there are left as they are.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple

from training_photo_sets import TABLE, PhotoSet, Rule

PHOTO_NAMES = (".jpg", ".jpeg", ".png")
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
LFS_POINTER = b"version https://git-lfs"


class CloneError(Exception):
    """A clone that is not there, or that does not hold what it should."""


class File(NamedTuple):
    """A file in a commit; the size is None where the clone lacks the file."""

    path: str
    blob: str
    size: int | None


class Photo(NamedTuple):
    """A file that a rule fits, and the label that is in its path."""

    file: File
    rule: Rule
    label: str | None


def main(arguments: Sequence[str] | None = None, table: Sequence[PhotoSet] = TABLE) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path, nargs="?", help="folder that holds the clones")
    parser.add_argument("photos", type=Path, nargs="?", help="folder to make the sets in")
    parser.add_argument("--only", nargs="+", metavar="SET", choices=[known.name for known in table], help="these sets")
    parser.add_argument("--list", action="store_true", help="print the sets and where they come from, and do no more")
    given = parser.parse_args(arguments)
    if given.list:
        for known in table:
            print(known.name, known.repository, known.commit, f"{known.photos:,}", known.terms, sep="\t")
        return 0
    if given.photos is None:
        parser.error("name the folder of the clones and the one to make the sets in")
    return make_sets(table, given.clones, given.photos, set(given.only or (known.name for known in table)))


def make_sets(table: Sequence[PhotoSet], clones: Path, folder: Path, wanted: set[str]) -> int:
    """Make the wanted sets and say what became of each; the exit status is 1 if one of them could not be made."""
    found: dict[str, list[Photo]] = {}
    failed = False
    for known in table:
        try:
            found[known.name] = list(find_photos(known, find_clone(clones, known.repository)))
        except CloneError as error:
            if known.name in wanted or known.judges:
                print(f"{known.name}: {error}", file=sys.stderr)
            failed |= known.name in wanted

    taken = {photo.file.blob for known in table if known.judges for photo in found.get(known.name, [])}
    lines = []
    for known in table:
        photos = found.get(known.name, [])
        apart = {stem(photo) for photo in found.get(known.apart_from, [])}
        kept = [photo for photo in photos if stem(photo) not in apart]
        kept = kept if known.judges else without_copies(kept, taken)
        if known.name not in wanted or known.name not in found:
            continue
        if known.apart_from and not apart:
            print(f"{known.name}: not without {known.apart_from}, whose photos it must not have", file=sys.stderr)
            failed = True
            continue
        print(f"{known.name}: {len(kept):,} photos to write", file=sys.stderr)
        try:
            counts = write_photos(known, kept, find_clone(clones, known.repository), folder)
        except CloneError as error:
            print(f"{known.name}: {error}", file=sys.stderr)
            failed = True
            continue
        counts["copies"] = len(photos) - len(kept)
        lines.append(summary(known, counts))
    print("\n".join(lines))
    return int(failed)


def summary(known: PhotoSet, counts: Counter[str]) -> str:
    line = f"{known.name}: {counts['new'] + counts['there']:,} photos of {known.photos:,} ({counts['new']:,} new)"
    line += f", {counts['missing']:,} missing"
    others = {"pointers": "Git LFS pointers", "no photos": "no JPEG or PNG", "copies": "copies left out"}
    return line + "".join(f", {counts[key]:,} {words}" for key, words in others.items() if counts[key])


def find_clone(clones: Path, repository: str) -> Path:
    """The git directory of a repository's clone."""
    owner, _, name = repository.partition("/")
    folders = (f"{owner}+{name}/repo", f"{owner}+{name}", f"{owner}/{name}", name)
    for place in (*folders, f"{owner}/{name}.git", f"{name}.git"):
        for git in (clones / place / ".git", clones / place):
            if (git / "HEAD").is_file() and (git / "objects").is_dir():
                return git
    raise CloneError(f"no clone of {repository} in {clones}")


def find_photos(known: PhotoSet, clone: Path) -> Iterator[Photo]:
    """The photos of a set as the tree of its commit names them, copies too."""
    patterns = [(rule, re.compile(rule.pattern)) for rule in known.rules]
    for file in read_tree(clone, known.commit):
        if not file.path.lower().endswith(PHOTO_NAMES):
            continue
        for rule, pattern in patterns:
            if fit := pattern.fullmatch(file.path):
                yield Photo(file, rule, fit.groupdict().get("label"))
                break


def read_tree(clone: Path, commit: str) -> Iterator[File]:
    """All files of a commit, without links and submodules."""
    done = subprocess.run([*git(clone), "ls-tree", "-r", "-l", "-z", commit], capture_output=True)
    if done.returncode:
        raise CloneError(f"{clone} has no whole commit {commit}: {os.fsdecode(done.stderr).strip()}")
    for entry in done.stdout.split(b"\0")[:-1]:
        about, _, path = entry.partition(b"\t")
        mode, _, blob, size = about.decode("ascii").split()
        if mode.startswith("100"):
            yield File(os.fsdecode(path), blob, int(size) if size.isdecimal() else None)


def git(clone: Path) -> list[str]:
    return ["git", "--git-dir", str(clone), "-c", "protocol.allow=never"]


def stem(photo: Photo) -> str:
    return PurePosixPath(photo.file.path).stem


def without_copies(photos: Sequence[Photo], taken: set[str]) -> list[Photo]:
    """The photos that are not taken yet; they are from now on."""
    kept = []
    for photo in photos:
        if photo.file.blob not in taken:
            taken.add(photo.file.blob)
            kept.append(photo)
    return kept


def write_photos(known: PhotoSet, photos: Sequence[Photo], clone: Path, folder: Path) -> Counter[str]:
    """Write the photos that are not there yet, and count what became of them."""
    counts: Counter[str] = Counter()
    used: set[str] = set()
    with Blobs(clone) as blobs:
        labels = {rule: read_labels(rule, clone, known.commit, blobs) for rule in known.rules if rule.labels}
        for photo in photos:
            file, rule, label = photo
            if rule.labels:
                label = labels[rule].get(stem(photo))
            place = place_of(known, file, rule, label, used)
            if file.size is None:
                counts["missing"] += 1
                continue
            target = folder / place
            if target.is_file() and target.stat().st_size == file.size:
                counts["there"] += 1
                continue
            content = blobs.read(file.blob)
            if content is None:
                counts["missing"] += 1
            elif content.startswith(LFS_POINTER):
                counts["pointers"] += 1
            elif not content.startswith((JPEG, PNG)):
                counts["no photos"] += 1
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f".{target.name}.part")
                partial.write_bytes(content)
                partial.replace(target)
                counts["new"] += 1
    return counts


def place_of(known: PhotoSet, file: File, rule: Rule, label: str | None, used: set[str]) -> PurePosixPath:
    """Where a photo goes, relative to the folder of all sets; a place that is used already gets the blob's id added."""
    if label is None:
        place = PurePosixPath(f"{known.name}-unlabelled")
    else:
        name = safe_name(label.lower())
        place = PurePosixPath(known.name, rule.part, known.renamed.get(name, name))
    place /= safe_name(PurePosixPath(file.path).name)
    if str(place).lower() in used:
        place = place.with_name(f"{place.stem}-{file.blob[:12]}{place.suffix}")
    number = 2
    while str(place).lower() in used:
        place = place.with_name(f"{place.stem}-{number}{place.suffix}")
        number += 1
    used.add(str(place).lower())
    return place


def safe_name(name: str) -> str:
    """A name that is one part of a path and no more, whatever a repository says."""
    plain = re.sub("[^A-Za-z0-9._-]+", "_", name).strip(".") or "_"
    return plain if len(plain) <= 120 else plain[:60] + plain[-60:]


def read_labels(rule: Rule, clone: Path, commit: str, blobs: "Blobs") -> dict[str, str]:
    """What a rule's file of labels says, by the names of the photos without their endings."""
    wanted = {rule.labels, rule.names[0]} if rule.names else {rule.labels}
    texts = {}
    for file in read_tree(clone, commit):
        if file.path in wanted and (content := blobs.read(file.blob)) is not None:
            texts[file.path] = content.decode("utf-8-sig")
    if lacking := wanted - texts.keys():
        raise CloneError(f"the clone lacks {', '.join(sorted(lacking))}")
    lines = (re.fullmatch("([^, ]+)[, ](.+)", line.strip()) for line in texts[rule.labels].splitlines())
    labels = {PurePosixPath(line[1]).stem: line[2].strip() for line in lines if line}
    if rule.names:
        named = (re.fullmatch(rule.names[1], line.strip()) for line in texts[rule.names[0]].splitlines())
        names = {line["number"]: line["label"] for line in named if line}
        labels = {photo: names[number] for photo, number in labels.items() if number in names}
    return labels


class Blobs:
    """The contents of a clone's files, read by one process."""

    def __init__(self, clone: Path) -> None:
        command = [*git(clone), "cat-file", "--batch"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "Blobs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()

    def read(self, blob: str) -> bytes | None:
        """The content, or None if the clone lacks it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            self.process.stdin.write(f"{blob}\n".encode("ascii"))
            self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[1:] == [b"missing"]:
            return None
        if answer[1:2] != [b"blob"]:
            raise CloneError(f"git could not read {blob}")
        content = self.process.stdout.read(int(answer[2]) + 1)
        return content[:-1]


if __name__ == "__main__":
    sys.exit(main())
