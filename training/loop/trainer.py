"""The loop: one network, its optimizer and its data; epochs that can stop after any batch and go on exactly there."""

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from index.errors import OptionError, UserError
from training.data.augment import Normalisation, blurred, erased, random_crops, recompressed
from training.data.dataset import Draw
from training.data.pictures import Pictures
from training.errors import CheckpointError, DatasetError
from training.loop.checkpoint import Checkpoint, EpochMetrics, EpochTotals
from training.loop.distributed import ALONE, Processes
from training.loop.objective import LabelObjective, Objective
from training.loop.optimisation import WeightAverage, chosen_precision, learning_rate, make_optimizer
from training.loop.recipe import Recipe
from training.loop.validation import validate
from training.networks.alexnet import AlexNet

BatchReport = Callable[[int, int, float, float, float], None]
"""Called now and then in an epoch with batches done, batches in all, mean loss, top-1 and pictures a second so far."""

SECONDS_BETWEEN_REPORTS = 0.25

SEEDS_APART = 1_000_003
"""Between the random numbers of the processes that train together."""


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
        processes: Processes = ALONE,
        compiled: bool = False,
        objective: Objective | None = None,
        draws: Sequence[Draw] = (),
        groups: Sequence[slice] = (),
    ) -> None:
        self.processes = processes
        if recipe.batch_size % processes.world_size:
            raise OptionError(
                f"a batch of {recipe.batch_size} cannot be shared by {processes.world_size} processes",
                hint=f"give a --batch-size that is a multiple of {processes.world_size}",
            )
        if recipe.batch_size < 2 * processes.world_size:
            raise OptionError(
                f"a batch of {recipe.batch_size} leaves each of {processes.world_size} processes one picture",
                hint=f"give a --batch-size of {2 * processes.world_size} or more",
            )
        if processes.world_size > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.device = recipe, device
        self.pictures, self.validation = pictures, validation
        self.objective = objective or LabelObjective(recipe)
        self.draws, self.groups = draws or [Draw(0, len(pictures))], groups
        self.learner = self.objective.module(self.network)
        self.normalisation = normalisation.to(device)
        self.precision = chosen_precision(recipe, device)
        self.optimizer = make_optimizer(self.learner, recipe)
        # Gradients too small for float16 would be lost.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self._compiled = compiled
        self._model: nn.Module | None = None
        self._only_fc8 = False
        self.average = WeightAverage(self.network, recipe.ema) if recipe.ema else None
        self.epoch, self.step = 0, 0
        self.history: list[EpochMetrics] = []
        self._totals = EpochTotals()
        torch.manual_seed(recipe.seed + SEEDS_APART * processes.rank)

    @property
    def steps(self) -> int:
        """Batches an epoch; a last batch of fewer pictures is left to another epoch's order."""
        return sum(drawn(draw) for draw in self.draws) // self.recipe.batch_size

    def train_epoch(self, *, stop: Callable[[], bool] = lambda: False, report: BatchReport | None = None) -> bool:
        """Train one epoch, or what is left of it, and validate; False if `stop` said so after a batch.

        Raises DatasetError if no picture can be read, and UserError if the loss is NaN or infinite.
        """
        if not self._take_steps(stop=stop, report=report):
            return False
        self.history.append(self._judge())
        self.epoch, self.step, self._totals = self.epoch + 1, 0, EpochTotals()
        return True

    def _take_steps(self, *, stop: Callable[[], bool], report: BatchReport | None) -> bool:
        """Learn from the batches that are left of an epoch, and add them to its totals; False if `stop` said so."""
        recipe, side, processes = self.recipe, self.side, self.processes
        order = epoch_order(self.draws, seed=recipe.seed + self.epoch)
        order = order[self.step * recipe.batch_size : self.steps * recipe.batch_size].view(-1, recipe.batch_size)
        before, whole = self._totals, True
        loss_sum, right = (torch.tensor(value, device=self.device) for value in (before.loss, before.right))
        seen, waited = before.pictures, before.waited
        start = reported = time.perf_counter()
        batches = self.pictures.batches(processes.shard(order).flatten(), recipe.batch_size // processes.world_size)
        self._set_learning()
        while whole:
            asked = time.perf_counter()
            # Where the workers of one process fail, all end with it.
            batch = processes.together(lambda: next(batches, None))
            waited += time.perf_counter() - asked
            if batch is None:
                break
            pixels, labels = batch
            # Unreadable files may leave one picture, which batch normalisation cannot take, or none.
            n = len(labels) if len(labels) > 1 else 0
            total, idle = processes.sum([n, n == 0])
            # A process with nothing to learn from would spoil the others' statistics.
            if not idle:
                loss, right_here = self._learn(pixels, labels, side, weight=n * processes.world_size / total)
                loss_sum += loss * n
                right += right_here
                seen += n
            self.step += 1
            now = time.perf_counter()
            if report is not None and seen and (now - reported > SECONDS_BETWEEN_REPORTS or self.step == self.steps):
                reported = now
                rate = processes.world_size * seen / (before.seconds + now - start)
                report(self.step, self.steps, loss_sum.item() / seen, right.item() / seen, rate)
            whole = not processes.any(stop())
        # Only then has a GPU done what was asked of it.
        loss_total, right_total, pictures = processes.sum([loss_sum.item(), right.item(), seen])
        # Before a checkpoint is written, which happens every few minutes.
        if not math.isfinite(loss_total):
            raise UserError(
                f"training diverged in epoch {self.epoch + 1}: the loss is NaN or infinite",
                hint=f"start a new run with an --lr below {self.recipe.lr:g}",
            )
        seconds = before.seconds + time.perf_counter() - start
        self._totals = EpochTotals(loss_total, right_total, pictures, seconds, waited)
        return whole

    def validate_start(self, loss: float, top1: float) -> None:
        """Validate before the first epoch, where fc8 fits already; `loss` and `top1` are its figures in training."""
        found = validate(
            self.network, self.validation, self.normalisation, side=self.network.config.crop, processes=self.processes
        )
        self.history.append(EpochMetrics(0, self.network.config.crop, 0.0, loss, top1, *found, 0.0, 0.0, 0.0))

    def _judge(self) -> EpochMetrics:
        """Validate the network after the last step of an epoch, and return what the epoch came to.

        Raises as `train_epoch`.
        """
        learned, side = self._totals, self.side
        if not learned.pictures:
            raise DatasetError("none of the training pictures could be read")
        # Without SyncBatchNorm each process has statistics of its own; those of the first are saved.
        self.processes.broadcast(self.judged.buffers())
        loss, top1, top5 = validate(
            self.judged,
            self.validation,
            self.normalisation,
            side=side,
            precision=self.precision,
            processes=self.processes,
            groups=self.groups,
        )
        return EpochMetrics(
            epoch=self.epoch + 1,
            side=side,
            lr=self._rate(),
            train_loss=learned.loss / learned.pictures,
            train_top1=learned.right / learned.pictures,
            validation_loss=loss,
            validation_top1=top1,
            validation_top5=top5,
            pictures_per_second=learned.pictures / learned.seconds,
            waiting=learned.waited / learned.seconds,
            seconds=learned.seconds,
        )

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
        self.learner.train()
        for layers in (self.network.features, self.network.hidden):
            layers.requires_grad_(not only_fc8).train(not only_fc8)
            if self.recipe.lower_lr < 1:
                # Those of small batches of few pictures are worse than those of all that it was trained on.
                for layer in layers.modules():
                    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                        layer.eval()
        if self._model is None or only_fc8 != self._only_fc8:
            self._model = None  # its hooks would go on averaging the gradients that it knew
            self._only_fc8, self._model = only_fc8, self._wrapped()

    def _wrapped(self) -> nn.Module:
        """Return the network as a step calls it: its gradients averaged over all processes, and compiled."""
        model = self.learner
        if self.processes.world_size > 1:
            model = DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)
        return torch.compile(model, dynamic=False) if self._compiled else model  # type: ignore[return-value]

    def _learn(self, pixels: Tensor, labels: Tensor, side: int, *, weight: float) -> tuple[Tensor, Tensor]:
        """Take one step, and return the mean loss and how many are right; gradients count by `weight`."""
        recipe = self.recipe
        x = random_crops(
            recompressed(pixels, probability=recipe.jpeg),
            self.network.config.crop,
            self.normalisation,
            mirror=recipe.mirror,
            colour_noise=recipe.colour_noise,
            scale=recipe.scale,
            side=side,
        )
        x = erased(blurred(x, probability=recipe.blur), probability=recipe.erasing)
        x, targets = self.objective.prepare(x, labels)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group.get("scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        assert self._model is not None
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            outputs = self._model(x.contiguous(memory_format=torch.channels_last))
        loss, right = self.objective.outcome(outputs, targets)
        # Gradients are averaged over processes, and not all may have read as many pictures.
        self._scaler.scale(loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self.network, step=self.epoch * self.steps + self.step)
        return loss.detach(), right

    def _rate(self) -> float:
        done = self.epoch + self.step / self.steps
        return learning_rate(self.recipe, done, [row.validation_top1 for row in self.history])

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the state that a checkpoint holds. Raises CheckpointError where it is not one of this network."""
        try:
            self.network.load_state_dict(checkpoint.network)
            self.learner.load_state_dict(checkpoint.beside, strict=False)
            if self.average is not None:
                self.average.network.load_state_dict(checkpoint.average)
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self._scaler.load_state_dict(checkpoint.scaler)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint's state does not fit the architecture {checkpoint.config.arch} that it names",
                hint="start a new run with another -o",
            ) from error
        self.epoch, self.step, self.history = checkpoint.epoch, checkpoint.step, list(checkpoint.history)
        # The sums are of all processes, so one alone goes on from them.
        self._totals = checkpoint.totals if self.processes.is_main else EpochTotals()
        if (state := checkpoint.random.get(_of_process("cpu", self.processes.rank))) is not None:
            torch.set_rng_state(state)
        if self.device.type == "cuda":
            state = checkpoint.random.get(_of_process("cuda", self.processes.rank))
            if state is not None:
                torch.cuda.set_rng_state(state, self.device)

    def save_into(self, checkpoint: Checkpoint) -> Checkpoint:
        """Put the present state into a checkpoint, and return it; each process has to call it."""
        checkpoint.network = self.network.state_dict()
        checkpoint.beside = {
            name: values
            for name, values in self.learner.state_dict().items()
            if self.learner is not self.network and not name.startswith("network.")
        }
        checkpoint.average = {} if self.average is None else self.average.network.state_dict()
        checkpoint.optimizer, checkpoint.scaler = self.optimizer.state_dict(), self._scaler.state_dict()
        checkpoint.epoch, checkpoint.step, checkpoint.history = self.epoch, self.step, list(self.history)
        checkpoint.totals = self._totals
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint.random = {
            _of_process(kind, number): state
            for number, states in enumerate(self.processes.gather(random))
            for kind, state in states.items()
        }
        return checkpoint


def _of_process(kind: str, number: int) -> str:
    """Return the name in a checkpoint of a process's random numbers; that of the first, or only one, is plain."""
    return f"{kind}:{number}" if number else kind


def drawn(draw: Draw) -> int:
    """Return how many pictures of a source an epoch draws."""
    return round((draw.stop - draw.start) * draw.weight)


def epoch_order(draws: Sequence[Draw], *, seed: int) -> Tensor:
    """Return the numbers of an epoch's pictures in random order: of a source all, several times, or some by chance."""
    generator = torch.Generator().manual_seed(seed)
    if len(draws) == 1 and draws[0].weight == 1:
        return torch.randperm(draws[0].stop, generator=generator)
    parts = []
    for draw in draws:
        count, size = drawn(draw), draw.stop - draw.start
        parts += [torch.arange(draw.start, draw.stop)] * (count // size if size else 0)
        if size and count % size:
            parts.append(draw.start + torch.randperm(size, generator=generator)[: count % size])
    together = torch.cat(parts) if parts else torch.arange(0)
    return together[torch.randperm(len(together), generator=generator)]
