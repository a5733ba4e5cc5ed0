"""Finds copies among indexed photos: of the same bytes, of the same picture altered, and look-alikes, kept apart.

There are three rounds, and only the best photo of each group takes part in the next. The first compares content hashes,
and reads the files whose hashes are equal. The second takes the nearest neighbours of each photo by embedding and those
of nearly the same perceptual hash, never all pairs, and compares their pictures. The third takes the neighbours that
look alike and are no copies. No file is changed or removed.
"""

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError, UserError
from index.files import absolute
from index.object_path import ObjectPath, as_path
from index.records import FileStamp
from index.searchable import SearchableIndex
from retrieval.duplicates.apart import kept_apart
from retrieval.duplicates.candidates import best_documents, document_likeness, hash_pairs, near_pairs
from retrieval.duplicates.compare import compare_pictures, connected_groups, same_bytes
from retrieval.duplicates.keep import LIKENESSES, DuplicateGroup, DuplicatePhoto, Likeness, best_first
from retrieval.duplicates.likeness import SAME_PICTURE, document_pictures
from retrieval.duplicates.pictures import PhotoPictures
from retrieval.duplicates.remembered import WINDOWS, Qualities
from retrieval.photos.files import current_stamp, stamp_of
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.progress import Progress

# All by benchmarks/duplicates.py, see docs/results.md: neighbours whose pictures are compared, from which score of the
# embedding on, and the score from which others look alike. Documents of one layout are all near: many are looked at.
NEIGHBOURS = 8
DOCUMENTS_NEAR = 1024
LEAST_SCORE = 0.55
ALIKE = 0.88
# A photo may have many copies, or neighbours in other folders, that are left out: the most neighbours that are fetched.
MOST_NEIGHBOURS = 1024

