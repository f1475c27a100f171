"""The object on several GPUs, each of which keeps a band of it: only shared rows travel."""

from __future__ import annotations

import numpy as np

from ..bands import Bands
from ..device import Sums
from ..units import common
from .adders import NcclAdder
from .gpu import DeviceArray, Gpu

BLOCK = 256  # of common.cu


class SharedRows:
    """Adds up, by NCCL, the rows of eq. (6) that this rank's views share with others'.

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
    modes, width : int
        Of the object.
    double : bool
    """

    def __init__(
        self,
        gpu: Gpu,
        adder: NcclAdder,
        bands: Bands,
        rank: int,
        modes: int,
        width: int,
        double: bool,
    ) -> None:
        assert not bands.why_not
        self._gpu, self._adder, self._bands = gpu, adder, bands
        self._modes, self._width = modes, width
        self.rows, self.owned = bands.rows(rank), bands.owned[rank]
        self._shared = bands.shared(rank)
        precision = "double" if double else "single"
        self._add = gpu.module(common(precision)).kernel("add_numbers", "PPq")
        real = np.dtype(np.float64 if double else np.float32)
        # Of each other rank: its part of the numerators (2 numbers each), then of the denominators.
        self._received = [
            gpu.empty(((2 * modes + 1) * (last - first) * width,), real)
            for _, (first, last) in self._shared
        ]

    @property
    def sent_bytes(self) -> int:
        """What this rank sends in an iteration."""
        return sum(array.nbytes for array in self._received)

    def sum(self, sums: Sums) -> None:
        """Add to numerator and denominator, in the rows that others touch too, what they have."""
        pieces = []  # peer, mine, theirs, numbers
        for (peer, (first, last)), received in zip(self._shared, self._received, strict=True):
            count = (last - first) * self._width
            for mode in range(self._modes):
                mine = sums.numerator.at(mode, first)
                pieces.append((peer, mine, received.at(2 * mode * count), 2 * count))
            theirs = received.at(2 * self._modes * count)
            pieces.append((peer, sums.denominator.at(first), theirs, count))
        real = sums.denominator.dtype
        with self._gpu.profiler.measure("exchange of shared rows", self._gpu.stream):
            self._adder.exchange(pieces, real)
        for _, mine, theirs, count in pieces:
            self._add((min(-(-count // BLOCK), 65535),), BLOCK, mine, theirs, count)

    def maximum(self, most: DeviceArray) -> None:
        """Replace numbers by the largest that any rank has, of uint64."""
        self._adder.take_largest(most)

    def add_up(self, numbers: DeviceArray) -> None:
        """Replace a few numbers by their sums over the ranks."""
        self._adder.add_up(numbers)

    def complete(self, pictures: DeviceArray) -> None:
        """Bring the rows that other ranks own, of complex (modes, H, W)."""
        real = np.dtype(f"f{pictures.dtype.itemsize // 2}")
        pieces = [
            (rank, pictures.at(mode, first), 2 * (last - first) * self._width)
            for rank, (first, last) in enumerate(self._bands.owned)
            for mode in range(self._modes)
            if last > first
        ]
        self._adder.broadcast(pieces, real)
