"""Decoded pictures by the batch: kept in memory where they fit, otherwise read by worker processes."""

import errno
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from index.errors import OutOfMemoryError, PhotoError, UserError
from index.records import SkippedPhoto
from retrieval.photos.preprocess import prepare
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress
from training.data.dataset import Dataset, Split
from training.data.row_store import RowStore, split_key
from training.data.workers import prepare_worker, worker_context
from training.loop.hardware import Hardware
from training.networks.architectures import ResizeMode


class Pictures(Protocol):
    """A split of a data set as squares of `size` pixels."""

    skipped: list[SkippedPhoto]
    """Files that could not be read, as far as they are known; they are left out."""

    def __len__(self) -> int:
        """Return the number of all files, those included that cannot be read."""
        ...

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels uint8 (n, size, size, 3), labels int64 (n,)) of the pictures numbered in `order`.

        Every `batch_size` of them are one batch, which is smaller by those that cannot be read, down to none.
        """
        ...


def load_pictures(
    split: Split,
    size: int,
    *,
    mode: ResizeMode = "crop",
    device: torch.device,
    memory: int,
    workers: int,
    progress: Progress | None = None,
) -> Pictures:
    """Decode a split into memory if it takes at most `memory` bytes there, else leave it to `workers` processes."""
    if len(split) * size * size * 3 <= memory:
        return MemoryPictures(split, size, mode=mode, device=device, progress=progress)
    return FolderPictures(split, size, mode=mode, device=device, workers=workers)


def load_dataset(
    dataset: Dataset,
    size: int,
    *,
    mode: ResizeMode = "crop",
    hardware: Hardware,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> tuple[Pictures, Pictures]:
    """Decode the training pictures and the validation pictures; the memory is for the latter first.

    In the folder `cache` they are kept for later runs.
    """
    if cache is not None:

        def stored(split: Split) -> Pictures:
            return StoredPictures(
                split, size, mode=mode, root=dataset.root, folder=cache, device=hardware.device, progress=progress
            )

        processes = hardware.processes
        train = processes.in_turn(lambda: stored(dataset.train))
        return train, processes.in_turn(lambda: stored(dataset.validation))
    checked, total = len(dataset.validation), len(dataset.train) + len(dataset.validation)

    def load(split: Split, memory: int, before: int) -> Pictures:
        return load_pictures(
            split,
            size,
            mode=mode,
            device=hardware.device,
            memory=memory,
            workers=hardware.workers,
            progress=None if progress is None else lambda done, _: progress(before + done, total),
        )

    validation = load(dataset.validation, hardware.memory, 0)
    return load(dataset.train, hardware.memory - checked * size * size * 3, checked), validation


def square(path: Path, size: int, mode: ResizeMode = "crop") -> NDArray[np.uint8]:
    """Return a picture as a square (size, size, 3), as `ModelSpec` says what a mode shows of it."""
    return decode_within_budget(
        path, lambda photo: prepare(photo.image, resize=size, crop=size, mode=mode), shorter_side=size
    )


class MemoryPictures:
    """Pictures decoded once, as one uint8 tensor on the device."""

    def __init__(
        self,
        split: Split,
        size: int,
        *,
        mode: ResizeMode = "crop",
        device: torch.device,
        progress: Progress | None = None,
    ) -> None:
        self.skipped: list[SkippedPhoto] = []
        pixels = np.empty((len(split), size, size, 3), np.uint8)
        readable = np.ones(len(split), np.bool_)

        def read(number: int) -> PhotoError | None:
            try:
                pixels[number] = square(split.paths[number], size, mode)
            except PhotoError as error:
                return error
            return None

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for number, error in enumerate(threads.map(read, range(len(split)))):
                if error is not None:
                    readable[number] = False
                    self.skipped.append(SkippedPhoto(split.paths[number], str(error)))
                if progress is not None and (number % 256 == 0 or number + 1 == len(split)):
                    progress(number + 1, len(split))
        self._pixels = torch.from_numpy(pixels).to(device)
        self._labels = torch.tensor(split.labels, dtype=torch.int64).to(device)
        self._readable = torch.from_numpy(readable).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches by indexing."""
        for numbers in _parts(order.to(self._labels.device), batch_size):
            # They keep their numbers, so that a run goes on alike whether its pictures fit into memory or not.
            read = numbers[self._readable[numbers]] if self.skipped else numbers
            yield self._pixels[read], self._labels[read]


