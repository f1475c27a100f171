"""Sums over the ranks, and who adds them up. Only here and in ``__main__`` is mpi4py imported."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .device import Sums
from .job import JobError

log = logging.getLogger("hxn_ptycho.solver")

#: How arrays of a GPU are added up over the ranks, best first: NCCL, from GPU to GPU; MPI, where
#: its library takes GPU memory; MPI through page-locked host memory.
WAYS = ("nccl", "mpi-cuda", "host")

_SPOKEN = {
    "nccl": "NCCL",
    "mpi-cuda": "CUDA-aware MPI",
    "host": "MPI through host memory",
}


# Time for the rank that failed first to say so.
_LAST_WORDS_SECONDS = 3.0


class LostRank(JobError):
    """Another rank is gone: what that one has to say is to be told before this."""


class Adder(Protocol):
    """Adds arrays up over the ranks, where a device keeps them."""

    name: str

    def add_up(self, array: Any) -> None:
        """Replace an array by its sum over all ranks, in place, in the device's own order."""

    def close(self) -> None:
        """Give back what was taken. All ranks are done with it."""


class Communicator(Protocol):
    """What the algorithm asks of the other ranks."""

    rank: int
    size: int
    #: Number of this rank among those of its host.
    local_rank: int

    @property
    def name(self) -> str:
        """What adds up."""

    @property
    def library(self) -> str:
        """The MPI library's name and version."""

    def use(self, adder: Adder) -> None:
        """Let `sum` go by this adder."""

    def sum(self, sums: Sums) -> None:
        """Replace numerator and denominator by their sums over all ranks, in place."""

    def sum_array(self, array: Any) -> None:
        """Replace an array that MPI takes by its sum over all ranks, in place, and wait for it."""

    def sum_scalars(self, *values: float) -> tuple[float, ...]:
        """Return the sums of `values` over all ranks."""

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of the ranks, on every rank."""

    def why_not_cuda_aware(self) -> str:
        """Return why MPI is not given GPU memory; empty: its library takes it."""

    def fail(self, error: Exception) -> None:
        """End all ranks because of `error`, from a thread that cannot raise it."""


class Alone:
    """One process, no MPI: what a test or a notebook needs."""

    name = "none"
    rank = 0
    size = 1
    local_rank = 0
    library = "no MPI"

    def use(self, adder: Adder) -> None:
        """Nothing to add."""

    def sum(self, sums: Sums) -> None:
        """Nothing to add."""

    def sum_array(self, array: Any) -> None:
        """Nothing to add."""

    def sum_scalars(self, *values: float) -> tuple[float, ...]:
        """Return the values."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the value, alone."""
        return [value]

    def why_not_cuda_aware(self) -> str:
        """There is no MPI."""
        return "there is no MPI"

    def fail(self, error: Exception) -> None:
        """Nobody else waits; the error is only said where it is raised."""
        raise error


class MpiCommunicator:
    """Ranks of MPI; arrays in host memory are added up by it, others by an `Adder`.

    Parameters
    ----------
    report : callable, optional
        Called with this rank's number and an error before `fail` ends all ranks.
    """

    def __init__(self, report: Callable[[int, Exception], None] = lambda rank, error: None) -> None:
        # Importing MPI initialises it: only a process that takes part does so.
        from mpi4py import MPI

        self._mpi = MPI
        self._world = MPI.COMM_WORLD
        self._report = report
        self._adder: Adder | None = None
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()
        on_host = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank: int = on_host.Get_rank()
        on_host.Free()

    @property
    def name(self) -> str:
        """What adds up: of one rank nothing."""
        if self.size == 1:
            return "none (one rank)"
        return self._adder.name if self._adder else f"MPI ({self.library})"

    @property
    def library(self) -> str:
        """The MPI library's name and version."""
        text = self._mpi.Get_library_version().split("\n")[0].strip("\0 ")
        return " ".join(text.split())[:40]

    def use(self, adder: Adder) -> None:
        """Let `sum` go by this adder."""
        self._adder = adder

    def sum(self, sums: Sums) -> None:
        """Replace numerator and denominator by their sums over all ranks, in place."""
        if sums.add_up is not None:
            sums.add_up()
        elif self.size > 1:
            add_up = self._adder.add_up if self._adder else self.sum_array
            for array in sums.pieces:
                add_up(array)

    def sum_array(self, array: Any) -> None:
        """Replace an array that MPI takes by its sum over all ranks, in place, and wait for it."""
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

    def why_not_cuda_aware(self) -> str:
        """Return why MPI is not given GPU memory; empty: its library says that it takes it."""
        return "" if _takes_gpu_memory(self._mpi.__file__) else f"{self.library} is not CUDA-aware"

    def fail(self, error: Exception) -> None:
        """Report the error and end every rank now: none must wait for one that failed.

        What MPI cannot do is mostly because another rank has died. That one is given a moment to
        say why, or mpiexec to see it and end us: either tells more than what MPI says here.
        """
        if isinstance(error, LostRank | self._mpi.Exception):
            time.sleep(_LAST_WORDS_SECONDS)
        if isinstance(error, self._mpi.Exception):
            words = str(error).splitlines()
            log.error("%s", error)
            error = LostRank(
                f"rank {self.rank} lost another rank, or MPI failed: {words[-1]}",
                "solver.log may say what became of the other",
            )
        self._report(self.rank, error)
        self._world.Abort(1)


