"""Importing weights: what is refused before anything is fetched, and what the labels must be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from file_server import ServedFile, serving
from told import told

from index.errors import UserError
from retrieval.models.spec import ClassName
from training.data.name_tables import IMAGENET, read_class_names
from training.errors import CheckpointError, DatasetError, DownloadError, ExportError
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_OWT
from training.pretrained.import_alexnet import ALEXNET, check_labels, import_weights, random_pictures
from training.pretrained.torchvision import ALEXNET_SHA256, PublishedWeights


@dataclass
class Told:
    """A report that keeps what it is given of bytes."""

    fetched: list[tuple[int, int]] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Forget it."""

    def fetching(self, done: int, total: int) -> None:
        self.fetched.append((done, total))

    def loading(self, done: int, total: int) -> None:
        """Forget it."""


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.tsv"
    path.write_text("n01440764\ttench\nn01443537\tgoldfish\n")
    return path


@pytest.fixture
def served() -> Iterator[ServedFile]:
    with serving(ServedFile(b"", "alexnet-owt-7be5be79.pth")) as file:
        yield file


def test_what_is_wrong_is_said_before_anything_is_fetched(served: ServedFile, labels: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("tench\n")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "model.onnx"
    wrong: list[tuple[type[UserError], str, dict[str, Path]]] = [
        (DatasetError, "there is no file", {"labels": tmp_path / "none.tsv"}),
        (DatasetError, "line 1: expected an id, a tab and a name", {"labels": tmp_path / "bad.tsv"}),
        (DatasetError, "there is no folder", {"calibrate": tmp_path / "none"}),
        (DatasetError, "no photos in", {"calibrate": tmp_path / "empty"}),
        (ExportError, "make it first", {"out": tmp_path / "none" / "model.onnx"}),
    ]
    for kind, message, changed in wrong:
        options = {"out": out, "labels": labels, **changed}
        with told(kind, message):
            import_weights(ALEXNET, cache=tmp_path / "cache", report=Told(), url=served.url, **options)  # type: ignore[arg-type]
    assert served.requests == []
    assert not out.exists()


def test_what_is_fetched_is_told_and_checked(served: ServedFile, labels: Path, tmp_path: Path) -> None:
    served.content, told = b"something else", Told()
    with pytest.raises(DownloadError, match="not the file expected"):
        import_weights(
            ALEXNET, tmp_path / "model.onnx", labels=labels, cache=tmp_path / "cache", report=told, url=served.url
        )
    assert told.fetched == [(14, 14)]


def test_a_missing_file_of_weights_is_an_error(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        import_weights(tmp_path / "none.pth", tmp_path / "model.onnx", labels=labels, cache=tmp_path, report=Told())


def published(classes: int, sha256: str = "") -> PublishedWeights:
    with torch.device("meta"):
        return PublishedWeights(AlexNet(ALEXNET_OWT, classes), "my.pth", sha256)


def test_there_must_be_a_name_for_each_class() -> None:
    names = tuple(ClassName(f"thing {number}", f"n{number}") for number in range(3))
    check_labels(names, published(3), Path("labels.tsv"))
    for count in (2, 4):
        with told(DatasetError, rf"labels.tsv names 3 classes, my.pth has {count}"):
            check_labels(names, published(count), Path("labels.tsv"))


def test_the_published_classes_are_in_the_order_of_their_ids() -> None:
    names = (ClassName("goldfish", "n01443537"), ClassName("tench", "n01440764"))
    check_labels(names[::-1], published(2, ALEXNET_SHA256), Path("labels.tsv"))
    check_labels(names, published(2, "other"), Path("labels.tsv"))
    with pytest.raises(DatasetError, match="not in the order of ImageNet's classes"):
        check_labels(names, published(2, ALEXNET_SHA256), Path("labels.tsv"))


def test_the_random_pictures_are_always_the_same() -> None:
    pictures = random_pictures(3, 64)
    assert (pictures.shape, pictures.dtype) == ((3, 64, 64, 3), torch.uint8)
    assert torch.equal(pictures, random_pictures(3, 64))
    assert not torch.equal(pictures[0], pictures[1])
    assert pictures.float().std() > 20


def test_the_classes_of_imagenet_come_with_it() -> None:
    classes = read_class_names(IMAGENET)
    assert len(classes) == 1000
    assert list(classes) == sorted(classes)
    assert classes["n01443537"].name == "goldfish"
