"""Several folders to learn from as one data set: with labels or without, and what of them a teacher knows."""

import os
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from index.errors import OptionError
from index.records import SkippedPhoto
from retrieval.models.spec import ClassGroup, ClassName
from retrieval.photos.scan import scan_folder
from retrieval.searching.labels import plain
from training.data.dataset import Dataset, Draw, Split, holds_classes, scan_dataset
from training.errors import DatasetError

UNLABELLED = -1
"""The label of a picture that has none."""

LARGEST_CHECK = 2000
"""Pictures without labels that are set aside for validation, at most."""

WORDNET_ID = re.compile(r"n\d{8}")

MOST_DRAWS = 100
"""Of a picture in an epoch."""


@dataclass(frozen=True)
class Source:
    """A folder to learn from, and how often a picture of it is drawn in an epoch.

    `labelled` None: as its folders look. Raises OptionError for a weight that is none.
    """

    root: Path
    weight: float = 1.0
    labelled: bool | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight <= MOST_DRAWS:  # said this way round, NaN is refused as well
            raise OptionError(
                f"the weight {self.weight:g} of {self.root} is not above 0 and at most {MOST_DRAWS}",
                hint="give another --weight",
            )


def scan_sources(
    sources: Sequence[Source],
    *,
    validation: float = 0.1,
    seed: int = 0,
    names: Path | None = None,
    learned: str = "",
    taught: Sequence[ClassName] = (),
    group: str = "",
    skipped: list[SkippedPhoto] | None = None,
) -> Dataset:
    """Find the pictures of all sources, as `scan_dataset` finds those of one.

    `taught` are the classes of a teacher. They come first, as the group of the name `group`; a source whose classes are
    all among them has them for labels, any other has a group of its own, named after its folder. Without a teacher
    classes of the same id or name are one, and pictures without labels are of no use. What of these cannot be listed is
    appended to `skipped`. Raises DatasetError.
    """
    if len(sources) == 1 and not taught:
        [source] = sources
        if source.labelled is False:
            raise DatasetError(f"{source.root} is without labels", hint="name who knows what is in it with --teacher")
        dataset = scan_dataset(source.root, validation=validation, seed=seed, names=names, learned=learned)
        return replace(dataset, draws=() if source.weight == 1 else (Draw(0, len(dataset.train), source.weight),))
    roots = [source.root.resolve() for source in sources]
    for number, root in enumerate(roots):
        for other in roots[:number] + roots[number + 1 :]:
            if root.is_relative_to(other):
                if root == other:
                    raise DatasetError(
                        f"{root} is named twice", hint="name it once, by --unlabelled if its folders are no classes"
                    )
                raise DatasetError(f"{root} lies in {other}, and would be learned from twice; name one of them")
    classes, groups = list(taught), [ClassGroup(group, len(taught))] if taught else []
    parts: list[Dataset] = []
    for source in sources:
        try:
            labelled = holds_classes(source.root) if source.labelled is None else source.labelled
            if labelled:
                found = scan_dataset(source.root, validation=validation, seed=seed, names=names, learned=learned)
        except DatasetError as error:
            if not taught or not os.path.isdir(source.root):
                raise
            raise DatasetError(
                str(error), hint=f"where its folders are no classes, name {source.root} with --unlabelled"
            ) from None
        if not labelled:
            if not taught:
                raise DatasetError(
                    f"{source.root} is without labels", hint="name who knows what is in it with --teacher"
                )
            parts.append(photos_alone(source.root, validation, seed, skipped=skipped))
            continue
        numbers = _numbers(found.classes, taught or classes)
        if taught and None in numbers:
            numbers = list(range(len(classes), len(classes) + len(found.classes)))
            classes += found.classes
            groups.append(ClassGroup(_unlike(groups, source.root.resolve().name), len(found.classes)))
        elif None in numbers:
            for place, known in enumerate(found.classes):
                if numbers[place] is None:
                    numbers[place] = len(classes)
                    classes.append(known)
        parts.append(
            replace(found, train=_numbered(found.train, numbers), validation=_numbered(found.validation, numbers))
        )
    checked = [part.validation for part in parts if part.classes] or [part.validation for part in parts]
    lengths = [len(part.train) for part in parts]
    starts = [sum(lengths[:number]) for number in range(len(parts))]
    return Dataset(
        Path(os.path.commonpath(roots)),
        tuple(classes),
        _joined(part.train for part in parts),
        _joined(checked),
        divided=any(part.divided for part in parts),
        classless=tuple(path for part in parts for path in part.classless),
        groups=tuple(groups) if len(groups) > 1 else (),
        draws=tuple(
            Draw(start, start + length, source.weight)
            for start, length, source in zip(starts, lengths, sources, strict=True)
        ),
        marked=tuple(path for part in parts if part.divided for path in part.train.paths),
    )


def photos_alone(root: Path, validation: float, seed: int, *, skipped: list[SkippedPhoto] | None = None) -> Dataset:
    """Return all photos of a folder and those below it, some of them set aside.

    What cannot be listed is appended to `skipped`. Raises DatasetError.
    """
    if not os.path.isdir(root):
        raise DatasetError(f"there is no folder {root}; give one that holds photos")
    scan = scan_folder(root)
    photos = [root / os.fsdecode(path) for path in scan.photos]
    if skipped is not None:
        skipped += (SkippedPhoto(root / os.fsdecode(path), reason) for path, reason in scan.unlisted.items())
    if len(photos) < 2:
        raise DatasetError(f"{root} holds {len(photos) or 'no'} photo{'s' * (not photos)}; give a folder with more")
    count = min(max(round(len(photos) * validation), 1), LARGEST_CHECK, len(photos) - 1)
    aside = set(random.Random(seed).sample(range(len(photos)), count))
    train = [path for number, path in enumerate(photos) if number not in aside]
    check = [photos[number] for number in sorted(aside)]
    return Dataset(root, (), _without_labels(train), _without_labels(check))


def _without_labels(paths: Sequence[Path]) -> Split:
    return Split(tuple(paths), (UNLABELLED,) * len(paths))


def _unlike(groups: Sequence[ClassGroup], name: str) -> str:
    """Return a name that none of the groups has: groups are known by their names."""
    taken, new, number = {group.name for group in groups}, name, 1
    while new in taken:
        number += 1
        new = f"{name} {number}"
    return new


def _numbers(classes: Sequence[ClassName], known: Sequence[ClassName]) -> list[int | None]:
    """Return where each of the classes is among those known, by id, or else by a name that only one of them has.

    Two ids of WordNet are two classes, whatever their names: there are two kinds of crane.
    """
    ids = {entry.id: number for number, entry in enumerate(known) if entry.id}
    names: dict[str, list[int]] = {}
    for number, entry in enumerate(known):
        names.setdefault(plain(entry.name), []).append(number)

    def place(entry: ClassName) -> int | None:
        if entry.id in ids:
            return ids[entry.id]
        several = names.get(plain(entry.name), [])
        apart = len(several) != 1 or all(WORDNET_ID.fullmatch(id or "") for id in (entry.id, known[several[0]].id))
        return None if apart else several[0]

    return [place(entry) for entry in classes]


def _numbered(split: Split, numbers: Sequence[int | None]) -> Split:
    return Split(split.paths, tuple(number for label in split.labels if (number := numbers[label]) is not None))


def _joined(splits: Iterable[Split]) -> Split:
    found = list(splits)
    return Split(
        tuple(path for split in found for path in split.paths),
        tuple(label for split in found for label in split.labels),
    )
