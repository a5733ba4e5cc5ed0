"""The photos that are nearest to each of some photos, by the bits in which their hashes differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE = np.uint8(255)


@dataclass(frozen=True, eq=False)
class Near:
    """Numbers (m, k) of photos, -1 where there are fewer than k, and how many bits differ (m, k)."""

    numbers: NDArray[np.int64]
    different: NDArray[np.uint8]

    @classmethod
    def nothing(cls, count: int, most: int) -> "Near":
        """Return what is found where nothing was looked for."""
        return cls(np.full((count, most), -1, dtype=np.int64), np.full((count, most), NONE))

    def put(self, rows: NDArray[np.int64] | NDArray[np.bool_], near: "Near") -> None:
        """Set what was found for some photos."""
        self.numbers[rows], self.different[rows] = near.numbers, near.different

    def only(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Near":
        """Return what was found for some photos."""
        return Near(self.numbers[rows], self.different[rows])

    def nearest(self, most: int) -> "Near":
        """Return each photo once, the nearest first: at most so many."""
        nearest = Near.nothing(len(self.numbers), most)
        for row, (numbers, different) in enumerate(zip(self.numbers, self.different, strict=True)):
            order = np.argsort(np.where(numbers < 0, NONE, different), kind="stable")
            order = order[numbers[order] >= 0]
            _, first = np.unique(numbers[order], return_index=True)
            best = order[np.sort(first)[:most]]
            nearest.numbers[row, : len(best)] = numbers[best]
            nearest.different[row, : len(best)] = different[best]
        return nearest

    def nearest_with(self, other: "Near") -> "Near":
        """Return the nearest of both, as many as there were."""
        both = Near(
            np.concatenate([self.numbers, other.numbers], axis=1),
            np.concatenate([self.different, other.different], axis=1),
        )
        return both.nearest(self.numbers.shape[1])
