"""The options that name models and how they run; a command is called with the loaded `model` instead.

Whatever is heavy is imported inside, as in commands/options.py.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from commands.interrupt import starting
from commands.options import MOST_THREADS, Command, cache_folder, completed_by, device_option, index_option
from commands.parameter_types import PATH

FEW = 8
"""Photos that take less time than loading a model for many."""


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
        shell_complete=completed_by("complete_models"),
    )


def resize_options(*, resize: str, mode: str) -> Callable[[Command], Command]:
    """Add --resize and --resize-mode, what of a picture a model sees; without them it is as `resize`, `mode` say."""

    def with_options(command: Command) -> Command:
        command = click.option(
            "--resize-mode",
            type=click.Choice(["crop", "trim", "squash"]),
            show_default=mode,
            help="Take the middle square of a picture; or its middle, at most 5:4, or all of it, made a square.",
        )(command)
        return click.option(
            "--resize",
            metavar="PIXELS",
            type=click.IntRange(min=1),
            show_default=resize,
            help="Pixels that the shorter side of a picture is brought to, before its middle is cut out.",
        )(command)

    return with_options


def are_few(photos: Sequence[Path]) -> bool:
    """Whether there are so few photos that loading a model quickly saves more time than running it quickly."""
    return len(photos) <= FEW and not any(os.path.isdir(photo) for photo in photos)


def threads_or_default(threads: int | None, *, few: bool) -> int | None:
    """Return the threads that a batch is computed on, None for one a core.

    Without --threads it is one thread, because batches are computed in parallel; a few photos are one batch, which has
    all cores.
    """
    return threads if threads or few else 1


def model_options(command: Command) -> Command:
    """Add -m, --device and --threads; the command, which has `photos`, is called with the loaded `model` instead."""

    @model_option("Model file (.onnx), builtin, or the name of an imported one.")
    @device_option
    @threads_option(few=True)
    @functools.wraps(command)
    def with_model(*args: Any, model: Path | None, device: Any, threads: int | None, **options: Any) -> Any:
        with starting():
            from retrieval.models.model import Model

            few = are_few(options["photos"])
            threads = threads_or_default(threads, few=few)
            loaded = Model.load(model, device=device, threads=threads, fast_start=few, cache=cache_folder())
        return command(*args, model=loaded, **options)

    return with_model


def ensemble_options(*, few: bool) -> Callable[[Command], Command]:
    """As `model_options`, for commands that can average over several models and over crops.

    `few`: the command has `photos`, which may be few.
    """

    def add(command: Command) -> Command:
        @model_option(
            "Model file (.onnx), builtin, or the name of an imported one; several are averaged.", several=True
        )
        @click.option(
            "--crops", type=click.Choice([1, 10]), default=1, help="Crops to average over, or the middle alone."
        )
        @device_option
        @threads_option(few=few)
        @functools.wraps(command)
        def with_ensemble(
            *args: Any, model: Sequence[Path], crops: Any, device: Any, threads: int | None, **options: Any
        ) -> Any:
            with starting():
                from retrieval.indexing.model_of_index import index_model_file
                from retrieval.models.ensemble import Ensemble

                if not model and (index := options.get("index")) is not None:
                    model = index_model_file(index)
                fast_start = few and are_few(options["photos"])
                threads = threads_or_default(threads, few=fast_start)
                loaded = Ensemble.load(
                    model, crops=crops, device=device, threads=threads, fast_start=fast_start, cache=cache_folder()
                )
            return command(*args, model=loaded, **options)

        return with_ensemble

    return add


def index_model_options(
    *, few: bool = False, begins: bool = False, remote: bool = False
) -> Callable[[Command], Command]:
    """As `model_options`, and --index; where no model is named it is the one that the index was made with.

    `few`: the command has a `query`, whose photos may be few. `begins`: it has `folders` and `rebuild`, and can make a
    new index. `remote`: the index can be in Milvus.
    """

    default = "that of the index, or the built-in one for a new index" if begins else "that of the index"

    def add(command: Command) -> Command:
        @model_option("Model file (.onnx), builtin, or the name of an imported one.", default=default)
        @device_option
        @threads_option(few=few)
        @functools.partial(index_option, remote=remote)
        @functools.wraps(command)
        def with_model(
            *args: Any, model: Path | None, device: Any, threads: int | None, index: Any, **options: Any
        ) -> Any:
            with starting():
                from retrieval.indexing.model_of_index import load_index_model

                fast_start = few and are_few(options["query"].photos)
                loaded = load_index_model(
                    index,
                    model,
                    begin=begins and bool(options["folders"]),
                    rebuild=begins and options["rebuild"],
                    device=device,
                    threads=threads_or_default(threads, few=fast_start),
                    fast_start=fast_start,
                    cache=cache_folder(),
                )
            return command(*args, model=loaded, index=index, **options)

        return with_model

    return add
