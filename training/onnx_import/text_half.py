"""The text half of a network such as CLIP as a file of fc7's: tokens in, embeddings of unit length out."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from index.errors import ModelError, UserError
from retrieval.models.runtime import open_graph, reason_of
from retrieval.models.text import TextHalf, TextSpec, Tokens
from training.errors import ExportError
from training.export.model_file import write_proven
from training.export.onnx_graph import Graph
from training.onnx_import.find import candidates, choose
from training.onnx_import.graphs import inputs_of, prune, rename
from training.onnx_import.network_file import Network
from training.onnx_import.wrap import THEIRS, _is_ours

SCALE = 100.0
"""What CLIP multiplies cosines with: its logit_scale was clipped there (Radford et al. 2021), and reached it."""

TOKENS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"

ENDLESS = 100_000
"""Tokens from which on a tokenizer's model_max_length says that there is no limit."""

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
    inputs = {value.name: value for value in network.inputs}
    graph = network.model.graph
    outputs = [output.name for output in graph.output if TOKENS in inputs_of(graph, output.name, inputs)]
    outputs = [name for name in outputs if inputs_of(graph, name, inputs) <= {TOKENS, MASK, TYPES}]
    if TOKENS not in inputs or not outputs:
        raise ExportError(
            f"{network.path} is no text half: it takes {', '.join(inputs) or 'nothing'}, and not {TOKENS} alone, with "
            f"{MASK} or without; export it again"
        )
    batch, length = [dim.dim_value or None for dim in inputs[TOKENS].type.tensor_type.shape.dim]
    context = length or tokenizer.context
    if context is None:
        raise ExportError(
            f"how many tokens {network.path} reads is told nowhere; put tokenizer_config.json with model_max_length "
            "into the folder"
        )
    tokens = Tokens(tokenizer.json, context=context, pad=tokenizer.pad)
    output = _output(network, outputs, batch=batch or 1, context=context, dim=dim, known=tokens.count)
    takes_mask = MASK in inputs_of(graph, output, inputs)
    fill = bool(length) or tokenizer.fill or not takes_mask
    spec = TextSpec(
        model=model,
        dim=dim,
        context=context,
        pad=tokenizer.pad,
        fill=fill,
        mask=takes_mask and not tokenizer.fill,
        batches=batch is None,
        scale=scale or SCALE,
    )
    wrapped = _wrapped(network, output, spec, length=length, ones=takes_mask and tokenizer.fill)

    def prove(file: Path) -> None:
        half = TextHalf(file)
        together, apart = half.embed(PAIR), np.concatenate([half.embed([text]) for text in PAIR])
        difference = float(np.abs(together - apart).max())
        if not difference <= 1e-3 or np.allclose(apart[0], apart[1], atol=1e-6):
            raise ExportError(
                f"{network.path} does not tell texts apart, or embeds one otherwise beside another ({difference:.1e}); "
                "it is no text half that fc7 can use"
            )

    write_proven(wrapped, spec.to_metadata(tokenizer.json), out, prove=prove)
    return spec


def _output(network: Network, outputs: list[str], *, batch: int, context: int, dim: int, known: int) -> str:
    """Return the output that embeds a text, once the network was run on as many tokens as it reads.

    Raises ExportError where tokenizer or model do not fit.
    """
    session = open_graph(network.model.SerializeToString())
    found = None
    for token in (0, known - 1):
        feed: dict[str, NDArray[Any]] = {}
        for value in network.inputs:
            tensor = value.type.tensor_type
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            shape = [batch, context]
            if value.name not in (TOKENS, MASK, TYPES):
                shape = [dim.dim_value or 1 for dim in tensor.shape.dim]
            full = {TOKENS: token, TYPES: 0}.get(value.name, 1)
            feed[value.name] = np.full(shape, full, dtype)
        feed |= _any_picture(network, feed)
        try:
            found = session.run(outputs, feed)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
            raise ExportError(
                f"tokenizer.json does not fit {network.path}: it knows {known:,} tokens and gives {context} at most, and "
                f"the network fails on them ({reason_of(error)}); take both from one export"
            ) from error
    assert found is not None
    shapes = {name: values.shape for name, values in zip(outputs, found, strict=True)}
    # Without candidates: a projection at the end is part of a text half.
    del candidates, choose
    return ""


def _any_picture(network: Network, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {}
