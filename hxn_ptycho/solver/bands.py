"""Which rows of the object each rank's views touch: most need not travel between the ranks.

A scan whose slow axis is y gives each rank, which takes views one after the other, a band of the
object. Only where two bands overlap, by about a window, do two ranks have something to add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = tuple[int, int]


@dataclass(frozen=True)
class Bands:
    """Rows (first, one past the last) of the object, by rank.

    Attributes
    ----------
    touched : tuple of Rows
        That the rank's views see; (0, 0) where it has none.
    owned : tuple of Rows
        Which together are all rows, once each: that the rank answers for.
    why_not : str
        Why all rows of the object are to be added up instead; empty: bands will do.
    """

    touched: tuple[Rows, ...]
    owned: tuple[Rows, ...]
    why_not: str

    @classmethod
    def of(
        cls,
        positions: NDArray[np.int64],
        window: int,
        height: int,
        shares: Callable[[int], Rows],
        size: int,
    ) -> Bands:
        """Find the bands.

        Parameters
        ----------
        positions : ndarray (N, 2), int64
            Row and column of each window's [0, 0] pixel in the object, all views.
        window : int
        height : int
            Rows of the object.
        shares : callable
            Returns the first and one past the last view of a rank.
        size : int
            Number of ranks.
        """
        touched = []
        for rank in range(size):
            first, last = shares(rank)
            rows = positions[first:last, 0]
            touched.append((int(rows.min()), int(rows.max()) + window) if len(rows) else (0, 0))
        owned = [(0, 0)] * size
        order = sorted((rank for rank in range(size) if touched[rank][1]), key=touched.__getitem__)
        end = 0
        for rank in order:
            owned[rank] = (end, max(end, touched[rank][1]))
            end = owned[rank][1]
        if order:
            owned[order[-1]] = (owned[order[-1]][0], height)
        bands = cls(tuple(touched), tuple(owned), "")
        return cls(bands.touched, bands.owned, bands._obstacle(order, height))

    def rows(self, rank: int) -> Rows:
        """Return the rows that a rank works on: touched, or owned and touched by none."""
        first, last = self.touched[rank]
        begin, end = self.owned[rank]
        if not last:
            return begin, end
        return (min(first, begin), max(last, end)) if end > begin else (first, last)

    def shared(self, rank: int) -> list[tuple[int, Rows]]:
        """Return each other rank that touches rows that this one touches, and which."""
        found = []
        first, last = self.touched[rank]
        for other, (begin, end) in enumerate(self.touched):
            rows = max(first, begin), min(last, end)
            if other != rank and rows[0] < rows[1]:
                found.append((other, rows))
        return found

    def _obstacle(self, order: list[int], height: int) -> str:
        for one, two in pairwise(order):
            if self.touched[two][1] <= self.touched[one][1]:
                return f"rows of rank {two} are among those of rank {one}"
        for one, two in zip(order, order[2:], strict=False):
            if self.touched[two][0] < self.touched[one][1]:
                return f"three ranks see row {self.touched[two][0]}"
        most = max((_count(self.shared(rank)) for rank in order), default=0)
        if 2 * most > height:
            return f"{most} of {height} rows are shared"
        return ""


def _count(shared: list[tuple[int, Rows]]) -> int:
    return sum(last - first for _, (first, last) in shared)
