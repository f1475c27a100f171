"""Where the direct beam is on the detector: found from a sample of the frames."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..recipe import Recipe
from ..scan import Scan, ScanError

log = logging.getLogger(__name__)

CLEAR = 0.3
"""Frames less alike to themselves turned by 180 degrees than this have no centre to be found."""

NEAR = 0.05
"""A centre this near to the middle, as a share of the frames' smaller side, is as good as there:
moving the window to it would cost twice as much of its side, and gain nothing that the
reconstruction lacks, which takes up the rest as a ramp of the probe's phase."""

_LARGEST = 512  # pixels along an axis: larger frames are binned for the search
_BRIGHTEST = 0.995  # of the pixels; what is above is cut


@dataclass(frozen=True)
class Symmetry:
    """A centre of symmetry.

    Attributes
    ----------
    y, x : float
        Pixels of the frame on file; [0, 0] is the centre of the first one.
    likeness : float
        How alike the frame is to itself turned about it: correlation, 0 to 1, weighted with how
        much of the pattern has its counterpart on the detector.
    """

    y: float
    x: float
    likeness: float


@dataclass(frozen=True)
class Centre:
    """The pixel that is taken for the direct beam.

    Attributes
    ----------
    y, x : float
        Taken.
    how : str
        Why, for a person.
    found : Symmetry or None
        What the frames say, where they were asked.
    """

    y: float
    x: float
    how: str
    found: Symmetry | None = None


