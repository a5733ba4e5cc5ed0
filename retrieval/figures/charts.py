"""Charts of training runs, drawn by matplotlib: curves by epoch, and the confusion matrix."""

import csv
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from index.errors import MissingPackageError, UserError
from index.files import output_file
from retrieval.figures.canvas import PLAIN, Look
from retrieval.figures.drawing import check_suffix, drawn_exif
from retrieval.figures.style import BLUE, SERIES, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS, CONFUSION = "metrics.csv", "confusion.csv"
"""Tables that a run leaves in its folder (training/loop/run_folder.py)."""
CURVES = ("epoch", "train_loss", "validation_loss", "train_top1", "validation_top1", "validation_top5")
"""Columns of the first that are drawn."""
NAMED = 40
"""So many classes have room for their names."""
PALE_BLUE = "#9ecbf5"
DOTS = 150


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches. Raises MissingPackageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError(
            "charts need matplotlib, which is not installed: pip install 'fc7[figures]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_curves(runs: Sequence[Path], look: Look = PLAIN) -> "Figure":
    """Draw loss and accuracy of runs by epoch. Raises UserError where a folder holds no run."""
    tables = [(run.name or str(run.resolve().name), _metrics(run)) for run in runs]
    figure = new_figure(10, 4)
    loss, accuracy = figure.subplots(1, 2)
    colours = (BLUE, look.theme.accent, *SERIES[2:])
    for number, (name, table) in enumerate(tables):
        colour = colours[number % len(colours)]
        marker = "o" if len(table["epoch"]) == 1 else None
        head = f"{name}: " if len(tables) > 1 else ""
        loss.plot(table["epoch"], table["train_loss"], "--", color=colour, label=f"{head}training", marker=marker)
        loss.plot(table["epoch"], table["validation_loss"], color=colour, label=f"{head}validation", marker=marker)
        for column, line, told in (("train_top1", "--", "training"), ("validation_top1", "-", "validation")):
            values = [100 * value for value in table[column]]
            accuracy.plot(table["epoch"], values, line, color=colour, label=f"{head}{told}", marker=marker)
        if not tables[1:]:
            values = [100 * value for value in table["validation_top5"]]
            accuracy.plot(table["epoch"], values, ":", color=colour, label="validation, top 5", marker=marker)
    for axes, told in ((loss, "loss"), (accuracy, "top-1 accuracy, %")):
        axes.set_xlabel("epoch")
        axes.set_title(told, loc="left")
        axes.grid(color=look.theme.line, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor=look.theme.ink)
        axes.xaxis.get_major_locator().set_params(integer=True)
    _colour(figure, look.theme)
    return figure


def _colour(figure: "Figure", theme: Theme) -> None:
    """Give all that matplotlib draws in black on white the colours of a theme."""
    figure.set_facecolor(theme.paper)
    axes: Any
    for axes in figure.axes:
        axes.set_facecolor(theme.paper)
        axes.tick_params(colors=theme.ink)
        axes.spines[:].set_color(theme.grey)
        for text in (axes._left_title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(theme.ink)


def _metrics(run: Path) -> dict[str, list[float]]:
    rows = _table(run / METRICS)
    if len(rows) < 2:
        raise UserError(f"the run in {run} has no whole epoch yet; draw its curves later")
    try:
        columns = {name: rows[0].index(name) for name in CURVES}
        return {name: [float(row[column]) for row in rows[1:]] for name, column in columns.items()}
    except (ValueError, IndexError):
        raise UserError(
            f"{run / METRICS} is damaged, or another program's: it has no numbers in the columns {', '.join(CURVES)}"
        ) from None


def draw_confusion(run: Path, look: Look = PLAIN) -> "Figure":
    """Draw the confusion matrix of a run: of the pictures of each class, which shares were taken for which class.

    Raises UserError where the folder holds none, as before the run has ended.
    """
    rows = _table(run / CONFUSION)
    try:
        names = [row[0] for row in rows[1:]]
        counts = np.array([[int(value) for value in row[1:]] for row in rows[1:]], float)
        if counts.shape != (len(names), len(names)) or not names:
            raise ValueError
    except (ValueError, IndexError):
        raise UserError(f"{run / CONFUSION} is damaged: it is no table of counts with a line for each class") from None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= NAMED
    size = min(max(5.0, 0.28 * len(names) + 2.5), 13.0) if named else 9.0
    figure = new_figure(size + 1, size)
    axes = figure.subplots()
    from matplotlib.colors import LinearSegmentedColormap

    theme, warm = look.theme, PALE_BLUE if look.dark else BLUE
    scale = LinearSegmentedColormap.from_list("shares", [theme.paper, warm])
    picture = axes.imshow(100 * shares, cmap=scale, vmin=0, vmax=100, interpolation="nearest")
    places = range(len(names)) if named else []
    short = [name if len(name) <= 24 else f"{name[:12]}…{name[-11:]}" for name in names]
    axes.set_xticks(places, short if named else [], rotation=90)
    axes.set_yticks(places, short if named else [])
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    right = counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{run.name}: {len(names)} classes, {right:.1%} right", loc="left")
    if len(names) <= 12:
        for row, column in np.argwhere(counts > 0):
            colour = theme.paper if shares[row, column] > 0.5 else theme.ink
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    bar = figure.colorbar(picture, ax=axes, label="% of the class", shrink=0.8)
    bar.outline.set_edgecolor(theme.grey)
    _colour(figure, theme)
    return figure


def _table(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.reader(file))
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UserError(
            f"{path} cannot be read ({(reason or str(error)).lower()})",
            hint="name the folder of a run, which `fc7 train` made",
        ) from error


def save_figure(figure: "Figure", path: Path, look: Look = PLAIN) -> None:
    """Write a figure. Raises OptionError for an unknown suffix, UserError where the file cannot be written."""
    check_suffix(path)
    data, format = BytesIO(), path.suffix.lower()[1:]
    marked = {} if format == "pdf" else {"exif": drawn_exif()}
    figure.savefig(data, format=format, dpi=DOTS * look.scale, pil_kwargs=marked)
    with output_file(path) as file:
        file.write(data.getvalue())
