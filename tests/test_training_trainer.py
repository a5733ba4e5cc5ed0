"""The loop without its run: rates, what decays, what is measured, and batches that are none."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from told import told
from torch import Tensor
from training_samples import CPU, TINY, TINY_RECIPE, as_split, checkpoint_of, lively, write_shapes

from index.errors import UserError
from training.data.augment import Normalisation, centre_crops, random_crops
from training.data.mixing import Targets
from training.data.pictures import FolderPictures, MemoryPictures
from training.errors import CheckpointError, DatasetError
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.optimisation import learning_rate, parameter_groups, stalled
from training.loop.recipe import PAPER, Recipe
from training.loop.trainer import Trainer
from training.loop.validation import validate
from training.networks.alexnet import AlexNet

NORMALISATION = Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0))


@pytest.fixture
def pictures(tmp_path: Path) -> MemoryPictures:
    """Twelve pictures of three classes."""
    return MemoryPictures(as_split(write_shapes(tmp_path / "data", each=4)), TINY.resize, device=CPU.device)


def trainer_of(pictures: MemoryPictures | FolderPictures, recipe: Recipe = TINY_RECIPE) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        AlexNet(TINY, 3),
        recipe,
        pictures=pictures,
        validation=pictures,
        normalisation=NORMALISATION,
        device=CPU.device,
    )


def epoch(top1: float, side: int = 28) -> EpochMetrics:
    return EpochMetrics(1, side, 0.1, 1.0, 0.5, 1.0, top1, 1.0, 100.0, 0.0, 1.0)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_rises_for_the_warm_up_and_is_lowered_to_nothing(schedule: str) -> None:
    recipe = TINY_RECIPE.changed(schedule=schedule, lr=0.4, warmup=2.0, epochs=10)
    steps = np.linspace(0, 10, 101)
    rates = [learning_rate(recipe, float(done), []) for done in steps]
    for done, rate in zip(steps[1:], rates[1:], strict=True):
        share = (done - 2) / 8
        falling = 1 - share if schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
        assert rate == pytest.approx(0.4 * (done / 2 if done < 2 else falling), abs=1e-12)
    assert 0 < rates[0] < 1e-3, "a first step of nothing would be wasted"
    assert learning_rate(recipe, 12.0, []) == 0


def test_the_paper_divides_the_rate_by_ten_when_validation_stalls() -> None:
    recipe = PAPER.changed(patience=2)

    def drops(*top1: float) -> int:
        return round(-math.log10(learning_rate(recipe, len(top1), top1) / recipe.lr))

    assert drops() == 0
    assert drops(0.1, 0.2, 0.3) == 0
    assert drops(0.3, 0.2) == 0
    assert drops(0.3, 0.2, 0.3) == 1, "the same is not better"
    assert drops(0.3, 0.2, 0.3, 0.3) == 1
    assert drops(0.3, 0.2, 0.3, 0.3, 0.1) == 2
    assert drops(0.3, 0.2, 0.31, 0.3, 0.32) == 0


def test_epochs_since_the_best() -> None:
    assert stalled([]) == 0
    assert stalled([epoch(0.5)]) == 0
    assert stalled([epoch(0.5), epoch(0.4), epoch(0.5)]) == 2, "the first of equals is the best"
    assert stalled([replace(epoch(0.5), validation_loss=loss) for loss in (0.9, 0.4, 0.5)]) == 1, "or the surest"
    assert stalled([epoch(0.5), epoch(0.4), epoch(0.6)]) == 0
    assert stalled([epoch(0.9, side=20), epoch(0.4)]) == 0, "full-sized crops count more"


def test_weights_decay_and_biases_do_not() -> None:
    network = AlexNet(TINY, 3)
    decaying, others = parameter_groups(network, 0.25)
    names = {parameter: name for name, parameter in network.named_parameters()}

    def named(group: dict[str, object]) -> set[str]:
        parameters = group["params"]
        assert isinstance(parameters, list)
        return {names[parameter] for parameter in parameters}

    assert (decaying["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    layers = [*(f"features.conv{n}" for n in range(1, 6)), "hidden.fc6", "hidden.fc7", "fc8"]
    assert named(decaying) == {f"{layer}.weight" for layer in layers}
    assert named(decaying) | named(others) == set(names.values())
    assert not named(decaying) & named(others)


def test_evaluation_is_the_cross_entropy_and_the_rank_over_all_pictures(pictures: MemoryPictures) -> None:
    network = lively(TINY, 7)
    pixels, labels = next(pictures.batches(torch.arange(12), 12))
    with torch.inference_mode():
        logits = network(centre_crops(pixels, 28, NORMALISATION)).double().numpy()
    target = np.take_along_axis(logits, labels.numpy()[:, None], 1)
    loss = np.mean(np.log(np.exp(logits).sum(1)) - target[:, 0])
    ranks = (logits > target).sum(1)
    found = validate(network.train(), pictures, NORMALISATION, side=28)
    assert found == pytest.approx((loss, np.mean(ranks < 1), np.mean(ranks < 5)), rel=1e-5)
    assert not network.training


def test_with_fewer_than_five_classes_all_are_among_five(pictures: MemoryPictures) -> None:
    assert validate(lively(TINY, 3), pictures, NORMALISATION, side=20)[2] == 1.0


def test_one_step_is_that_of_sgd_with_nesterov_momentum(pictures: MemoryPictures) -> None:
    # Everything that is drawn is left out, so that two steps can be computed here: v = m v + g, w -= r (g + m v).
    recipe = TINY_RECIPE.changed(
        batch_size=12, dropout=0.0, mirror=False, grow="", warmup=0.0, schedule="linear", epochs=2, precision="float32"
    )
    config = replace(TINY, resize=32, crop=32, dropout=0.0)
    torch.manual_seed(0)
    network = AlexNet(config, 3)
    weights = {name: value.detach().clone() for name, value in network.named_parameters()}
    velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    trainer = Trainer(
        network, recipe, pictures=pictures, validation=pictures, normalisation=NORMALISATION, device=CPU.device
    )
    by_hand = AlexNet(config, 3)
    by_hand.load_state_dict(network.state_dict())
    by_hand.train()
    for done in range(2):
        assert trainer.train_epoch()
        order = torch.randperm(12, generator=torch.Generator().manual_seed(recipe.seed + done))
        pixels, labels = next(pictures.batches(order, 12))
        loss = torch.nn.functional.cross_entropy(
            by_hand(centre_crops(pixels, 32, NORMALISATION)), labels, label_smoothing=recipe.label_smoothing
        )
        by_hand.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        rate = recipe.lr * (1 - done / 2)
        for name, value in by_hand.named_parameters():
            assert value.grad is not None
            gradient = value.grad + (recipe.weight_decay * value.detach() if value.ndim > 1 else 0)
            velocity[name] = recipe.momentum * velocity[name] + gradient
            value.data -= rate * (gradient + recipe.momentum * velocity[name])
        assert trainer.history[-1].train_loss == pytest.approx(loss.item(), rel=1e-5)
        for name, value in trainer.network.named_parameters():
            np.testing.assert_allclose(value.detach(), dict(by_hand.named_parameters())[name].detach(), atol=2e-5)


def test_what_is_off_changes_no_bit(pictures: MemoryPictures) -> None:
    # The loop written out with nothing but crops: what a recipe leaves out must draw no number and round nothing.
    recipe = TINY_RECIPE.changed(batch_size=4, epochs=2, precision="float32", colour_noise=0.1)
    trainer = trainer_of(pictures, recipe)
    trainer.train_epoch()
    trainer.train_epoch()

    torch.manual_seed(0)
    network = AlexNet(TINY, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        parameter_groups(network, recipe.weight_decay), lr=recipe.lr, momentum=recipe.momentum, nesterov=True
    )
    torch.manual_seed(recipe.seed)
    for epoch, side in enumerate((20, 28)):
        network.train()
        order = torch.randperm(12, generator=torch.Generator().manual_seed(recipe.seed + epoch))
        for step, (pixels, labels) in enumerate(pictures.batches(order, 4)):
            x = random_crops(pixels, 28, NORMALISATION, mirror=True, colour_noise=0.1, side=side)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch + step / 3, [])
            optimizer.zero_grad()
            logits = network(x.contiguous(memory_format=torch.channels_last))
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.equal(trainer.network.state_dict()[name], value), name


@pytest.mark.parametrize("changes", [{"mixup": 1.0}, {"cutmix": 1.0}, {"erasing": 1.0}], ids=lambda c: next(iter(c)))
def test_each_variation_of_the_pictures_reaches_the_step(changes: dict[str, float], pictures: MemoryPictures) -> None:
    def weights(recipe: Recipe) -> Tensor:
        trainer = trainer_of(pictures, recipe)
        trainer.train_epoch()
        learned: Tensor = trainer.network.fc8.weight.detach().clone()
        return learned

    recipe = TINY_RECIPE.changed(batch_size=4, precision="float32")
    varied = weights(recipe.changed(**changes))
    assert torch.equal(varied, weights(recipe.changed(**changes)))
    assert not torch.equal(varied, weights(recipe))


def test_right_is_the_label_of_the_larger_share(pictures: MemoryPictures, monkeypatch: pytest.MonkeyPatch) -> None:
    # All pictures turned into the first class by nine tenths, while fc8 knows nothing but that class.
    def first_class(x: Tensor, labels: Tensor, *, mixup: float, cutmix: float) -> tuple[Tensor, Targets]:
        return x, Targets(labels, torch.zeros_like(labels), 0.1)

    monkeypatch.setattr("training.loop.objective.mix", first_class)
    trainer = trainer_of(pictures, TINY_RECIPE.changed(batch_size=12, lr=0.0))
    torch.nn.init.zeros_(trainer.network.fc8.weight)
    trainer.network.fc8.bias.data = torch.tensor([1.0, 0.0, 0.0])
    trainer.train_epoch()
    assert trainer.history[0].train_top1 == 1.0


def test_head_epochs_leave_all_but_the_scores_alone(pictures: MemoryPictures) -> None:
    trainer = trainer_of(pictures, TINY_RECIPE.changed(head_epochs=1, epochs=2, batch_size=4))

    def state() -> dict[str, Tensor]:
        return {name: value.clone() for name, value in trainer.network.state_dict().items()}

    def changed(before: dict[str, Tensor]) -> set[str]:
        return {name.split(".")[0] for name, value in state().items() if not torch.equal(value, before[name])}

    before = state()
    trainer.train_epoch()
    assert changed(before) == {"fc8"}
    before = state()
    trainer.train_epoch()
    assert changed(before) == {"features", "hidden", "fc8"}


@pytest.mark.parametrize("grow", ["", "0:20,0.5:28", "0:16,0.4:20,0.999:28"])
def test_the_last_epoch_sees_crops_of_full_size(grow: str, pictures: MemoryPictures) -> None:
    for epochs in (1, 2, 3, 4, 5, 8, 14, 90, 1000):
        trainer = trainer_of(pictures, TINY_RECIPE.changed(epochs=epochs, grow=grow))
        sides = []
        for number in range(epochs):
            trainer.epoch = number
            sides.append(trainer.side)
        assert sides[-1] == 28
        assert sides == sorted(sides)
        assert epochs == 1 or sides[0] == trainer.recipe.crops(28)[0][1]


def test_reports_end_with_the_whole_epoch(pictures: MemoryPictures) -> None:
    told: list[tuple[int, int, float, float, float]] = []
    trainer = trainer_of(pictures, TINY_RECIPE.changed(batch_size=5))
    trainer.train_epoch(report=lambda *values: told.append(values))
    done, total, loss, top1, rate = told[-1]
    assert (done, total) == (2, 2), "two of the twelve pictures wait for another epoch"
    assert (loss, top1) == (trainer.history[0].train_loss, trainer.history[0].train_top1)
    assert rate > 0


def test_a_loss_that_is_no_number_ends_the_run(pictures: MemoryPictures) -> None:
    trainer = trainer_of(pictures, TINY_RECIPE.changed(lr=1e30, warmup=0.0, batch_size=4))
    with told(UserError, r"training diverged in epoch 1: .* start a new run with an --lr below 1e\+30"):
        trainer.train_epoch()


@pytest.mark.parametrize("missing", [3, 4])
def test_a_batch_of_which_one_picture_is_left_or_none_is_passed_over(tmp_path: Path, missing: int) -> None:
    split = as_split(write_shapes(tmp_path / "data", each=4))
    recipe = TINY_RECIPE.changed(batch_size=4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(recipe.seed))
    for number in order[:missing]:
        split.paths[number].write_bytes(b"")
    trainer = trainer_of(FolderPictures(split, TINY.resize, device=CPU.device, workers=0), recipe)
    done = []
    assert trainer.train_epoch(report=lambda *told: done.append(told[0]))
    assert done[-1] == 3
    assert len(trainer.pictures.skipped) == missing


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    split = as_split(write_shapes(tmp_path / "data", each=2))
    for path in split.paths:
        path.write_bytes(b"")
    trainer = trainer_of(FolderPictures(split, TINY.resize, device=CPU.device, workers=0))
    trainer.recipe = TINY_RECIPE.changed(batch_size=3)
    with pytest.raises(DatasetError, match="none of the training pictures could be read"):
        trainer.train_epoch()
    with pytest.raises(DatasetError, match="none of the validation pictures could be read"):
        validate(trainer.network, trainer.validation, NORMALISATION, side=28)


def test_training_in_bfloat16_keeps_its_weights_in_float32(pictures: MemoryPictures) -> None:
    trainer = trainer_of(pictures, TINY_RECIPE.changed(precision="bfloat16", batch_size=4))
    trainer.train_epoch()
    assert {value.dtype for value in trainer.network.parameters()} == {torch.float32}
    assert math.isfinite(trainer.history[0].train_loss)


def test_gradients_in_float16_are_scaled_and_the_scale_is_kept(
    pictures: MemoryPictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # On a CPU, which is asked for float16 by no recipe: the loop is that of a GPU.
    monkeypatch.setattr("training.loop.trainer.chosen_precision", lambda recipe, device: torch.float16)
    recipe = TINY_RECIPE.changed(batch_size=4, epochs=3)
    whole = trainer_of(pictures, recipe)
    for _ in range(3):
        whole.train_epoch()
    assert math.isfinite(whole.history[-1].train_loss)
    assert {p.dtype for p in whole.network.parameters()} == {torch.float32}

    checkpoint = checkpoint_of(lively(TINY, 3))
    stopped = trainer_of(pictures, recipe)
    assert not stopped.train_epoch(stop=lambda: stopped.step == 2)
    stopped.save_into(checkpoint).save(tmp_path / "last.pt")
    kept = Checkpoint.load(tmp_path / "last.pt")
    assert kept.scaler["scale"] > 1
    resumed = trainer_of(pictures, recipe)
    resumed.restore(kept)
    for _ in range(3):
        resumed.train_epoch()
    assert resumed.history[-1].train_loss == whole.history[-1].train_loss
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


@pytest.mark.parametrize("part", ["network", "optimizer"])
def test_a_state_of_another_network_is_refused(part: str, pictures: MemoryPictures) -> None:
    trainer = trainer_of(pictures)
    checkpoint = trainer.save_into(checkpoint_of(lively(TINY, 3)))
    other = Trainer(
        AlexNet(replace(TINY, batch_norm=False, hidden=(16, 20)), 3),
        TINY_RECIPE,
        pictures=pictures,
        validation=pictures,
        normalisation=NORMALISATION,
        device=CPU.device,
    ).save_into(checkpoint_of(lively(TINY, 3)))
    setattr(checkpoint, part, getattr(other, part))
    with told(CheckpointError, "does not fit the architecture tiny that it names; start a new run"):
        trainer_of(pictures).restore(checkpoint)
