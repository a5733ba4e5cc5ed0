"""Candidates for one picture, found without colour: by hashes of windows, and documents by their detail."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from index.searchable import SearchableIndex
from index.vectors import hashes
from index.vectors.hashes import nearest_hashes
from retrieval.duplicates.candidates import best_documents, document_likeness, hash_pairs, near_pairs
from retrieval.duplicates.likeness import document_pictures, small_pictures
from retrieval.duplicates.remembered import NearHashes
from retrieval.duplicates.windows import oriented
from retrieval.photos.thumbnail import thumbnail

NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def small(images: list[Image.Image]) -> NDArray[np.uint8]:
    return np.rint(small_pictures(np.stack([thumbnail(image) for image in images]))).astype(np.uint8)


@pytest.mark.parametrize("most", [hashes.COMPARED_WITH_ALL, 500])
def test_nearest_hashes_are_those_that_counting_bits_finds(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(hashes, "COMPARED_WITH_ALL", most)
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (1000, 8), np.uint8)
    queries = stored[:50] ^ np.packbits(random.random((50, 64)) < 0.05, axis=1)
    distances, rows = nearest_hashes(stored, queries, 1)
    expected = np.bitwise_count(queries[:, None] ^ stored).sum(axis=2, dtype=np.int64)
    right = distances[:, 0] == expected.min(axis=1)
    assert (expected[np.arange(50), rows[:, 0]] == distances[:, 0]).all()
    assert right.all() if most > 1000 else right.mean() > 0.9


def test_fewer_hashes_than_asked_for_are_told() -> None:
    _, rows = nearest_hashes(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8), 3)
    assert rows.tolist() == [[0, -1, -1]]


def test_copies_in_any_orientation_and_windows_are_paired() -> None:
    images = [photo(name) for name in NAMES]
    turned = [
        Image.fromarray(
            oriented(np.asarray(images[0]).transpose(2, 0, 1).astype(np.float32), 5).transpose(1, 2, 0).astype(np.uint8)
        )
    ]
    width, height = images[1].size
    window = images[1].crop((width * 15 // 100, height * 15 // 100, width * 85 // 100, height * 85 // 100))
    pictures = small([*images, turned[0], window, images[2].convert("L").convert("RGB")])
    everything, no_documents = np.arange(len(pictures)), np.zeros(len(pictures), dtype=bool)
    expected = {(0, 4), (1, 5), (2, 6)}
    assert {tuple(pair) for pair in hash_pairs(pictures, no_documents, everything, everything).tolist()} >= expected
    # Either of the two may be the one that asks.
    for asking, others in ((everything[:4], everything[4:]), (everything[4:], everything[:4])):
        found = {tuple(pair) for pair in hash_pairs(pictures, no_documents, asking, others).tolist()}
        assert found >= expected
        assert all(one < 4 <= other for one, other in found)
    assert hash_pairs(pictures, no_documents, everything, everything[:0]).shape == (0, 2)
    # Two documents are looked for in another way, unless one is turned.
    assert (0, 4) in {tuple(pair) for pair in hash_pairs(pictures, ~no_documents, everything, everything).tolist()}
    assert (1, 5) not in {tuple(pair) for pair in hash_pairs(pictures, ~no_documents, everything, everything).tolist()}


def test_only_new_photos_are_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever steps photos come and go, the pairs are those of one search among all that are there."""
    random = np.random.default_rng(0)
    # Six scenes, each seen ten times with some noise: more copies than neighbours.
    scenes = random.integers(0, 256, (6, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    noise = random.normal(0, 12, (60, 32, 32))
    pictures = (scenes.repeat(10, axis=0) + noise).clip(0, 255).astype(np.uint8)[random.permutation(60)]
    flat = np.zeros(60, dtype=bool)
    kept: dict[int, bytes] = {}

    def keep_measured(kind: str, values: list[tuple[bytes, bytes]]) -> bool:
        kept.update({int.from_bytes(content[:8], "little") - 1: value for content, value in values})
        return True

    copies = SimpleNamespace(
        measured=lambda kind, ids: {id: kept[id] for id in ids.tolist() if id in kept}, keep_measured=keep_measured
    )
    index = cast(SearchableIndex, SimpleNamespace(copies=copies))
    contents = [(id + 1).to_bytes(8, "little") * 2 for id in range(60)]
    known = NearHashes(index, np.arange(60), contents)
    asked: list[int] = []

    def counted(
        stored: NDArray[np.uint8], queries: NDArray[np.uint8], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        asked.append(len(stored) * len(queries))
        return nearest_hashes(stored, queries, k)

    monkeypatch.setattr("retrieval.duplicates.candidates.nearest_hashes", counted)
    everything = np.arange(60)
    whole = 60 * 19 * 60 * 8
    for there, most in (
        (everything[:50], whole),
        (everything[:50], 0),
        (everything[:52], whole // 8),
        (everything, whole // 2),
        (everything[5:], whole),
        (everything, whole // 2),
        (everything, 0),
    ):
        asked.clear()
        found = {tuple(pair) for pair in near_pairs(pictures, flat, there, known).tolist()}
        assert sum(asked) <= most
        # Nobody's nearest are missing; where windows are as near as each other, there may be others.
        expected = {tuple(pair) for pair in hash_pairs(pictures, flat, there, there).tolist()}
        assert len(expected - found) <= 0.05 * len(expected)
        assert all(one in there and other in there for one, other in found)


def test_a_document_is_paired_with_what_was_cut_out_of_it() -> None:
    random = np.random.default_rng(0)
    pages = [Image.fromarray(random.integers(0, 2, (60, 40), np.uint8) * 255).resize((400, 600), 0) for _ in range(6)]
    pictures = np.stack([thumbnail(image) for image in [*pages, *(page.crop((40, 30, 400, 570)) for page in pages)]])
    pairs = np.array([pair for pair in np.ndindex(12, 12) if pair[0] != pair[1]])
    found = best_documents(pairs, document_likeness(document_pictures(pictures).astype(np.float16), pairs))
    assert {tuple(pair) for pair in found.tolist()} >= {(page, page + 6) for page in range(6)}
    none = np.empty((0, 2), dtype=np.int64)
    assert best_documents(none, document_likeness(np.empty((0, 64, 64), np.float16), none)).shape == (0, 2)
