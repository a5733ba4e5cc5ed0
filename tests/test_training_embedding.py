"""The embedding against a singular value decomposition by numpy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from told import told
from training_samples import CPU, TINY, as_split, lively, write_shapes

from index.errors import UserError
from training.data.augment import Normalisation, centre_crops
from training.data.pictures import MemoryPictures
from training.errors import DatasetError, ExportError
from training.export.embedding import (
    LAYERS,
    EmbeddingRecipe,
    EmbeddingTransform,
    fc7_alone,
    join_layers,
    learn_embedding,
    pooling,
    principal_components,
)
from training.networks.alexnet import AlexNet

Array = NDArray[np.float64]
NORMALISATION = Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0))
WIDTH = 8 * 2 * 2 + 16  # of pool5 and fc7


@pytest.fixture(scope="module")
def network() -> AlexNet:
    return lively(TINY, 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> MemoryPictures:
    """Ninety pictures, more than the layers have values."""
    data = write_shapes(tmp_path_factory.mktemp("embedding"), each=30)
    return MemoryPictures(as_split(data), TINY.resize, device=CPU.device)


@torch.inference_mode()
def activations(network: AlexNet, pictures: MemoryPictures) -> dict[str, torch.Tensor]:
    pixels, _ = next(pictures.batches(torch.arange(len(pictures)), len(pictures)))
    return network.activations(centre_crops(pixels, TINY.crop, NORMALISATION))


def learn(network: AlexNet, pictures: MemoryPictures, recipe: EmbeddingRecipe) -> EmbeddingTransform:
    return learn_embedding(network, pictures, NORMALISATION, recipe)


def joined(network: AlexNet, pictures: MemoryPictures) -> Array:
    """The square roots of pool5, and fc7, each of unit length, side by side: by numpy, without the mean of all."""
    found = activations(network, pictures)
    pool5, fc7 = (found[name].double().numpy().reshape(len(pictures), -1) for name in ("pool5", "fc7"))
    parts = [np.sqrt(pool5), fc7]
    rows = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1)
    centred: Array = rows - rows.mean(axis=0)
    return centred


def projected(transform: EmbeddingTransform, network: AlexNet, pictures: MemoryPictures) -> Array:
    """What the transform makes of the pictures before it is brought to unit length."""
    assert transform.matrix is not None
    assert transform.offset is not None
    rows = join_layers(activations(network, pictures), transform.recipe).double()
    found: Array = (rows @ transform.matrix.double().T + transform.offset.double()).numpy()
    return found


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_principal_components_are_those_of_a_singular_value_decomposition(
    network: AlexNet, pictures: MemoryPictures, power: float
) -> None:
    rows = joined(network, pictures)
    _, singular, directions = np.linalg.svd(rows, full_matrices=False)
    deviations = singular / np.sqrt(len(rows) - 1)
    dim = 12
    expected = rows @ directions[:dim].T / deviations[:dim] ** power
    found = projected(learn(network, pictures, EmbeddingRecipe(dim=dim, power=power)), network, pictures)
    factors = (found * expected).sum(axis=0) / (expected**2).sum(axis=0)
    np.testing.assert_allclose(found, expected * factors, atol=1e-5 * np.abs(found).max())
    np.testing.assert_allclose(np.abs(factors), np.abs(factors[0]), rtol=1e-4)  # up to sign, one common factor


def test_power_0_keeps_inner_products(network: AlexNet, pictures: MemoryPictures) -> None:
    rows = joined(network, pictures)
    transform = learn(network, pictures, EmbeddingRecipe(dim=WIDTH, power=0.0))
    found = projected(transform, network, pictures)
    expected, products = rows @ rows.T, found @ found.T
    np.testing.assert_allclose(products / products[0, 0], expected / expected[0, 0], atol=1e-3)


def test_power_1_gives_every_direction_the_same_variance(network: AlexNet, pictures: MemoryPictures) -> None:
    found = projected(learn(network, pictures, EmbeddingRecipe(dim=20, power=1.0)), network, pictures)
    covariance = np.cov(found.T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(20), atol=1e-3)


def test_embeddings_have_unit_length(network: AlexNet, pictures: MemoryPictures) -> None:
    transform = learn(network, pictures, EmbeddingRecipe(dim=10))
    found = transform(activations(network, pictures))
    assert found.shape == (90, 10)
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-6)
    expected = projected(transform, network, pictures)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_a_transform_tells_what_came_out(network: AlexNet, pictures: MemoryPictures) -> None:
    transform = learn(network, pictures, EmbeddingRecipe(dim=10))
    assert transform.matrix is not None
    assert transform.offset is not None
    assert (transform.matrix.shape, transform.offset.shape) == ((10, WIDTH), (10,))
    assert (transform.recipe, transform.pictures) == (EmbeddingRecipe(dim=10), 90)
    assert transform.matrix.abs().max() == 1, "near 1, where half precision is good"


def test_a_few_pictures_span_a_few_dimensions(network: AlexNet, pictures: MemoryPictures, tmp_path: Path) -> None:
    few = MemoryPictures(as_split(write_shapes(tmp_path, each=2)), TINY.resize, device=CPU.device)
    assert learn(network, few, EmbeddingRecipe()).recipe.dim == 5
    assert learn(network, pictures, EmbeddingRecipe()).recipe.dim <= WIDTH


def test_the_same_pictures_give_the_same_transform(network: AlexNet, pictures: MemoryPictures) -> None:
    first, second = (learn(network, pictures, EmbeddingRecipe(dim=10)) for _ in range(2))
    assert first.matrix is not None
    assert second.matrix is not None
    assert torch.equal(first.matrix, second.matrix)
    largest = first.matrix.gather(1, first.matrix.abs().argmax(1, keepdim=True))
    assert (largest > 0).all(), "the sign of a component is chosen, not left to the solver"


def test_the_network_is_asked_as_in_inference(network: AlexNet, pictures: MemoryPictures) -> None:
    expected = learn(network, pictures, EmbeddingRecipe(dim=5))
    found = learn(network.train(), pictures, EmbeddingRecipe(dim=5))
    assert not network.training
    assert expected.matrix is not None
    assert found.matrix is not None
    assert torch.equal(expected.matrix, found.matrix)


@pytest.mark.parametrize("shape", [(50, 7), (7, 50), (20, 20), (2, 9)])
def test_components_of_more_rows_than_columns_and_of_fewer(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape) * np.linspace(3, 0.5, shape[1]) + 4
    mean, variances, directions = (values.numpy() for values in principal_components(torch.from_numpy(rows)))
    centred = rows - rows.mean(axis=0)
    _, singular, expected = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(variances, singular**2 / (shape[0] - 1), atol=1e-10)
    count = min(shape[1], shape[0] - 1)  # what is left has no variance, and so no direction
    cosines = np.abs((directions * expected).sum(axis=1))[:count]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(directions[:count], axis=1), 1, atol=1e-10)


@pytest.mark.parametrize("root", [True, False])
def test_layers_are_averaged_over_windows_and_brought_to_unit_length(root: bool) -> None:
    maps = np.random.default_rng(1).standard_normal((2, 3, 7, 7))
    fc6, fc7 = np.random.default_rng(2).random((2, 5)), np.random.default_rng(3).random((2, 4))
    means = np.empty((2, 3, 3, 3))
    for i, j in np.ndindex(3, 3):  # windows of 2 × 2; the last row and column are left out
        means[:, :, i, j] = maps[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(2, 3))
    if root:  # with the sign of what a tanh leaves below nothing
        means = np.sign(means) * np.sqrt(np.abs(means))
    parts = [means.reshape(2, -1), fc6, fc7]
    expected = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1)
    named = {"pool5": torch.from_numpy(maps), "fc6": torch.from_numpy(fc6), "fc7": torch.from_numpy(fc7)}
    found = join_layers(named, EmbeddingRecipe(layers=LAYERS, grid=3, root=root))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_windows_of_pool5() -> None:
    assert [pooling(side, 3) for side in (1, 2, 3, 5, 6, 7, 13)] == [1, 1, 1, 1, 2, 2, 4]


def test_a_silent_layer_does_not_become_something_else() -> None:
    found = join_layers({"fc7": torch.zeros(1, 4)}, EmbeddingRecipe(layers=("fc7",)))
    assert not found.any()


def test_fc7_alone_is_fc7_of_unit_length(network: AlexNet, pictures: MemoryPictures) -> None:
    transform = fc7_alone(network)
    values = activations(network, pictures)
    assert transform.recipe.dim == 16
    expected = values["fc7"].numpy() / np.linalg.norm(values["fc7"], axis=1, keepdims=True)
    np.testing.assert_allclose(transform(values), expected, atol=1e-6)


def test_too_few_pictures(network: AlexNet, tmp_path: Path) -> None:
    split = as_split(write_shapes(tmp_path, each=1))
    for path in split.paths[1:]:
        path.write_bytes(b"")
    for count in (1, 0):
        with pytest.raises(DatasetError, match="learned from two pictures at least"):
            learn(network, MemoryPictures(split, TINY.resize, device=CPU.device), EmbeddingRecipe())
        split.paths[count - 1].write_bytes(b"")


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_a_network_that_tells_no_picture_from_another(pictures: MemoryPictures, weight: float) -> None:
    dead = lively(replace(TINY, batch_norm=False), 3)
    for parameter in dead.parameters():
        torch.nn.init.constant_(parameter, weight)
    with told(ExportError, r"answers all 90 pictures alike, it has learned nothing; train again"):
        learn(dead, pictures, EmbeddingRecipe())


@pytest.mark.parametrize(
    ("layers", "message"), [(("pool5", "fc8"), "'fc8' is no layer"), (("fc7", "fc7"), "fc7,fc7 names a layer twice")]
)
def test_layers_that_there_are_not_or_twice(layers: tuple[str, ...], message: str) -> None:
    with told(UserError, message):
        EmbeddingRecipe(layers=layers)
