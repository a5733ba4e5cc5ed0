import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from told import told
from training_samples import as_split, write_shapes

from index.errors import UserError
from training.data.dataset import Split
from training.data.normalisation import mean_picture
from training.data.pictures import FolderPictures, MemoryPictures, Pictures, _Files, load_pictures, square
from training.errors import DatasetError

CPU = torch.device("cpu")
SIZE = 24


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Nine pictures of three classes."""
    return as_split(write_shapes(tmp_path / "data", each=3))


def both(split: Split, *, workers: int = 2) -> tuple[MemoryPictures, FolderPictures]:
    return MemoryPictures(split, SIZE, device=CPU), FolderPictures(split, SIZE, device=CPU, workers=workers)


def batches(pictures: Pictures, order: list[int], size: int) -> list[tuple[list[object], list[int]]]:
    found = pictures.batches(torch.tensor(order, dtype=torch.int64), size)
    return [(pixels.tolist(), labels.tolist()) for pixels, labels in found]


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_and_workers_give_the_same_batches(split: Split, workers: int) -> None:
    order = [8, 0, 3, 3, 5, 1, 7]
    memory, folder = both(split, workers=workers)
    expected = [(square(split.paths[number], SIZE).tolist(), split.labels[number]) for number in order]
    for pictures in (memory, folder):
        found = batches(pictures, order, 3)
        assert [len(labels) for _, labels in found] == [3, 3, 1]
        assert [pair for pixels, labels in found for pair in zip(pixels, labels, strict=True)] == expected
        assert len(pictures) == 9
        assert pictures.skipped == []
    pixels, labels = next(memory.batches(torch.arange(9), 9))
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((9, SIZE, SIZE, 3), torch.uint8, torch.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_pictures_make_no_batch(split: Split, workers: int) -> None:
    for pictures in both(split, workers=workers):
        assert batches(pictures, [], 4) == []


def test_corrupt_files_are_listed_and_left_out(split: Split) -> None:
    split.paths[1].write_bytes(split.paths[1].read_bytes()[:200])
    split.paths[4].write_bytes(b"")
    memory, folder = both(split)
    assert folder.skipped == [], "workers look at a file when its turn comes"
    for pictures in (memory, folder):
        assert len(pictures) == 9
        assert [labels for _, labels in batches(pictures, [0, 1, 2, 3, 4, 5], 2)] == [[0], [0, 1], [1]]
        assert batches(pictures, [1, 4, 0], 2) == [([], []), ([square(split.paths[0], SIZE).tolist()], [0])]
        assert next(pictures.batches(torch.tensor([1]), 2))[0].shape == (0, SIZE, SIZE, 3)
        assert [(photo.path, photo.reason) for photo in pictures.skipped] == [
            (split.paths[1], "truncated PNG"),
            (split.paths[4], "empty file"),
        ]


def test_workers_leave_the_random_numbers_of_training_alone(split: Split) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    for workers in (0, 1):
        torch.manual_seed(3)
        batches(FolderPictures(split, SIZE, device=CPU, workers=workers), [0, 1], 2)
        assert torch.equal(torch.rand(4), expected)


def test_what_fits_is_kept_in_memory(split: Split) -> None:
    needed = 9 * SIZE * SIZE * 3
    assert isinstance(load_pictures(split, SIZE, device=CPU, memory=needed, workers=1), MemoryPictures)
    assert isinstance(load_pictures(split, SIZE, device=CPU, memory=needed - 1, workers=1), FolderPictures)


def test_progress_ends_with_all(split: Split) -> None:
    told: list[tuple[int, int]] = []
    MemoryPictures(split, SIZE, device=CPU, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (9, 9)
    assert told == sorted(set(told))


def test_a_picture_becomes_its_central_square(tmp_path: Path) -> None:
    wide = np.zeros((30, 90, 3), np.uint8)
    wide[:, 30:60] = (10, 200, 90)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert np.unique(square(tmp_path / "wide.png", 30).reshape(-1, 3), axis=0).tolist() == [[10, 200, 90]]


def test_a_worker_that_was_killed_is_an_error_that_says_so(split: Split) -> None:
    before = set(multiprocessing.active_children())  # of other tests, which may not have ended yet
    found = FolderPictures(split, SIZE, device=CPU, workers=1).batches(torch.arange(9).repeat(20), 1)
    next(found)
    [worker] = set(multiprocessing.active_children()) - before
    worker.kill()
    with told(UserError, r"a worker process .* ended unexpectedly.*; .* run the command again"):
        list(found)


class NoSharedMemory(_Files):
    """Pictures whose workers find shared memory full."""

    def __getitem__(self, number: int) -> object:  # type: ignore[override]
        def fail(_: torch.Tensor) -> None:
            raise RuntimeError(
                "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
            )

        torch.Tensor.share_memory_ = fail  # type: ignore[method-assign]
        return super().__getitem__(number)


def test_too_little_shared_memory_is_an_error_that_names_what_gives_more(split: Split) -> None:
    pictures = FolderPictures(split, SIZE, device=CPU, workers=1)
    pictures._source = NoSharedMemory(split, SIZE)
    with told(UserError, r"shared memory .* is full; .*`docker run --shm-size=2g`"):
        batches(pictures, [0, 1], 2)


class WrongInWorker(_Files):
    def __getitem__(self, number: int) -> object:  # type: ignore[override]
        raise ConnectionError("of a kind that nobody has thought of")


def test_errors_of_other_kinds_stay_what_they_are(split: Split) -> None:
    pictures = FolderPictures(split, SIZE, device=CPU, workers=1)
    pictures._source = WrongInWorker(split, SIZE)
    with pytest.raises(ConnectionError, match="nobody has thought of"):
        batches(pictures, [0, 1], 2)


@pytest.mark.parametrize("kept", ["memory", "workers"])
def test_nothing_has_no_mean(split: Split, kept: str) -> None:
    for path in split.paths:
        path.write_bytes(b"no picture")
    memory, folder = both(split, workers=1)
    with pytest.raises(DatasetError, match="none of the training pictures could be read"):
        mean_picture(memory if kept == "memory" else folder, seed=0)
