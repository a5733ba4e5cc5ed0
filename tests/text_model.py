"""A model with a text half for tests: it knows the words red, green and blue, as the colours of pictures."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from retrieval.models.model import Model
from retrieval.models.text import TextSpec, text_file

WORDS = ("red", "green", "blue")


def make_text_model(path: Path, tiny_model: Path) -> Path:
    """Write a copy of the tiny model at `path`, and its text half beside it; needs the package tokenizers."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    model = onnx.load(tiny_model)
    helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, "fc7.text": "true"})
    plain = Model.load(tiny_model, device="cpu")
    pictures = [plain.prepare(Image.new("RGB", (64, 64), colour)) for colour in ("#c00", "#0c0", "#00c")]
    known = plain.run(np.stack(pictures)).embedding
    onnx.save(model, path)
    dim = known.shape[1]
    table = np.concatenate([known.mean(axis=0, keepdims=True), known])  # the first is for all other words
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"], axis=0),
        helper.make_node("ReduceMean", ["words"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "length"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(table.astype(np.float32), "table")],
    )
    half = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, **{word: n for n, word in enumerate(WORDS, 1)}}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    spec = TextSpec(
        model=plain.spec.fingerprint, dim=dim, context=16, pad=0, fill=False, mask=False, batches=False, scale=10.0
    )
    helper.set_model_props(half, spec.to_metadata(tokenizer.to_str()))
    onnx.checker.check_model(half)
    onnx.save(half, text_file(path))
    return path
