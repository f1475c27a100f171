"""Which pixels of the detector are not believed: by who names them, and by the frames themselves.

All verdicts are on a sample of the frames and by counting statistics: that a good pixel of any
frame is masked by chance is to happen once in a hundred scans. Left alone is what cannot be told
from light, as a hot pixel within the direct beam, or a dead one where hardly anything is counted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import pdtrc

from .sample import FrameSample

log = logging.getLogger(__name__)

CHANCE = 0.01  # of one wrong verdict, over all pixels
NEARLY_ALL = 0.9  # of the sampled frames
FEWEST = 4  # frames by which a hot pixel is told from a speckle
FADE = 150.0  # at most, from one pixel to the next
LISTED = 3
_SUSPICIOUS = 0.05  # of the detector

_NEAR = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_FAR = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2]


@dataclass(frozen=True)
class Pixels:
    """Which pixels (h, w) of a frame on file are not believed, and why: no pixel for two reasons.

    Attributes
    ----------
    named : ndarray (h, w), bool
        By the run, or a file of bad pixels, dark or flat.
    saturated : ndarray (h, w), bool
        Saturated, or no number of counts at all, in nearly all sampled frames.
    hot : ndarray (h, w), bool
        Far brighter than all around.
    dead : ndarray (h, w), bool
        Without a count, alone or together, within bright light: also a gap between modules, or the
        shadow of a beam stop.
    """

    named: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    hot: NDArray[np.bool_]
    dead: NDArray[np.bool_]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """True (h, w) where a pixel is believed."""
        return ~(self.named | self.saturated | self.hot | self.dead)

    @property
    def counts(self) -> dict[str, int]:
        """How many pixels there are of each kind."""
        return {kind: int(np.count_nonzero(pixels)) for kind, pixels in vars(self).items()}


def judge_pixels(
    sample: FrameSample,
    named: NDArray[np.bool_],
    hot_factor: float | None,
    dark: NDArray[np.floating] | None = None,
    flat: NDArray[np.floating] | None = None,
) -> Pixels:
    """Judge the pixels by a sample of the frames; say in the log which ones, and how many.

    Parameters
    ----------
    sample : FrameSample
    named : ndarray (h, w), bool
        Pixels that are not believed anyway.
    hot_factor : float or None
        How many times its neighbours' median a pixel's mean must be; None, or infinite, as a TOML
        file says it: hot ones are not looked for. Nor are they in fewer than `FEWEST` frames.
    dark, flat : ndarray (h, w), optional
        Applied before pixels are called hot.
    """
    frames = len(sample.index)
    saturated = (sample.seen <= (1 - NEARLY_ALL) * frames) & ~named
    bad = named | saturated
    hot, dead = np.zeros((2, *bad.shape), bool)
    if hot_factor is not None and np.isfinite(hot_factor) and frames >= FEWEST:
        hot = find_hot(sample, ~bad, hot_factor, dark, flat)
    dead = find_dead(sample, ~(bad | hot))
    pixels = Pixels(named, saturated, hot, dead)
    for kind, why in (
        ("saturated", "saturated or without a number in nearly all of them"),
        ("hot", f"hot, above {hot_factor:g} times their neighbours" if hot_factor else ""),
        ("dead", "dead, without a count within bright light"),
    ):
        which = getattr(pixels, kind)
        if which.any():
            log.info("%s, by %d frames; masked: %s", why, frames, _list(which))
    share = 1 - pixels.measured.mean()
    if share - named.mean() > _SUSPICIOUS:
        log.warning(
            "%.0f %% of the detector's pixels are masked by the frames themselves (%s): look at "
            "them with hxn-ptycho show --frames",
            100 * share,
            ", ".join(f"{count} {kind}" for kind, count in pixels.counts.items() if count),
        )
    return pixels


def find_hot(
    sample: FrameSample,
    measured: NDArray[np.bool_],
    factor: float,
    dark: NDArray[np.floating] | None = None,
    flat: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Return which pixels (h, w) are hot: for a person, single bright pixels in the dark.

    A hot pixel has, in the sum over the sampled frames but its own brightest one (that may be a
    cosmic ray), more than `factor` times the median of its neighbours, by more than chance; and so
    in at least a quarter of the frames one by one (chance repeats itself seldom). And it stands
    alone: of those up to two pixels away not more than one has a third of it (hot pixels come in
    pairs, too), or it may be a speckle; and its neighbours do not stand out of those farther away,
    or it may be the direct beam's core.
    """
    believed = measured & (sample.seen > 0)
    counted = sample.total - sample.peak
    times = np.maximum(sample.seen - 1, 1)
    offset = np.zeros(measured.shape) if dark is None else times * dark
    light = (counted - offset) / (1 if flat is None else flat)
    light = np.where(believed, light, np.nan)
    # What might be: only there the neighbours are looked at one by one.
    lowest = ndimage.minimum_filter(np.where(believed, light, np.inf), 3, mode="nearest")
    y, x = np.nonzero(believed & (light > factor * np.maximum(lowest, 0)) & (light > 1))
    own = light[y, x]
    near = _median(_around(light, y, x, _NEAR))
    # The median of eight is uncertain by 0.44 of one pixel's noise; and 0 may have been 1.
    most = np.maximum(near, 0) + 1 + 1.5 * np.sqrt(np.maximum(near, 0))
    behind = np.maximum(offset[y, x], 0)
    chance = pdtrc(np.maximum(np.ceil(own + behind) - 1, 0), most + behind)
    stands_out = (own > factor * near) & (chance < CHANCE / measured.size)
    y, x, near = y[stands_out], x[stands_out], near[stands_out]

    outer = _around(light, y, x, _FAR)
    far = np.maximum(_median(outer), 0)
    others = np.concatenate([_around(light, y, x, _NEAR), outer])
    second = np.sort(np.nan_to_num(others), axis=0)[-2]
    alone = (light[y, x] > 3 * second) & (near <= 2 * far + 3 * np.sqrt(far + 1))
    y, x = y[alone], x[alone]

    hot = np.zeros(measured.shape, bool)
    for row, column in zip(y.tolist(), x.tolist(), strict=True):
        hot[row, column] = _often(sample, row, column, factor, dark, flat)
    return hot


