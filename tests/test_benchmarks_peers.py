"""fc7 beside the ways of other programs, small: half of the goals of peers.py, and that both ways find the same."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

import peers_duplicates
import peers_search
from peers_photos import network_and_model, one_by_one, seconds_both_ways
from sample_photos import LARGE, write_photos
from search import PRODUCT

# Two threads would wait for each other where the cores are busy.
torch.set_num_threads(1)


@pytest.mark.slow
def test_one_by_one_is_the_network_itself(tmp_path: Path) -> None:
    network, model = network_and_model("alexnet-64", tmp_path / "model.onnx")
    paths = write_photos(tmp_path / "photos", 2, (56, 56))
    ours = model.run(np.stack([_pixels(path) for path in paths])).fc7
    assert np.allclose(one_by_one(network, paths), ours, rtol=0.01, atol=0.01)


@pytest.mark.slow
def test_an_index_is_made_faster_than_photo_by_photo(tmp_path: Path) -> None:
    network, model = network_and_model("alexnet-64", tmp_path / "model.onnx")
    paths = write_photos(tmp_path / "photos", 4, LARGE)
    taken = seconds_both_ways(network, model, paths, rounds=3, clock=time.process_time)
    assert max(loop / ours for loop, ours in taken) > 5 / 2


@pytest.mark.slow
def test_a_search_is_faster_than_a_product_and_a_sort(tmp_path: Path) -> None:
    peers_search.make(tmp_path, 50_000)
    found = peers_search.rounds_of(tmp_path, autofaiss=None, rounds=2)
    assert [one["recall"] for one in found[PRODUCT]] == [1.0, 1.0]
    assert found["fc7"][0]["recall"] > 0.9
    # Half of 100 for 100,000; what looks at everything takes half as long for 50,000.
    assert max(p["single"] / o["single"] for p, o in zip(found[PRODUCT], found["fc7"], strict=True)) > 25


@pytest.mark.slow
def test_neighbours_find_what_all_scores_do(tmp_path: Path) -> None:
    peers_duplicates.make(tmp_path, 12_000)
    matrix = peers_duplicates.alone(peers_duplicates.MATRIX, tmp_path)
    ours = peers_duplicates.alone(peers_duplicates.OURS, tmp_path)
    both = {tuple(pair) for pair in ours["pairs"]} & {tuple(pair) for pair in matrix["pairs"]}
    assert len(matrix["pairs"]) > 12_000 * peers_duplicates.COPIES * 0.9
    assert len(both) > 0.95 * len(matrix["pairs"])
    assert matrix["memory"] > peers_duplicates.matrix_bytes(12_000) / 1e6
    assert ours["memory"] < 0.2 * matrix["memory"] + 100


def test_a_python_without_autofaiss_is_told(tmp_path: Path) -> None:
    assert not peers_search.has_autofaiss(_without_packages(tmp_path))


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB"))


def _without_packages(folder: Path) -> Path:
    """Write a Python that sees no installed package."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    program.chmod(0o755)
    return program
