"""The host's loops over the pixels of a frame, compiled by numba.

A frame is taken from file into a fine window (see `FramePlan`), which stays in the cache while all
else is done to it. Each loop does one simple thing to contiguous numbers of one type, so that the
compiler does many at once. Compiled code is cached on disk; nothing here holds the interpreter.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from .frame_plan import FramePlan
from .preparation import Statistics, is_bad

# Sums may be taken in any order; numbers are finite where it matters, see `_count_non_finite`.
_SUMS = {"reassoc", "nsz", "contract"}
_ORDER = {"nnan", "nsz"}
# Pixels along a side of the squares in which a frame is transposed: what fits the nearest cache.
_SQUARE = 32

_is_bad = njit(is_bad)


class _Steps(NamedTuple):
    """What is done to each frame, as the loops want it; see `FramePlan`.

    rows, columns are stretches, see `_stretches`; gain is 1 / flat. used is empty where all is
    used, dark and gain where there are none.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    swapped: bool
    used: NDArray[np.bool_]
    dark: NDArray
    gain: NDArray
    binning: int
    limit: Any
    masks_saturated: bool
    threshold: float
    measured: int
    in_place: bool


class _Room(NamedTuple):
    """Memory to work in, used again for every frame."""

    line: NDArray
    lost: NDArray[np.bool_]
    gaps: NDArray[np.int32]


class Bench:
    """Where frames are prepared one after the other.

    Parameters
    ----------
    plan : FramePlan
    read : dtype
        Of the frames that come.
    kept : dtype
        Of the counts.
    """

    def __init__(self, plan: FramePlan, read: np.dtype, kept: np.dtype) -> None:
        # As precise as what is kept.
        real = np.float64 if kept == np.float64 else np.float32
        none = np.empty((0, 0))
        gain = none if plan.flat is None else 1 / plan.flat.astype(np.float64)
        limit: Any = np.float64(np.inf if plan.limit is None else plan.limit)
        if read.kind in "iu":
            limit = read.type(plan.limit)
        elif read.kind == "b":
            limit = np.uint8(255)
        # Where nothing is computed, a frame is prepared where its counts are to be.
        in_place = read == kept and not plan.corrected and plan.binning == 1
        self._steps = _Steps(
            in_place=in_place,
            rows=_stretches(plan.rows),
            columns=_stretches(plan.columns),
            swapped=plan.swapped,
            used=none.astype(bool) if plan.used.all() else plan.used,
            dark=none.astype(real) if plan.dark is None else plan.dark.astype(real),
            gain=gain.astype(real),
            binning=plan.binning,
            limit=limit,
            masks_saturated=plan.masks_saturated,
            threshold=plan.threshold,
            measured=int(np.count_nonzero(plan.measured)),
        )
        self._fine = None if in_place else np.zeros((1, *plan.used.shape), _countable(read))
        n = len(plan.measured)
        self._room = _Room(
            line=np.zeros(n * plan.binning, real),
            lost=np.zeros((n, n), bool),
            gaps=np.empty(n * n + 2**16, np.int32),
        )
        self._scale = plan.scale

    def prepare(
        self,
        frames: NDArray,
        offset: int,
        counts: NDArray,
        statistics: Statistics,
        total: NDArray[np.float64],
        gaps: list[NDArray[np.int32]],
    ) -> None:
        """Prepare frames (m, h, w), the first of which is number `offset` of the share.

        Their places in `counts`, `statistics` and `gaps` are filled in; to `total` those of use are
        added, each times its scale.
        """
        frames = frames.view(_countable(frames.dtype))
        counts = counts.view(_countable(counts.dtype))
        low, last = 0, len(frames)
        lengths = np.zeros(last, np.int64)
        while low < last:
            part = slice(offset + low, offset + last)
            fine = counts[part] if self._fine is None else self._fine
            s = statistics
            done = prepare_frames(
                frames[low:], counts[part], fine, self._scale[part], total, lengths,
                self._steps, self._room, s.peak[part], s.low[part], s.non_finite[part],
                s.saturated[part], s.left[part], s.photons[part],
            )  # fmt: skip
            ends = np.cumsum(lengths[:done])
            for j in np.flatnonzero(lengths[:done]):
                gaps[offset + low + j] = self._room.gaps[ends[j] - lengths[j] : ends[j]].copy()
            low += done


