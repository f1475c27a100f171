"""Frames of one rank, prepared in GPU memory while the next ones are read from disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..build import frames as frames_unit
from ..job import JobError
from ..preparation import FramePlan, Prepared, Statistics, describe_faults
from .driver import drv
from .gpu import DeviceArray, Gpu
from .waves import UNMEASURED

# As `Statistics` in kernels/frames.cu.
STATISTICS = np.dtype(
    [
        ("peak", np.float64),
        ("low", np.float64),
        ("photons", np.float64),
        ("non_finite", np.int64),
        ("saturated", np.int64),
        ("fractional", np.int64),
    ]
)

_COUNTS = np.dtype(np.uint16)
# The largest count that uint16 holds beside the sentinel.
_LARGEST = UNMEASURED[_COUNTS.name] - 1

# Threads a block: one block prepares one frame, of some ten thousand pixels.
_FRAME_THREADS = 1024
_SUM_THREADS = 256
# Threads that sum frames at once: some times what a GPU holds; also the number of their sums.
_ALL_SUM_THREADS = 2**19


class GpuPreparation:
    """Takes frames as they are read from file, and prepares them in GPU memory.

    Frames are read into one of two page-locked buffers in turn; from there they are copied on a
    stream of their own, and prepared on the GPU's stream: a batch is read while the one before is
    copied and the one before that prepared.

    Counts become uint16 where the good frames hold nothing else, otherwise float32 or float64;
    `waves.UNMEASURED` stands where nothing was measured.

    Parameters
    ----------
    gpu : Gpu
    plan : FramePlan
    strip : int
        Columns a strip of the counts, see `window_order`; divides the window.
    double : bool
        Keep in float64 what is neither uint16 nor float32 to the last digit.

    Raises
    ------
    JobError
        If the frames are not numbers that can be counts, or the GPU's memory is too small.
    """

    def __init__(self, gpu: Gpu, plan: FramePlan, strip: int, double: bool = False) -> None:
        self._gpu, self._plan = gpu, plan
        self._module = gpu.module(frames_unit())
        self._order = window_order(len(plan.measured), strip)
        self._pixels = self._order.size
        self._read = _read_type(plan.dtype)
        self._kept = _kept_type(self._read, double)
        self._prepare = self._module.kernel(
            f"prepare_{self._read.name}_{self._kept.name}", "PPPPdii"
        )
        self._source = gpu.array(_source(plan, self._order))
        self._counts = gpu.empty((plan.count, self._pixels), self._kept)
        # A frame that never comes is empty, and so of no use.
        self._statistics = gpu.array(np.zeros(plan.count, STATISTICS))
        self._copying = drv.Stream()
        self._slots = _Slot(gpu), _Slot(gpu)
        self._turn = 0

    def room(self, count: int, shape: tuple[int, int], dtype: np.dtype) -> NDArray:
        """Return page-locked memory (count, h, w), once what was in it has been copied.

        It is of a type that the kernels know; h5py converts into it.
        """
        if _read_type(dtype) != self._read or tuple(shape) != self._plan.mask.shape:
            raise ValueError(f"frames of {shape} {dtype} where the plan says otherwise")
        self._turn = 1 - self._turn
        slot = self._slots[self._turn]
        slot.copied.synchronize()
        size = count * shape[0] * shape[1] * self._read.itemsize
        slot.grow(size)
        return slot.pinned[:size].view(self._read).reshape(count, *shape)

    def add(self, offset: int, frames: NDArray) -> None:
        """Take the frames from number `offset` of the share on: those in the latest `room`."""
        slot, count = self._slots[self._turn], len(frames)
        if frames.dtype != self._read or frames.nbytes > slot.size:
            raise ValueError("these frames are not in the room that was asked for")
        if offset < 0 or offset + count > self._plan.count:
            raise ValueError(f"{count} frames from {offset} on do not fit {self._plan.count}")
        self._copying.wait_for_event(slot.prepared)
        drv.memcpy_htod_async(slot.staging, frames, self._copying)
        slot.copied.record(self._copying)
        self._gpu.stream.wait_for_event(slot.copied)
        self._prepare(
            (count,),
            _FRAME_THREADS,
            slot.staging,
            self._source,
            self._counts.at(offset),
            self._statistics.at(offset),
            float(UNMEASURED[self._kept.name]),
            self._plan.mask.size,
            self._pixels,
        )
        slot.prepared.record(self._gpu.stream)

    def finish(self, scale: NDArray[np.float64]) -> Prepared:
        """Return what was prepared: counts (N, n * n) in `window_order`, a `DeviceArray`.

        Nothing can be added afterwards.
        """
        table = self._statistics.get()  # waits for everything
        for slot in self._slots:
            slot.free()
        self._source.free()
        self._statistics.free()
        names = ("peak", "low", "non_finite", "saturated", "photons")
        statistics = Statistics(**{name: table[name] for name in names})
        faults = describe_faults(statistics, self._plan.dtype)
        good = np.ones(self._plan.count, bool)
        good[list(faults)] = False
        whole = not table["fractional"][good].any()
        fits = whole and bool(np.all(table["peak"][good] <= _LARGEST))
        counts = self._take(good, _COUNTS if fits else self._kept)
        scale = scale[good]
        return Prepared(
            counts, good, faults, self._sum(counts, scale), table["photons"][good] * scale
        )

    def _take(self, good: NDArray[np.bool_], dtype: np.dtype) -> DeviceArray:
        """Return the counts of the good frames as `dtype`."""
        if dtype == self._kept and good.all():
            return self._counts
        gpu, which = self._gpu, np.flatnonzero(good).astype(np.int32)
        taken, chosen = gpu.empty((len(which), self._pixels), dtype), gpu.array(which)
        self._module.kernel(f"take_{self._kept.name}_{dtype.name}", "PPPddi")(
            (len(which),),
            _FRAME_THREADS,
            self._counts,
            chosen,
            taken,
            float(UNMEASURED[self._kept.name]),
            float(UNMEASURED[dtype.name]),
            self._pixels,
        )
        gpu.stream.synchronize()
        self._counts.free()
        chosen.free()
        return taken

    def _sum(self, counts: DeviceArray, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum (n, n) of the frames, each times its scale."""
        n, frames = len(self._plan.measured), len(scale)
        total = np.zeros(self._pixels)
        if frames:
            share = -(-frames // max(1, _ALL_SUM_THREADS // self._pixels))
            parts = -(-frames // share)
            sums = self._gpu.empty((parts, self._pixels), np.float64)
            weights = self._gpu.array(scale, np.float64)
            self._module.kernel(f"sum_{counts.dtype.name}", "PPPiii")(
                (-(-self._pixels // _SUM_THREADS), parts),
                _SUM_THREADS,
                counts,
                weights,
                sums,
                frames,
                share,
                self._pixels,
            )
            total[self._order] = sums.get().sum(axis=0)
            sums.free()
            weights.free()
        return np.where(self._plan.measured, total.reshape(n, n), 0.0)


class _Slot:
    """A page-locked buffer, its copy on the GPU, and when each is free again."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.size = 0
        self.pinned: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.staging = 0  # the address
        self._memory: DeviceArray | None = None
        flags = drv.event_flags.DISABLE_TIMING
        self.copied, self.prepared = drv.Event(flags), drv.Event(flags)

    def grow(self, size: int) -> None:
        """Have room for `size` bytes; what was there is lost."""
        if size > self.size:
            self.free()
            self.pinned = self._gpu.pinned((size,), np.uint8)
            self._memory = self._gpu.empty((size,), np.uint8)
            self.staging, self.size = self._memory.pointer, size

    def free(self) -> None:
        """Give both back, once nothing reads them any more."""
        self.copied.synchronize()
        self.prepared.synchronize()
        if self._memory is not None:
            self._memory.free()
        self._memory, self.pinned, self.size = None, np.empty(0, np.uint8), 0


def window_order(n: int, strip: int) -> NDArray[np.int64]:
    """Return which pixel ``ky * n + kx`` of the window each place of a frame's counts holds.

    Pixel (ky, kx) is at ``(kx // strip) * strip * n + strip * ky + kx % strip``: strips of columns
    one after the other, the rows of a strip one after the other. One strip of n columns is the
    natural order.
    """
    if n % strip:
        raise ValueError(f"strips of {strip} columns do not divide a window of {n}")
    return np.arange(n * n).reshape(n, n // strip, strip).transpose(1, 0, 2).ravel()


def _source(plan: FramePlan, order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the pixel of a frame on file for each place of its counts, -1 for none."""
    if plan.mask.size > np.iinfo(np.int32).max:
        raise JobError(f"frames of {plan.mask.shape} are too large for the GPU", "crop them")
    pixels = plan.rows[:, None] * plan.mask.shape[1] + plan.columns
    return np.where(plan.measured, pixels, -1).ravel()[order].astype(np.int32)


def _read_type(dtype: np.dtype) -> np.dtype:
    """Return the type to read frames of `dtype` as: one that the kernels know."""
    if dtype.kind not in "biuf":
        raise JobError(f"frames of {dtype} hold no counts")
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    return dtype.newbyteorder("=")


def _kept_type(dtype: np.dtype, double: bool) -> np.dtype:
    """Return the type in which counts are prepared from frames of `dtype`."""
    if dtype.kind in "biu" and dtype.itemsize <= 2:
        return _COUNTS
    return np.dtype(np.float64 if double and dtype != np.float32 else np.float32)
