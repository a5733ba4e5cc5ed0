"""Places in the plane as cells of a grid, of which each holds one photo: so none covers another."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FILLED = 0.75
"""Share of the cells that are taken: what is free keeps regions apart."""
ASPECT = 4 / 3


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells (n, 2) of n photos as column and row, all different, in a grid of so many columns and rows."""

    cells: NDArray[np.int64]
    columns: int
    rows: int


def to_grid(places: NDArray[np.float32]) -> Grid:
    """Give each of the places (n, 2), which lie between 0 and 1, the nearest cell that is free.

    Those in the middle choose first, so that where it is crowded photos move outwards, and keep their order. The
    result depends on nothing but the places. Columns and rows at the edge that stay empty are left out.
    """
    count = len(places)
    if not count:
        return Grid(np.zeros((0, 2), np.int64), 0, 0)
    columns = math.ceil(math.sqrt(count / FILLED * ASPECT))
    rows = math.ceil(count / FILLED / columns)
    wanted = places.astype(np.float64) * [columns, rows] - 0.5
    order = np.argsort(((wanted - wanted.mean(axis=0)) ** 2).sum(axis=1), kind="stable")
    free = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    cells = np.zeros((count, 2), np.int64)
    is_free = np.ones(len(free), bool)
    for place in order:
        apart = ((free - wanted[place]) ** 2).sum(axis=1)
        apart[~is_free] = np.inf
        nearest = int(apart.argmin())
        cells[place], is_free[nearest] = free[nearest], False
    cells -= cells.min(axis=0)
    columns, rows = (cells.max(axis=0) + 1).tolist()
    return Grid(cells, columns, rows)
