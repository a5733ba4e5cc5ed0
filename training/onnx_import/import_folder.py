"""`fc7 import DIR`: the folder of a transformers-style ONNX export, of CLIP, SigLIP or an image network alone."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import numpy_helper

from retrieval.models.runtime import require_onnxruntime
from retrieval.models.spec import ClassName
from retrieval.models.text import TextHalf, text_file
from retrieval.models.zero_shot import PROMPT, embed_labels
from training.errors import ExportError
from training.export.model_file import check_place
from training.onnx_import.import_network import (
    Imported,
    Tensors,
    check_same,
    decide,
    notes_on,
    specify,
    write_wrapped,
)
from training.onnx_import.network_file import Network, read_network
from training.onnx_import.preparation import Wishes, read_preprocessor
from training.onnx_import.text_half import read_tokenizer, write_text_half
from training.onnx_import.wrap import WordClasses

IMAGE_FILES = ("vision_model", "visual", "model")
TEXT_FILES = ("text_model", "textual")
"""What the files of the halves are called, in the folder or in `onnx` below it; a joint model has both halves."""


def import_folder(
    folder: Path,
    out: Path,
    *,
    wishes: Wishes,
    tensors: Tensors | None = None,
    classes: Sequence[ClassName] = (),
    prompt: str = PROMPT,
    name: str | None = None,
    keep_other: bool = False,
    licence: str = "",
) -> Imported:
    """Write the model file of the image half, and beside it that of the text half where there is one.

    What `wishes` does not say comes from preprocessor_config.json. Of a network with a text half, `classes` are words,
    each put into `prompt`, and their probabilities a softmax of scaled cosines; of another one they are the names of
    its own. Raises as `import_network`, and MissingPackageError without tokenizers.
    """
    require_onnxruntime()
    check_place(out)
    image_path = _find(folder, IMAGE_FILES)
    if image_path is None:
        raise ExportError(
            f"{folder} is no export of an image network: there is no vision_model.onnx or model.onnx in it or in "
            f"{folder / 'onnx'}"
        )
    network = read_network(image_path)
    text_path = _find(folder, TEXT_FILES)
    if text_path is None and image_path.name.startswith("model") and _takes_text(network):
        text_path = image_path
    words = text_path is not None
    wishes = _filled(wishes, folder)
    wrapping = decide(network, wishes=wishes, tensors=tensors or Tensors(), classes=0 if words else len(classes))
    spec = specify(wrapping, name or out.stem, classes, text=words)
    spec = replace(spec, licence=licence)
    if keep_other:
        check_same(out, spec)
    notes = notes_on(wrapping, spec)
    if text_path is None:
        write_wrapped(wrapping, spec, out)
        return Imported(spec, notes)
    text_network = network if text_path == image_path else read_network(text_path)
    place = text_file(out)
    part = place.with_name(f".{place.name.removesuffix('.onnx')}.part.onnx")
    try:
        text_spec = write_text_half(
            text_network, read_tokenizer(folder), part, model=spec.fingerprint, dim=spec.dim, scale=_scale(text_network)
        )
        if classes:
            embeddings = embed_labels(TextHalf(part), [known.name for known in classes], prompt=prompt)
            wrapping = replace(wrapping, words=WordClasses(embeddings, text_spec.scale), classes=len(classes))
        write_wrapped(wrapping, spec, out)
        part.replace(place)
    except OSError as error:
        raise ExportError(f"{place} could not be written ({error.strerror or error}); choose another place") from error
    finally:
        part.unlink(missing_ok=True)
    return Imported(spec, (*notes, f"its text half reads {text_spec.context} tokens: {place}"))


def _find(folder: Path, stems: Sequence[str]) -> Path | None:
    """Return the file of one half. Raises ExportError where there are several, of different precision."""
    if not os.path.isdir(folder):
        raise ExportError(f"there is no folder {folder}; name that of an ONNX export")
    for stem in stems:
        for place in (folder, folder / "onnx"):
            if os.path.isfile(place / f"{stem}.onnx"):
                return place / f"{stem}.onnx"
        others = sorted(path for place in (folder, folder / "onnx") for path in place.glob(f"{stem}_*.onnx"))
        if len(others) > 1:
            raise ExportError(
                f"{folder} has {len(others)} files of one half, {', '.join(path.name for path in others)}; "
                f"leave one of them in it, or call one {stem}.onnx"
            )
        if others:
            return others[0]
    return None


def _takes_text(network: Network) -> bool:
    return any(value.name == "input_ids" for value in network.inputs)


def _filled(wishes: Wishes, folder: Path) -> Wishes:
    """Return what the user says of the preparation, and for the rest what the folder says."""
    given = {key: value for key, value in wishes.__dict__.items() if value}
    path = folder / "preprocessor_config.json"
    if wishes.preset is not None and not os.path.isfile(path):
        return wishes
    found = read_preprocessor(path)
    if wishes.preset is not None:
        found = replace(found, mean=None, std=None, scale=None)
    return replace(found, **given)


def _scale(network: Network) -> float | None:
    """Return what a joint model multiplies cosines with, None where the file does not tell."""
    for weight in network.model.graph.initializer:
        if weight.name.endswith("logit_scale"):
            return float(np.exp(numpy_helper.to_array(weight)).reshape(()))
    return None
