"""The object on several GPUs, each of which keeps a band of it: only shared rows are added up."""

from __future__ import annotations

import numpy as np

from ..bands import Bands
from ..device import Sums
from .adders import NcclAdder
from .driver import drv
from .gpu import DeviceArray, Gpu


class SharedRows:
    """Adds up, by NCCL, the rows of eq. (6) that several ranks see.

    Of the object each rank then has the rows that its views touch (`rows`), which is all that it
    computes with; `complete` brings those of the others. What is summed over the object is summed
    over the rows that each rank owns. All ranks call everything in the same order.

    Parameters
    ----------
    gpu : Gpu
    adder : NcclAdder
    bands : Bands
        Without an obstacle.
    rank : int
    """

    def __init__(self, gpu: Gpu, adder: NcclAdder, bands: Bands, rank: int) -> None:
        assert not bands.why_not
        self._gpu, self._adder, self._bands = gpu, adder, bands
        self.rows, self.owned = bands.rows(rank), bands.owned[rank]

    def clear(self, sums: Sums) -> None:
        """Set to zero the rows that are worked on here, and those that are added up."""
        modes, _, width = sums.numerator.shape
        for first, last in (self.rows, *self._bands.zones):
            self._clear(sums.denominator.at(first), sums.denominator, (last - first) * width)
            for mode in range(modes):
                address = sums.numerator.at(mode, first)
                self._clear(address, sums.numerator, (last - first) * width)

    def _clear(self, address: int, array: DeviceArray, count: int) -> None:
        if count:
            size = count * array.dtype.itemsize
            drv.memset_d8_async(address, 0, size, self._gpu.stream)

    def sum(self, sums: Sums) -> None:
        """Add numerator and denominator up in the rows that several ranks see."""
        modes, _, width = sums.numerator.shape
        pieces = []  # address, numbers
        for first, last in self._bands.zones:
            count = (last - first) * width
            pieces += [(sums.numerator.at(mode, first), 2 * count) for mode in range(modes)]
            pieces.append((sums.denominator.at(first), count))
        if pieces:
            self._adder.add_up_pieces(pieces, sums.denominator.dtype)

    def bytes_of(self, sums: Sums) -> int:
        """Return the bytes that `sum` adds up."""
        modes, _, width = sums.numerator.shape
        rows = sum(last - first for first, last in self._bands.zones)
        return rows * width * (2 * modes + 1) * int(sums.denominator.dtype.itemsize)

    def maximum(self, most: DeviceArray) -> None:
        """Replace numbers by the largest that any rank has, of uint64."""
        self._adder.take_largest(most)

    def add_up(self, numbers: DeviceArray) -> None:
        """Replace a few numbers by their sums over the ranks."""
        self._adder.add_up(numbers)

    def complete(self, pictures: DeviceArray) -> None:
        """Bring the rows that other ranks own, of complex (modes, H, W)."""
        modes, _, width = pictures.shape
        real = np.dtype(f"f{pictures.dtype.itemsize // 2}")
        pieces = [
            (rank, pictures.at(mode, first), 2 * (last - first) * width)
            for rank, (first, last) in enumerate(self._bands.owned)
            for mode in range(modes)
            if last > first
        ]
        self._adder.broadcast(pieces, real)
