"""Networks as others export them: with random weights, from torchvision's, timm's and transformers' code."""

import json
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

VOCABULARY = [
    *("a", "photo", "of", "dog", "cat", "red", "green", "blue", "boat", "beach", "on", "the", "sunset", "at", "two"),
    *("boats", "in", "city", "street", "old", "tree"),
]
SIDE = 32


_DECLARED: list[Any] = []


def network_code(name: str) -> Any:
    """Import torchvision, timm or transformers; the test is skipped where that is not installed.

    Where torch is a build for CPUs alone, torchvision from PyPI cannot load its C++ operators, and cannot be imported
    because two of them are then unknown. No network here uses these: they are declared.
    """
    found = find_spec("torchvision")
    if found is not None and found.origin is not None and "torchvision" not in sys.modules and not _DECLARED:
        try:
            torch.ops.load_library(str(next(Path(found.origin).parent.glob("_C*.so"))))  # type: ignore[no-untyped-call]
        except OSError:
            _DECLARED.append(torch.library.Library("torchvision", "FRAGMENT"))  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                _DECLARED[0].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip(name, reason=f"{name} is not installed; it comes with the extra dev")


def onnx_export(network: nn.Module, sample: tuple[Tensor, ...], path: Path, **settings: Any) -> None:
    """Write an ONNX file as torch exports it; what its exporters warn of is their own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), sample, str(path), **{"opset_version": 17, "dynamo": False, **settings})


def export(
    network: nn.Module,
    path: Path,
    *,
    side: int = SIDE,
    opset: int = 17,
    batch: int | None = None,
    dynamo: bool = False,
) -> Path:
    """Write an ONNX file as torch exports it, for any batch or for one of `batch` pictures."""
    sample = (torch.rand(batch or 2, 3, side, side, generator=torch.Generator().manual_seed(1)),)
    settings: dict[str, Any] = {"opset_version": opset, "input_names": ["input"], "output_names": ["output"]}
    if dynamo:
        settings |= {"dynamo": True, "dynamic_shapes": None if batch else ({0: "n"},), "verbose": False}
    else:
        axes = {} if batch else {"input": {0: "n"}, "output": {0: "n"}}
        settings |= {"dynamo": False, "dynamic_axes": axes}
    onnx_export(network, sample, path, **settings)
    return path


def small_classifier(
    path: Path,
    *,
    opset: int = 17,
    batch: int | None = None,
    layout: str = "nchw",
    side: int | None = SIDE,
    classes: int = 5,
    bias: bool = True,
    softmax: bool = False,
    type: int = TensorProto.FLOAT,
    channels: int = 3,
    names: tuple[str, ...] = ("output",),
) -> Path:
    """Write a network of few values without torch: colours of 4 × 4 places, a layer of 24, and classes."""
    random = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(type)
    weights = {
        "conv": random.standard_normal((8, channels, 3, 3)) / 5,
        "layer": random.standard_normal((8, 24)) / 3,
        "head": random.standard_normal((24, classes)) / 3,
        "bias": random.standard_normal(classes),
    }
    nodes = [
        *([helper.make_node("Transpose", ["input"], ["planes"], perm=[0, 3, 1, 2])] if layout == "nhwc" else []),
        helper.make_node("Conv", ["planes" if layout == "nhwc" else "input", "conv"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["layer.sum"]),
        helper.make_node("Tanh", ["layer.sum"], ["embedding"]),  # a name that is fc7's own as well
        helper.make_node("MatMul", ["embedding", "head"], ["scores" if bias or softmax else names[0]]),
    ]
    if bias:
        nodes.append(helper.make_node("Add", ["scores", "bias"], ["biased" if softmax else names[0]]))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["biased" if bias else "scores"], [names[0]], axis=1))
    shape = [channels, side or "h", side or "w"]
    shape = [batch or "n", *(shape if layout == "nchw" else [*shape[1:], shape[0]])]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", type, shape)],
        [helper.make_tensor_value_info(name, type, [batch or "n", None]) for name in names],
        [numpy_helper.from_array(values.astype(dtype), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


class ImageHalf(nn.Module):
    """What transformers-style exports call vision_model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Any:
        found = self.model.get_image_features(pixel_values=pixel_values)
        return found if isinstance(found, Tensor) else found.pooler_output


class TextOfHalf(nn.Module):
    """What transformers-style exports call text_model."""

    def __init__(self, model: Any, *, mask: bool) -> None:
        super().__init__()
        self.model, self.mask = model, mask

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        found = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        return found if isinstance(found, Tensor) else found.pooler_output


class Both(nn.Module):
    """A joint export."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor) -> Any:
        found = self.model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        return found.logits_per_image, found.text_embeds, found.image_embeds


def write_tokenizer(folder: Path, *, context: int, siglip: bool = False) -> Any:
    """Write tokenizer.json and tokenizer_config.json of a vocabulary of whole words, as CLIP's has its ends."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end = "<|startoftext|>", "<|endoftext|>"
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *dict.fromkeys(VOCABULARY), start, end])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template = "$A " + end if siglip else f"{start} $A {end}"
    special = [(token, vocabulary[token]) for token in (start, end)]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    tokenizer.add_special_tokens([start, end])
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = "SiglipTokenizer" if siglip else "CLIPTokenizer"
    settings = {"pad_token": end, "model_max_length": context, "tokenizer_class": kind, "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def write_preprocessor(folder: Path, *, siglip: bool = False) -> None:
    """Write a preprocessor_config.json as those of CLIP and SigLIP are."""
    clip = {
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": SIDE + 4},
    }
    changed = {"do_center_crop": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    changed |= {"size": {"height": SIDE, "width": SIDE}}
    values = {key: value for key, value in clip.items() if key != "crop_size"} | changed if siglip else clip
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def normalised(pixels: NDArray[np.uint8], mean: Any, std: Any) -> NDArray[np.float32]:
    """Return pixels (n, side, side, 3) as a network of torch takes them: (n, 3, side, side)."""
    scaled = (pixels / 255 - np.array(mean)) / np.array(std)
    planes: NDArray[np.float32] = scaled.transpose(0, 3, 1, 2).astype(np.float32)
    return planes