def _countable(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def _stretches(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rows (to, from, length, step) that do what ``window[i] = frame[pixels[i]]`` does."""
    target = np.flatnonzero(pixels >= 0)
    if not len(target):
        return np.empty((0, 4), np.int64)
    source = pixels[target]
    step = np.diff(source)
    jump = (np.diff(target) != 1) | (np.abs(step) != 1)
    # A stretch goes one way: where the step changes, a new one begins.
    jump[1:] |= ~jump[:-1] & (step[1:] != step[:-1])
    starts = np.concatenate([[0], np.flatnonzero(jump) + 1, [len(target)]])
    return np.array(
        [
            (target[a], source[a], b - a, 1 if b - a == 1 else source[a + 1] - source[a])
            for a, b in pairwise(starts)
        ]
    )


@njit(cache=True, nogil=True)
def prepare_frames(  # type: ignore[no-untyped-def]
    frames, counts, fines, scale, total, lengths, steps, room,
    peaks, lows, non_finite, saturated, lefts, photons,
):  # fmt: skip
    """Prepare frames one after the other; return how many, as many as `room.gaps` was sure to hold.

    frames (m, h, w); counts (m, n, n), 0 at first; fines, `counts` or (1, n b, n b); total (n, n);
    the others (m,). lengths: how many of `room.gaps` are each frame's.
    """
    n = counts.shape[1]
    used = 0
    for j in range(frames.shape[0]):
        if used + n * n > room.gaps.size:
            return j
        window = counts[j]
        fine = fines[j if steps.in_place else 0]
        _fetch(fine, frames[j], steps.rows, steps.columns, steps.swapped)
        if steps.used.size > 0:
            _keep(fine, steps.used)
        wrong = _remove_non_finite(fine)
        low, high = _extremes(fine)
        bright, missed = 0, 0
        if high >= steps.limit:
            bright = _mark(fine, steps.limit, steps.binning, room.lost)
            if steps.masks_saturated:
                _clear(fine, steps.limit)
                missed = _list(room.lost, room.gaps[used:])
            room.lost[:] = False
        if not steps.in_place:
            _fill(window, fine, steps.dark, steps.gain, steps.binning, room.line)
        _zero(window, room.gaps[used : used + missed])
        if steps.threshold > 0:
            _cut(window, scale[j], steps.threshold)
        wrong += _remove_non_finite(window)
        peaks[j] = _extremes(window)[1]
        photons[j] = _sum(window)
        lows[j], non_finite[j], saturated[j] = low, wrong, bright
        lefts[j] = steps.measured - missed
        lengths[j] = missed
        used += missed
        if not _is_bad(wrong, low, bright, lefts[j], steps.masks_saturated):
            _add(total, window, scale[j])
    return frames.shape[0]


@njit(cache=True, nogil=True)
def _fetch(fine, frame, rows, columns, swapped):  # type: ignore[no-untyped-def]
    """Take the pixels of the frame that the fine window shows; others are left alone."""
    for a in range(rows.shape[0]):
        to_y, from_y, height, step_y = rows[a]
        for b in range(columns.shape[0]):
            to_x, from_x, width, step_x = columns[b]
            if swapped:
                _transpose(fine, frame, to_x, to_y, from_y, from_x, height, width, step_y, step_x)
                continue
            for i in range(height):
                line = frame[from_y + step_y * i]
                row = fine[to_y + i]
                if step_x == 1:
                    for k in range(width):
                        row[uint64(to_x + k)] = line[uint64(from_x + k)]
                else:
                    for k in range(width):
                        row[uint64(to_x + k)] = line[uint64(from_x - k)]


@njit(cache=True, nogil=True)
def _transpose(  # type: ignore[no-untyped-def]
    fine, frame, to_y, to_x, from_y, from_x, height, width, step_y, step_x
):
    """``fine[to_y + k, to_x + i] = frame[from_y + step_y i, from_x + step_x k]``, by squares."""
    for i0 in range(0, height, _SQUARE):
        i1 = min(i0 + _SQUARE, height)
        for k0 in range(0, width, _SQUARE):
            for k in range(k0, min(k0 + _SQUARE, width)):
                row = fine[to_y + k]
                x = from_x + step_x * k
                for i in range(i0, i1):
                    row[uint64(to_x + i)] = frame[uint64(from_y + step_y * i), uint64(x)]


@njit(cache=True, nogil=True)
def _keep(fine, used):  # type: ignore[no-untyped-def]
    """0 where not used."""
    flat, keep = fine.ravel(), used.ravel()
    none = fine.dtype.type(0)
    for i in range(flat.size):
        flat[i] = flat[i] if keep[i] else none


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _sum(window):  # type: ignore[no-untyped-def]
    """The sum, exact for integers."""
    flat = window.ravel()
    total = 0.0
    for i in range(flat.size):
        total += flat[i]
    return total


@njit(cache=True, nogil=True)
def _remove_non_finite(window):  # type: ignore[no-untyped-def]
    """Make 0 what is not finite, and count it."""
    flat = window.ravel()
    zero = flat.dtype.type(0)
    if np.isfinite(_sum(window) * 0.0):
        return 0
    wrong = 0
    for i in range(flat.size):
        if not np.isfinite(flat[i]):
            wrong += 1
            flat[i] = zero
    return wrong


@njit(cache=True, nogil=True, fastmath=_ORDER)
def _extremes(window):  # type: ignore[no-untyped-def]
    """The smallest number and the largest, or 0."""
    flat = window.ravel()
    low = high = flat.dtype.type(0)
    for i in range(flat.size):
        low = min(low, flat[i])
        high = max(high, flat[i])
    return low, high


@njit(cache=True, nogil=True)
def _mark(fine, limit, binning, lost):  # type: ignore[no-untyped-def]
    """Count pixels at the limit or above, and mark what they are parts of."""
    bright = 0
    for y in range(fine.shape[0]):
        for x in range(fine.shape[1]):
            if fine[y, x] >= limit:
                bright += 1
                lost[y // binning, x // binning] = True
    return bright


@njit(cache=True, nogil=True)
def _clear(fine, limit):  # type: ignore[no-untyped-def]
    """0 at the limit or above."""
    flat = fine.ravel()
    for i in range(flat.size):
        if flat[i] >= limit:
            flat[i] = 0


@njit(cache=True, nogil=True)
def _list(lost, gaps):  # type: ignore[no-untyped-def]
    """Write down which pixels are marked; return how many."""
    flat, count = lost.ravel(), 0
    for i in range(flat.size):
        if flat[i]:
            gaps[count] = i
            count += 1
    return count


@njit(cache=True, nogil=True)
def _zero(window, pixels):  # type: ignore[no-untyped-def]
    flat = window.ravel()
    for i in pixels:
        flat[i] = 0


@njit(cache=True, nogil=True)
def _fill(window, fine, dark, gain, binning, line):  # type: ignore[no-untyped-def]
    """Dark, flat, binning: ``window = sum over parts of max(fine - dark, 0) gain``."""
    n = window.shape[0]
    zero = line.dtype.type(0)
    for y in range(n):
        line[:] = 0
        for i in range(y * binning, (y + 1) * binning):
            row = fine[i]
            if dark.size == 0:
                for x in range(line.size):
                    line[x] += line.dtype.type(row[x])
            else:
                d, g = dark[i], gain[i]
                for x in range(line.size):
                    line[x] += max(line.dtype.type(row[x]) - d[x], zero) * g[x]
        to = window[y]
        if binning == 1:
            for x in range(n):
                to[x] = line[x]
        else:
            for x in range(n):
                value = zero
                for k in range(binning):
                    value += line[x * binning + k]
                to[x] = value


@njit(cache=True, nogil=True)
def _cut(window, scale, threshold):  # type: ignore[no-untyped-def]
    """0 below the threshold, scaled."""
    flat = window.ravel()
    zero = flat.dtype.type(0)
    for i in range(flat.size):
        flat[i] = zero if flat[i] * scale < threshold else flat[i]


@njit(cache=True, nogil=True)
def _add(total, window, scale):  # type: ignore[no-untyped-def]
    """``total += scale window``."""
    sums, flat = total.ravel(), window.ravel()
    for i in range(flat.size):
        sums[i] += scale * flat[i]
