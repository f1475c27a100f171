"""What becomes of the frames read: prepared for the FFT window, judged, summed; and by the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .frame_plan import FramePlan

__all__ = [
    "FramePlan", "Gaps", "HostPreparation", "Preparation", "Prepared", "Statistics",
    "bad_frames", "empty_frames",
]  # fmt: skip


@dataclass(frozen=True)
class Gaps:
    """Pixels that were not measured in single frames, though the mask has them: saturated ones.

    Attributes
    ----------
    first : ndarray (N + 1,), int64
        Where in `pixels` those of each frame begin; the last: where they end.
    pixels : ndarray (M,), int32
        ``ky * n + kx`` of each, rising within a frame.
    """

    first: NDArray[np.int64]
    pixels: NDArray[np.int32]

    @classmethod
    def of(cls, frames: list[NDArray[np.int32]]) -> Gaps:
        """Return the gaps of frames, each by its pixels."""
        first = np.cumsum([0, *map(len, frames)], dtype=np.int64)
        return cls(first, np.concatenate([np.empty(0, np.int32), *frames]))

    def __len__(self) -> int:
        return len(self.pixels)

    def of_frame(self, j: int) -> NDArray[np.int32]:
        """Return the pixels of frame j."""
        return self.pixels[self.first[j] : self.first[j + 1]]

    def times_seen(self, measured: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return in how many of the frames each pixel (n, n) was measured."""
        missed = np.bincount(self.pixels, minlength=measured.size).reshape(measured.shape)
        return measured * (len(self.first) - 1) - missed


@dataclass(frozen=True)
class Statistics:
    """What each frame says of itself: one value a frame, of the pixels that are used.

    Attributes
    ----------
    low : ndarray (count,), float64
        The smallest number of counts, as on file, if below 0; else 0.
    non_finite : ndarray (count,), int64
        Pixels that are not finite, as on file or in the type in which counts are kept.
    saturated : ndarray (count,), int64
        Pixels on file at the plan's limit or above it.
    left : ndarray (count,), int64
        Pixels of the window that were measured in this frame.
    photons : ndarray (count,), float64
        The sum of the counts, as prepared, not scaled; of bad frames anything.
    """

    low: NDArray[np.float64]
    non_finite: NDArray[np.int64]
    saturated: NDArray[np.int64]
    left: NDArray[np.int64]
    photons: NDArray[np.float64]

    @classmethod
    def empty(cls, count: int) -> Statistics:
        """Return zeros for `count` frames, to be filled in."""
        real, whole = np.zeros((2, count)), np.zeros((3, count), np.int64)
        return cls(real[0], whole[0], whole[1], whole[2], real[1])


@dataclass(frozen=True)
class Prepared:
    """What a preparation gives.

    Attributes
    ----------
    counts : array (N, n, n)
        Of the good frames, where and how the device keeps them. On the CPU an ndarray of the
        plan's ``kept`` type, DC at [0, 0], 0 where not measured.
    gaps : Gaps or None
        Pixels not measured in single frames of these, where the counts do not say so themselves;
        None: they do, or there are none.
    good : ndarray (count,), bool
        Which frames these are.
    bad, empty : dict of int to str
        Number of a frame within the share that is of no use, and what is wrong with it; that has
        no counts.
    total : ndarray (n, n), float64
        Sum over the good frames of their counts times their scale.
    seen : ndarray (n, n), int64
        In how many of the good frames each pixel was measured.
    photons : ndarray (N,), float64
        Scaled sum of the counts of each good frame, as measured: what its gaps would have had is
        not in it.
    saturated_pixels : int
        How many pixels on file were not believed in single good frames.
    """

    counts: Any
    gaps: Gaps | None
    good: NDArray[np.bool_]
    bad: dict[int, str]
    empty: dict[int, str]
    total: NDArray[np.float64]
    seen: NDArray[np.int64]
    photons: NDArray[np.float64]
    saturated_pixels: int


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

    def finish(self) -> Prepared:
        """Return what was prepared."""


