"""Normalisation of frames to the incident beam, by an ion chamber."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..scan import ScanError

if TYPE_CHECKING:
    from .run import Run

log = logging.getLogger(__name__)

_DROP_OUT = 0.1  # readings below this share of the mean are not believed


def normalisation(scan_id: Any, counts: ArrayLike) -> NDArray[np.float64]:
    """Return what each frame's counts are multiplied by, from ion-chamber readings.

    ``counts[0] / counts[j]``, as HXN does. The scaler drops readings: zeros, readings below 10 %
    of the mean and no numbers are replaced by the reading before, or the first good one.

    Parameters
    ----------
    scan_id : int
        For messages.
    counts : array-like (N,)

    Returns
    -------
    ndarray (N,), float64

    Raises
    ------
    ScanError
        If no reading can be used.
    """
    readings = np.array(counts, float)
    usable = np.isfinite(readings) & (readings > 0)
    if usable.any():
        usable &= readings > _DROP_OUT * readings[usable].mean()
    if not usable.any():
        raise ScanError(
            f"scan {scan_id}: none of the {readings.size} readings of the ion chamber can be used "
            "(all are zero, negative or no numbers); was there beam, and is the scaler connected? "
            "normalise = false in the recipe does without"
        )
    lost = readings.size - np.count_nonzero(usable)
    if lost:
        log.warning(
            "scan %s: %d of %d readings of the ion chamber dropped out; their neighbours' are "
            "taken",
            scan_id,
            lost,
            readings.size,
        )
    # The last good reading at or before each; before the first good one, that one.
    last = np.maximum.accumulate(np.where(usable, np.arange(readings.size), -1))
    last[last < 0] = np.flatnonzero(usable)[0]
    repaired = readings[last]
    return repaired[0] / repaired


def read_normalisation(run: Run, keys: Sequence[str], frames: int) -> NDArray[np.float64]:
    """Return what each frame's counts are multiplied by, from the run's ion chamber.

    Ones, and a warning, where the run has none; ones where the recipe does not want it.

    Parameters
    ----------
    run : Run
    keys : sequence of str
        Data keys of ion chambers; the first that the run has is taken.
    frames : int
        N.

    Raises
    ------
    ScanError
        If there is not one reading a frame, or none can be used.
    """
    if not run.recipe.normalise or not keys:
        return np.ones(frames)
    key = next((key for key in keys if key in run.keys), None)
    if key is None:
        log.warning("%s has no %s: its frames are not normalised", run.name, " and no ".join(keys))
        return np.ones(frames)
    counts = run.read(key)
    if counts.size != frames:
        raise ScanError(
            f"{run.name} has {frames} frames but {counts.size} readings of the ion chamber "
            f"({key}); each frame needs one: use normalise = false in the recipe to do without"
        )
    return normalisation(run.start.get("scan_id"), counts)
