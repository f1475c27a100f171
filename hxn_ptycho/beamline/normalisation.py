"""Normalisation of frames to the incident beam, by an ion chamber."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..scan import ScanError

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
            "(all are zero, negative or no numbers); was there beam, and is the scaler connected?"
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
