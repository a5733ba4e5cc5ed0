"""The loop: one network, its optimizer and its data; epochs that can stop after any batch and go on exactly there."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from index.errors import DatasetError, UserError
from training.augment import Normalisation, erased, random_crops
from training.averaging import WeightAverage
from training.checkpoint import Checkpoint, EpochMetrics
from training.mixing import Targets, mix
from training.networks import AlexNet
from training.pictures import Pictures
from training.recipe import Recipe
from training.schedule import learning_rate
from training.validation import evaluate

BatchReport = Callable[[int, int, float, float, float], None]
"""Called now and then in an epoch with batches done, batches in all, mean loss, top-1 and pictures a second so far."""

SECONDS_BETWEEN_REPORTS = 0.25


class Trainer:
    """Trains `network` on `pictures`, and judges it by `validation`."""

    def __init__(
        self,
        network: AlexNet,
        recipe: Recipe,
        *,
        pictures: Pictures,
        validation: Pictures,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.device = recipe, device
        self.pictures, self.validation = pictures, validation
        self.normalisation = normalisation.to(device)
        self.half = uses_bfloat16(recipe, device)
        self.optimizer = torch.optim.SGD(
            parameter_groups(network, recipe.weight_decay),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
        )
        self.average = WeightAverage(network, recipe.ema) if recipe.ema else None
        self.epoch, self.step = 0, 0
        self.history: list[EpochMetrics] = []
        self._totals = [0.0] * 5
        torch.manual_seed(recipe.seed)

    @property
    def steps(self) -> int:
        """Batches an epoch; a last batch of fewer pictures is left to another epoch's order."""
        return len(self.pictures) // self.recipe.batch_size

    def train_epoch(self, *, stop: Callable[[], bool] = lambda: False, report: BatchReport | None = None) -> bool:
        """Train one epoch, or what is left of it, and validate; False if `stop` said so after a batch.

        Raises DatasetError if no picture can be read, and UserError if the loss is no number any more.
        """
        recipe, side = self.recipe, self.side
        order = torch.randperm(len(self.pictures), generator=torch.Generator().manual_seed(recipe.seed + self.epoch))
        order = order[self.step * recipe.batch_size : self.steps * recipe.batch_size]
        loss_sum, right = (torch.tensor(value, device=self.device) for value in self._totals[:2])
        seen, seconds, waited = self._totals[2:]
        start = reported = time.perf_counter()
        batches = self.pictures.batches(order, recipe.batch_size)
        self._set_learning()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            pixels, labels = batch
            if len(labels) > 1:  # unreadable files may leave one picture, which batch normalisation cannot take
                loss, logits, targets = self._learn(pixels, labels, side)
                loss_sum += loss * len(labels)
                right += (logits.argmax(1) == targets.dominant).sum()
                seen += len(labels)
            self.step += 1
            now = time.perf_counter()
            if report is not None and seen and (now - reported > SECONDS_BETWEEN_REPORTS or self.step == self.steps):
                reported = now
                rate = seen / (seconds + now - start)
                report(self.step, self.steps, loss_sum.item() / seen, right.item() / seen, rate)
            if stop():
                self._totals = [loss_sum.item(), right.item(), seen, seconds + time.perf_counter() - start, waited]
                return False
        seconds += time.perf_counter() - start
        if not seen:
            raise DatasetError("none of the training pictures could be read")
        if not math.isfinite(loss_sum.item()):
            raise UserError(
                f"training diverged in epoch {self.epoch + 1}: the loss is no number any more; "
                f"start a new run with an --lr below {self.recipe.lr:g}"
            )
        found_loss, top1, top5 = evaluate(self.judged, self.validation, self.normalisation, side=side, half=self.half)
        row = EpochMetrics(
            epoch=self.epoch + 1,
            side=side,
            lr=self._rate(),
            train_loss=loss_sum.item() / seen,
            train_top1=right.item() / seen,
            validation_loss=found_loss,
            validation_top1=top1,
            validation_top5=top5,
            pictures_per_second=seen / seconds,
            waiting=waited / seconds,
            seconds=seconds,
        )
        self.history.append(row)
        self.epoch, self.step, self._totals = self.epoch + 1, 0, [0.0] * 5
        return True

    @property
    def judged(self) -> AlexNet:
        """The network that is validated and exported: the averaged one where the recipe asks for it."""
        return self.network if self.average is None else self.average.network

    @property
    def side(self) -> int:
        """Pixels of the crops of this epoch; the last one is always of the full size."""
        done = self.epoch / (self.recipe.epochs - 1) if self.recipe.epochs > 1 else 1.0
        return [side for share, side in self.recipe.crops(self.network.config.crop) if share <= done][-1]

    def _set_learning(self) -> None:
        """Let all layers learn, or fc8 alone; layers that do not learn work as in inference."""
        only_fc8 = self.epoch < self.recipe.head_epochs
        self.network.train()
        for layers in (self.network.features, self.network.hidden):
            layers.requires_grad_(not only_fc8).train(not only_fc8)

    def _learn(self, pixels: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor, Targets]:
        crop = self.network.config.crop
        x = random_crops(
            pixels,
            crop,
            self.normalisation,
            mirror=self.recipe.mirror,
            colour_noise=self.recipe.colour_noise,
            side=side,
        )
        x = erased(x, probability=self.recipe.erasing)
        x, targets = mix(x, labels, mixup=self.recipe.mixup, cutmix=self.recipe.cutmix)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            logits = self.network(x.contiguous(memory_format=torch.channels_last))
        loss = targets.loss(logits.float(), label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step=self.epoch * self.steps + self.step)
        return loss.detach(), logits.detach(), targets

    def _rate(self) -> float:
        done = self.epoch + self.step / self.steps
        return learning_rate(self.recipe, done, [row.validation_top1 for row in self.history])

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the state that a checkpoint holds."""
        self.network.load_state_dict(checkpoint.network)
        if self.average is not None:
            self.average.network.load_state_dict(checkpoint.average)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.epoch, self.step, self.history = checkpoint.epoch, checkpoint.step, list(checkpoint.history)
        self._totals = list(checkpoint.totals)
        torch.set_rng_state(checkpoint.random["cpu"])
        if self.device.type == "cuda" and "cuda" in checkpoint.random:
            torch.cuda.set_rng_state(checkpoint.random["cuda"], self.device)

    def save_into(self, checkpoint: Checkpoint) -> Checkpoint:
        """Put the present state into a checkpoint, and return it."""
        checkpoint.network = self.network.state_dict()
        checkpoint.average = {} if self.average is None else self.average.network.state_dict()
        checkpoint.optimizer = self.optimizer.state_dict()
        checkpoint.epoch, checkpoint.step, checkpoint.history = self.epoch, self.step, list(self.history)
        checkpoint.totals = list(self._totals)
        checkpoint.random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            checkpoint.random["cuda"] = torch.cuda.get_rng_state(self.device)
        return checkpoint


def uses_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Return whether to multiply in bfloat16; `auto`: where the processor has instructions for tiles of it."""
    if recipe.precision == "auto":
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return recipe.precision == "bfloat16"


def parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the optimizer's groups: weights decay, biases and the scales of normalisation do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
