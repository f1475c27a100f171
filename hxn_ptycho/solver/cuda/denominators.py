"""The denominators of eqs. (5) and (6), gathered: no atomics on the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..units import common
from .gpu import DeviceArray, Gpu

BLOCK, TILE = 256, 32  # of common.cu


class Denominators:
    """Sums of windows over this rank's views.

    Parameters
    ----------
    gpu : Gpu
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object.
    window : int
    object_shape : (int, int)
    double : bool
    rows : (int, int)
        Rows (first, one past the last) of the object that are worked on; all views lie in them.
    """

    def __init__(
        self,
        gpu: Gpu,
        positions: NDArray[np.int64],
        window: int,
        object_shape: tuple[int, ...],
        double: bool,
        rows: tuple[int, int],
    ) -> None:
        self._gpu, self._window = gpu, window
        self._height, self._width = object_shape
        self._views = len(positions)
        self._rows = rows
        module = gpu.module(common("double" if double else "single"))
        self._density = module.kernel("density", "PPiii")
        self._sum_windows = module.kernel("sum_windows", "PPPiii")
        self._add_windows = module.kernel("add_windows", "PPPPPiiii")
        real = np.float64 if double else np.float32
        self._object_density = gpu.empty(object_shape, real)
        self._probe_density = gpu.empty((window, window), real)
        self._positions = gpu.array(positions, np.int32)
        starts, listed = views_of_tiles(positions, window, object_shape)
        self._starts, self._listed = gpu.array(starts, np.int32), gpu.array(listed, np.int32)

    def of_probe(self, total: DeviceArray, obj: DeviceArray) -> None:
        """Set ``total = sum_lj |O_l(r + r_j)|^2`` (n, n), eq. (5); `obj` (M_O, H, W)."""
        (first, last), n = self._rows, self._window
        size = (last - first) * self._width
        self._density(
            (-(-size // BLOCK),), BLOCK,
            self._object_density.at(first), obj.at(0, first), obj.shape[0], size,
            self._height * self._width,
        )  # fmt: skip
        total.fill_zero()
        across = -(-n * n // BLOCK)
        # Some ten blocks a multiprocessor, each with many views.
        parts = min(self._views, max(1, 10 * self._gpu.multiprocessors // across), 65535)
        self._sum_windows(
            (across, parts), BLOCK,
            total, self._object_density, self._positions, self._views, n, self._width,
        )  # fmt: skip

    def of_object(self, total: DeviceArray, probe: DeviceArray) -> None:
        """Set ``total = sum_kj |P_k(r - r_j)|^2`` (H, W), eq. (6); `probe` (M_P, n, n).

        In the rows that are worked on, and perhaps some beside them.
        """
        n = self._window
        self._density(
            (-(-n * n // BLOCK),), BLOCK, self._probe_density, probe, probe.shape[0], n * n,
            n * n,
        )  # fmt: skip
        first, last = self._rows[0] // TILE, -(-self._rows[1] // TILE)
        self._add_windows(
            (-(-self._width // TILE), last - first), BLOCK,
            total, self._probe_density, self._positions, self._starts, self._listed, n,
            self._height, self._width, first,
        )  # fmt: skip


def views_of_tiles(
    positions: NDArray[np.int64], window: int, object_shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which views overlap which tile of the object.

    Returns
    -------
    starts : ndarray (tiles + 1,)
    listed : ndarray
        The views of tile b, counted row after row, are ``listed[starts[b] : starts[b + 1]]``.
    """
    down, across = (-(-side // TILE) for side in object_shape)
    first, last = positions // TILE, (positions + window - 1) // TILE
    many = last - first + 1
    pairs = many[:, 0] * many[:, 1]
    view = np.repeat(np.arange(len(positions)), pairs)
    number = np.arange(len(view)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    row, column = np.divmod(number, many[view, 1])
    tile = (first[view, 0] + row) * across + first[view, 1] + column
    order = np.argsort(tile, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(tile, minlength=down * across))])
    return starts, view[order]
