"""Fine-tuning begins with a last layer that fits, keeps what it has, and makes the model only if it gains."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training_samples import CPU, TINY, TINY_RECIPE, as_split, checkpoint_of, lively, reduced, write_shapes

from commands.training_report import TerminalReport, summary
from retrieval.models.model import Model
from training.data.pictures import MemoryPictures
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.head.scores import fit_scores
from training.loop import run as run_module
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.optimisation import gained, parameter_groups
from training.loop.recipe import RECIPES, Recipe
from training.loop.run import TrainResult, resume, train
from training.loop.run_folder import BEST
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import CONFIGS
from training.pretrained.fine_tuning import read_pretrained

RECIPE = RECIPES["alexnet-64"].for_fine_tuning().changed(epochs=2, warmup=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes"), each=12)


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file to start from."""
    path = tmp_path_factory.mktemp("start") / "start.onnx"
    pictures = MemoryPictures(as_split(data), 64, device=CPU.device)
    checkpoint = checkpoint_of(lively(reduced(CONFIGS["alexnet-64"]), 3))
    export_model(checkpoint, path, pictures=pictures, validation=pictures, embedding=EmbeddingRecipe(dim=8))
    return path


def tune(data: Path, out: Path, start: Path, recipe: Recipe = RECIPE) -> tuple[TrainResult, str]:
    said = io.StringIO()
    weights = read_pretrained(start)
    report = TerminalReport(said)
    result = train(data, out, recipe, hardware=CPU, report=report, start=weights, start_file=start)
    return result, said.getvalue()


def row(epoch: int, top1: float, loss: float) -> EpochMetrics:
    return EpochMetrics(epoch, 28, 0.1, 1.0, 0.5, loss, top1, 1.0, 1.0, 0.0, 1.0)


def test_the_last_layer_fits_before_the_first_step(data: Path) -> None:
    checkpoint = checkpoint_of(lively(TINY, 3))
    network = checkpoint.build()
    pictures = MemoryPictures(as_split(data), TINY.resize, device=CPU.device)
    before = [value.clone() for value in network.features.state_dict().values()]
    found, labels = fit_scores(network, pictures, checkpoint.normalisation, seed=0)
    trainer = Trainer(
        network, TINY_RECIPE, pictures=pictures, validation=pictures, normalisation=checkpoint.normalisation,
        device=CPU.device,
    )  # fmt: skip
    trainer.validate_start(1.0, 0.5)
    assert trainer.history[0].validation_top1 > 0.6, "by chance it would be a third"
    assert found.probabilities.shape == (len(labels), 3)
    assert all(torch.equal(a, b) for a, b in zip(before, network.features.state_dict().values(), strict=True))
    assert trainer.train_epoch(), "its weights can learn"


def test_layers_below_learn_at_a_share_of_the_rate_and_keep_their_statistics(data: Path) -> None:
    network = AlexNet(TINY, 3)
    groups = parameter_groups(network, 0.1, lower=0.25)
    scales = {id(p): group["scale"] for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    assert {scales[id(p)] for p in network.fc8.parameters()} == {1.0}
    assert {scales[id(p)] for p in (*network.features.parameters(), *network.hidden.parameters())} == {0.25}
    assert len(scales) == len(list(network.parameters()))
    checkpoint = checkpoint_of(lively(TINY, 3))
    pictures = MemoryPictures(as_split(data), TINY.resize, device=CPU.device)
    recipe = TINY_RECIPE.changed(lower_lr=0.25, epochs=1)
    trainer = Trainer(
        checkpoint.build(), recipe, pictures=pictures, validation=pictures, normalisation=checkpoint.normalisation,
        device=CPU.device,
    )  # fmt: skip
    norms = [m for m in trainer.network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    trainer.train_epoch()
    assert before
    assert all(torch.equal(a, norm.running_mean) for a, norm in zip(before, norms, strict=True))  # type: ignore[arg-type]


def test_what_counts_is_the_last_epoch_against_the_start() -> None:
    start = row(0, 0.9, 0.5)
    assert gained([start, row(1, 0.8, 1.0), row(2, 0.95, 0.6)])
    assert gained([start, row(1, 0.9, 0.4)])
    assert not gained([start, row(1, 0.99, 0.1), row(2, 0.9, 0.5)]), "whatever was best in between"


def test_where_it_gains_it_makes_the_model(
    data: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "gained", lambda history: True)
    result, said = tune(data, tmp_path / "run", start)
    assert result.spec is not None
    assert "the last layer alone: top-1 " in said
    assert "head" not in result.spec.training
    assert result.spec.training["epochs_done"] == 2
    assert "start_file" not in result.spec.training, "where it lay is nobody else's business"
    assert Checkpoint.load(tmp_path / "run" / BEST).epoch == 2, "the last, not the luckiest"
    low, high = result.spec.accuracy["top1_interval"]
    assert low <= result.spec.accuracy["top1"] <= high
    epochs = [line["epoch"] for line in csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines())]
    assert epochs == ["0", "1", "2"]


@pytest.mark.slow
def test_where_it_gains_nothing_the_start_gets_a_last_layer(
    data: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "gained", lambda history: False)
    result, said = tune(data, tmp_path / "run", start)
    assert result.spec is not None
    assert "fine-tuning gains nothing in validation" in said
    assert result.spec.accuracy["source"] == "5-fold cross-validation of 36 pictures", "all are learned from"
    assert next(iter(summary(result))).count("with 95 % confidence") == 1
    base, made = Model.load(start).spec, Model.load(tmp_path / "run" / "model.onnx").spec
    assert (made.dim, len(made.classes)) == (base.dim, 3)
    # Of a checkpoint there is no file to put a last layer into: what it was before the first step is exported.
    torch_start = tmp_path / "start.pt"
    checkpoint_of(lively(reduced(CONFIGS["alexnet-64"]), 3)).save(torch_start)
    result, said = tune(data, tmp_path / "other", torch_start)
    assert result.spec is not None
    assert "fine-tuning gains nothing in validation" in said
    assert result.spec.training["epochs_done"] == 0


def test_it_stops_early_only_while_the_start_is_best(start: Path, data: Path, tmp_path: Path) -> None:
    recipe = RECIPE.changed(epochs=6, stop_after=1, lr=1e-12)
    result, said = tune(data, tmp_path / "run", start, replace(recipe, mirror=False, dropout=0.0))
    assert "stopped after epoch" in said or len(result.history) == 7, "whether so small a rate gains is chance"
    assert result.spec is not None
    longer = resume(data, tmp_path / "run", hardware=CPU, report=TerminalReport(io.StringIO()), epochs=7)
    assert longer.spec is not None


def test_a_network_from_nothing_on_few_pictures_is_advised_against(data: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    config = reduced(CONFIGS["alexnet-64"])
    recipe = RECIPES["alexnet-64"].changed(epochs=1, grow="")
    train(data, tmp_path / "run", recipe, hardware=CPU, report=TerminalReport(said), config=config)
    assert "33 pictures are few to learn a network from nothing: --from builtin --head" in said.getvalue()


def test_the_help_says_what_holds_with_from() -> None:
    from training.loop.recipe import recipe_options

    options = {option.name: option.help for option in recipe_options()}
    tuned = RECIPES["alexnet-128"].for_fine_tuning()
    for name in ("epochs", "batch_size", "lr", "lower_lr", "validation", "stop_after"):
        assert options[name].endswith(f"; with --from {getattr(tuned, name)}]"), name
