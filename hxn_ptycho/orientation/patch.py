"""A part of a scan that is enough to tell orientations apart: views that lie together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..scan import Scan
from ..solver.job import FrameBlock, iterate_blocks


def patch(scan: Scan, views: int, around: int | None = None) -> tuple[Scan, NDArray[np.intp]]:
    """Return the part of a scan that has the `views` views nearest to one of them.

    It is a square of the scan, not every second view of it: views must overlap.

    Parameters
    ----------
    scan : Scan
    views : int
        At most so many.
    around : int, optional
        Number of the view in the middle; default: the one nearest to the scan's middle.

    Returns
    -------
    part : Scan
    numbers : ndarray (views,), int
        Of its frames in the scan, rising.
    """
    positions = scan.positions_m
    if around is None:
        middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
        around = int(np.argmin(_distance(positions, middle)))
    nearest = np.argsort(_distance(positions, positions[around]), kind="stable")[:views]
    numbers = np.sort(nearest)
    part = replace(
        scan,
        frames=_blocks(scan.frames, numbers),
        positions_m=positions[numbers],
        normalisation=scan.normalisation[numbers],
    )
    return part, numbers


def spread(scan: Scan, views: int) -> NDArray[np.intp]:
    """Return the numbers of at most `views` views, spread evenly over the order of the scan."""
    count = min(views, scan.number_of_frames)
    return np.unique(np.linspace(0, scan.number_of_frames - 1, count).astype(np.intp))


def richest(
    counts: NDArray, positions_m: NDArray[np.float64], numbers: NDArray[np.intp], share: float
) -> int:
    """Return the number of the view around which frames differ most from the mean of all.

    Where a scan has nothing in the beam, all frames are alike, and fit any orientation.

    Parameters
    ----------
    counts : ndarray (K, n, n)
        Of some frames, spread over the scan.
    positions_m : ndarray (K, 2), m
        Where these are.
    numbers : ndarray (K,), int
        Which these are.
    share : float
        How much of the scan's area is looked at together, 0 to 1.
    """
    amplitude = np.sqrt(counts.reshape(len(counts), -1).astype(np.float64))
    size = np.linalg.norm(amplitude, axis=1)
    amplitude /= np.where(size > 0, size, 1)[:, None]
    mean = amplitude.mean(axis=0)
    # Not the distance from the mean itself, which noise raises more where frames are dark.
    unlike = 1 - amplitude @ mean / np.linalg.norm(mean)
    unlike[size == 0] = 0
    together = max(1, round(share * len(counts)))
    distances = np.max(np.abs(positions_m[:, None] - positions_m[None]), axis=-1)
    near = np.argsort(distances, axis=1, kind="stable")[:, :together]
    return int(numbers[np.argmax(unlike[near].mean(axis=1))])


def _distance(positions: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each position is, along y or x, whichever is farther."""
    distance: NDArray[np.float64] = np.max(np.abs(positions - place), axis=1)
    return distance


def _blocks(frames: tuple[FrameBlock, ...], numbers: NDArray[np.intp]) -> tuple[FrameBlock, ...]:
    """Return where these frames (rising numbers) lie, neighbours together."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return tuple(
        FrameBlock(block.file, block.dataset, start, stop - start)
        for run in runs
        for block, start, stop, _ in iterate_blocks(frames, int(run[0]), int(run[-1]) + 1)
    )
