"""One GPU of this process: its context, memory, streams and kernels."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..build import Unit, ensure
from ..job import JobError
from .driver import drv
from .profile import Profiler

log = logging.getLogger("hxn_ptycho.solver")


#: What to do where a GPU's memory is too small.
MEMORY_HINT = (
    'use fewer modes, a smaller window, storage = "half", more GPUs, or device = "cpu"; '
    "nvidia-smi shows who else uses it"
)


class DeviceArray:
    """An array in GPU memory, C-contiguous; freed with its last reference.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    gpu : Gpu
        Whose memory; its stream orders the copies.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, gpu: Gpu) -> None:
        self.shape = tuple(int(side) for side in shape)
        self.dtype = np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.nbytes = self.size * self.dtype.itemsize
        self._gpu = gpu
        self._taken = 0  # so that there is something to take back if there is no memory
        self._memory = gpu.allocate(max(self.nbytes, 1))
        self._taken = max(self.nbytes, 1)
        self.pointer = int(self._memory)

    @classmethod
    def within(
        cls, whole: DeviceArray, first: int, shape: Sequence[int], dtype: DTypeLike
    ) -> DeviceArray:
        """Return a part of another array's memory, from its byte `first` on, which lives on in it.

        Raises
        ------
        ValueError
            If it would reach beyond the whole.
        """
        part = cls.__new__(cls)
        part.shape = tuple(int(side) for side in shape)
        part.dtype = np.dtype(dtype)
        part.size = int(np.prod(part.shape, dtype=np.int64))
        part.nbytes = part.size * part.dtype.itemsize
        part._gpu, part._taken, part._memory = whole._gpu, 0, whole._memory
        part.pointer = whole.pointer + first
        if first + part.nbytes > whole.nbytes:
            raise ValueError(f"{first} + {part.nbytes} bytes are beyond an array of {whole.nbytes}")
        return part

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """How other libraries, as mpi4py, find the memory; they must wait for the stream first."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "version": 3,
        }

    def at(self, *index: int) -> int:
        """Return the address of the part with these first indices."""
        strides = np.cumprod([1, *self.shape[:0:-1]], dtype=np.int64)[::-1]
        return self.pointer + self.dtype.itemsize * int(np.dot(index, strides[: len(index)]))

    def free(self) -> None:
        """Give the memory back now; the array must not be used afterwards."""
        self._memory.free()
        self._gpu.held_bytes -= self._taken
        self._taken = 0

    def __del__(self) -> None:
        # Zero if freed already; the memory itself goes with its own last reference.
        self._gpu.held_bytes -= self._taken

    def fill_zero(self, stream: Any = None) -> None:
        """Set every byte to zero, in the order of `stream` (default: the GPU's)."""
        if self.nbytes:
            drv.memset_d8_async(self.pointer, 0, self.nbytes, stream or self._gpu.stream)

    def copy_from(self, other: DeviceArray) -> None:
        """Copy another array of this size here, in the order of the GPU's stream."""
        drv.memcpy_dtod_async(self.pointer, other.pointer, self.nbytes, self._gpu.stream)

    def set(self, host: NDArray) -> None:
        """Copy a host array of this shape here; returns when it is done."""
        host = np.ascontiguousarray(host, self.dtype)
        if host.shape != self.shape:
            raise ValueError(f"an array of {host.shape} does not fit one of {self.shape}")
        if self.nbytes:
            self._gpu.stream.synchronize()
            drv.memcpy_htod(self.pointer, host)

    def get(self) -> NDArray:
        """Return a copy on the host, of everything queued so far."""
        host = np.empty(self.shape, self.dtype)
        if self.nbytes:
            self._gpu.stream.synchronize()
            drv.memcpy_dtoh(host, self.pointer)
        return host


class Mail:
    """Numbers on their way to the host: read without waiting for what is queued after them.

    Parameters
    ----------
    shape : tuple of int
    gpu : Gpu
    """

    def __init__(self, shape: Sequence[int], gpu: Gpu) -> None:
        self._gpu = gpu
        self._host = gpu.pinned(shape, np.float64)
        self._event = drv.Event()
        self._sent = False

    def send(self, array: DeviceArray) -> None:
        """Queue a copy of `array`, float64 of this shape, to the host."""
        drv.memcpy_dtoh_async(self._host, array.pointer, self._gpu.stream)
        self._event.record(self._gpu.stream)
        self._sent = True

    def read(self) -> NDArray[np.float64] | None:
        """Return what was sent last, once it is there; None if nothing was since the last call."""
        if not self._sent:
            return None
        self._event.synchronize()
        self._sent = False
        return self._host.copy()


class Kernel:
    """A kernel: called with its grid, its block and its arguments.

    Arguments are device arrays, addresses (int) and numbers, packed by the one-letter types that
    `Module.kernel` was given: P pointer, i int32, q int64, Q uint64, f float32,
    d float64.
    """

    def __init__(self, function: Any, name: str, types: str, gpu: Gpu) -> None:
        self.name = name
        self._function = function
        self._function.prepare(list(types))
        self._gpu = gpu
        self._shared = 48 * 1024
        #: Most warps of a block, by the registers and bounds that it was compiled with.
        self.most_warps: int = function.max_threads_per_block // 32

    def allow_shared(self, size: int) -> None:
        """Let a block have `size` bytes of dynamic shared memory."""
        if size > self._shared:
            attribute = drv.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._function.set_attribute(attribute, size)
            self._shared = size

    def resident(self, threads: int, shared: int) -> int:
        """Return how many blocks of this size a multiprocessor holds at once, at least 1."""
        gpu = self._gpu
        # Registers are given to warps in units of 256.
        warp = -(-self._function.num_regs * 32 // 256) * 256
        by_registers = gpu.registers // (warp * -(-threads // 32))
        static = self._function.shared_size_bytes
        by_shared = gpu.shared_multiprocessor // (shared + static + 1024)
        by_threads = gpu.threads_multiprocessor // threads
        return max(1, min(by_registers, by_shared, by_threads, 32))

    def __call__(
        self,
        grid: tuple[int, ...],
        block: int,
        *arguments: Any,
        shared: int = 0,
        stream: Any = None,
    ) -> None:
        """Queue a run of `grid` blocks of `block` threads (default: on the GPU's stream)."""
        shape = (*grid, 1, 1)[:3]
        if 0 in shape:
            return
        self.allow_shared(shared)
        stream = stream or self._gpu.stream
        values = [a.pointer if isinstance(a, DeviceArray) else a for a in arguments]
        with self._gpu.profiler.measure(self.name, stream):
            self._function.prepared_async_call(
                shape, (block, 1, 1), stream, *values, shared_size=shared
            )


class Module:
    """A compiled unit of ``kernels/``, loaded."""

    def __init__(self, unit: Unit, gpu: Gpu) -> None:
        path = ensure(unit, gpu.arch)
        try:
            self._module = drv.module_from_file(str(path))
        except drv.Error as error:
            raise JobError(
                f"the kernels in {path} cannot be loaded on {gpu.name} with a driver for "
                f"CUDA {gpu.driver}: {error}",
                "update the NVIDIA driver, or build the kernels with a CUDA toolkit no newer than "
                "the driver",
            ) from error
        self._gpu = gpu

    def kernel(self, name: str, types: str) -> Kernel:
        """Return the kernel `name`; `types` as in `Kernel`."""
        return Kernel(self._module.get_function(name), name, types, self._gpu)


class Gpu:
    """The GPU that this rank computes on, with its context made current.

    Parameters
    ----------
    local_rank : int
        Of those on this host: it takes the GPU of this number, counted round, of those that
        ``CUDA_VISIBLE_DEVICES`` shows.

    Raises
    ------
    JobError
        If there is no driver, no GPU, or its context cannot be made.
    """

    def __init__(self, local_rank: int = 0) -> None:
        try:
            drv.init()
            count = drv.Device.count()
        except drv.Error as error:
            raise JobError(
                f"no GPU can be used: {error}",
                'ask nvidia-smi and mend the driver, or set device = "cpu"',
            ) from error
        if count == 0:
            raise JobError(
                "this machine has no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it",
                'set device = "cpu"',
            )
        self.number = local_rank % count
        device = drv.Device(self.number)
        self.name: str = device.name()
        #: Which GPU of which host, alike for all who share it.
        self.address = f"{os.uname().nodename} {device.pci_bus_id()}"
        major, minor = drv.get_driver_version() // 1000, drv.get_driver_version() % 1000 // 10
        self.driver = f"{major}.{minor}"
        self.arch = "sm_{}{}".format(*device.compute_capability())
        attribute = drv.device_attribute
        ask = device.get_attribute
        self.multiprocessors: int = ask(attribute.MULTIPROCESSOR_COUNT)
        self.registers: int = ask(attribute.MAX_REGISTERS_PER_MULTIPROCESSOR)
        self.threads_multiprocessor: int = ask(attribute.MAX_THREADS_PER_MULTIPROCESSOR)
        self.shared_multiprocessor: int = ask(attribute.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)
        #: Most bytes of shared memory that a block can be given.
        self.shared_block: int = ask(attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.total_bytes: int = device.total_memory()
        try:
            self._context = device.retain_primary_context()
            self._context.push()
        except drv.Error as error:
            raise JobError(
                f"GPU {self.number} ({self.name}) cannot be opened: {error}",
                "is another program using it alone, or is its memory full? Ask nvidia-smi",
            ) from error
        self._open = True
        # A context left on the stack at exit aborts the process.
        atexit.register(self.close)
        self.stream = drv.Stream()
        self.profiler = Profiler()
        self._modules: dict[Unit, Module] = {}
        self.held_bytes = self._most_held = 0
        #: Memory that was free when the GPU was opened, before this rank took any.
        self.free_at_first = self.free_bytes()

    def close(self) -> None:
        """Let go of the context; the GPU must not be used afterwards."""
        if self._open:
            self._open = False
            with suppress(drv.Error):  # after a fault on the GPU nothing is left to wait for
                self._context.synchronize()
            self._context.pop()
        atexit.unregister(self.close)

    def module(self, unit: Unit) -> Module:
        """Return the compiled unit, loaded once."""
        if unit not in self._modules:
            self._modules[unit] = Module(unit, self)
        return self._modules[unit]

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        return int(drv.mem_get_info()[0])

    def peak_bytes(self) -> int:
        """Return the most memory taken since the GPU was opened.

        Arrays at their most, and what libraries took besides: as much less is free now, whoever
        took it, as arrays do not account for.
        """
        return self._most_held + self.free_at_first - self.free_bytes() - self.held_bytes

    def forget_peak(self) -> None:
        """Count the most memory taken from now on: what was measured with is gone."""
        self._most_held = self.held_bytes

    def make_current(self) -> None:
        """Let libraries that a further thread of this process calls use this GPU.

        PyCUDA keeps contexts to the thread that made them, so the driver itself is asked.

        Raises
        ------
        JobError
            If the driver refuses.
        """
        handle = ctypes.c_void_p(self._context.handle)
        status = ctypes.CDLL("libcuda.so.1").cuCtxSetCurrent(handle)
        if status:
            raise JobError(f"GPU {self.number} cannot be used from a thread: error {status}")

    def allocate(self, size: int) -> Any:
        """Return `size` bytes of GPU memory.

        Raises
        ------
        JobError
            If there are none left, with the numbers.
        """
        try:
            memory = drv.mem_alloc(size)
        except drv.MemoryError as error:
            raise JobError(
                f"GPU {self.number} ({self.name}) has {self.free_bytes() / 1e9:.2f} GB free of "
                f"{self.total_bytes / 1e9:.1f} GB, and {size / 1e9:.2f} GB more are needed",
                MEMORY_HINT,
            ) from error
        self.held_bytes += size
        self._most_held = max(self._most_held, self.held_bytes)
        return memory

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Return an array of undefined content."""
        return DeviceArray(shape, dtype, self)

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Return an array of zeros."""
        array = DeviceArray(shape, dtype, self)
        array.fill_zero()
        return array

    def array(self, host: NDArray, dtype: DTypeLike | None = None) -> DeviceArray:
        """Return a copy of a host array, of type `dtype` (default: the array's)."""
        host = np.ascontiguousarray(host, dtype)
        array = DeviceArray(host.shape, host.dtype, self)
        array.set(host)
        return array

    def pinned(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray:
        """Return a page-locked host array, from which copies run beside kernels."""
        return drv.pagelocked_empty(tuple(shape), np.dtype(dtype))

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        self._context.synchronize()
