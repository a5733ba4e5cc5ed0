"""One of the processes that torchrun starts: python training_process.py PICTURES OUT, two epochs of the loop."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from training_samples import CPU, TINY, TINY_RECIPE, as_split, checkpoint_of

from training.data.augment import Normalisation
from training.data.pictures import FolderPictures, MemoryPictures
from training.loop.checkpoint import Checkpoint
from training.loop.distributed import ALONE, Processes, joined_processes, leave
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet

# Batch normalisation has statistics of each process's own share, dropout and crops numbers of its own; so without them.
CONFIG = replace(TINY, resize=28, batch_norm=False, dropout=0.0)
RECIPE = TINY_RECIPE.changed(
    batch_size=8, dropout=0.0, mirror=False, epochs=2, lr=0.02, ema=0.9, grow="", precision="float32"
)


def learn(folder: Path, processes: Processes = ALONE, *, read_again: bool = False, stop_at: int = 0) -> Checkpoint:
    """Train, with a stop that only the last process asks for, and going on from a checkpoint."""

    def trainer() -> Trainer:
        torch.manual_seed(5)
        return Trainer(
            AlexNet(CONFIG, 3),
            RECIPE,
            pictures=pictures,
            validation=pictures,
            normalisation=Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0)),
            device=CPU.device,
            processes=processes,
        )

    split, last = as_split(folder), processes.rank == processes.world_size - 1
    pictures = (
        FolderPictures(split, CONFIG.resize, device=CPU.device, workers=0)
        if read_again
        else MemoryPictures(split, CONFIG.resize, device=CPU.device)
    )
    learning = trainer()
    checkpoint = checkpoint_of(learning.network)
    if stop_at:
        assert not learning.train_epoch(stop=lambda: last and learning.step >= stop_at)
        assert learning.step == stop_at, "all stop after the same batch"
        checkpoint = learning.save_into(checkpoint)
        learning = trainer()
        learning.restore(checkpoint)
    while learning.epoch < RECIPE.epochs:
        learning.train_epoch()
    return learning.save_into(checkpoint)


if __name__ == "__main__":
    with joined_processes("cpu") as joined:
        whole = learn(Path(sys.argv[1]), joined, read_again="--read-again" in sys.argv)
        stopped = learn(Path(sys.argv[1]), joined, read_again="--read-again" in sys.argv, stop_at=2)
        if joined.is_main:
            whole.save(Path(sys.argv[2]) / "whole.pt")
            stopped.save(Path(sys.argv[2]) / "stopped.pt")
    leave(0)
