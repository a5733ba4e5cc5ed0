"""What the shell completes after the Tab key: labels, indexes and models. Called by the options in commands/options.py.

Nothing here may fail or print: the user is in the middle of a line.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from index.errors import UserError

if TYPE_CHECKING:
    from retrieval.models.model import Model


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of the built-in and the imported models, and files."""
    from retrieval.models.model import BUILTIN_NAME, models_folder

    names = [str(BUILTIN_NAME)]
    with suppress(OSError):
        names += sorted(path.stem for path in models_folder().glob("*.onnx"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *found]


def complete_indexes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete folders that hold an index; where there is none, any folder."""
    place = os.path.expanduser(incomplete)
    begin, folder = os.path.basename(place), os.path.dirname(place)
    shown = incomplete[: len(incomplete) - len(begin)]
    found = []
    with suppress(OSError):
        found = [
            CompletionItem(shown + entry.name)
            for entry in sorted(os.scandir(folder or os.curdir), key=lambda entry: entry.name)
            if entry.name.startswith(begin) and os.path.isfile(os.path.join(entry.path, "catalog.db"))
        ]
    return [CompletionItem(incomplete, type="dir"), *found]


def complete_labels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the words that mean classes of the model: that of -m, or that of the index; `_` stands for a space."""
    from retrieval.searching.labels import label_words

    with suppress(UserError, OSError):
        return [CompletionItem(word) for word in label_words(_model_of(context).spec, incomplete)]
    return []


def _model_of(context: click.Context) -> "Model":
    """Load the model that the command would take: that of -m, of the index, or where there is none the built-in one."""
    from commands.options import cache_folder, default_index
    from retrieval.indexing.model_of_index import load_index_model

    named, index = (context.params.get(name) or os.environ.get(f"FC7_{name.upper()}") for name in ("model", "index"))
    if index and str(index).startswith("milvus+") and not named:
        raise UserError("the Tab key waits for no server")
    place = Path(str(index)) if index else default_index()
    model = Path(named) if named else None
    return load_index_model(place, model, device="cpu", begin=True, fast_start=True, cache=cache_folder())
