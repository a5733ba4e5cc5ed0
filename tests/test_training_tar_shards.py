"""Pictures in tar shards: what is learned from them is what is learned from the same pictures in folders."""

import pickle
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from click.testing import Result
from training_samples import CPU, write_shapes

from training.data.dataset import Dataset, holds_classes, scan_dataset, scan_labelled
from training.data.pictures import FolderPictures, MemoryPictures
from training.errors import DatasetError


def put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, BytesIO(data))


def write_shards(folder: Path, shards: Path, *, labels: bool) -> None:
    """Deal pictures out to three shards, in folders of their classes or with a file for the label of each."""
    shards.mkdir(parents=True)
    files = sorted(folder.glob("*/*"))
    for number in range(3):
        with tarfile.open(shards / f"{number:03}.tar", "w") as tar:
            for file in files[number::3]:
                name = f"{file.parent.name}-{file.name}" if labels else f"{file.parent.name}/{file.name}"
                put(tar, name, file.read_bytes())
                if labels:
                    put(tar, f"{file.parent.name}-{file.stem}.cls", f"{file.parent.name}\n".encode())


def pixels_of(dataset: Dataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        batch
        for split in (dataset.train, dataset.validation)
        for pictures in (
            MemoryPictures(split, 28, device=CPU.device),
            FolderPictures(split, 28, device=CPU.device, workers=0),
        )
        for batch in pictures.batches(torch.arange(len(split)), 8)
    ]


@pytest.mark.parametrize("labels", [False, True], ids=["folders", "labels"])
def test_the_pictures_are_those_of_the_folders(tmp_path: Path, labels: bool) -> None:
    folder = write_shapes(tmp_path / "folder", each=6)
    write_shards(folder, tmp_path / "shards", labels=labels)
    expected, found = (scan_dataset(tmp_path / name) for name in ("folder", "shards"))
    assert found.classes == expected.classes
    assert holds_classes(tmp_path / "shards")
    assert found.learned == expected.learned
    for one, other in zip(pixels_of(expected), pixels_of(found), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    judged = scan_labelled(tmp_path / "shards", expected.classes)
    assert len(judged) == 18
    sent = pickle.loads(pickle.dumps(found.train.paths[0]))
    assert (sent, sent.offset, sent.size) == (found.train.paths[0], found.train.paths[0].offset, sent.stat().st_size)  # type: ignore[attr-defined]


def test_training_and_validation_may_be_shards(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "folder", each=3)
    for name in ("train", "val"):
        write_shards(folder, tmp_path / "shards" / name, labels=False)
    found = scan_dataset(tmp_path / "shards")
    assert (len(found.train), len(found.validation), found.divided) == (9, 9, False)


def test_what_is_wrong_with_a_shard_is_told(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "folder", each=3)
    write_shards(folder, tmp_path / "shards", labels=False)
    shard = tmp_path / "shards/000.tar"
    with pytest.raises(DatasetError, match="name the folder that holds the shards"):
        scan_dataset(shard)
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2 - len(whole) // 2 % 512 + 100])
    with pytest.raises(DatasetError, match=r"000\.tar is damaged, compressed, or no tar archive"):
        scan_dataset(tmp_path / "shards")
    with tarfile.open(shard, "w:gz") as tar:
        put(tar, "a/b.png", b"")
    with pytest.raises(DatasetError, match=r"000\.tar is damaged, compressed, or no tar archive"):
        scan_dataset(tmp_path / "shards")
    with tarfile.open(shard, "w") as tar:
        put(tar, "b.png", b"")
    with pytest.raises(DatasetError, match=r"b\.png has no class"):
        scan_dataset(tmp_path / "shards")
    with tarfile.open(shard, "w") as tar:
        put(tar, "b.png", b"")
        put(tar, "b.cls", b"\xff")
    with pytest.raises(DatasetError, match=r"b\.cls in .*000\.tar is no text in UTF-8"):
        scan_dataset(tmp_path / "shards")


@pytest.mark.slow
def test_the_model_is_that_of_the_folders(tmp_path: Path, fc7: Callable[..., Result]) -> None:
    folder = write_shapes(tmp_path / "folder", each=12)
    write_shards(folder, tmp_path / "shards", labels=False)
    options = ["--epochs", 2, "--batch-size", 8, "--norm", "none", "--grow", "0:32,0.9:56", "--lr", 0.01]
    for name in ("folder", "shards"):
        result = fc7("train", tmp_path / name, "-o", tmp_path / f"run-{name}", *options)
        assert result.exit_code == 0, result.output
    expected, found = ((tmp_path / f"run-{name}/metrics.csv").read_text().splitlines() for name in ("folder", "shards"))
    for one, other in zip(expected, found, strict=True):
        assert one.split(",")[:4] == other.split(",")[:4]
