"""Sums over the ranks. Only here and in ``__main__`` is mpi4py imported."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .device import Sums


class Communicator(Protocol):
    """What the algorithm asks of the other ranks."""

    name: str
    rank: int
    size: int

    def sum(self, sums: Sums) -> None:
        """Replace numerator and denominator by their sums over all ranks, in place."""

    def sum_array(self, array: NDArray) -> None:
        """Replace a host array by its sum over all ranks, in place."""

    def sum_scalars(self, *values: float) -> tuple[float, ...]:
        """Return the sums of `values` over all ranks."""

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of the ranks, on every rank."""


class Alone:
    """One process, no MPI: what a test or a notebook needs."""

    name = "none"
    rank = 0
    size = 1

    def sum(self, sums: Sums) -> None:
        """Nothing to add."""

    def sum_array(self, array: NDArray) -> None:
        """Nothing to add."""

    def sum_scalars(self, *values: float) -> tuple[float, ...]:
        """Return the values."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the value, alone."""
        return [value]


class MpiCommunicator:
    """Sums by MPI through host memory."""

    def __init__(self) -> None:
        # Importing MPI initialises it: only a process that takes part does so.
        from mpi4py import MPI

        self._mpi = MPI
        self._world = MPI.COMM_WORLD
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()
        library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
        self.name = f"MPI through host memory ({' '.join(library.split())[:40]})"

    def sum(self, sums: Sums) -> None:
        """Replace numerator and denominator by their sums over all ranks, in place.

        An array that is not in host memory (no ndarray, but with ``get() -> ndarray`` and
        ``set(ndarray)``, as one on a GPU) goes through it; alone, it is not touched.
        """
        if self.size == 1:
            return
        for array in (sums.numerator, sums.denominator):
            if isinstance(array, np.ndarray):
                self.sum_array(array)
            else:
                staged = array.get()
                self.sum_array(staged)
                array.set(staged)

    def sum_array(self, array: NDArray) -> None:
        """Replace a host array by its sum over all ranks, in place."""
        if self.size > 1:
            self._world.Allreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)

    def sum_scalars(self, *values: float) -> tuple[float, ...]:
        """Return the sums of `values` over all ranks."""
        array = np.array(values, np.float64)
        self.sum_array(array)
        return tuple(array.tolist())

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of the ranks, on every rank."""
        return self._world.allgather(value)

    def abort(self) -> None:
        """End every rank now: one that failed must not leave the others waiting."""
        self._world.Abort(1)
