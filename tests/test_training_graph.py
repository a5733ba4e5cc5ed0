"""The ONNX graph by itself, run by ONNX's reference implementation: what neither torch nor ONNX Runtime decides."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from training_samples import CPU, TINY, as_split, lively, write_shapes

from training.data.augment import Normalisation, centre_crops
from training.data.pictures import MemoryPictures
from training.export.alexnet_graph import build_model
from training.export.embedding import EmbeddingRecipe, EmbeddingTransform, fc7_alone, join_layers, learn_embedding
from training.export.export import for_inference
from training.networks.alexnet import AlexNet
from training.networks.architectures import AlexNetConfig, ConvLayer

LIKE_2012 = AlexNetConfig(
    arch="like-2012",
    resize=32,
    crop=28,
    convs=(
        ConvLayer(8, 5, stride=2, padding=2, norm=True, pool=True),
        ConvLayer(8, 3, padding=1, groups=2, norm=True),
        ConvLayer(8, 3, padding=1),
        ConvLayer(8, 3, padding=1, groups=2),
        ConvLayer(8, 3, padding=1, groups=2, pool=True),
    ),
    hidden=(16, 12),
)
RANDOM = torch.Generator().manual_seed(1)
MEAN_PICTURE = Normalisation(torch.rand(3, 32, 32, generator=RANDOM) * 255, torch.ones(3, 1, 1))
MEAN_COLOUR = Normalisation(
    torch.tensor([110.0, 120.0, 130.0])[:, None, None], torch.tensor([50.0, 60.0, 70.0])[:, None, None]
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> MemoryPictures:
    data = write_shapes(tmp_path_factory.mktemp("graph"), each=4)
    return MemoryPictures(as_split(data), TINY.resize, device=CPU.device)


def central(pictures: MemoryPictures) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """All pictures, and the central 28 of their 32 pixels."""
    pixels, _ = next(pictures.batches(torch.arange(len(pictures)), len(pictures)))
    return pixels, pixels[:, 2:30, 2:30].numpy()


@torch.inference_mode()
def torch_answers(
    network: AlexNet, normalisation: Normalisation, transform: EmbeddingTransform, pixels: torch.Tensor
) -> list[NDArray[np.float32]]:
    values = network.activations(centre_crops(pixels, 28, normalisation))
    probabilities = torch.softmax(network.fc8(values["fc7"]), dim=1)
    return [found.numpy() for found in (probabilities, values["fc7"], transform(values))]


@torch.inference_mode()
def embedding_errors(
    network: AlexNet, normalisation: Normalisation, transform: EmbeddingTransform, pixels: torch.Tensor, *, half: bool
) -> NDArray[np.float32]:
    """Return how far embeddings (n,) may be apart by rounding.

    A layer that answers a picture weakly is the small rest of sums as large as others'; bringing it to unit length
    enlarges what is apart. The matrix takes that up to its norm times as far, and is itself of 11 bits in float16.
    Bringing the result to unit length divides all by its own.
    """
    assert transform.matrix is not None
    activations = network.activations(centre_crops(pixels, 28, normalisation))
    sizes = torch.stack([activations[name].flatten(1).norm(dim=1) for name in transform.recipe.layers])
    weak = torch.where(sizes > 0, sizes.max(dim=1, keepdim=True).values / sizes, 0)
    apart = 64 * torch.finfo(torch.float32).eps * weak.norm(dim=0) + half * 2.0**-11 * len(sizes) ** 0.5
    joined = join_layers(activations, transform.recipe)
    lengths = torch.nn.functional.linear(joined, transform.matrix, transform.offset).norm(dim=1)
    errors: NDArray[np.float32] = (apart * torch.linalg.matrix_norm(transform.matrix, 2) / lengths).numpy()
    return errors


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("normalisation", [MEAN_PICTURE, MEAN_COLOUR], ids=["mean picture", "mean colour"])
@pytest.mark.parametrize("config", [LIKE_2012, TINY], ids=lambda config: config.arch)
def test_the_graph_says_what_torch_says(
    pictures: MemoryPictures, config: AlexNetConfig, normalisation: Normalisation, half: bool
) -> None:
    trained = lively(config, 3)
    transform = learn_embedding(trained, pictures, normalisation, EmbeddingRecipe(dim=6))
    network = for_inference(trained, half=half)
    model = build_model(network, normalisation, transform, half=half)
    onnx.checker.check_model(model, full_check=True)
    pixels, prepared = central(pictures)
    found: Any = ReferenceEvaluator(model).run(None, {"pixels": prepared})
    probabilities, fc7, embedding = torch_answers(network, normalisation, transform, pixels)
    # Sums of a few hundred products in float32, in another order.
    np.testing.assert_allclose(found[0], probabilities, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(found[1], fc7, rtol=1e-4, atol=1e-5 * np.abs(fc7).max())
    errors = embedding_errors(network, normalisation, transform, pixels, half=half)
    assert np.median(errors) < (0.02 if half else 2e-4), "a comparison that tells something"
    assert (np.linalg.norm(found[2] - embedding, axis=1) <= errors).all()


def test_the_graph_is_what_the_design_says(pictures: MemoryPictures) -> None:
    network = lively(LIKE_2012, 5)
    transform = learn_embedding(network, pictures, MEAN_COLOUR, EmbeddingRecipe(dim=6))
    model = build_model(network, MEAN_COLOUR, transform, half=False)

    def described(values: list[onnx.ValueInfoProto]) -> list[tuple[str, str, list[object]]]:
        return [
            (
                value.name,
                onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
                [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim],
            )
            for value in values
        ]

    assert described(list(model.graph.input)) == [("pixels", "UINT8", ["n", 28, 28, 3])]
    assert described(list(model.graph.output)) == [
        ("probabilities", "FLOAT", ["n", 5]),
        ("fc7", "FLOAT", ["n", 12]),
        ("embedding", "FLOAT", ["n", 6]),
    ]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    operators = [node.op_type for node in model.graph.node]
    assert "Dropout" not in operators
    assert "LRN" not in operators
    assert operators.count("Relu") == 7


def test_weights_are_stored_in_half_precision_where_asked_for(pictures: MemoryPictures) -> None:
    network, transform = lively(LIKE_2012, 5), fc7_alone(lively(LIKE_2012, 5))
    for half in (False, True):
        model = build_model(network, MEAN_COLOUR, transform, half=half)
        stored = {weight.name: weight.data_type for weight in model.graph.initializer}
        matrices = {name for name, values in network.state_dict().items() if values.ndim > 1}
        names = {f"{name.rpartition('.')[0].rpartition('.')[2]}.weight{'.float16' * half}" for name in matrices}
        kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
        assert {stored.pop(name) for name in names} == {kind}
        assert set(stored.values()) == {onnx.TensorProto.FLOAT}, "what is small keeps its precision"


def test_a_layer_without_an_onnx_form_is_a_bug(pictures: MemoryPictures) -> None:
    network = lively(TINY, 3)
    with pytest.raises(TypeError, match="no ONNX form is known for BatchNorm2d"):
        build_model(network, MEAN_COLOUR, fc7_alone(network), half=False)
