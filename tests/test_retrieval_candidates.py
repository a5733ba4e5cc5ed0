"""Candidates for one picture, found without colour: by hashes of windows, and documents by their detail."""

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from index.vectors import hashes
from index.vectors.hashes import nearest_hashes
from retrieval.duplicates.candidates import best_documents, document_likeness, hash_pairs
from retrieval.duplicates.likeness import document_pictures, small_pictures
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


def test_a_document_is_paired_with_what_was_cut_out_of_it() -> None:
    random = np.random.default_rng(0)
    pages = [Image.fromarray(random.integers(0, 2, (60, 40), np.uint8) * 255).resize((400, 600), 0) for _ in range(6)]
    pictures = np.stack([thumbnail(image) for image in [*pages, *(page.crop((40, 30, 400, 570)) for page in pages)]])
    pairs = np.array([pair for pair in np.ndindex(12, 12) if pair[0] != pair[1]])
    found = best_documents(pairs, document_likeness(document_pictures(pictures).astype(np.float16), pairs))
    assert {tuple(pair) for pair in found.tolist()} >= {(page, page + 6) for page in range(6)}
    none = np.empty((0, 2), dtype=np.int64)
    assert best_documents(none, document_likeness(np.empty((0, 64, 64), np.float16), none)).shape == (0, 2)
