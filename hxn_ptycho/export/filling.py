"""What stands in for pixels that were not measured, where a format has no mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Filling:
    """Puts the median of the measured pixels around into some others, as ptycho_gui does.

    Parameters
    ----------
    places : ndarray (n, n), bool
        Where to; the frame is periodic, as a transform takes it.
    measured : ndarray (n, n), bool
        What may be taken. Where nothing around was measured, frames stay as they are.
    """

    def __init__(self, places: NDArray[np.bool_], measured: NDArray[np.bool_]) -> None:
        self._places = []
        near = np.array([-1, 0, 1])
        for y, x in np.argwhere(places):
            rows, columns = (y + near) % len(measured), (x + near) % len(measured)
            found = np.argwhere(measured[np.ix_(rows, columns)])
            if len(found):
                self._places.append((y, x, rows[found[:, 0]], columns[found[:, 1]]))

    def __call__(self, frames: NDArray) -> NDArray:
        """Return frames (m, n, n), filled; integers stay integers."""
        if not self._places:
            return frames
        filled = frames.copy()
        for y, x, rows, columns in self._places:
            median = np.median(frames[:, rows, columns], axis=1)
            filled[:, y, x] = np.rint(median) if frames.dtype.kind in "iu" else median
        return filled
