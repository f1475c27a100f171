"""How arrays on the GPUs of several ranks are added up: an `Adder` for each of the `WAYS`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..communicator import Adder, Communicator, LostRank, RankOnGpu, choose_way
from ..job import JobError
from .driver import drv
from .gpu import DeviceArray, Gpu

log = logging.getLogger("hxn_ptycho.solver")

#: Set by ``python -m hxn_ptycho.solver --sums``: the way to go, "auto" where it is not set.
WAY_VARIABLE = "HXN_PTYCHO_SUMS"
_FIRST_BYTES = 32 * 2**20  # of the sums by which NCCL sets itself up, as large as those to come
# How often NCCL is asked whether something failed on the way, in seconds.
_WATCH_SECONDS = 0.5


def make_adder(gpu: Gpu, communicator: Communicator) -> Adder:
    """Return what adds arrays of this rank's GPU up with the others', chosen by all ranks alike.

    All ranks call it at the same time. It returns before NCCL is set up, which takes half a
    second beside other work.

    Raises
    ------
    JobError
        If the way that is asked for cannot be gone, or NCCL refuses.
    """
    here = RankOnGpu(gpu.address, _why_no_nccl(), communicator.why_not_cuda_aware())
    way, why = choose_way(communicator.gather(here), os.environ.get(WAY_VARIABLE, "auto"))
    adder: Adder
    if way == "nccl":
        adder = NcclAdder(gpu, communicator)
    elif way == "mpi-cuda":
        adder = CudaAwareAdder(gpu, communicator)
    else:
        adder = HostAdder(gpu, communicator)
    if communicator.rank == 0:
        log.info("sums over %d ranks by %s (%s)", communicator.size, adder.name, why)
    return adder


class NcclAdder:
    """Sums by NCCL, from GPU to GPU, queued on the GPU's stream (an `Adder`).

    NCCL reports what fails on the way (a broken link, a rank that is gone) only when asked. A
    thread asks, and ends all ranks then: the GPU would wait for ever.

    Parameters
    ----------
    gpu : Gpu
    communicator : Communicator
        Brings NCCL's id from rank 0 to the others.
    """

    def __init__(self, gpu: Gpu, communicator: Communicator) -> None:
        # What NCCL has to say about a failure belongs in the log.
        os.environ.setdefault("NCCL_DEBUG", "WARN")
        self._nccl: Any = importlib.import_module("nccl.bindings.nccl")
        self._gpu, self._communicator = gpu, communicator
        self._types = {
            np.dtype(np.float32): int(self._nccl.DataType.Float32),
            np.dtype(np.float64): int(self._nccl.DataType.Float64),
        }
        self.name = f"NCCL {_version(self._nccl.get_version())}"
        lead = bytes(self._nccl.get_unique_id()) if communicator.rank == 0 else b""
        unique = self._nccl.UniqueId.from_buffer(communicator.gather(lead)[0])
        self._comm: Any = None
        self._fault: Exception | None = None
        self._first: DeviceArray | None = gpu.zeros((_FIRST_BYTES // 4,), np.float32)
        gpu.stream.synchronize()  # the thread's sums are in the order of a stream of their own
        self._first_stream = drv.Stream()
        self._end = threading.Event()
        self._opening = threading.Thread(target=self._open, args=(unique,), daemon=True)
        self._opening.start()

    def add_up(self, array: DeviceArray) -> None:
        """Queue the sum of float32 or float64 numbers over all ranks, in place of them."""
        stream = self._gpu.stream
        with self._explained(), self._gpu.profiler.measure("sum over ranks", stream):
            self._add_up(array.pointer, array.size, array.dtype, stream)

    def take_largest(self, array: DeviceArray) -> None:
        """Queue the largest over all ranks of numbers of type uint64, in place of them."""
        with self._explained():
            self._nccl.all_reduce(
                array.pointer, array.pointer, array.size, int(self._nccl.DataType.Uint64),
                int(self._nccl.RedOp.Max), self._comm, self._gpu.stream.handle,
            )  # fmt: skip

    def add_up_pieces(self, pieces: Sequence[tuple[int, int]], dtype: np.dtype) -> None:
        """Queue the sums over all ranks of pieces (address, numbers), all at once.

        Parameters
        ----------
        pieces : sequence of (address, numbers)
            Of as many numbers on all ranks.
        dtype : dtype
            float32 or float64.
        """
        stream = self._gpu.stream
        measured = self._gpu.profiler.measure("sum over ranks", stream)
        with self._explained(), measured, self._at_once():
            for address, count in pieces:
                self._add_up(address, count, dtype, stream)

    def broadcast(self, pieces: Sequence[tuple[int, int, int]], dtype: np.dtype) -> None:
        """Queue pieces handed from one rank to all others, all at once.

        Parameters
        ----------
        pieces : sequence of (rank that has it, address, numbers)
            Alike on all ranks, but for the addresses.
        dtype : dtype
            float32 or float64.
        """
        stream, kind = self._gpu.stream.handle, self._types[dtype]
        with self._explained(), self._at_once():
            for root, address, count in pieces:
                self._nccl.bcast(address, count, kind, root, self._comm, stream)

    def close(self) -> None:
        """Give NCCL's memory and threads back; all ranks are done with their sums."""
        self._wait_until_open()
        self._end.set()
        self._watch.join()
        self._nccl.comm_destroy(self._comm)

    def _add_up(self, pointer: int, count: int, dtype: np.dtype, stream: Any) -> None:
        self._nccl.all_reduce(
            pointer, pointer, count, self._types[dtype], int(self._nccl.RedOp.Sum), self._comm,
            stream.handle,
        )  # fmt: skip

    def _open(self, unique: Any) -> None:
        """Meet the other ranks; in a thread, as it takes half a second."""
        try:
            self._gpu.make_current()
            size, rank = self._communicator.size, self._communicator.rank
            self._comm = self._nccl.comm_init_rank(size, unique, rank)
            # The ways for small and for large sums are set up by the first of each.
            assert self._first is not None
            for count in (_FIRST_BYTES // 128, self._first.size):
                self._add_up(self._first.pointer, count, np.dtype(np.float32), self._first_stream)
        except self._nccl.NCCLError as error:
            self._fault = self._explain(error, error.status)
        except Exception as error:  # noqa: BLE001 (raised where it is waited for)
            self._fault = error
        else:
            self._watch = threading.Thread(target=self._look_after, daemon=True)
            self._watch.start()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Wait until NCCL is set up; what it refuses is said in words."""
        self._wait_until_open()
        try:
            yield
        except self._nccl.NCCLError as error:
            raise self._explain(error, error.status) from error

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._nccl.group_start()
        yield
        self._nccl.group_end()

    def _wait_until_open(self) -> None:
        if self._first is None:
            return
        self._opening.join()
        if self._fault is not None:
            raise self._fault
        self._first_stream.synchronize()
        self._first.free()
        self._first = None

    def _look_after(self) -> None:
        while not self._end.wait(_WATCH_SECONDS):
            status = self._nccl.comm_get_async_error(self._comm)
            if status not in (self._nccl.Result.Success, self._nccl.Result.InProgress):
                text = self._nccl.get_error_string(int(status))
                self._communicator.fail(self._explain(text, status))
                return

    def _explain(self, error: object, status: int) -> JobError:
        """Return what is to be said of an error; of a link to another rank, that is missed."""
        words = self._nccl.get_last_error(self._comm or self._nccl.Comm())
        of_a_link = status in (self._nccl.Result.RemoteError, self._nccl.Result.SystemError)
        return (LostRank if of_a_link else JobError)(
            f"NCCL failed on rank {self._communicator.rank}: {error}"
            + (f" ({words.strip()})" if words.strip() else ""),
            "solver.log has NCCL's own words; config.toml's sums = \"host\" goes without NCCL",
        )


class CudaAwareAdder:
    """Sums by an MPI library that takes GPU memory (an `Adder`)."""

    def __init__(self, gpu: Gpu, communicator: Communicator) -> None:
        self._gpu, self._communicator = gpu, communicator
        self.name = f"CUDA-aware MPI ({communicator.library})"

    def add_up(self, array: DeviceArray) -> None:
        """Replace an array by its sum over all ranks, and wait for it."""
        self._gpu.stream.synchronize()  # MPI knows nothing of streams
        self._communicator.sum_array(array)

    def close(self) -> None:
        """Nothing was taken."""


class HostAdder:
    """Sums by MPI through page-locked host memory (an `Adder`)."""

    def __init__(self, gpu: Gpu, communicator: Communicator) -> None:
        self._gpu, self._communicator = gpu, communicator
        self.name = f"MPI through page-locked host memory ({communicator.library})"
        self._staged: dict[tuple[int, np.dtype], NDArray] = {}

    def add_up(self, array: DeviceArray) -> None:
        """Replace an array by its sum over all ranks, and wait for it but for the way back."""
        key = array.size, array.dtype
        if key not in self._staged:
            self._staged[key] = self._gpu.pinned((array.size,), array.dtype)
        staged, stream = self._staged[key], self._gpu.stream
        drv.memcpy_dtoh_async(staged, array.pointer, stream)
        stream.synchronize()
        self._communicator.sum_array(staged)
        drv.memcpy_htod_async(array.pointer, staged, stream)

    def close(self) -> None:
        """Let the host memory go."""
        self._gpu.stream.synchronize()
        self._staged.clear()


def _why_no_nccl() -> str:
    """Return why NCCL cannot be used by this rank; empty: it can."""
    if importlib.util.find_spec("nccl") is None:
        return "nccl4py is missing"
    try:
        importlib.import_module("nccl.bindings.nccl").get_version()
    except (ImportError, OSError, RuntimeError) as error:
        return f"NCCL cannot be loaded: {' '.join(str(error).split())}"
    return ""


def _version(number: int) -> str:
    """Return NCCL's number of a version, as 22809, with its points."""
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
