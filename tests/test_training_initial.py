"""Where fine-tuning starts: the weights of a checkpoint and of a model file, and files that cannot be started from."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from told import told
from training_samples import CPU, TINY, as_split, checkpoint_of, lively, reduced, write_shapes

from commands.training_report import TerminalReport
from index.errors import ModelError
from training.data.augment import centre_crops
from training.data.dataset import scan_dataset
from training.data.image_hashes import unpack_hashes
from training.data.pictures import MemoryPictures
from training.errors import CheckpointError
from training.export.checkpoint_export import export_checkpoint
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.loop.checkpoint import Checkpoint
from training.loop.recipe import RECIPES
from training.loop.run import TrainResult, resume, train
from training.networks.architectures import CONFIGS
from training.pretrained.fine_tuning import read_pretrained

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> MemoryPictures:
    """Six pictures of three classes."""
    return MemoryPictures(as_split(write_shapes(tmp_path_factory.mktemp("start"), each=2)), 64, device=CPU.device)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return checkpoint_of(lively(reduced(CONFIGS["alexnet-64"]), 3))


@pytest.fixture(scope="module")
def exported(
    checkpoint: Checkpoint, pictures: MemoryPictures, tmp_path_factory: pytest.TempPathFactory
) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("start") / "model.onnx"
    embedding = EmbeddingRecipe(dim=2)
    export_model(checkpoint, path, pictures=pictures, validation=pictures, embedding=embedding, half=False)
    return onnx.load(path)


def fc7_of(path: Path, pictures: MemoryPictures) -> torch.Tensor:
    """What a network that begins with the weights of a file makes of the pictures, for two new classes."""
    start = read_pretrained(path)
    network = start.network(start.config, 2).eval()
    pixels, _ = next(pictures.batches(torch.arange(6), 6))
    with torch.inference_mode():
        return network.forward_features(centre_crops(pixels, start.config.crop, start.normalisation))


def test_a_checkpoint_and_its_model_file_start_alike(
    checkpoint: Checkpoint, exported: onnx.ModelProto, pictures: MemoryPictures, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "best.pt")
    onnx.save(exported, tmp_path / "model.onnx")
    pixels, _ = next(pictures.batches(torch.arange(6), 6))
    with torch.inference_mode():
        crops = centre_crops(pixels, checkpoint.config.crop, checkpoint.normalisation)
        expected = checkpoint.build().forward_features(crops)
    assert torch.equal(fc7_of(tmp_path / "best.pt", pictures), expected)
    torch.testing.assert_close(fc7_of(tmp_path / "model.onnx", pictures), expected, atol=1e-4, rtol=1e-4)
    assert not any(name.startswith("fc8") for name in read_pretrained(tmp_path / "best.pt").weights)
    assert not read_pretrained(tmp_path / "model.onnx").config.batch_norm, "it is part of the weights"


def test_terms_of_use_go_on_to_what_is_made_of_the_weights(
    exported: onnx.ModelProto, pictures: MemoryPictures, tmp_path: Path
) -> None:
    entry = next(entry for entry in exported.metadata_props if entry.key == "fc7.licence")
    assert entry.value == '""'
    entry.value = '"for research"'
    onnx.save(exported, tmp_path / "model.onnx")
    entry.value = '""'
    data = write_shapes(tmp_path / "shapes", each=12)
    recipe = RECIPES["alexnet-64"].for_fine_tuning().changed(epochs=1, head_epochs=1)
    report = TerminalReport(io.StringIO())
    start = read_pretrained(tmp_path / "model.onnx")
    result = train(data, tmp_path / "run", recipe, hardware=CPU, report=report, start=start)
    assert result.spec is not None
    assert result.spec.licence == "for research"
    assert result.spec.training["recipe"]["mean"] == "colour"
    assert read_pretrained(tmp_path / "run" / "best.pt").licence == "for research"
    assert read_pretrained(tmp_path / "run" / "model.onnx").licence == "for research"


def test_pictures_that_the_start_learned_from_are_not_set_aside(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """With another seed, or once there are more pictures, the draw would take some of them."""
    data = write_shapes(tmp_path / "shapes", each=12)
    recipe = RECIPES["alexnet-64"].for_fine_tuning().changed(epochs=1, validation=0.1)
    learned = scan_dataset(data).learned
    replace(checkpoint, data=checkpoint.data | {"learned": learned}).save(tmp_path / "best.pt")

    def go_on(place: str, **changes: Any) -> tuple[TrainResult, str]:
        stream = io.StringIO()
        start = read_pretrained(tmp_path / "best.pt")
        chosen = recipe.changed(**changes)
        report = TerminalReport(stream)
        return train(data, tmp_path / place, chosen, hardware=CPU, report=report, start=start), stream.getvalue()

    result, told = go_on("run", seed=1)
    spec = result.spec
    assert spec is not None
    assert "validation pictures are among those" not in told
    assert unpack_hashes(spec.learned) == unpack_hashes(learned)
    # The draw is the same again where a run goes on, and where it is exported.
    assert resume(data, tmp_path / "run", hardware=CPU, report=TerminalReport(io.StringIO()), epochs=2).spec
    said = io.StringIO()
    export_checkpoint(tmp_path / "run/best.pt", tmp_path / "m.onnx", hardware=CPU, report=TerminalReport(said))
    assert "accuracy stays" not in said.getvalue()
    # Where more are to be set aside than are left, it says so.
    _, told = go_on("half", validation=0.5)
    assert re.search(r"1[45] of the 18 validation pictures are among those that best.pt learned from", told)


def without_mean(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(next(weight for weight in model.graph.initializer if weight.name == "mean"))


def without_fc7(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(next(weight for weight in model.graph.initializer if weight.name == "fc7.weight"))


def metadata(key: str, value: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        next(entry for entry in model.metadata_props if entry.key == f"fc7.{key}").value = value

    return change


def of_another_architecture(model: onnx.ModelProto) -> None:
    entry = next(entry for entry in model.metadata_props if entry.key == "fc7.arch_config")
    entry.value = entry.value.replace('"alexnet-64"', '"vgg"')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_mean, "holds no mean of its training pictures"),
        (of_another_architecture, "vgg is none of the architectures that can be trained, alexnet, "),
        (metadata("arch_config", "{}"), "cannot be started from: the network's configuration is not one that"),
        (metadata("crop", "99"), "cannot be used as its metadata say: a crop of 99 from 64 pixels"),
    ],
)
def test_a_model_file_that_cannot_be_started_from(
    exported: onnx.ModelProto, tmp_path: Path, change: Change, message: str
) -> None:
    model = onnx.ModelProto.FromString(exported.SerializeToString())
    change(model)
    onnx.save(model, tmp_path / "model.onnx")
    with told(ModelError, message):
        read_pretrained(tmp_path / "model.onnx")


def test_a_model_file_without_all_its_weights(exported: onnx.ModelProto, tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(exported.SerializeToString())
    without_fc7(model)
    onnx.save(model, tmp_path / "model.onnx")
    start = read_pretrained(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=r"model.onnx does not hold all weights of the architecture alexnet-64"):
        start.network(start.config, 2)


def test_files_that_are_none(tmp_path: Path) -> None:
    with told(ModelError, r"there is no model file .*none.onnx; leave out --from"):
        read_pretrained(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("Dear reader")
    with pytest.raises(ModelError, match="is not a readable ONNX model"):
        read_pretrained(tmp_path / "text.onnx")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_pretrained(tmp_path / "none.pt")
    checkpoint_of(lively(TINY, 2)).save(tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match="tiny is none of the architectures"):
        read_pretrained(tmp_path / "tiny.pt")
