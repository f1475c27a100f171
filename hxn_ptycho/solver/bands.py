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
    zones : tuple of Rows
        That two ranks or more see, of the whole object: only these need to be added up.
    why_not : str
        Why all rows of the object are to be added up instead; empty: bands will do.
    """

    touched: tuple[Rows, ...]
    owned: tuple[Rows, ...]
    zones: tuple[Rows, ...]
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
        seen = np.zeros(height, np.int64)
        for first, last in touched:
            seen[first:last] += 1
        zones = _intervals(seen >= 2)
        return cls(tuple(touched), tuple(owned), zones, _obstacle(touched, order, zones, height))

    def rows(self, rank: int) -> Rows:
        """Return the rows that a rank works on: touched, or owned and touched by none."""
        first, last = self.touched[rank]
        begin, end = self.owned[rank]
        if not last:
            return begin, end
        return (min(first, begin), max(last, end)) if end > begin else (first, last)


def _intervals(where: NDArray[np.bool_]) -> tuple[Rows, ...]:
    """Return the rows (first, one past the last) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]])))
    return tuple((int(first), int(last)) for first, last in edges.reshape(-1, 2))


def _obstacle(touched: list[Rows], order: list[int], zones: tuple[Rows, ...], height: int) -> str:
    for one, two in pairwise(order):
        if touched[two][1] <= touched[one][1]:
            return f"rows of rank {two} are among those of rank {one}"
    shared = sum(last - first for first, last in zones)
    if 2 * shared > height:
        return f"several ranks see {shared} of {height} rows"
    return ""
