"""Copies among the results of a search, and the file that was asked with: marked, or taken together.

Copies are files of the same bytes, as they were when they were indexed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from index.records import SearchResult
from index.searchable import SearchablePhotos
from retrieval.photos.files import are_there

SPARE = 8
"""Results that are asked for beyond those that are wanted, as some will be copies."""
GROWTH = 4
"""If that was not enough, how many times as many are asked for."""


def looked_for(results: Sequence[SearchResult]) -> list[SearchResult]:
    """Mark the results whose files are not there."""
    there = are_there([result.path for result in results])
    return [replace(result, missing=not seen) for result, seen in zip(results, there, strict=True)]


def there_first(results: Sequence[SearchResult]) -> list[SearchResult]:
    """Put the results whose files are not there last; otherwise the order stays."""
    return sorted(results, key=lambda result: result.missing)


def marked(results: Sequence[SearchResult], asked: Collection[Path]) -> list[SearchResult]:
    """Mark results, in their order: the files `asked` with (absolute paths), and copies of a file before them."""
    first: dict[bytes, Path] = {}
    for result in results:
        # What was asked with is the original of its copies, even where a copy comes first by its name.
        if result.path in asked and result.content_hash is not None:
            first.setdefault(result.content_hash, result.path)
    found = []
    for result in results:
        path = result.path
        original = path if result.content_hash is None else first.setdefault(result.content_hash, path)
        found.append(replace(result, copy_of=None if original == path else original, is_query=path in asked))
    return found


def collapsed(results: Sequence[SearchResult], asked: Collection[Path]) -> list[SearchResult]:
    """Return one result of each content, the best whose file is there, and none that is one of the files `asked` with.

    It stands where the first of its content stood. Nor is a copy of the query a result that is not there any more, as
    after a folder was renamed.
    """
    of_query = {result.content_hash for result in results if result.path in asked and not result.missing} - {None}
    places: dict[bytes, int] = {}
    found: list[SearchResult] = []
    for result in results:
        if result.path in asked or (result.missing and result.content_hash in of_query):
            continue
        place = None if result.content_hash is None else places.setdefault(result.content_hash, len(found))
        if place is None or place == len(found):
            found.append(result)
        elif found[place].missing and not result.missing:
            found[place] = result
    return found


def best_contents(
    photos: SearchablePhotos,
    find: Callable[[int], Sequence[Sequence[SearchResult]]],
    asked: Sequence[Collection[Path]],
    top: int,
) -> list[list[SearchResult]]:
    """Return for each query the `top` best results after `collapsed`, with how many more copies there are of each.

    `find` returns for each query as many results as it is called with, fewer where there are no more; `asked` are the
    files of each query, as absolute paths; `photos` are those of the index.
    """
    wanted = top + SPARE
    while True:
        answers = find(wanted)
        kept = [collapsed(looked_for(results), paths)[:top] for results, paths in zip(answers, asked, strict=True)]
        if all(len(few) == top or len(results) < wanted for few, results in zip(kept, answers, strict=True)):
            break
        wanted *= GROWTH
    hashes = {result.content_hash for results in kept for result in results if result.content_hash is not None}
    counts = photos.count_contents(list(hashes))
    found = []
    for results, few, paths in zip(answers, kept, asked, strict=True):
        not_shown = Counter(result.content_hash for result in results if result.path in paths)
        found.append(
            [
                replace(one, copies=max(counts.get(one.content_hash or b"", 1) - 1 - not_shown[one.content_hash], 0))
                for one in there_first(few)
            ]
        )
    return found