PHOTOS_PER_QUERY = 2048


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups; `left_out` photos are not in them because their files are gone, or changed since they were indexed."""

    groups: tuple[DuplicateGroup, ...]
    photos: int
    left_out: int


def find_duplicates(
    index: SearchableIndex,
    folders: Sequence[Path] = (),
    *,
    against: Sequence[Path] = (),
    keep_in: Sequence[Path] = (),
    across_folders: bool = False,
    likenesses: Sequence[Likeness] = LIKENESSES,
    min_score: float = ALIKE,
    progress: Progress | None = None,
) -> Duplicates:
    """Group the photos below folders, or all that are indexed; with `against`, only with those below other folders.

    Where folders are nested, a photo belongs to the innermost one. Files are looked at as they are now, and
    those of the same bytes are read; one that is there under several names (links) counts once. Rounds after the last
    of `likenesses` are left out. Photos below the first folder of `keep_in` are best, then those of the next. With
    `across_folders`, no group has two photos that lie in one folder. None has two that people said to be different.
    Raises PhotoIndexError for a folder that is not in the index, UserError for one on both sides.
    """
    search = _Search(index, folders, against, keep_in, across_folders, progress)
    groups = search.exact(only=not set(likenesses) - {"exact"})
    if set(likenesses) - {"exact"}:
        pictures = search.pictures()
        pairs, scores = search.neighbours(min(LEAST_SCORE, min_score))
        groups += search.group("altered", search.one_picture(pictures, pairs[scores >= LEAST_SCORE]))
        if "alike" in likenesses:
            groups += search.group("alike", _best(pairs, scores, min_score))
    search.finish()
    wanted = tuple(group for group in groups if group.likeness in likenesses)
    return Duplicates(wanted, len(search.ids), search.left_out)


def _best(pairs: NDArray[np.int64], values: NDArray[Any], least: float) -> NDArray[np.int64]:
    """Return the pairs (m, 2) of at least so much, the best first."""
    order = np.argsort(-values, kind="stable")
    return pairs[order[values[order] >= least]]


class _Search:
    """Photos are numbered by their place in `ids`, sorted; `representative` (n + 1,) has the best of each one's group.

    At first that is the photo itself; it is n once the photo is left out.
    """

    def __init__(
        self,
        index: SearchableIndex,
        folders: Sequence[Path],
        against: Sequence[Path],
        keep_in: Sequence[Path],
        across_folders: bool,
        progress: Progress | None,
    ) -> None:
        self._index = index
        self._progress = progress
        for folder in keep_in:
            index.photos.check_known(folder)
        self._keep_in = [as_path(absolute(folder)) for folder in keep_in]
        self._different = index.copies.different()
        ids, content = index.copies.contents()
        side = np.full(len(ids), -1 if folders else 0, dtype=np.int8)
        sides = {absolute(folder): 0 for folder in folders}
        for folder in against:
            if sides.setdefault(absolute(folder), 1) == 0:
                raise UserError(
                    f"{folder} cannot be compared with itself", hint="leave out --against to find copies in it"
                )
        for place in sorted(sides, key=len):
            side[np.isin(ids, index.photos.ids_below(as_path(place)))] = sides[place]
        taken = side >= 0
        self.ids, self._content, self._reference = ids[taken], content[taken], side[taken] == 1
        self._two_sides = bool(against)
        self._representative = np.arange(len(self.ids) + 1)
        self._folders = self._folder_numbers() if across_folders else None
        self._done = self._total = 0
        self.left_out = 0

    def exact(self, *, only: bool) -> list[DuplicateGroup]:
        """Group photos of the same bytes, each of them read again: bytes can change where size and time do not.

        Progress counts these, and if it is not `only` that, each of the other photos three times: seen, compared, and
        judged in its group.
        """
        order = np.argsort(self._content, kind="stable")
        ends = np.flatnonzero(np.diff(self._content[order])) + 1
        groups = [self._look_at(group) for group in np.split(order, ends) if len(group) > 1]
        numbers = np.sort([number for photos in groups if self._is_group(photos) for number in photos]).astype(np.int64)
        self._total = len(numbers) + (0 if only else 3 * len(np.unique(self._content)))
        changed = numbers[~same_bytes(self._index, self.ids[numbers], lambda done, _: self._tell(done))]
        self._leave_out(changed)
        self._done = len(numbers)
        gone = set(changed.tolist())
        return self._settle(
            "exact", ({number: photo for number, photo in photos.items() if number not in gone} for photos in groups)
        )

    def group(self, likeness: Likeness, pairs: NDArray[np.int64]) -> list[DuplicateGroup]:
        """Group photos that pairs (m, 2) connect, and read them once more to find the best."""
        linked = self._across(self._representative[pairs])
        groups = [self._look_at(np.array(members)) for members in connected_groups(map(tuple, linked.tolist()))]
        return self._settle(likeness, self._judge(groups), self._representative[linked])

    def pictures(self) -> PhotoPictures:
        """Look at the best photo of each group, and leave out those that cannot be read as indexed."""
        begun = self._done

        def count(photos: int) -> None:
            self._done += photos
            self._tell(self._done)

        numbers = np.flatnonzero(self._is_there())
        pictures = PhotoPictures(self._index, self.ids[numbers], count)
        self._leave_out(numbers[~pictures.seen])
        # Those whose copies were all left out, or changed, are not there to be seen.
        self._done = begun + (self._total - begun) // 3
        return pictures

    def neighbours(self, least: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pair photos with their nearest: pairs (m, 2), each once, and scores (m,) of at least `least`."""
        asking = self._asking()
        found = [(np.empty((0, 2), dtype=np.int64), np.empty(0))]
        for start in range(0, len(asking), PHOTOS_PER_QUERY):
            found.append(self._nearest(asking[start : start + PHOTOS_PER_QUERY], least))
        pairs, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        _, first = np.unique(pairs[:, 0] * (len(self.ids) + 1) + pairs[:, 1], return_index=True)
        return pairs[first], scores[first]

    def one_picture(self, pictures: PhotoPictures, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find which of the pairs (m, 2), and of those that look alike without colour, are one picture: (p, 2)."""
        asking = self._asking()
        seen = self._places_seen(pictures)
        asked = np.searchsorted(seen, asking)
        if self._two_sides:
            others = np.searchsorted(seen, np.flatnonzero(self._reference & self._is_there()))
            more = seen[hash_pairs(pictures.small, pictures.flat, asked, others)]
        else:
            more = seen[near_pairs(pictures.small, pictures.flat, asked, pictures.near_hashes())]
        documents = seen[pictures.seen & pictures.flat]
        # Documents of one layout are all near, whatever is written on them.
        pairs = pairs[~np.isin(pairs, documents).all(axis=1)]
        pairs = np.unique(np.concatenate([pairs, more, self._documents(pictures, documents)]), axis=0)
        pairs = self._across(pairs)
        compared = self._part((self._total - self._done) // 2)
        likeness = compare_pictures(pictures, np.searchsorted(seen, pairs), compared)
        return _best(pairs, likeness, SAME_PICTURE)

    def _documents(self, pictures: PhotoPictures, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pair documents with those of which they are most like a part: among all, or their many neighbours."""
        if not len(documents):
            return np.empty((0, 2), dtype=np.int64)
        near = [np.arange(len(documents))] * len(documents) if len(documents) <= DOCUMENTS_NEAR else []
        for start in range(0, 0 if near else len(documents), PHOTOS_PER_QUERY):
            _, ids = self._index.neighbours(self.ids[documents[start : start + PHOTOS_PER_QUERY]], DOCUMENTS_NEAR)
            near += [np.flatnonzero(np.isin(documents, row)) for row in self._representative[self._places(ids)]]
        places = np.searchsorted(self._places_seen(pictures), documents)
        pairs = np.stack([np.repeat(np.arange(len(near)), [len(row) for row in near]), np.concatenate(near)], axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        memory = pictures.remembered(WINDOWS)
        likeness = memory.values(places[pairs])
        unknown = np.isnan(likeness)
        if unknown.any():
            # 8 kB of each document in memory.
            looked_at = np.concatenate(
                [
                    document_pictures(pictures.thumbnails(places[start : start + PHOTOS_PER_QUERY])).astype(np.float16)
                    for start in range(0, len(places), PHOTOS_PER_QUERY)
                ]
            )
            likeness[unknown] = document_likeness(looked_at, pairs[unknown])
            memory.keep(places[pairs[unknown]], likeness[unknown])
        return documents[best_documents(pairs, likeness)]

    def _places_seen(self, pictures: PhotoPictures) -> NDArray[np.int64]:
        return np.searchsorted(self.ids, pictures.ids)

    def _asking(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._is_there() & ~self._reference)

    def _is_there(self) -> NDArray[np.bool_]:
        """Tell which photos (n,) are the best of their group, and not left out."""
        there: NDArray[np.bool_] = self._representative[:-1] == np.arange(len(self.ids))
        return there

    def _part(self, size: int) -> Progress:
        """Return what fills the next `size` of the progress."""
        begun = self._done

        def tell(done: int, total: int) -> None:
            self._done = begun + size * done // total
            self._tell(self._done)

        return tell

    def finish(self) -> None:
        """Tell that all is done."""
        self._done = self._total
        self._tell(self._done)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)

    def _nearest(self, asking: NDArray[np.int64], least: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        pairs: list[tuple[int, int]] = []
        best: list[float] = []
        asked = 2 * NEIGHBOURS
        while len(asking):
            scores, ids = self._index.neighbours(self.ids[asking], asked)
            others = self._representative[self._places(ids)]
            near = (scores >= least) & (others < len(self.ids)) & (others != asking[:, None])
            if self._two_sides:
                near &= np.append(self._reference, False)[others]
            if self._folders is not None:
                near &= self._folders[others] != self._folders[asking][:, None]
            needs_more = []
            for row, photo in enumerate(asking.tolist()):
                columns = np.flatnonzero(near[row])
                distinct, first = np.unique(others[row, columns], return_index=True)
                if len(distinct) < NEIGHBOURS and scores[row, -1] >= least and asked < MOST_NEIGHBOURS:
                    needs_more.append(row)
                    continue
                for column in columns[np.sort(first)][:NEIGHBOURS]:
                    pairs.append((min(photo, others[row, column]), max(photo, others[row, column])))
                    best.append(scores[row, column])
            asking = asking[needs_more]
            asked *= 4
        return np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(best)

    def _settle(
        self, likeness: Likeness, groups: Iterable[dict[int, DuplicatePhoto]], linked: NDArray[np.int64] | None = None
    ) -> list[DuplicateGroup]:
        """Report groups, and make the best photo of each the representative of all of them."""
        settled = []
        pairs = [] if linked is None else [(one, other) for one, other in linked.tolist()]
        for together in groups:
            for photos in kept_apart(together, pairs, self._different, across_folders=self._folders is not None):
                if self._is_group(photos):
                    numbers, because = best_first(photos, self._keep_in)
                    settled.append(DuplicateGroup(likeness, tuple(photos[number] for number in numbers), because))
                    self._representative[numbers] = numbers[0]
        self._representative = self._representative[self._representative]
        return settled

    def _judge(self, groups: Sequence[dict[int, DuplicatePhoto]]) -> list[dict[int, DuplicatePhoto]]:
        """Measure the quality of photos in groups; those that cannot be read as indexed are left out."""
        judged: list[dict[int, DuplicatePhoto]] = [{} for _ in groups]
        places = {number: place for place, photos in enumerate(groups) if self._is_group(photos) for number in photos}
        ids = self.ids[np.sort(np.array(list(places), dtype=np.int64))]
        batches = (
            self._index.photos.files(ids[start : start + PHOTOS_PER_QUERY])
            for start in range(0, len(ids), PHOTOS_PER_QUERY)
        )
        files = (file for batch in batches for file in batch)
        told = self._part((self._total - self._done) // 2)
        qualities = Qualities(self._index, ids)
        for done, (file, quality) in enumerate(prepare_photos(files, qualities.of), start=1):
            number = int(np.searchsorted(self.ids, file.id))
            if isinstance(quality, PhotoError):
                self._leave_out(np.array([number]))
            else:
                place = places[number]
                judged[place][number] = replace(groups[place][number], quality=quality)
            told(done, len(ids))
        qualities.keep()
        return judged

    def _is_group(self, photos: Mapping[int, DuplicatePhoto]) -> bool:
        return len(photos) > 1 and len({photo.reference for photo in photos.values()}) > self._two_sides

    def _folder_numbers(self) -> NDArray[np.int64]:
        """Number the folders that photos lie in: (n + 1,), the last is none."""
        numbers: dict[Path, int] = {}
        folders = np.full(len(self.ids) + 1, -1, dtype=np.int64)
        for start in range(0, len(self.ids), PHOTOS_PER_QUERY):
            for file in self._index.photos.files(self.ids[start : start + PHOTOS_PER_QUERY]):
                place = np.searchsorted(self.ids, file.id)
                folders[place] = numbers.setdefault(file.path.parent, len(numbers))
        return folders

    def _look_at(self, numbers: NDArray[np.int64]) -> dict[int, DuplicatePhoto]:
        """Read what is reported of photos, except files that have changed, and all names of a file except one."""
        names: dict[Hashable, list[tuple[bool, bool, Path, int]]] = {}
        photos: dict[int, DuplicatePhoto] = {}
        for file in self._index.photos.files(self.ids[numbers]):
            number = int(np.searchsorted(self.ids, file.id))
            try:
                stamp, identity, link = _seen(file.path)
            except OSError:
                continue
            if stamp == file.stamp:
                reference = bool(self._reference[number])
                photos[number] = DuplicatePhoto(
                    file.path,
                    file.width,
                    file.height,
                    file.stamp.size,
                    file.stamp.mtime_ns,
                    reference,
                    link,
                    id=file.id,
                    content_hash=file.content_hash or b"",
                )
                names.setdefault(identity, []).append((not reference, link, file.path, number))
        self._leave_out(np.array([number for number in numbers.tolist() if number not in photos], dtype=np.int64))
        for several in names.values():
            # A name of the reference, which is never spare, then one that is no link.
            kept, *others = (number for *_, number in sorted(several))
            photos[kept] = replace(photos[kept], names=len(several))
            for number in others:
                del photos[number]
                self._representative[number] = kept
        return photos

    def _across(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Leave out pairs of what is left out, those of one side where there are two, and those in one folder."""
        pairs = pairs[(pairs < len(self.ids)).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
        if self._folders is not None:
            pairs = pairs[self._folders[pairs[:, 0]] != self._folders[pairs[:, 1]]]
        return pairs[self._reference[pairs].sum(axis=1) == 1] if self._two_sides else pairs

    def _leave_out(self, numbers: NDArray[np.int64]) -> None:
        self._representative[numbers] = len(self.ids)
        self.left_out += len(numbers)

    def _places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number photos by their id, n where there is none of this id."""
        places = np.searchsorted(self.ids, ids)
        known = np.append(self.ids, -1)[places] == ids
        return np.where(known & (ids >= 0), places, len(self.ids))


def _seen(path: Path) -> tuple[FileStamp | None, Hashable, bool]:
    """Return the stamp of a file, what tells it from all others, and whether it is a link. Raises OSError."""
    if isinstance(path, ObjectPath):
        return current_stamp(path), path, False
    status = os.stat(path)
    return stamp_of(status), (status.st_dev, status.st_ino), path.is_symlink()
