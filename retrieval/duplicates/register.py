"""Lays one picture over another: finds the affine map between two thumbnails that shows the same in both.

Pictures are grey values (n, side, side). A map P (n, 2, 3) takes places (x, y, 1) of the target, from -1 at the left or
top edge to 1 at the other, to places of the source. It is improved by least squares, as by Lucas and Kanade (1981), in
the inverse compositional form of Baker and Matthews (2004), in which the derivatives are those of the target and are
computed once.
"""

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]

# Of the target must lie inside the source, or nothing is said of the two.
LEAST_OVERLAP = 0.6
# Keeps the least squares solvable where a picture has nothing in it, as Levenberg and Marquardt did.
DAMPING = 1e-3


def window_maps(down: NDArray[np.float64], across: NDArray[np.float64]) -> Pictures:
    """Make maps (n, 2, 3) from windows of the source: rows (start, share) (n, 2) of its height and of its width."""
    maps = np.zeros((len(down), 2, 3), dtype=np.float32)
    for axis, window in enumerate((across, down)):
        maps[:, axis, axis] = window[:, 1]
        maps[:, axis, 2] = 2 * window[:, 0] + window[:, 1] - 1
    return maps


def sample(source: Pictures, maps: Pictures, side: int) -> tuple[Pictures, NDArray[np.bool_]]:
    """Show sources (n, s, s) as maps (n, 2, 3) have them, (n, side, side), and tell which pixels lie inside them."""
    count, size, _ = source.shape
    at = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    x, y = (
        maps[:, axis, 0, None, None] * at + maps[:, axis, 1, None, None] * at[:, None] + maps[:, axis, 2, None, None]
        for axis in (0, 1)
    )
    inside = (np.abs(x) <= 1) & (np.abs(y) <= 1)
    x, y = (((place + 1) * (size / 2) - 0.5).clip(0, size - 1.001) for place in (x, y))
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    first = np.arange(count, dtype=np.int32)[:, None, None] * size**2 + row * size + column
    values = source.reshape(-1)
    upper = values[first] * (1 - x) + values[first + 1] * x
    lower = values[first + size] * (1 - x) + values[first + size + 1] * x
    return upper * (1 - y) + lower * y, inside


def correlation(one: Pictures, other: Pictures, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Correlate pictures (n, s, s) where they are inside: n values, -1 where they overlap too little."""
    found, *_ = _correlate(one, other, inside)
    return found


def register(source: Pictures, target: Pictures, maps: Pictures, rounds: int) -> tuple[Pictures, NDArray[np.float32]]:
    """Improve maps (n, 2, 3) between pictures (n, s, s): the best maps of all rounds, and the correlations (n,)."""
    count, side, _ = target.shape
    down, across = (slope * np.float32(side / 2) for slope in np.gradient(target, axis=(1, 2)))
    at = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    x, y = at[None, None, :], at[None, :, None]
    slopes = np.stack([across * x, across * y, across, down * x, down * y, down], axis=1).reshape(count, 6, -1)
    square = _square(slopes)
    best, best_maps = np.full(count, -2, dtype=np.float32), maps
    for left in range(rounds, -1, -1):
        shown, inside = sample(source, maps, side)
        found, one, other, scale = _correlate(shown, target, inside)
        better = found > best
        best, best_maps = np.where(better, found, best), np.where(better[:, None, None], maps, best_maps)
        if not left:
            break
        error = (one * scale[:, None, None] - other).reshape(count, -1, 1)
        # What is outside has no error, and only where there is some, the slopes that count are not all of them.
        partly = np.flatnonzero(~inside.all(axis=(1, 2)))
        now = square.copy()
        now[partly] = _square(slopes[partly] * inside.reshape(count, 1, -1)[partly])
        step = np.linalg.solve(now, slopes @ error).reshape(count, 2, 3)
        maps = _after(maps, step)
    return best_maps, best


def _square(slopes: Pictures) -> Pictures:
    """Multiply slopes (n, 6, pixels) with each other, for least squares that can be solved: (n, 6, 6)."""
    square = slopes @ slopes.swapaxes(1, 2)
    size = np.trace(square, axis1=1, axis2=2)[:, None, None] / 6
    square += np.eye(6, dtype=np.float32) * (DAMPING * size + DAMPING)
    return square


def _after(maps: Pictures, step: Pictures) -> Pictures:
    """Put the inverse of a step, which is what the identity is changed by, before each map."""
    both = np.zeros((2, len(maps), 3, 3), dtype=np.float32)
    both[0, :, :2], both[1, :, :2] = maps, step
    both[0, :, 2, 2] = 1
    both[1] += np.eye(3, dtype=np.float32)
    # A step that turns a picture into a line has no inverse, and leads nowhere.
    singular = np.abs(np.linalg.det(both[1])) < 0.1
    both[1, singular] = np.eye(3, dtype=np.float32)
    changed: Pictures = (both[0] @ np.linalg.inv(both[1]))[:, :2]
    return changed


def _correlate(
    one: Pictures, other: Pictures, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], Pictures, Pictures, NDArray[np.float32]]:
    """Correlate; return also both without their means, and what gives the first the contrast of the other."""
    mask = inside.astype(np.float32)
    area = np.maximum(mask.sum((1, 2)), 1)
    parts = [(picture - ((picture * mask).sum((1, 2)) / area)[:, None, None]) * mask for picture in (one, other)]
    contrasts = [np.sqrt((part**2).sum((1, 2))) for part in parts]
    found = (parts[0] * parts[1]).sum((1, 2)) / np.maximum(contrasts[0] * contrasts[1], 1e-3 * area)
    enough = area >= LEAST_OVERLAP * inside[0].size
    return np.where(enough, found, -1), parts[0], parts[1], contrasts[1] / np.maximum(contrasts[0], 1e-3)