def find_dead(sample: FrameSample, measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels (h, w) are dead: no count in any frame, within light.

    Along the row or the column, the next pixels with a count are, on both sides, so bright that a
    pixel with `FADE` times less would count something, but by chance. So steep is the edge of a
    zone plate's light: the shadow of its central stop is dark, and not dead.
    """
    none = measured & (sample.peak == 0)
    if not none.any():
        return none
    # Without each pixel's brightest frame: a cosmic ray is no light.
    counted = sample.total - (sample.peak if len(sample.index) >= FEWEST else 0)
    # exp(-least) is how seldom a pixel that is expected to count so much counts nothing.
    least = counted - 1.5 * np.sqrt(counted)
    bright = measured & (np.exp(-np.maximum(least, 0) / FADE) < CHANCE / measured.size)
    skipped = none | ~measured
    across = _next(bright, skipped) & _next(bright[:, ::-1], skipped[:, ::-1])[:, ::-1]
    along = _next(bright.T, skipped.T).T & _next(bright[::-1].T, skipped[::-1].T).T[::-1]
    return none & (across | along)


def _next(values: NDArray[np.bool_], skipped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each pixel of a row what the last one before it is that is not skipped."""
    column = np.where(skipped, -1, np.arange(values.shape[1]))
    last = np.maximum.accumulate(column, axis=1)
    rows = np.arange(len(values))[:, None]
    return np.where(last >= 0, values[rows, last], False)


def _often(
    sample: FrameSample,
    y: int,
    x: int,
    factor: float,
    dark: NDArray[np.floating] | None,
    flat: NDArray[np.floating] | None,
) -> bool:
    """Whether a pixel exceeds its neighbours' median in a quarter of the frames, each by itself."""
    rows = slice(max(0, y - 1), y + 2)
    columns = slice(max(0, x - 1), x + 2)
    around = sample.frames[:, rows, columns].astype(np.float64)
    if sample.usable is not None:
        around[~sample.usable[:, rows, columns]] = np.nan
    if dark is not None:
        around -= dark[rows, columns]
    if flat is not None:
        around /= flat[rows, columns]
    middle = (slice(None), y - rows.start, x - columns.start)
    own = around[middle].copy()
    around[middle] = np.nan
    median = _median(around.reshape(len(around), -1).T)
    with np.errstate(invalid="ignore"):
        higher = (own > factor * np.maximum(median, 0)) & (own > 0)
    return bool(np.count_nonzero(higher) >= 0.25 * len(around))


def _around(
    values: NDArray[np.floating],
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    places: list[tuple[int, int]],
) -> NDArray[np.float64]:
    """Return (places, pixels): the values around some pixels; NaN outside the frame."""
    padded = np.pad(values, 2, constant_values=np.nan)
    return np.stack([padded[y + 2 + dy, x + 2 + dx] for dy, dx in places])


def _median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median along the first axis of what is not NaN; 0 where all is."""
    ordered = np.sort(values, axis=0)  # NaN last
    known = np.count_nonzero(~np.isnan(values), axis=0)
    low, high = np.maximum(known - 1, 0) // 2, known // 2
    pick = np.stack([low, np.minimum(high, len(values) - 1)])
    middle = np.take_along_axis(ordered, pick, axis=0)
    return np.where(known > 0, middle.mean(axis=0), 0.0)


def _list(which: NDArray[np.bool_]) -> str:
    """Write the first few pixels, and how many there are."""
    places = np.argwhere(which)
    named = ", ".join(f"({y}, {x})" for y, x in places[:LISTED])
    more = ", ..." if len(places) > LISTED else ""
    return f"{len(places)} pixel{'s'[: len(places) != 1]} {named}{more} (y, x)"
