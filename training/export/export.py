"""From a checkpoint to the model file, and the proof that both say the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval.evaluation.metrics import interval
from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec, format_version_of, group_slices
from training.data.augment import Normalisation, centre_crops
from training.data.pictures import Pictures
from training.errors import DatasetError, ExportError
from training.export.alexnet_graph import build_model
from training.export.embedding import EmbeddingRecipe, EmbeddingTransform, learn_embedding
from training.export.model_file import fingerprint, write_model_file
from training.export.priors import adjust_logits
from training.loop.checkpoint import Checkpoint
from training.loop.validation import validate
from training.networks.alexnet import AlexNet, without_batch_norm
from training.networks.architectures import AlexNetConfig

CPU = torch.device("cpu")
PARITY_PICTURES = 64
LEAST_COSINE = 0.9999
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class InferenceNetwork:
    """A network as its graph computes it, beside the trained one that it was made from."""

    network: AlexNet
    """With batch normalisation merged, and the weights rounded where they are stored `half`."""
    trained: AlexNet
    normalisation: Normalisation
    transform: EmbeddingTransform
    half: bool
    """Whether weights are stored as float16. Arithmetic stays float32."""

    @classmethod
    def of(
        cls, trained: AlexNet, normalisation: Normalisation, transform: EmbeddingTransform, *, half: bool = True
    ) -> "InferenceNetwork":
        """Make a trained network, which lies on the CPU, ready for its model file."""
        if half and transform.matrix is not None:
            transform = replace(transform, matrix=transform.matrix.half().float())
        return cls(for_inference(trained, half=half), trained, normalisation, transform, half)


@dataclass(frozen=True)
class Description:
    """What a model file says of its network beside the graph."""

    classes: tuple[ClassName, ...]
    training: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    """Of the central crops; empty where none is known."""
    learned: str = ""
    """Hashes of the pictures that it learned from."""
    name: str | None = None
    """By default that of the file."""
    licence: str = ""
    groups: tuple[ClassGroup, ...] = ()


def export_model(
    checkpoint: Checkpoint,
    out: Path,
    *,
    pictures: Pictures,
    validation: Pictures,
    embedding: EmbeddingRecipe,
    accuracy: Mapping[str, Any] | None = None,
    device: torch.device = CPU,
    half: bool = True,
    logit_adjustment: float = 0.0,
    prior: Pictures | None = None,
    name: str | None = None,
    licence: str = "",
) -> ModelSpec:
    """Write a checkpoint's model file: learn its embedding, measure its accuracy, and the rest as `write_model`.

    All pictures lie on `device`. Where `accuracy` is given it is not measured. `logit_adjustment` is the tau of
    `adjust_logits`, and `prior` are the pictures for it, by default those that the embedding is learned from.
    """
    trained = checkpoint.build()
    normalisation = checkpoint.normalisation
    on_device = normalisation.to(device)
    groups = tuple(group_slices(checkpoint.groups, len(checkpoint.classes)).values())
    if logit_adjustment:
        adjust_logits(
            trained.to(device),
            pictures if prior is None else prior,
            on_device,
            groups,
            tau=logit_adjustment,
            seed=checkpoint.recipe.seed,
        )
    transform = learn_embedding(trained.to(device), pictures, on_device, embedding, seed=checkpoint.recipe.seed)
    inference = InferenceNetwork.of(trained.cpu(), normalisation, transform, half=half)
    network = inference.network
    if accuracy is None:
        _, top1, top5 = validate(network.to(device), validation, on_device, side=network.config.crop, groups=groups)
        network.cpu()
        # Those that cannot be read are known by now.
        measured = len(validation) - len(validation.skipped)
        spread = [round(bound, 4) for bound in interval(top1, measured)]
        accuracy = {"top1": round(top1, 4), "top1_interval": spread, "top5": round(top5, 4), "pictures": measured}
    adjusted: dict[str, float] = {"logit_adjustment": logit_adjustment} if logit_adjustment else {}
    if adjusted and prior is not None:
        adjusted["prior_photos"] = len(prior) - len(prior.skipped)
    description = Description(
        classes=checkpoint.classes,
        training=_training(checkpoint) | adjusted,
        learned=checkpoint.data.get("learned", ""),
        accuracy=accuracy,
        name=name,
        licence=licence or checkpoint.data.get("licence", ""),
        groups=checkpoint.groups,
    )
    return write_model(inference, description, out, sample=sample_of(validation))


def sample_of(pictures: Pictures) -> Tensor:
    """Return squares uint8 (n, size, size, 3) of some pictures of all classes, to compare on.

    Raises DatasetError where none can be read.
    """
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    for pixels, _ in pictures.batches(order, PARITY_PICTURES):
        if len(pixels):
            return pixels.cpu()
    raise DatasetError(
        "none of the pictures that the model file is compared with torch on could be read",
        hint="give others with --data",
    )


def for_inference(trained: AlexNet, *, half: bool) -> AlexNet:
    """Return the network that is written: batch normalisation merged, with `half` its weights rounded to float16."""
    network = without_batch_norm(trained)
    if half:
        # What is stored as float16 is rounded here, and nothing else.
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data = parameter.data.half().float()
    return network


def write_model(inference: InferenceNetwork, description: Description, out: Path, *, sample: Tensor) -> ModelSpec:
    """Write a network's model file, and prove that it answers as torch does.

    `sample` are squares uint8 (n, resize, resize, 3) to compare on. Raises ExportError if the model run by ONNX Runtime
    differs from torch by a cosine below 0.9999 or by more than 1e-4 in a probability; then no file is left.
    """
    model = build_model(
        inference.network, inference.normalisation, inference.transform, half=inference.half, groups=description.groups
    )
    config, embedding = inference.trained.config, inference.transform.recipe
    accuracy = description.accuracy
    spec = ModelSpec(
        name=description.name or out.stem,
        arch=config.arch,
        classes=description.classes,
        resize=config.resize,
        crop=config.crop,
        dim=embedding.dim,
        fc7_dim=config.hidden[1],
        # How a photo is prepared changes what the same weights say of it.
        fingerprint=fingerprint(model, config.resize, config.resize_mode),
        arch_config=config.to_dict(),
        embedding={
            **asdict(embedding),
            "root": embedding.root and "pool5" in embedding.layers,
            "pictures": inference.transform.pictures,
        },
        training=description.training,
        learned=description.learned,
        accuracy={**accuracy, "crop": _seen(config)} if accuracy else {},
        licence=description.licence,
        date=datetime.now(UTC).date().isoformat(),
        groups=description.groups,
        resize_mode=config.resize_mode,
        format_version=format_version_of(config.resize_mode),
    )

    def prove(loaded: Model) -> None:
        check_parity(loaded, inference, sample)
        check_rounding(loaded, inference, sample)

    write_model_file(model, spec, out, prove=prove)
    return spec


def _seen(config: AlexNetConfig) -> str:
    """Return what of a picture the accuracy was measured on."""
    if config.resize_mode == "squash":
        return f"the whole picture as {config.crop} pixels"
    if config.resize_mode == "trim":
        return f"the middle, at most 5:4, as {config.crop} pixels"
    if config.resize == config.crop:
        return f"the largest middle square as {config.crop} pixels"
    return f"central {config.crop} of {config.resize} pixels"


@torch.inference_mode()
def check_parity(model: Model, inference: InferenceNetwork, pixels: Tensor) -> None:
    """Compare the outputs for squares uint8 (n, resize, resize, 3) with torch's; ExportError if they differ."""
    found = model.run_uncalibrated(_central(pixels, model.spec.crop))
    activations = inference.network.activations(centre_crops(pixels, model.spec.crop, inference.normalisation))
    logits = inference.network.fc8(activations["fc7"])
    probabilities = torch.cat([torch.softmax(logits[:, group], dim=1) for group in model.spec.slices.values()], dim=1)
    difference = float((torch.from_numpy(found.probabilities) - probabilities).abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"the exported model's probabilities differ from torch's by {difference:.1e}; "
            "this is a bug, please report it"
        )
    for name, ours, theirs in (
        ("fc7", found.fc7, activations["fc7"]),
        ("embedding", found.embedding, inference.transform(activations)),
    ):
        # A picture that leaves every neuron of fc7 silent has no direction to compare. NaN is compared, and differs.
        cosine = _least_cosine(torch.from_numpy(ours), theirs, rows=theirs.abs().amax(1) != 0)
        if not cosine >= LEAST_COSINE:
            raise ExportError(
                f"the exported model's {name} has cosine {cosine:.6f} with torch's; this is a bug, please report it"
            )


