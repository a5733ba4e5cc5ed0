"""The text half of a network such as CLIP as a file of fc7's: tokens in, embeddings of unit length out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from retrieval.models.runtime import open_graph, reason_of
from retrieval.models.text import TextHalf, TextSpec, Tokens
from training.errors import ExportError
from training.export.model_file import write_proven
from training.export.onnx_graph import Graph
from training.onnx_import.find import EMBEDDINGS
from training.onnx_import.graphs import inputs_behind, prune, rename
from training.onnx_import.network_file import Network, fixed_sizes
from training.onnx_import.preparation import read_json
from training.onnx_import.wrap import THEIRS, is_ours

SCALE = 100.0
"""What CLIP multiplies cosines with: its logit_scale was clipped there (Radford et al. 2021), and reached it."""

TOKENS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"

ENDLESS = 100_000
"""Tokens from which on a tokenizer's model_max_length says that there is no limit."""

LARGEST_DIFFERENCE = 1e-5
"""Of a value of an embedding, between a text by itself and beside another; and at least between two texts."""

PAIR = ("a photo of a dog", "two red boats")
"""Texts that a text half is tried with."""


@dataclass(frozen=True)
class Tokenizer:
    """What a folder says of its tokenizer."""

    json: str
    """The content of tokenizer.json."""
    context: int | None
    pad: int
    fill: bool
    """Whether every text is filled up to the context, as SigLIP was trained."""


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read tokenizer.json, and tokenizer_config.json and config.json where they are there. Raises ExportError."""
    path = folder / "tokenizer.json"
    try:
        text = path.read_text("utf-8")
        tokenizer = json.loads(text)
        added = {token["content"]: int(token["id"]) for token in tokenizer["added_tokens"]}
    except FileNotFoundError:
        raise ExportError(f"there is no {path}, which the text half needs; copy it there too") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} is no tokenizer as transformers writes it ({error}); copy it there again") from error
    settings, config = read_json(folder / "tokenizer_config.json"), read_json(folder / "config.json")
    context = settings.get("model_max_length")
    if not isinstance(context, int) or context > ENDLESS:
        context = (config.get("text_config") or {}).get("max_position_embeddings")
    kind = f"{settings.get('tokenizer_class', '')} {config.get('model_type', '')}".lower()
    return Tokenizer(text, context, _pad(settings, tokenizer, added), "siglip" in kind)


def _pad(settings: dict[str, Any], tokenizer: dict[str, Any], added: dict[str, int]) -> int:
    """Return the token that fills texts up, 0 where nothing says which: what is filled up is then masked or ignored."""
    token = settings.get("pad_token")
    name = token.get("content") if isinstance(token, dict) else token
    if name in added:
        return added[name]
    padding = tokenizer.get("padding")
    return int(padding["pad_id"]) if isinstance(padding, dict) and "pad_id" in padding else 0


def write_text_half(
    network: Network, tokenizer: Tokenizer, out: Path, *, model: str, dim: int, scale: float | None
) -> TextSpec:
    """Write the file of a text half that goes with the model of that fingerprint, whose embeddings have `dim` values.

    Raises ExportError for a network that does not take text, or that tokenizer or model do not fit.
    """
    text = _text_alone(network)
    inputs = {value.name: value for value in text.inputs}
    if len(inputs[TOKENS].type.tensor_type.shape.dim) != 2:
        raise ExportError(f"{network.path} takes no rows of tokens as {TOKENS}; export it again")
    batch, length = fixed_sizes(inputs[TOKENS])
    context = length or tokenizer.context
    if context is None:
        raise ExportError(
            f"how many tokens {network.path} reads is stated nowhere; put tokenizer_config.json with model_max_length "
            "into the folder"
        )
    tokens = Tokens(tokenizer.json, context=context, pad=tokenizer.pad)
    shapes = _try(text, batch=batch or 1, context=context, known=tokens.count)
    output = _choose(network.path, shapes, dim)
    masked = MASK in inputs
    spec = TextSpec(
        model=model,
        dim=dim,
        context=context,
        pad=tokenizer.pad,
        # A network without a mask was trained on texts that were filled up.
        fill=bool(length) or tokenizer.fill or not masked,
        mask=masked and not tokenizer.fill,
        batches=batch is None,
        scale=scale or SCALE,
    )

    wrapped = _wrapped(text, output, spec)

    def prove(file: Path) -> None:
        half = TextHalf(file)
        together, apart = half.embed(PAIR), np.concatenate([half.embed([words]) for words in PAIR])
        if not np.abs(apart[0] - apart[1]).max() > LARGEST_DIFFERENCE:
            raise ExportError(
                f"{network.path} embeds all texts alike: tokenizer.json does not fit it, or it is no text half; "
                "take both from one export"
            )
        if not np.abs(together - apart).max() <= LARGEST_DIFFERENCE:
            raise _DependsOnOthersError

    try:
        write_proven(wrapped, spec.to_metadata(tokenizer.json), out, prove=prove)
    except _DependsOnOthersError:
        spec = replace(spec, batches=False)
        write_proven(wrapped, spec.to_metadata(tokenizer.json), out, prove=prove)
    return spec


class _DependsOnOthersError(Exception):
    """A text is embedded otherwise beside another one, as where a batch is rounded to 8 bits together."""


def _text_alone(network: Network) -> Network:
    """Return the part of a network that needs text alone. Raises ExportError where there is none."""
    inputs = {value.name for value in network.inputs}
    graph = network.model.graph
    needs = {output.name: inputs_behind(graph, output.name, inputs) for output in graph.output}
    outputs = [name for name, taken in needs.items() if TOKENS in taken and taken <= {TOKENS, MASK, TYPES}]
    if not outputs:
        raise ExportError(
            f"{network.path} is no text half: it takes {', '.join(sorted(inputs)) or 'nothing'}, where it should take "
            f"{TOKENS}, with {MASK} or without; export it again"
        )
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    prune(model.graph, outputs)
    return replace(network, model=model)


def _try(text: Network, *, batch: int, context: int, known: int) -> dict[str, tuple[int, ...]]:
    """Run a network on as many tokens as it reads, the last that the tokenizer knows; return the outputs' shapes.

    Raises ExportError where the tokenizer does not fit.
    """
    session = open_graph(text.model.SerializeToString(), name=text.path)
    feed = {
        value.name: np.full(
            (batch, context),
            {TOKENS: known - 1, TYPES: 0}.get(value.name, 1),
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in text.inputs
    }
    outputs = [output.name for output in text.model.graph.output]
    try:
        found = session.run(outputs, feed)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
        raise ExportError(
            f"tokenizer.json does not fit {text.path}, which fails on the last of its {known:,} tokens, {context} of "
            f"them ({reason_of(error)}); take both from one export"
        ) from error
    return {name: values.shape for name, values in zip(outputs, found, strict=True)}


def _choose(path: Path, shapes: Mapping[str, tuple[int, ...]], dim: int) -> str:
    """Return the output that embeds a text. Raises ExportError where there is none that fits the image half."""
    vectors = [name for name, shape in shapes.items() if len(shape) == 2]
    named = [name for wanted in EMBEDDINGS for name in vectors if name.lower() == wanted]
    chosen = named or vectors
    if not chosen or (not named and len(vectors) > 1):
        raise ExportError(f"{path} has no output that embeds a text, such as text_embeds: {', '.join(shapes)}")
    if (values := shapes[chosen[0]][1]) != dim:
        raise ExportError(
            f"{path} embeds a text as {values} values, the image half a photo as {dim}: they cannot be compared; take "
            "both from one export, with the projections"
        )
    return chosen[0]


def _wrapped(text: Network, output: str, spec: TextSpec) -> onnx.ModelProto:
    """Return the model: `tokens` and `mask` (n, length) in, `embedding` (n, dim) out. `text` is used up."""
    model = text.model
    types = {value.name: value.type.tensor_type.elem_type for value in text.inputs}
    prune(model.graph, [output])
    new = rename(model.graph, is_ours, THEIRS)
    graph = Graph(half=False, opset=text.opset)
    one = graph.constant("mask.one", np.array(1))
    zeros = graph.node("Sub", "tokens", "tokens", to="tokens.zeros")
    sources = {
        TOKENS: "tokens",
        TYPES: zeros,
        MASK: "mask" if spec.mask else graph.node("Add", zeros, one, to="mask.full"),
    }
    for name in [value.name for value in model.graph.input]:
        old = next((before for before, after in new.items() if after == name), name)
        if old in sources:
            graph.cast(sources[old], to=name, type=types[old])
    graph.nodes += model.graph.node
    graph.unit_length(graph.cast(new.get(output, output), to="embedding.float"), to="embedding")
    del model.graph.input[:], model.graph.output[:], model.graph.node[:]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.weights)
    length: int | str = spec.context if spec.fill else "length"
    for name in ("tokens", *(["mask"] if spec.mask else [])):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["n", length]))
    model.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", spec.dim]))
    return model