@dataclass(frozen=True)
class RankOnGpu:
    """What one rank can add up arrays of its GPU with.

    Attributes
    ----------
    gpu : str
        Which one, of which host: ranks with the same text share it.
    why_not_nccl, why_not_cuda_aware : str
        Why NCCL, or MPI on GPU memory, cannot be used there; empty: it can.
    """

    gpu: str
    why_not_nccl: str
    why_not_cuda_aware: str


def choose_way(ranks: Sequence[RankOnGpu], wanted: str = "auto") -> tuple[str, str]:
    """Return the way of `WAYS` that all ranks can go, and why it is the one.

    Parameters
    ----------
    ranks : sequence of RankOnGpu
        Every rank's, in their order.
    wanted : str
        One of `WAYS`, or "auto": the first that can be gone.

    Raises
    ------
    JobError
        If the one that is wanted cannot be gone.
    """
    obstacles = {"nccl": _obstacle_to_nccl(ranks), "mpi-cuda": "", "host": ""}
    for number, rank in enumerate(ranks):
        if rank.why_not_cuda_aware and not obstacles["mpi-cuda"]:
            obstacles["mpi-cuda"] = f"on rank {number} {rank.why_not_cuda_aware}"
    if wanted != "auto":
        if wanted not in WAYS:
            raise JobError(
                f"there is no way of adding up {wanted!r}", f'use "auto" or one of {WAYS}'
            )
        if obstacles[wanted]:
            raise JobError(
                f"sums by {_SPOKEN[wanted]} are asked for, and {obstacles[wanted]}",
                'mend that, or let the solver choose: "auto"',
            )
        return wanted, "as asked for"
    way = next(way for way in WAYS if not obstacles[way])
    passed = [f"no {_SPOKEN[other]}: {obstacles[other]}" for other in WAYS[: WAYS.index(way)]]
    return way, "; ".join(passed) or "every rank has a GPU of its own"


def _obstacle_to_nccl(ranks: Sequence[RankOnGpu]) -> str:
    for number, rank in enumerate(ranks):
        if rank.why_not_nccl:
            return f"on rank {number} {rank.why_not_nccl}"
    owner: dict[str, int] = {}
    for number, rank in enumerate(ranks):
        first = owner.setdefault(rank.gpu, number)
        if first != number:
            return f"ranks {first} and {number} share a GPU ({rank.gpu})"
    return ""


def _takes_gpu_memory(extension: str) -> bool:
    """Ask the MPI library that an extension module is linked with, by its own functions."""
    for library in (ctypes.CDLL(extension), ctypes.CDLL(None)):
        if hasattr(library, "MPIX_Query_cuda_support"):  # Open MPI
            return bool(library.MPIX_Query_cuda_support())
        if hasattr(library, "MPIX_GPU_query_support"):  # MPICH; 0 is MPIX_GPU_SUPPORT_CUDA
            found = ctypes.c_int(0)
            status = library.MPIX_GPU_query_support(0, ctypes.byref(found))
            return status == 0 and bool(found.value)
    return False