@torch.inference_mode()
def check_rounding(model: Model, inference: InferenceNetwork, pixels: Tensor) -> None:
    """Compare fc7 with the network before its weights were merged and rounded: 0.999 cosine."""
    ours = torch.from_numpy(model.run(_central(pixels, model.spec.crop)).fc7)
    theirs = inference.trained.forward_features(centre_crops(pixels, model.spec.crop, inference.normalisation))
    cosine = _least_cosine(ours, theirs, rows=(ours.abs().amax(1) != 0) & (theirs.abs().amax(1) != 0))
    if not cosine >= 0.999:
        raise ExportError(
            f"rounding the weights to float16 changes fc7 (cosine {cosine:.5f})", hint="export with --float32"
        )


def _least_cosine(ours: Tensor, theirs: Tensor, *, rows: Tensor) -> float:
    found = F.cosine_similarity(ours[rows], theirs[rows])
    return float(found.min()) if len(found) else 1.0


def _central(pixels: Tensor, crop: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    edge = (pixels.shape[1] - crop) // 2
    return pixels[:, edge : edge + crop, edge : edge + crop].numpy()


PRIVATE = {
    "root",
    "learned",
    "start_learned",
    "start_file",
    "licence",
    "sources",
    "cache",
    "teacher_file",
    "answers",
    "kept",
}
"""What a checkpoint says of its pictures that is nobody else's business, or has a place of its own."""


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    data = {name: value for name, value in checkpoint.data.items() if name not in PRIVATE}
    epochs = [row for row in checkpoint.history if row.epoch > 0]
    seconds = round(sum(row.seconds for row in epochs))
    return {**data, "recipe": checkpoint.recipe.to_dict(), "epochs_done": len(epochs), "seconds": seconds}
