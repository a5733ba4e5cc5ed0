"""How `embedding` is made from the layers: a PCA learned from pictures, somewhat whitened, of unit length."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from index.errors import OptionError
from training.data.augment import Normalisation, centre_crops
from training.data.pictures import Pictures
from training.errors import DatasetError, ExportError
from training.networks.alexnet import AlexNet

LAYERS = ("pool5", "fc6", "fc7")
"""What an embedding can be made of."""

PICTURES = 20_000
"""Training pictures that the PCA is learned from, at most."""


@dataclass(frozen=True)
class EmbeddingRecipe:
    """Which layers the embedding is made of, its dimension, and how far it is whitened.

    Each layer is brought to unit length and they are set side by side. `power` 0 rotates only, 1 gives every direction
    the same variance, between them the deviation is divided by its `power`. pool5 is averaged to `grid` x `grid` first;
    with `root` its square roots are taken then, so that its few largest values do not decide alone (Perronnin, Sanchez,
    Mensink 2010, section 3). The defaults are what served best on classes that the network never saw: docs/results.md.
    """

    layers: tuple[str, ...] = ("pool5", "fc7")
    dim: int = 256
    power: float = 0.25
    grid: int = 3
    root: bool = True

    def __post_init__(self) -> None:
        """Refuse, with OptionError, a layer that there is not, or one given twice."""
        unknown = [name for name in self.layers if name not in LAYERS]
        if unknown:
            raise OptionError(f"{unknown[0]!r} is no layer of the embedding; take some of {', '.join(LAYERS)}")
        if len(set(self.layers)) < len(self.layers):
            raise OptionError(f"{','.join(self.layers)} names a layer twice; take each once")


@dataclass(frozen=True)
class EmbeddingTransform:
    """The learned map: embedding = unit(matrix @ joined layers + offset); matrix (dim, width), offset (dim,).

    Without a matrix nothing was learned: embedding = unit(joined layers). `recipe.dim` is the dimension that came out.
    """

    recipe: EmbeddingRecipe
    matrix: Tensor | None = None
    offset: Tensor | None = None
    pictures: int = 0

    def __call__(self, activations: dict[str, Tensor]) -> Tensor:
        """Return embeddings (n, dim) of unit length."""
        joined = join_layers(activations, self.recipe)
        return F.normalize(joined if self.matrix is None else F.linear(joined, self.matrix, self.offset))


def fc7_alone(network: AlexNet) -> EmbeddingTransform:
    """Return the transform of a network for which there are no pictures to learn from: fc7 of unit length."""
    return EmbeddingTransform(EmbeddingRecipe(layers=("fc7",), dim=network.config.hidden[1], power=0.0, root=False))


def join_layers(activations: dict[str, Tensor], recipe: EmbeddingRecipe) -> Tensor:
    """Return the layers side by side, each of unit length (n, width), float32."""
    return torch.cat([F.normalize(_flat(activations[name].float(), recipe)) for name in recipe.layers], dim=1)


def pooling(side: int, grid: int) -> int:
    """Return the side of the disjoint windows whose averages bring maps of `side` to about `grid`."""
    return max(side // grid, 1)


def _flat(values: Tensor, recipe: EmbeddingRecipe) -> Tensor:
    if values.ndim == 4:
        window = pooling(values.shape[-1], recipe.grid)
        values = F.avg_pool2d(values, window) if window > 1 else values
        values = values.sign() * values.abs().sqrt() if recipe.root else values
    return values.flatten(1)


def chosen(count: int, seed: int) -> Tensor:
    """Return which of `count` pictures an embedding is learned from, in order: all, or 20,000 drawn by the seed.

    Of those that were chosen, it chooses all in the same order.
    """
    if count <= PICTURES:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:PICTURES]


@torch.inference_mode()
def learn_embedding(
    network: AlexNet, pictures: Pictures, normalisation: Normalisation, recipe: EmbeddingRecipe, *, seed: int = 0
) -> EmbeddingTransform:
    """Learn the transform from the central crops of the pictures that `chosen` names; the rest as `fit_embedding`."""
    network.eval()
    crop = network.config.crop
    found = [
        join_layers(network.activations(centre_crops(pixels, crop, normalisation)), recipe).cpu()
        for pixels, _ in pictures.batches(chosen(len(pictures), seed), 256)
        if len(pixels)
    ]
    return fit_embedding(torch.cat(found) if found else torch.empty(0, 1), recipe)


def fit_embedding(joined: Tensor, recipe: EmbeddingRecipe) -> EmbeddingTransform:
    """Learn the transform from layers side by side, as `join_layers` returns them (n, width).

    Each principal component is divided by its standard deviation to the power `recipe.power`; with few pictures, as
    many dimensions as they span. Raises DatasetError for fewer than two, and ExportError for a network that tells none
    from another.
    """
    if len(joined) < 2:
        raise DatasetError(
            "the embedding is learned from two pictures at least; give a folder with more that can be read"
        )
    # Written so that NaN, the answer of a network that diverged, counts as alike.
    if not bool((joined - joined[0]).abs().max() > 0):
        raise ExportError(
            f"the network answers all {len(joined)} pictures alike, it has learned nothing",
            hint="train again, with a lower --lr or for longer",
        )
    mean, variances, directions = principal_components(joined)
    # Directions without variance hold rounding errors only; whitening would blow them up.
    spanned = int((variances > variances[0] * 1e-7).sum())
    dim = min(recipe.dim, spanned, len(joined) - 1)
    matrix = directions[:dim] * variances[:dim, None] ** (-recipe.power / 2)
    # The sign of a principal component is arbitrary: fixed, so that the same pictures give the same file.
    signs = matrix.gather(1, matrix.abs().argmax(1, keepdim=True)).sign()
    matrix = matrix * signs
    # One common factor, so that values stay near 1 where they are stored in half precision.
    matrix = matrix / matrix.abs().max()
    return EmbeddingTransform(replace(recipe, dim=dim), matrix.float(), -(matrix @ mean).float(), len(joined))


def principal_components(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (width,), the variances (m,), largest first, and their directions (m, width) of rows (n, width).

    In float64; m is the smaller of n and width, and so is the matrix whose eigenvectors are found.
    """
    mean = rows.double().mean(0)
    centred = rows.double() - mean
    n, width = rows.shape
    if n > width:
        variances, vectors = torch.linalg.eigh(centred.T @ centred / (n - 1))
        return mean, variances.flip(0), vectors.T.flip(0)
    variances, vectors = torch.linalg.eigh(centred @ centred.T / (n - 1))
    # X'u is a direction for each eigenvector u of XX', and as long as sqrt((n - 1) variance).
    return mean, variances.flip(0), F.normalize(vectors.T @ centred).flip(0)
