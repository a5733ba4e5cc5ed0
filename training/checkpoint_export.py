"""A checkpoint made into a model file once more: with another embedding, name or licence."""

from pathlib import Path
from typing import Protocol

from index.errors import DatasetError
from retrieval.model import require_onnxruntime
from retrieval.spec import ModelSpec
from training.checkpoint import Checkpoint
from training.dataset import scan_dataset
from training.embedding import EmbeddingRecipe
from training.export import export_model
from training.hardware import Hardware
from training.pictures import load_dataset


class ExportReport(Protocol):
    """What an export tells while it goes on."""

    def note(self, text: str) -> None:
        """Say one line."""

    def loading(self, done: int, total: int) -> None:
        """Pictures decoded into memory."""


def export_checkpoint(
    path: Path,
    out: Path,
    *,
    hardware: Hardware,
    report: ExportReport,
    data: Path | None = None,
    embedding: EmbeddingRecipe | None = None,
    half: bool = True,
    name: str | None = None,
    licence: str = "",
) -> ModelSpec:
    """Export a checkpoint; its embedding is learned from `data`, by default the pictures that the run learned from.

    Raises CheckpointError, DatasetError (the pictures are not there any more), ExportError and MissingPackageError.
    """
    require_onnxruntime()
    checkpoint = Checkpoint.load(path)
    root = data or Path(checkpoint.data["root"])
    if not root.is_dir():
        raise DatasetError(
            f"the pictures that {path} learned from are not at {root} any more; give their folder with --data"
        )
    dataset = scan_dataset(root, validation=checkpoint.recipe.validation, seed=checkpoint.recipe.seed)
    folders, learned = ([known.id or known.name for known in kind.classes] for kind in (dataset, checkpoint))
    if folders != learned:
        raise DatasetError(
            f"the {len(folders)} classes in {root} are not the {len(learned)} that {path} learned; "
            "give its own folder with --data"
        )
    pictures, validation = load_dataset(dataset, checkpoint.config.resize, hardware=hardware, progress=report.loading)
    for photo in [*pictures.skipped, *validation.skipped]:
        report.note(f"left out: {photo.path}: {photo.reason}")
    return export_model(
        checkpoint,
        out,
        pictures=pictures,
        validation=validation,
        embedding=embedding or EmbeddingRecipe(),
        device=hardware.device,
        half=half,
        name=name,
        licence=licence,
    )