def find_centre(mean: NDArray[np.floating], measured: NDArray[np.bool_]) -> Symmetry | None:
    """Find the point about which the mean frame is alike to itself turned by 180 degrees.

    The far field of a zone plate is its pupil, which is symmetric about the direct beam, and the
    light that a sample scatters away is so in the mean over the scan, roughly. What is maximised
    over all points is the correlation coefficient of the mean amplitude with the turned one, over
    the pixels that both have: it does not mind dark counts, masked pixels, or a part cut by the
    detector's edge. It is weighted with the fourth root of the share of the pattern's variance that
    takes part, or a few pixels at an edge, which are alike to anything, would win.

    Parameters
    ----------
    mean : ndarray (h, w)
        Mean counts.
    measured : ndarray (h, w), bool

    Returns
    -------
    Symmetry or None
        To a fraction of a pixel; None if there is no light at all.
    """
    if not (mean[measured] > 0).any():
        return None
    binning = -(-max(mean.shape) // _LARGEST)
    mean, weight = _binned(mean, measured, binning)
    amplitude = np.sqrt(np.clip(mean, 0, np.quantile(mean[weight > 0], _BRIGHTEST)))
    score = _likeness(amplitude, weight)
    row, column = np.unravel_index(np.argmax(score), score.shape)
    # Place s of the score is the point s / 2 of the frame.
    y = (row + _top(score[:, column], int(row))) / 2
    x = (column + _top(score[row], int(column))) / 2
    offset = (binning - 1) / 2
    return Symmetry(
        float(y * binning + offset), float(x * binning + offset), float(score[row, column])
    )


def choose_centre(
    scan: Scan, recipe: Recipe, mean: NDArray[np.floating], measured: NDArray[np.bool_]
) -> Centre:
    """Choose the pixel of the direct beam, as the recipe says, and say in the log which.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    mean : ndarray (h, w)
        Of a sample of the frames, corrected.
    measured : ndarray (h, w), bool

    Raises
    ------
    ScanError
        If it is to be found from the frames, and there is no light.
    """
    height, width = scan.frame_shape
    middle = (height // 2, width // 2)
    if not isinstance(recipe.centre, str):
        return Centre(*recipe.centre, "as the recipe says")
    if scan.dc == "corner":  # moved to the middle by whoever reads the frames
        return Centre(*middle, "at the corner of the frames")
    if recipe.centre == "middle":
        return Centre(*middle, "the middle of the frames")
    found = find_centre(mean, measured)
    if found is None:
        raise ScanError(
            f"scan {scan.scan_id}: no light in the sampled frames, so that the direct beam cannot "
            "be found; was the shutter open? Where there are few photons, give the beam's pixel, "
            'centre = [y, x], or centre = "middle"'
        )
    centre = _weigh(found, scan, recipe, middle)
    say = log.warning if found.likeness < CLEAR else log.info
    say(
        "direct beam of scan %s: found at (%.1f, %.1f), likeness %.2f; taken (%d, %d), %s",
        scan.scan_id, found.y, found.x, found.likeness, centre.y, centre.x, centre.how,
    )  # fmt: skip
    return centre


def _weigh(found: Symmetry, scan: Scan, recipe: Recipe, middle: tuple[int, int]) -> Centre:
    """Choose between the point found and one that leaves more of the detector."""
    if found.likeness < CLEAR:
        return Centre(
            *middle, f"the middle, as a likeness below {CLEAR:g} means nothing; check it", found
        )
    y, x = round(found.y), round(found.x)
    near = max(1.0, NEAR * min(scan.frame_shape))
    if recipe.window is None:
        if max(abs(y - middle[0]), abs(x - middle[1])) <= near:
            return Centre(*middle, "the middle, which is near and leaves the largest window", found)
        return Centre(y, x, "as found", found)
    # The nearest place where the window is inside the frames.
    half, rest = recipe.window // 2, recipe.window - recipe.window // 2
    inside_y, inside_x = (
        min(max(at, half), side - rest) for at, side in zip((y, x), scan.frame_shape, strict=True)
    )
    if not 0 < max(abs(inside_y - y), abs(inside_x - x)) <= near:
        return Centre(y, x, "as found", found)
    return Centre(inside_y, inside_x, f"near, where the window of {recipe.window} fits", found)


def _likeness(amplitude: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the score (2h - 1, 2w - 1) of each half pixel: how symmetric all is about it.

    All sums over pairs of pixels [p], [s - p] are autoconvolutions, with pixels that were not
    measured left out (Padfield, IEEE Trans. Image Process. 21, 2706 (2012)).
    """
    height, width = amplitude.shape
    shape = [fft.next_fast_len(2 * side - 1, real=True) for side in (height, width)]

    def transform(values: NDArray) -> NDArray:
        return fft.rfft2(values, shape)

    def pairs(first: NDArray, second: NDArray) -> NDArray:
        return fft.irfft2(first * second, shape)[: 2 * height - 1, : 2 * width - 1]

    amplitude = amplitude - np.average(amplitude, weights=weight)  # for the sake of rounding
    of_weight, of_sum, of_squares = (
        transform(each) for each in (weight, weight * amplitude, weight * amplitude**2)
    )
    count = np.maximum(pairs(of_weight, of_weight), 1.0)
    total = pairs(of_sum, of_weight)
    covariance = pairs(of_sum, of_sum) - total**2 / count
    variance = pairs(of_squares, of_weight) - total**2 / count
    whole = float(np.sum(weight * amplitude**2))
    if whole <= 1e-12 * amplitude.size:  # the same light everywhere: no point is better
        return np.zeros_like(count)
    share = np.clip(variance / whole, 1e-6, 1.0)
    return np.clip(covariance / (share * whole), 0, 1) * share**0.25


def _top(line: NDArray[np.float64], at: int) -> float:
    """Return where the parabola through a maximum and its neighbours is highest, from `at`."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = line[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _binned(
    mean: NDArray[np.floating], measured: NDArray[np.bool_], binning: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of what was measured in squares of pixels, and whether anything was."""
    weight = measured.astype(np.float64)
    values = np.where(measured, mean, 0.0)
    if binning > 1:
        height, width = (side // binning * binning for side in mean.shape)
        weight, values = (
            each[:height, :width]
            .reshape(height // binning, binning, width // binning, binning)
            .sum(axis=(1, 3))
            for each in (weight, values)
        )
    return values / np.maximum(weight, 1), (weight > 0).astype(np.float64)
