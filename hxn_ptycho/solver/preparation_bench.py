"""Where the host prepares frames one after the other: what its loops need, laid out for them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .frame_plan import FramePlan
from .preparation import Statistics
from .preparation_kernels import prepare_frames


class Steps(NamedTuple):
    """What is done to each frame, as the loops want it; see `FramePlan`.

    Rows become columns last, when a window is as small as it will be: until then it lies as on
    file, as do used, dark and gain (1 / flat), all flat. used is empty where all is used, dark and
    gain where there are none. rows, columns: see `_stretches`. whole: integers are read; computes:
    something is done to their numbers, or their type is not what is kept.
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
    computes: bool
    whole: bool


class Room(NamedTuple):
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
        none: NDArray = np.empty(0)
        dark, gain = none, none
        if plan.dark is not None and plan.flat is not None:
            # Of a flat that is next to nothing the largest number: no light times infinity is none.
            largest = np.finfo(real).max
            dark, gain = plan.dark, np.minimum(1 / plan.flat.astype(np.float64), largest)
        limit: Any = np.float64(np.inf if plan.limit is None else plan.limit)
        if read.kind in "iu":
            limit = read.type(plan.limit)
        elif read.kind == "b":
            limit = np.uint8(255)
        computes = plan.corrected or plan.binning > 1 or read != kept

        def flat(array: NDArray, dtype: Any) -> NDArray:
            return np.ascontiguousarray(array.T if plan.swapped else array, dtype).ravel()

        self._steps = Steps(
            computes=computes,
            whole=read.kind in "biu",
            rows=_stretches(plan.rows),
            columns=_stretches(plan.columns),
            swapped=plan.swapped,
            used=flat(none if plan.used.all() else plan.used, bool),
            dark=flat(dark, real),
            gain=flat(gain, real),
            binning=plan.binning,
            limit=limit,
            masks_saturated=plan.masks_saturated,
            threshold=plan.threshold,
            measured=int(np.count_nonzero(plan.measured)),
        )
        n = len(plan.measured)
        # Where a frame is made, one after the other, unless it is where its counts are to be.
        self._fine: NDArray | None = None
        self._target: NDArray | None = None
        if plan.swapped:
            self._target = np.zeros((1, n, n), _countable(kept))
        if computes:
            self._fine = np.zeros((1, *plan.used.shape), _countable(read))
        self._room = Room(
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
            target = counts[part] if self._target is None else self._target
            fine = target if self._fine is None else self._fine
            s = statistics
            done = prepare_frames(
                frames[low:], counts[part], fine, target, self._scale[part], total, lengths,
                self._steps, self._room, s.low[part], s.non_finite[part], s.saturated[part],
                s.left[part], s.photons[part],
            )  # fmt: skip
            ends = np.cumsum(lengths[:done])
            for j in np.flatnonzero(lengths[:done]):
                gaps[offset + low + j] = np.sort(self._room.gaps[ends[j] - lengths[j] : ends[j]])
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
