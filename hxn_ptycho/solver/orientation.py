"""The eight ways a frame may lie: which one is its own is for the beamline, or the data, to say.

An orientation is what is done to a frame on file so that it is as seen along the beam, its rows
along the positions' y and its columns along their x. The eight form a group (that of the square).
A frame turned by 180 degrees is the frame of the conjugate wave, so that an orientation and its
`twin` fit any data equally well: the data tell four classes apart, `CLASSES`, and no more.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Orientation = Literal[
    "identity", "rot90", "rot180", "rot270", "flip_y", "flip_x", "transpose", "antitranspose"
]

ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)

# Where the pixel (y, x) of the turned frame, counted from the direct beam, is in the frame on file:
# MATRIX @ (y, x). The turns are those of numpy.rot90: counter-clockwise with row 0 at the top.
_MATRICES: dict[Orientation, tuple[tuple[int, int], tuple[int, int]]] = {
    "identity": ((1, 0), (0, 1)),
    "rot90": ((0, 1), (-1, 0)),
    "rot180": ((-1, 0), (0, -1)),
    "rot270": ((0, -1), (1, 0)),
    "flip_y": ((-1, 0), (0, 1)),
    "flip_x": ((1, 0), (0, -1)),
    "transpose": ((0, 1), (1, 0)),
    "antitranspose": ((0, -1), (-1, 0)),
}

#: The four classes: an orientation, and its twin.
CLASSES: tuple[tuple[Orientation, Orientation], ...] = (
    ("identity", "rot180"),
    ("transpose", "antitranspose"),
    ("flip_y", "flip_x"),
    ("rot90", "rot270"),
)


def matrix(name: Orientation) -> NDArray[np.int64]:
    """Return (2, 2) integers: ``matrix @ (y, x)`` is on file what (y, x) is when turned.

    Both are counted from the direct beam.
    """
    return np.array(_MATRICES[name])


def turn(frames: NDArray, name: Orientation) -> NDArray:
    """Return frames (..., h, w) turned as a whole: a view (..., h, w), or (..., w, h).

    A frame of even sides has no pixel in its middle: where the direct beam is at [n // 2, n // 2],
    a flip as a whole moves it by one pixel. What must not move is turned by `matrix`.
    """
    (same_y, along_y), (along_x, same_x) = _MATRICES[name]
    if same_y == 0:  # axes change places: (y, x) is (along_y x, along_x y) on file
        return frames.swapaxes(-1, -2)[..., ::along_x, ::along_y]
    return frames[..., ::same_y, ::same_x]


def compose(first: Orientation, second: Orientation) -> Orientation:
    """Return the orientation that turns a frame as `first` and then `second` do."""
    return _named(matrix(first) @ matrix(second))


def inverse(name: Orientation) -> Orientation:
    """Return the orientation that undoes this one."""
    return _named(matrix(name).T)


def twin(name: Orientation) -> Orientation:
    """Return the one that gives the conjugate waves, and fits any data equally well."""
    return compose(name, "rot180")


def _named(wanted: NDArray[np.integer]) -> Orientation:
    return next(name for name in ORIENTATIONS if np.array_equal(matrix(name), wanted))
