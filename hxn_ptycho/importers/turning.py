"""Frames turned without moving the direct beam."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..solver.orientation import Orientation, matrix, turn


def turn_about_beam(frames: NDArray, name: Orientation, dc: Literal["corner", "centre"]) -> NDArray:
    """Return frames (..., h, w) turned about the direct beam, at [0, 0] or [h // 2, w // 2].

    An axis that is reversed is taken as periodic, as a transform takes it: of an even one, the row
    that has no partner on the other side of the beam stays where it is.
    """
    turned = turn(frames, name)
    for axis, reversed_ in zip((-2, -1), reversed_axes(name), strict=True):
        if reversed_ and (dc == "corner" or turned.shape[axis] % 2 == 0):
            turned = np.roll(turned, 1, axis=axis)
    return turned


def reversed_axes(name: Orientation) -> tuple[bool, bool]:
    """Return whether a turned frame's rows, and its columns, run against those on file."""
    rows, columns = matrix(name).sum(axis=0) < 0
    return bool(rows), bool(columns)
