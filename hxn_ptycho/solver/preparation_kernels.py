"""The host's loops over the pixels of a frame, compiled by numba.

A frame is taken from file into a fine window (see `FramePlan`), which stays in the cache while all
else is done to it. Each loop does one simple thing to contiguous numbers of one type, so that the
compiler does many at once. Compiled code is cached on disk; nothing here holds the interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64

from .preparation import is_bad

# Sums may be taken in any order.
_SUMS = {"reassoc", "nsz"}

# Of loops that only others here call: half the time to compile is what lets Python call them.
_WITHIN: Any = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_is_bad = njit(**_WITHIN)(is_bad)


@njit(cache=True, nogil=True)
def prepare_frames(  # type: ignore[no-untyped-def]
    frames, counts, fines, targets, scale, total, lengths, steps, room,
    lows, non_finite, saturated, lefts, photons,
):  # fmt: skip
    """Prepare frames one after the other; return how many, as many as `room.gaps` was sure to hold.

    steps, room: `Steps` and `Room` of ``preparation_bench``.

    frames (m, h, w); counts (m, n, n), 0 at first; fines (1, n b, n b), or `targets` where nothing
    is computed; targets (1, n, n) where rows become columns, else `counts`; total (n, n); the
    others (m,). lengths: how many of `room.gaps` are each frame's.
    """
    n = counts.shape[1]
    noted = 0
    for j in range(frames.shape[0]):
        if noted + n * n > room.gaps.size:
            return j
        fine, window = fines[j % len(fines)], targets[j % len(targets)]
        _fetch(fine, frames[j], steps.rows, steps.columns)
        if steps.used.size > 0:
            _keep(fine, steps.used)
        wrong = 0
        if not steps.whole:
            wrong = _remove_non_finite(fine)
        negative, bright = _suspects(fine, steps.limit, steps.whole)
        low = _lowest(fine) if negative else 0.0
        missed = 0
        if bright and steps.masks_saturated:
            bright, missed = _find_gaps(
                fine, steps.limit, steps.binning, room.lost, room.gaps[noted:]
            )
        elif bright:
            bright = _count(fine.ravel(), steps.limit)
        if steps.computes:
            _fill(window.ravel(), fine.ravel(), steps.dark, steps.gain, steps.binning, room.line)
        _zero(window, room.gaps[noted : noted + missed])
        if steps.threshold > 0:
            _cut(window, scale[j], steps.threshold)
        if steps.computes:  # perhaps something too large for the type
            wrong += _remove_non_finite(window)
        lows[j], non_finite[j], saturated[j] = low, wrong, bright
        lefts[j] = steps.measured - missed
        lengths[j] = missed
        if steps.swapped:
            _transpose(counts[j].ravel(), window.ravel(), n)
            for k in range(noted, noted + missed):
                room.gaps[k] = room.gaps[k] % n * n + room.gaps[k] // n
        noted += missed
        if not _is_bad(wrong, low, bright, lefts[j], steps.masks_saturated):
            photons[j] = _sum(counts[j])
            _add(total, counts[j], scale[j])
    return frames.shape[0]


@njit(**_WITHIN)
def _fetch(fine, frame, rows, columns):  # type: ignore[no-untyped-def]
    """Take the pixels of the frame that the fine window shows; others are left alone."""
    for a in range(rows.shape[0]):
        to_y, from_y, height, step_y = rows[a]
        for b in range(columns.shape[0]):
            to_x, from_x, width, step_x = columns[b]
            for i in range(height):
                line, row = frame[from_y + step_y * i], fine[to_y + i]
                if step_x == 1:
                    for k in range(width):
                        row[uint64(to_x + k)] = line[uint64(from_x + k)]
                else:
                    for k in range(width):
                        row[uint64(to_x + k)] = line[uint64(from_x - k)]


@njit(**_WITHIN)
def _transpose(to, window, n):  # type: ignore[no-untyped-def]
    """``to = window.T``; both flat, of n x n.

    Eight rows at a time, whose numbers of a column the compiler writes at once.
    """
    whole = n - n % 8
    for y in range(0, whole, 8):
        for x in range(n):
            i, k = y * n + x, x * n + y
            a, b, c, d, e, f, g, h = (
                window[uint64(i)], window[uint64(i + n)], window[uint64(i + 2 * n)],
                window[uint64(i + 3 * n)], window[uint64(i + 4 * n)], window[uint64(i + 5 * n)],
                window[uint64(i + 6 * n)], window[uint64(i + 7 * n)],
            )  # fmt: skip
            to[uint64(k)], to[uint64(k + 1)] = a, b
            to[uint64(k + 2)], to[uint64(k + 3)] = c, d
            to[uint64(k + 4)], to[uint64(k + 5)] = e, f
            to[uint64(k + 6)], to[uint64(k + 7)] = g, h
    for y in range(whole, n):
        for x in range(n):
            to[uint64(x * n + y)] = window[uint64(y * n + x)]


@njit(**_WITHIN)
def _keep(fine, used):  # type: ignore[no-untyped-def]
    """0 where not used."""
    flat = fine.ravel()
    none = fine.dtype.type(0)
    for i in range(flat.size):
        flat[i] = flat[i] if used[i] else none


@njit(**_WITHIN, fastmath=_SUMS)
def _sum(window):  # type: ignore[no-untyped-def]
    """The sum, in double precision."""
    flat = window.ravel()
    total = 0.0
    for i in range(flat.size):
        total += flat[i]
    return total


@njit(**_WITHIN)
def _remove_non_finite(window):  # type: ignore[no-untyped-def]
    """Make 0 what is not finite, and count it."""
    flat = window.ravel()
    if np.isfinite(_sum(window)):
        return 0
    wrong = 0
    for i in range(flat.size):
        if not np.isfinite(flat[i]):
            wrong += 1
            flat[i] = 0
    return wrong


@njit(**_WITHIN)
def _suspects(fine, limit, whole):  # type: ignore[no-untyped-def]
    """Whether any pixel is below 0, and any at the limit or above; all are finite."""
    flat = fine.ravel()
    if whole:  # the compiler finds the extremes of integers fast, but not those of floats
        low = high = flat.dtype.type(0)
        for i in range(flat.size):
            low, high = min(low, flat[i]), max(high, flat[i])
        return low < 0, np.int64(high >= limit)
    below = above = 0
    for i in range(flat.size):
        below += flat[i] < 0
        above += flat[i] >= limit
    return below > 0, above


@njit(**_WITHIN)
def _lowest(fine):  # type: ignore[no-untyped-def]
    flat = fine.ravel()
    low = 0.0
    for i in range(flat.size):
        low = min(low, float(flat[i]))
    return low


@njit(**_WITHIN)
def _count(row, limit):  # type: ignore[no-untyped-def]
    """How many are at the limit or above."""
    count = 0
    for x in range(row.size):
        count += row[x] >= limit
    return count


@njit(**_WITHIN)
def _find_gaps(fine, limit, binning, lost, gaps):  # type: ignore[no-untyped-def]
    """Make 0 what is at the limit or above; note what it is a part of, in any order.

    Return how many pixels of the frame, and of the window. lost (n, n) is all False, and left so.
    """
    bright = missed = 0
    n = lost.shape[1]
    for y in range(fine.shape[0]):
        row, marks = fine[y], lost[y // binning]
        if _count(row, limit) == 0:
            continue
        for x in range(row.size):
            if row[x] >= limit:
                row[x] = 0
                bright += 1
                if not marks[x // binning]:
                    marks[x // binning] = True
                    gaps[missed] = y // binning * n + x // binning
                    missed += 1
    _zero(lost, gaps[:missed])
    return bright, missed


@njit(**_WITHIN)
def _zero(window, pixels):  # type: ignore[no-untyped-def]
    flat = window.ravel()
    for i in pixels:
        flat[i] = 0


@njit(**_WITHIN)
def _fill(window, fine, dark, gain, binning, line):  # type: ignore[no-untyped-def]
    """Dark, flat, binning: ``window = sum over parts of max(fine - dark, 0) gain``; all flat."""
    if binning == 1:  # not a row at a time, which would take twice as long
        _correct(window, fine, dark, gain)
        return
    zero, width = line.dtype.type(0), line.size
    for first in range(0, window.size, width // binning):
        line[:] = zero
        for i in range(first * binning * binning, (first * binning + width) * binning, width):
            _add_corrected(line, fine, dark, gain, i)
        if binning == 2:  # several at a time
            for x in range(width // 2):
                window[uint64(first + x)] = line[uint64(2 * x)] + line[uint64(2 * x + 1)]
            continue
        for x in range(width // binning):
            value = zero
            for k in range(binning):
                value += line[uint64(x * binning + k)]
            window[uint64(first + x)] = value


@njit(**_WITHIN)
def _correct(to, fine, dark, gain):  # type: ignore[no-untyped-def]
    real, zero = to.dtype.type, to.dtype.type(0)
    if dark.size == 0:
        for x in range(to.size):
            to[x] = real(fine[x])
        return
    for x in range(to.size):
        value = real(fine[x]) - dark[x]
        to[x] = (value if value > zero else zero) * gain[x]


@njit(**_WITHIN)
def _add_corrected(to, fine, dark, gain, first):  # type: ignore[no-untyped-def]
    """As `_correct`, of the pixels from `first` on, added."""
    real, zero = to.dtype.type, to.dtype.type(0)
    if dark.size == 0:
        for x in range(to.size):
            to[x] += real(fine[uint64(first + x)])
        return
    for x in range(to.size):
        i = uint64(first + x)
        value = real(fine[i]) - dark[i]
        to[x] += (value if value > zero else zero) * gain[i]


@njit(**_WITHIN)
def _cut(window, scale, threshold):  # type: ignore[no-untyped-def]
    """0 below the threshold, scaled."""
    flat = window.ravel()
    zero = flat.dtype.type(0)
    for i in range(flat.size):
        flat[i] = zero if flat[i] * scale < threshold else flat[i]


@njit(**_WITHIN)
def _add(total, window, scale):  # type: ignore[no-untyped-def]
    """``total += scale window``."""
    sums, flat = total.ravel(), window.ravel()
    for i in range(flat.size):
        sums[i] += scale * flat[i]
