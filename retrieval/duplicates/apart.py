"""Keeps photos apart that people said to be different, or that lie in one folder, though each may be like a third."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import permutations, product
from pathlib import Path

from index.catalog.different import Pair
from retrieval.duplicates.keep import DuplicatePhoto


def kept_apart(
    photos: Mapping[int, DuplicatePhoto],
    pairs: Iterable[tuple[int, int]],
    different: Collection[Pair],
    *,
    across_folders: bool = False,
) -> Iterator[dict[int, DuplicatePhoto]]:
    """Divide a group of photos, by their numbers, so that no part has two that are different, or lie in one folder.

    A part is what pairs connect, the first of them first; without pairs, all are copies of each other.
    """
    opposed = _opposed(photos, different)
    if across_folders:
        folders: defaultdict[Path, list[int]] = defaultdict(list)
        for number, photo in photos.items():
            folders[photo.path.parent].append(number)
        opposed |= {pair for together in folders.values() for pair in permutations(together, 2)}
    if not opposed:
        yield dict(photos)
        return
    part = {number: {number} for number in photos}
    for one, other in pairs or product(photos, photos):
        if one not in part or other not in part or part[one] is part[other]:
            continue
        if not any((first, second) in opposed for first, second in product(part[one], part[other])):
            part[one] |= part[other]
            for number in part[other]:
                part[number] = part[one]
    for number in sorted(part):
        if number == min(part[number]):
            yield {member: photos[member] for member in sorted(part[number])}


def _opposed(photos: Mapping[int, DuplicatePhoto], different: Collection[Pair]) -> set[tuple[int, int]]:
    """Find the pairs of numbers, both ways round, that are different."""
    contents: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, photo in photos.items():
        contents[photo.content_hash].append(number)
    opposed = set()
    for one, other, *paths in different if len(photos) > 1 else ():
        for first, second in product(contents.get(one, ()), contents.get(other, ())):
            if one != other or {bytes(photos[first].path), bytes(photos[second].path)} == set(paths):
                opposed |= {(first, second), (second, first)}
    return opposed