def bad_frames(statistics: Statistics, plan: FramePlan) -> dict[int, str]:
    """Say which frames, by their number in `statistics`, cannot be used, and why.

    A frame cannot be used that has a pixel which is negative or not finite, or all of whose pixels
    are saturated; or any, where saturated pixels are not masked.
    """
    s = statistics
    wrong = is_bad(s.non_finite, s.low, s.saturated, s.left, plan.masks_saturated)

    def fault(j: int) -> str:
        if s.non_finite[j]:
            return f"has {s.non_finite[j]} pixels that are not finite"
        if s.low[j] < 0:
            return f"has negative counts, down to {s.low[j]:g}"
        if not plan.masks_saturated:
            return f"is saturated: {_saturated(s, j, plan)}"
        return f"has no pixel that is not saturated: {_saturated(s, j, plan)}"

    return {j: fault(j) for j in np.flatnonzero(wrong).tolist()}


def empty_frames(statistics: Statistics, plan: FramePlan) -> dict[int, str]:
    """Say which frames, of those that are not bad, have no counts."""
    s = statistics
    none = ~is_bad(s.non_finite, s.low, s.saturated, s.left, plan.masks_saturated) & (
        s.photons == 0
    )

    def fault(j: int) -> str:
        return f"is empty but for {_saturated(s, j, plan)}" if s.saturated[j] else "is empty"

    return {j: fault(j) for j in np.flatnonzero(none).tolist()}


def is_bad(non_finite: Any, low: Any, saturated: Any, left: Any, masks_saturated: bool) -> Any:
    """Whether a frame, or each of an array of frames, cannot be used."""
    return (non_finite > 0) | (low < 0) | ((saturated > 0) & ((left == 0) | (not masks_saturated)))


def _saturated(s: Statistics, j: int, plan: FramePlan) -> str:
    exact = plan.dtype.kind in "iu" and plan.limit == np.iinfo(plan.dtype).max
    return f"{s.saturated[j]} pixels at {plan.limit}" + ("" if exact else " or more")


class HostPreparation:
    """Frames prepared in host memory, one pass over each.

    Parameters
    ----------
    plan : FramePlan
    double : bool
        Keep in float64 what is not kept as it is on file, instead of float32.
    """

    def __init__(self, plan: FramePlan, double: bool = False) -> None:
        # Brings numba, which a GPU's rank does without.
        from .preparation_bench import Bench

        self._plan = plan
        self._statistics = Statistics.empty(plan.count)
        self._counts: NDArray = np.zeros((plan.count, *plan.measured.shape), plan.kept(double))
        self._total = np.zeros(plan.measured.shape)
        self._gaps = [np.empty(0, np.int32)] * plan.count
        self._bench = Bench(plan, plan.readable, self._counts.dtype)
        self._room = np.empty(0, np.uint8)

    def room(self, count: int, shape: tuple[int, int], dtype: np.dtype) -> NDArray:
        """Return an array (count, h, w); the same memory every time, as `add` copies at once.

        It is of the plan's ``readable`` type, which h5py converts into.
        """
        self._plan.check(shape, dtype)
        dtype = self._plan.readable
        size = count * shape[0] * shape[1] * dtype.itemsize
        if size > self._room.size:
            self._room = np.empty(size, np.uint8)
        return self._room[:size].view(dtype).reshape(count, *shape)

    def add(self, offset: int, frames: NDArray) -> None:
        """Take the frames from number `offset` of the share on."""
        self._bench.prepare(frames, offset, self._counts, self._statistics, self._total, self._gaps)

    def finish(self) -> Prepared:
        """Return what was prepared; nothing can be added afterwards."""
        plan, s = self._plan, self._statistics
        bad, empty = bad_frames(s, plan), empty_frames(s, plan)
        good = np.ones(plan.count, bool)
        good[[*bad, *empty]] = False
        which = np.flatnonzero(good)
        if len(which) < plan.count:  # close up, without a second copy of all
            for to, j in enumerate(which):
                self._counts[to] = self._counts[j]
        gaps = Gaps.of([self._gaps[j] for j in which])
        return Prepared(
            counts=self._counts[: len(which)],
            gaps=gaps if len(gaps) else None,
            good=good,
            bad=bad,
            empty=empty,
            total=self._total,
            seen=gaps.times_seen(plan.measured),
            photons=s.photons[good] * plan.scale[good],
            saturated_pixels=int(s.saturated[good].sum()),
        )
