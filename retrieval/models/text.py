"""The text half of a model such as CLIP: words in, embeddings out that are compared with those of photos.

It is a file of its own, NAME.text.onnx beside NAME.onnx, so that whoever searches by photos never loads it. Its
tokenizer is in its metadata.
"""

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError, ModelError, UserError
from retrieval.models.runtime import open_session
from retrieval.models.spec import ModelSpec

KEY = "fc7.text"
TOKENIZER_KEY = "fc7.tokenizer"

FORMAT_VERSION = 1
"""Raised when a reader of the old format would use a new file wrongly."""

BATCH = 32
"""Texts that are embedded together."""


@dataclass(frozen=True)
class TextSpec:
    """What the file of a text half says of itself, kept in its ONNX metadata as JSON."""

    model: str
    """The fingerprint of the model whose photos it goes with."""
    dim: int
    context: int
    """Tokens that it reads; what is longer is cut off."""
    pad: int
    """The token that fills up a text."""
    fill: bool
    """Whether every text is filled up to `context`, as SigLIP wants it; otherwise to the longest beside it."""
    mask: bool
    """Whether it takes the input `mask` too, which is 1 where there is text."""
    batches: bool
    """Whether it takes several texts together."""
    scale: float
    """What cosines are multiplied with before the softmax, where labels are compared: exp of CLIP's `logit_scale`."""
    format_version: int = FORMAT_VERSION

    def to_metadata(self, tokenizer: str) -> dict[str, str]:
        """Return the entries of ONNX `metadata_props`; `tokenizer` is the content of tokenizer.json."""
        return {KEY: json.dumps(asdict(self)), TOKENIZER_KEY: tokenizer}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, path: Path) -> "TextSpec":
        """Read it back. Raises ModelError."""
        try:
            values = json.loads(metadata[KEY])
            spec = cls(**{key: values[key] for key in values if key in cls.__dataclass_fields__})
            newer = spec.format_version > FORMAT_VERSION
        except (KeyError, TypeError, ValueError):
            raise ModelError(f"{path} is no text half of a model", hint="make it again with `fc7 import`") from None
        if newer:
            raise ModelError(
                f"{path} has format {spec.format_version} of text halves, this fc7 reads up to {FORMAT_VERSION}",
                hint="upgrade it with `pip install --upgrade fc7`",
            )
        return spec


def require_tokenizers() -> None:
    """Raise MissingPackageError where tokenizers is not installed, without loading it."""
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingPackageError("text needs the package tokenizers, which is not installed: pip install 'fc7[text]'")


class Tokens:
    """A tokenizer: texts as numbers of the tokens that a network knows. Needs the package tokenizers."""

    def __init__(self, tokenizer: str, *, context: int, pad: int) -> None:
        """`tokenizer` is the content of tokenizer.json. Raises MissingPackageError, and ModelError for what is none."""
        require_tokenizers()
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # tokenizers raises nothing more exact
            raise ModelError(f"its tokenizer.json is damaged, or of a kind unknown to tokenizers ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(context)
        self._context, self._pad = context, pad

    @property
    def count(self) -> int:
        """How many tokens it knows, those that were added among them."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    def __call__(self, texts: Sequence[str], *, fill: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tokens of texts (n, length), and 1 where there are such, 0 where it was filled up."""
        found = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        length = self._context if fill else max(map(len, found))
        tokens = np.full((len(found), length), self._pad, np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(found):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        return tokens, mask


class TextHalf:
    """The file of a text half; opened when the first words come."""

    def __init__(self, path: Path, *, fingerprint: str | None = None, cache: Path | None = None) -> None:
        """`fingerprint` is that of the model that it must go with; `cache` is as for `Model.load`."""
        self.path = path
        self._fingerprint, self._cache = fingerprint, cache

    @classmethod
    def beside(cls, model: Path, spec: ModelSpec, *, cache: Path | None = None) -> "TextHalf":
        """Return the text half of a model file. Raises ModelError where it is not there."""
        half = cls(text_file(model), fingerprint=spec.fingerprint, cache=cache)
        if not os.path.isfile(half.path):
            raise ModelError(
                f"{half.path} is not there, the text half of {spec.name}",
                hint=f"copy it there too, or import the model again: `fc7 import DIR --name {spec.name}`",
            )
        return half

    @cached_property
    def _session(self) -> Any:
        return open_session(self.path, device="cpu", fast_start=True, cache=self._cache)

    @cached_property
    def spec(self) -> TextSpec:
        """What its file says of itself. Raises ModelError."""
        spec = TextSpec.from_metadata(self._metadata, path=self.path)
        if self._fingerprint not in (None, spec.model):
            raise ModelError(
                f"{self.path} is the text half of another model than the one beside it",
                hint="import the model again with `fc7 import`",
            )
        return spec

    @property
    def _metadata(self) -> dict[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._metadata[TOKENIZER_KEY], context=self.spec.context, pad=self.spec.pad)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings (n, dim) of texts, each of unit length.

        Raises ModelError (damaged file), MissingPackageError (no tokenizers) and UserError for a text without words.
        """
        spec = self.spec
        for text in texts:
            if not text.strip():
                raise UserError("there are no words to look for; is a variable of the shell not set?")
        size = BATCH if spec.batches else 1
        parts = [self._run(texts[start : start + size]) for start in range(0, len(texts), size)]
        return np.concatenate([np.empty((0, spec.dim), np.float32), *parts])

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens, mask = self._tokens(texts, fill=self.spec.fill)
        [embeddings] = self._session.run(["embedding"], {"tokens": tokens} | ({"mask": mask} if self.spec.mask else {}))
        found: NDArray[np.float32] = embeddings
        return found


def text_file(model: Path) -> Path:
    """Return where the text half of a model file lies."""
    return model.with_name(f"{model.name.removesuffix('.onnx')}.text.onnx")