class StoredPictures:
    """Pictures decoded once into a file, which later runs find again; a batch is read while the one before is learned.

    What is not decoded yet is, when it is made. Raises RunError where the folder cannot be written.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        *,
        mode: ResizeMode = "crop",
        root: Path,
        folder: Path,
        device: torch.device,
        progress: Progress | None = None,
    ) -> None:
        key = split_key(split.paths, root, size, *([mode] if mode != "crop" else []))
        self._store = RowStore(folder, "pictures", key, len(split), (size, size, 3), np.uint8)

        def read(number: int) -> tuple[NDArray[np.uint8] | None, str]:
            try:
                return square(split.paths[number], size, mode), ""
            except OutOfMemoryError as error:  # not kept: it is no fault of the picture
                raise UserError(f"{split.paths[number]}: {error}") from error
            except PhotoError as error:
                return None, str(error)

        def decode(numbers: range) -> tuple[NDArray[np.uint8], dict[int, str]]:
            pixels, problems = np.zeros((len(numbers), size, size, 3), np.uint8), {}
            for row, (found, reason) in enumerate(threads.map(read, numbers)):
                if found is None:
                    problems[numbers[row]] = reason
                else:
                    pixels[row] = found
            return pixels, problems

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            self._store.fill(decode, progress=progress)
        self.skipped = [SkippedPhoto(split.paths[row], reason) for row, reason in self._store.problems.items()]
        self._labels, self._device = torch.tensor(split.labels, dtype=torch.int64), device
        self._readable = torch.ones(len(split), dtype=torch.bool)
        self._readable[list(self._store.problems)] = False

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches in order, read by a thread."""

        def read(numbers: Tensor) -> tuple[Tensor, Tensor]:
            numbers = numbers[self._readable[numbers]]
            return torch.from_numpy(self._store.rows[numbers.numpy()]), self._labels[numbers]

        with ThreadPoolExecutor(1) as thread:
            ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
            for numbers in _parts(order.cpu(), batch_size):
                ahead.append(thread.submit(read, numbers))
                if len(ahead) > 2:
                    yield self._sent(ahead.popleft().result())
            while ahead:
                yield self._sent(ahead.popleft().result())

    def _sent(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0].to(self._device), batch[1].to(self._device)


class FolderPictures:
    """Pictures read again for each epoch by worker processes, a few batches ahead."""

    def __init__(
        self, split: Split, size: int, *, mode: ResizeMode = "crop", device: torch.device, workers: int
    ) -> None:
        self.skipped: list[SkippedPhoto] = []
        self._source = _Files(split, size, mode)
        self._device, self._workers = device, workers

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches as the workers finish them, in order. Raises UserError where they run out of memory."""
        loader = DataLoader(
            self._source,
            batch_sampler=[numbers.tolist() for numbers in _parts(order, batch_size)],
            num_workers=self._workers,
            multiprocessing_context=worker_context() if self._workers else None,
            collate_fn=self._source.collate,
            worker_init_fn=prepare_worker,
            pin_memory=self._device.type == "cuda",
            prefetch_factor=4 if self._workers else None,
            # A loader draws a number when it starts: not from the generator that crops and dropout are drawn from.
            generator=torch.Generator(),
        )
        known = {skipped.path for skipped in self.skipped}
        try:
            for pixels, labels, skipped in loader:
                self.skipped += [photo for photo in skipped if photo.path not in known]
                yield pixels.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
        except (RuntimeError, OSError, EOFError) as error:
            if (reason := _out_of_memory(error)) is None:
                raise
            raise UserError(reason) from error


def _parts(order: Tensor, size: int) -> Sequence[Tensor]:
    """Return `order` in parts of `size`; of nothing, torch itself would make one part with nothing in it."""
    return torch.split(order, size) if len(order) else ()


def _out_of_memory(error: Exception) -> str | None:
    """Return what a loader's error says of memory that is wanting, and what to do; None where it says nothing of it."""
    again = "run the command again, a training run that has finished an epoch with --resume"
    said = str(error)
    # Queues take some of it when a loader starts, and batches when workers hand them over.
    if getattr(error, "errno", None) == errno.ENOSPC or ("shared memory" in said and f"({errno.ENOSPC})" in said):
        return (
            "the shared memory in which worker processes hand over pictures (/dev/shm) is full; free some of it, "
            f"or start the container with `docker run --shm-size=2g`, and {again}"
        )
    # What a killed worker has handed over can be fetched no more. An error of its own would begin with "Caught".
    lost = isinstance(error, ConnectionError | EOFError) and not said.startswith("Caught")
    if lost or said.startswith("DataLoader worker (pid"):
        return (
            "a worker process that reads pictures has ended unexpectedly, most likely killed because memory ran out; "
            f"end other programs, or give the container more memory, and {again}"
        )
    return None


_Item = tuple[NDArray[np.uint8], int] | SkippedPhoto


class _Files(TorchDataset[_Item]):
    def __init__(self, split: Split, size: int, mode: ResizeMode = "crop") -> None:
        self._split, self._size, self._mode = split, size, mode

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, number: int) -> _Item:
        path = self._split.paths[number]
        try:
            return square(path, self._size, self._mode), self._split.labels[number]
        except PhotoError as error:
            return SkippedPhoto(path, str(error))

    def collate(self, items: Sequence[_Item]) -> tuple[Tensor, Tensor, list[SkippedPhoto]]:
        """Return pixels (n, size, size, 3), labels (n,), and what could not be read."""
        read = [item for item in items if not isinstance(item, SkippedPhoto)]
        pixels = np.array([pixels for pixels, _ in read], np.uint8).reshape(-1, self._size, self._size, 3)
        batch = torch.from_numpy(pixels), torch.tensor([label for _, label in read], dtype=torch.int64)
        if get_worker_info() is not None:
            # The thread that hands them over would do it too, but of an error there nobody would hear.
            for tensor in batch:
                tensor.share_memory_()  # type: ignore[no-untyped-call]
        return *batch, [item for item in items if isinstance(item, SkippedPhoto)]
