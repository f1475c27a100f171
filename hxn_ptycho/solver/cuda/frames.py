"""Frames of one rank, prepared in GPU memory while the next ones are read from disk."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..build import frames as frames_unit
from ..job import JobError
from ..preparation import FramePlan, Prepared, Statistics, bad_frames, empty_frames
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
        ("missed", np.int64),
        ("fractional", np.int64),
    ]
)

_COUNTS = np.dtype(np.uint16)
# The largest count that uint16 holds beside the sentinel.
_LARGEST = UNMEASURED[_COUNTS.name] - 1

# As in kernels/frames.cu.
_NONE, _ZERO = -1, -2

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
    `waves.UNMEASURED` stands where nothing was measured, in all frames or in one.

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
        self._read = plan.readable
        corrects = plan.corrected or plan.binning > 1
        self._kept = _kept_type(self._read, corrects, double)
        self._limit = _limit(plan, self._read)
        self._prepare = self._module.kernel(
            f"{'correct' if corrects else 'prepare'}_{self._read.name}_{self._kept.name}",
            f"PPPPPPPd{'Q' if isinstance(self._limit, int) else 'd'}diiii",
        )
        self._source = gpu.array(self._in_parts(_source(plan)))
        self._dark, self._flat = (
            None if array is None else gpu.array(self._in_parts(array), np.float32)
            for array in (plan.dark, plan.flat)
        )
        self._scale = gpu.array(plan.scale, np.float64)
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
        self._plan.check(shape, dtype)
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
            self._dark or 0,
            self._flat or 0,
            self._scale.at(offset),
            self._counts.at(offset),
            self._statistics.at(offset),
            float(UNMEASURED[self._kept.name]),
            self._limit,
            self._plan.threshold,
            int(self._plan.masks_saturated),
            self._plan.binning**2,
            int(np.prod(self._plan.frame_shape)),
            self._pixels,
        )
        slot.prepared.record(self._gpu.stream)

    def _in_parts(self, fine: NDArray) -> NDArray:
        """Return an array (n b, n b) of the fine window as the kernels read it: (b b, n n)."""
        n, b = len(self._plan.measured), self._plan.binning
        parts = fine.reshape(n, b, n, b).transpose(1, 3, 0, 2).reshape(b * b, n * n)
        return np.ascontiguousarray(parts[:, self._order])

    def finish(self) -> Prepared:
        """Return what was prepared: counts (N, n * n) in `window_order`, a `DeviceArray`.

        Nothing can be added afterwards.
        """
        table, plan = self._statistics.get(), self._plan  # waits for everything
        for slot in self._slots:
            slot.free()
        for array in (self._source, self._dark, self._flat, self._scale, self._statistics):
            if array is not None:
                array.free()
        names = ("low", "non_finite", "saturated", "photons")
        statistics = Statistics(
            left=np.count_nonzero(plan.measured) - table["missed"],
            **{name: table[name] for name in names},
        )
        bad, empty = bad_frames(statistics, plan), empty_frames(statistics, plan)
        good = np.ones(plan.count, bool)
        good[[*bad, *empty]] = False
        whole = not table["fractional"][good].any()
        fits = whole and bool(np.all(table["peak"][good] <= _LARGEST))
        counts = self._take(good, _COUNTS if fits else self._kept)
        total, seen = self._sum(counts, plan.scale[good])
        return Prepared(
            counts=counts,
            gaps=None,
            good=good,
            bad=bad,
            empty=empty,
            total=total,
            seen=seen,
            photons=table["photons"][good] * plan.scale[good],
            saturated_pixels=int(table["saturated"][good].sum()),
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

    def _sum(
        self, counts: DeviceArray, scale: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the sum (n, n) of the frames, each times its scale, and how many were measured."""
        n, frames = len(self._plan.measured), len(scale)
        total, seen = np.zeros(self._pixels), np.zeros(self._pixels, np.int64)
        if frames:
            share = -(-frames // max(1, _ALL_SUM_THREADS // self._pixels))
            parts = -(-frames // share)
            sums = self._gpu.empty((parts, self._pixels), np.float64)
            times = self._gpu.empty((parts, self._pixels), np.int32)
            weights = self._gpu.array(scale, np.float64)
            self._module.kernel(f"sum_{counts.dtype.name}", "PPPPdiii")(
                (-(-self._pixels // _SUM_THREADS), parts),
                _SUM_THREADS,
                counts,
                weights,
                sums,
                times,
                float(UNMEASURED[counts.dtype.name]),
                frames,
                share,
                self._pixels,
            )
            total[self._order] = sums.get().sum(axis=0)
            seen[self._order] = times.get().sum(axis=0)
            for array in (sums, times, weights):
                array.free()
        return total.reshape(n, n), seen.reshape(n, n)


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


def _source(plan: FramePlan) -> NDArray[np.int32]:
    """Return for each fine pixel that of a frame on file: -1 for none, -2 where 0 stands for it."""
    height, width = plan.frame_shape
    if height * width > np.iinfo(np.int32).max:
        raise JobError(f"frames of {plan.frame_shape} are too large for the GPU", "crop them")
    pixels = plan.rows[:, None] * width + plan.columns
    parts = plan.measured.repeat(plan.binning, axis=0).repeat(plan.binning, axis=1)
    missing = np.where(parts, _ZERO, _NONE)
    return np.where(plan.used, pixels.T if plan.swapped else pixels, missing).astype(np.int32)


def _kept_type(dtype: np.dtype, corrects: bool, double: bool) -> np.dtype:
    """Return the type in which counts are prepared from frames read as `dtype`."""
    if dtype.kind in "biu" and dtype.itemsize <= 2 and not corrects:
        return _COUNTS
    return np.dtype(np.float64 if double and (corrects or dtype != np.float32) else np.float32)


def _limit(plan: FramePlan, dtype: np.dtype) -> int | float:
    """Return the counts from which on a pixel is saturated, as the kernels take it."""
    if dtype.kind == "f":
        return math.inf if plan.limit is None else float(plan.limit)
    return plan.limit or 0  # 0 for bool, which is no count: not looked at
