"""The options that name models and how they run; a command is called with the loaded `model` in their stead.

Whatever is heavy is imported inside, as in commands/options.py.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import click

from commands.options import MOST_THREADS, PATH, Command, cache_folder, device_option, index_option
from commands.output import starting

FEW = 8
"""Photos that take less time than loading a model for many."""


def may_get_few(command: Command) -> bool:
    """Whether a command is given photos one by one, which can be few, and not only folders of them."""
    return not inspect.signature(command).parameters.keys().isdisjoint(("photos", "query"))


def may_begin(command: Command) -> bool:
    """Whether a command is given folders, without which there is nothing to begin an index with."""
    return "folders" in inspect.signature(command).parameters


def threads_option(*, few: bool) -> Callable[[Command], Command]:
    return click.option(
        "--threads",
        type=click.IntRange(1, MOST_THREADS),
        show_default="1, a batch on each core" + (f"; all for up to {FEW} photos" if few else ""),
        help="Threads that a batch is computed on.",
    )


def model_option(
    help: str, *, several: bool = False, default: str = "the built-in one"
) -> Callable[[Command], Command]:
    return click.option(
        "-m",
        "--model",
        multiple=several,
        type=PATH,
        envvar="FC7_MODEL",
        show_envvar=True,
        show_default=default,
        help=help,
    )


@contextmanager
def while_loading() -> Iterator[None]:
    """While a model is loaded, import in a thread what commands need beside: loading leaves the GIL to others."""

    def load() -> None:
        import commands.formats
        import commands.progress_bar  # noqa: F401
        from retrieval.photos.decode import load_decoders

        load_decoders()

    thread = Thread(target=load, name="fc7-imports")
    with starting():
        thread.start()
        try:
            yield
        finally:
            thread.join()  # Python cannot end well either while it imports


def are_few(photos: Sequence[Path]) -> bool:
    """Whether a model is worth more the sooner it is loaded."""
    return len(photos) <= FEW and not any(os.path.isdir(photo) for photo in photos)


def threads_or_default(threads: int | None, *, few: bool) -> int | None:
    """Return the threads for a batch: without --threads one, for batches are computed side by side, but all for a few.

    None stands for all cores.
    """
    return threads if threads or few else 1


def model_options(command: Command) -> Command:
    """Add -m, --device and --threads; the command is called with the loaded `model` in their stead."""

    @model_option("Model file (.onnx), builtin, or the name of an imported one.")
    @device_option
    @threads_option(few=may_get_few(command))
    @functools.wraps(command)
    def with_model(*args: Any, model: Path | None, device: Any, threads: int | None, **options: Any) -> Any:
        with while_loading():
            from retrieval.models.model import Model

            few = are_few(options["photos"])
            threads = threads_or_default(threads, few=few)
            loaded = Model.load(model, device=device, threads=threads, few=few, cache=cache_folder())
        return command(*args, model=loaded, **options)

    return with_model


def ensemble_options(command: Command) -> Command:
    """As `model_options`, for commands that can average over several models and over crops."""

    @model_option("Model file (.onnx), builtin, or the name of an imported one; several are averaged.", several=True)
    @click.option("--crops", type=click.Choice([1, 10]), default=1, help="Crops to average over, or the middle alone.")
    @device_option
    @threads_option(few=may_get_few(command))
    @functools.wraps(command)
    def with_ensemble(
        *args: Any, model: Sequence[Path], crops: Any, device: Any, threads: int | None, **options: Any
    ) -> Any:
        with while_loading():
            from retrieval.models.ensemble import Ensemble

            few = "photos" in options and are_few(options["photos"])
            threads = threads_or_default(threads, few=few)
            loaded = Ensemble.load(model, crops=crops, device=device, threads=threads, few=few, cache=cache_folder())
        return command(*args, model=loaded, **options)

    return with_ensemble


def index_model_options(command: Command) -> Command:
    """As `model_options`, and --index; where no model is named it is the one that the index was made with."""

    begins = ", or the built-in one for a new index" if may_begin(command) else ""

    @model_option("Model file (.onnx), builtin, or the name of an imported one.", default=f"that of the index{begins}")
    @device_option
    @threads_option(few=may_get_few(command))
    @index_option
    @functools.wraps(command)
    def with_model(
        *args: Any, model: Path | None, device: Any, threads: int | None, index: Path, **options: Any
    ) -> Any:
        with while_loading():
            from retrieval.indexing.model_of_index import load_index_model

            few = "query" in options and are_few(options["query"].photos)
            loaded = load_index_model(
                index,
                model,
                begin=bool(options.get("folders")),
                anew=options.get("rebuild", False),
                device=device,
                threads=threads_or_default(threads, few=few),
                few=few,
                cache=cache_folder(),
            )
        return command(*args, model=loaded, index=index, **options)

    return with_model
