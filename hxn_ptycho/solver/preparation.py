"""What becomes of the frames read: put into the FFT window, judged, summed; how the CPU does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .job import Job


@dataclass(frozen=True)
class FramePlan:
    """How a frame on file becomes one in the FFT window: numbers only, no frames.

    Attributes
    ----------
    count : int
        Frames of this rank.
    rows, columns : ndarray (n,), int64
        Row (column) of the frame on file for each row (column) of the FFT window, DC at [0, 0];
        -1 for none: the rim of the window.
    mask : ndarray (h, w), bool
        True where the detector measured; as a frame on file.
    measured : ndarray (n, n), bool
        True where it measured; in the FFT window.
    dtype : dtype
        Of the frames on file, in this machine's byte order.
    """

    count: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    mask: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    dtype: np.dtype

    @classmethod
    def of(cls, job: Job, mask: NDArray[np.bool_], count: int) -> FramePlan:
        """Plan `count` frames of a job, of the type that the job says."""
        rows, columns = (_source(job, axis) for axis in (0, 1))
        inside = np.ix_(rows >= 0, columns >= 0)
        measured = np.zeros((job.fft_window, job.fft_window), bool)
        measured[inside] = mask[np.ix_(rows[rows >= 0], columns[columns >= 0])]
        return cls(count, rows, columns, mask, measured, np.dtype(job.frame_dtype))

    @property
    def kept(self) -> np.dtype:
        """The type in which counts are kept: that on file if it has at most 32 bits."""
        return self.dtype if self.dtype.itemsize <= 4 else np.dtype(np.float32)


@dataclass(frozen=True)
class Statistics:
    """One value for each frame, over the whole window, which is 0 where not measured.

    Attributes
    ----------
    peak, low : ndarray (count,), float64
        The largest and the smallest number of counts, of the finite ones.
    non_finite : ndarray (count,), int64
        Pixels that are not finite.
    saturated : ndarray (count,), int64
        Pixels at the largest number of the type in which counts are kept, if that is an integer.
    photons : ndarray (count,), float64
        The sum of the counts, not scaled, of the finite ones.
    """

    peak: NDArray[np.float64]
    low: NDArray[np.float64]
    non_finite: NDArray[np.int64]
    saturated: NDArray[np.int64]
    photons: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int) -> Statistics:
        """Return zeros for `count` frames, to be filled in."""
        real, whole = np.zeros((3, count)), np.zeros((2, count), np.int64)
        return cls(real[0], real[1], whole[0], whole[1], real[2])


@dataclass(frozen=True)
class Prepared:
    """What a preparation gives.

    Attributes
    ----------
    counts : array (N, n, n)
        Of the good frames, where and how the device keeps them. On the CPU an ndarray of the type
        on file, DC at [0, 0], 0 where not measured.
    good : ndarray (count,), bool
        Which frames these are.
    faults : dict of int to str
        Number of a frame within the share, and what is wrong with it.
    total : ndarray (n, n), float64
        Sum over the good frames of their counts times their scale.
    photons : ndarray (N,), float64
        Scaled sum of the counts of each good frame.
    """

    counts: Any
    good: NDArray[np.bool_]
    faults: dict[int, str]
    total: NDArray[np.float64]
    photons: NDArray[np.float64]


class Preparation(Protocol):
    """Takes frames as they are read from file, and prepares them where the device wants them.

    ``room``, reading into it, ``add``; again and again; then ``finish``.
    """

    def room(self, count: int, shape: tuple[int, int], dtype: np.dtype) -> NDArray:
        """Return an array (count, h, w) to read frames of the file into."""

    def add(self, offset: int, frames: NDArray) -> None:
        """Take the frames from number `offset` of the share on.

        `frames` may be overwritten by the time the second `room` after this is asked for.
        """

    def finish(self, scale: NDArray[np.float64]) -> Prepared:
        """Return what was prepared; `scale` (count,) multiplies the counts of each frame."""


def describe_faults(statistics: Statistics, dtype: np.dtype) -> dict[int, str]:
    """Say which frames, by their number in `statistics`, are of no use, and why.

    Parameters
    ----------
    statistics : Statistics
    dtype : dtype
        Of the frames on file.
    """
    s = statistics
    empty = (s.peak == 0) & (s.low == 0)
    wrong = (s.non_finite > 0) | empty | (s.saturated > 0) | (s.low < 0)

    def fault(j: int) -> str:
        if s.non_finite[j]:
            return f"has {s.non_finite[j]} pixels that are not finite"
        if empty[j]:
            return "is empty"
        if s.saturated[j]:
            return f"is saturated: {s.saturated[j]} pixels at {np.iinfo(dtype).max}"
        return f"has negative counts, down to {s.low[j]:g}"

    return {j: fault(j) for j in np.flatnonzero(wrong).tolist()}


class HostPreparation:
    """Frames prepared in host memory."""

    def __init__(self, plan: FramePlan) -> None:
        self._plan = plan
        self._statistics = Statistics.empty(plan.count)
        self._counts: NDArray = np.zeros((plan.count, *plan.measured.shape), plan.kept)
        self._rows, self._columns = _segments(plan.rows), _segments(plan.columns)
        self._room = np.empty(0, np.uint8)

    def room(self, count: int, shape: tuple[int, int], dtype: np.dtype) -> NDArray:
        """Return an array (count, h, w); the same memory every time, as `add` copies at once."""
        size = count * shape[0] * shape[1] * dtype.itemsize
        if size > self._room.size:
            self._room = np.empty(size, np.uint8)
        return self._room[:size].view(dtype).reshape(count, *shape)

    def add(self, offset: int, frames: NDArray) -> None:
        """Take the frames from number `offset` of the share on."""
        part = slice(offset, offset + len(frames))
        window = self._counts[part]
        # What a 64-bit number on file has too much for 32 bits becomes infinite: a fault, below.
        with np.errstate(over="ignore"):
            for row_to, row_from in self._rows:
                for column_to, column_from in self._columns:
                    window[:, row_to, column_to] = frames[:, row_from, column_from]
        if not self._plan.measured.all():
            np.copyto(window, 0, where=~self._plan.measured)
        self._judge(part, window.reshape(len(frames), -1))

    def finish(self, scale: NDArray[np.float64]) -> Prepared:
        """Return what was prepared; `scale` (count,) multiplies the counts of each frame."""
        faults = describe_faults(self._statistics, self._plan.dtype)
        good = np.ones(self._plan.count, bool)
        good[list(faults)] = False
        counts = self._counts[good] if faults else self._counts
        scale = scale[good]
        total = np.zeros(self._plan.measured.shape)
        # One by one, in the cache: a product of matrices would need all in double precision.
        for frame, factor in zip(counts, scale, strict=True):
            total += frame * factor
        return Prepared(counts, good, faults, total, self._statistics.photons[good] * scale)

    def _judge(self, part: slice, pixels: NDArray) -> None:
        """Take the statistics of frames `part`; `pixels` (frames, n * n)."""
        s = self._statistics
        if pixels.dtype.kind == "f":
            finite = np.isfinite(pixels)
            s.non_finite[part] = pixels.shape[1] - np.count_nonzero(finite, axis=1)
            if s.non_finite[part].any():
                pixels = np.where(finite, pixels, 0)
        s.peak[part], s.low[part] = pixels.max(axis=1), pixels.min(axis=1)
        s.photons[part] = pixels.sum(axis=1, dtype=np.float64)
        if pixels.dtype.kind in "iu":
            top = np.iinfo(pixels.dtype).max
            if np.any(s.peak[part] == top):
                s.saturated[part] = np.count_nonzero(pixels == top, axis=1)


def _source(job: Job, axis: int) -> NDArray[np.int64]:
    """Return which pixel of a frame on file each pixel of the window is, along one axis."""
    side, n = job.crop[2], job.fft_window
    begin, length = job.crop[axis], job.frame_shape[axis]
    pixel = np.arange(side)
    source = begin + pixel
    if job.dc == "corner":  # the crop is counted after the direct beam has been moved to the middle
        source = (source - length // 2) % length
    pixels = np.full(n, -1)
    pixels[(pixel - side // 2) % n] = source
    return pixels


def _segments(pixels: NDArray[np.int64]) -> list[tuple[slice, slice]]:
    """Return (to, from) slices that do what ``window[i] = frame[pixels[i]]`` does."""
    target = np.flatnonzero(pixels >= 0)
    source = pixels[target]
    breaks = np.flatnonzero((np.diff(source) != 1) | (np.diff(target) != 1)) + 1
    return [
        (slice(int(t[0]), int(t[-1]) + 1), slice(int(s[0]), int(s[-1]) + 1))
        for t, s in zip(np.split(target, breaks), np.split(source, breaks), strict=True)
    ]
