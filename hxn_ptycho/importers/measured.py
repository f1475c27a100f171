"""A scan as a file of others holds it, in our conventions: its frames stay on file until read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ImportFileError
from .given import Geometry

BATCH_BYTES = 32 * 2**20
"""Of the frames read at a time: enough to be quick, few enough to cost little memory."""

LARGEST = int(np.iinfo(np.uint16).max)
"""Whole numbers up to this are kept as uint16, whatever they come as."""


@dataclass(frozen=True)
class Frames:
    """Counts that stay on file until they are asked for.

    Attributes
    ----------
    count : int
    shape : (int, int)
        Rows and columns of a frame, as `batches` gives it.
    dtype : numpy.dtype
        In which the counts are kept unless they are whole numbers that fit into uint16: unsigned or
        signed integer, or float.
    source : str
        What they came as, for the person: "float64", "float64, square roots".
    batches : callable () -> iterator of ndarray (m, h, w)
        Begins anew each time it is called. [y, x] as seen along the beam; finite, not negative.
    """

    count: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    source: str
    batches: Callable[[], Iterator[NDArray]]

    @property
    def nbytes(self) -> int:
        """How large they are in `dtype`."""
        return self.count * self.shape[0] * self.shape[1] * self.dtype.itemsize


@dataclass(frozen=True)
class Measured:
    """What an importer reads from a file.

    Attributes
    ----------
    format : str
        Of the file.
    frames : Frames
    positions_m : ndarray (N, 2), float64, m
        Where the beam is on the sample, (y, x), before `projection`.
    geometry : Geometry
    dc : {"corner", "centre"}
        Where the direct beam is in a frame: at [0, 0], or at [h // 2, w // 2] unless `centre`
        says where.
    projection : (float, float)
        See `Scan`.
    angle_deg : float or None
        Rotation of the sample, if the file says it.
    mask : ndarray (h, w), bool, or None
        True where the detector measured; as a frame.
    dark : ndarray (h, w), float, or None
        A frame without beam, which is in the counts.
    probe : ndarray (modes, h, w), complex, or None
        A first guess of the probe.
    scan_id : int or None
        The file's own.
    recipe : dict
        Keys of the recipe that the file calls for, as ``centre``.
    """

    format: str
    frames: Frames
    positions_m: NDArray[np.float64]
    geometry: Geometry
    dc: Literal["corner", "centre"]
    projection: tuple[float, float] = (1.0, 1.0)
    angle_deg: float | None = None
    mask: NDArray[np.bool_] | None = None
    dark: NDArray[np.floating] | None = None
    probe: NDArray[np.complexfloating] | None = None
    scan_id: int | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


def batch_length(shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many frames of (h, w) of so many bytes a pixel are read at a time."""
    return max(1, BATCH_BYTES // max(1, shape[-2] * shape[-1] * itemsize))


def check_counts(source: str, name: str, first: int, frames: NDArray) -> None:
    """Check a batch of frames whose first is number `first`.

    Raises
    ------
    ImportFileError
        If a value is not finite or negative; with the frame's number.
    """
    if frames.dtype.kind == "f":
        finite = np.isfinite(frames)
        if not finite.all():
            where = np.argwhere(~finite)
            j, y, x = (int(i) for i in where[0])
            raise ImportFileError(
                f"{source}: {name} has values that are NaN or infinite: {len(where)} among frames "
                f"{first} to {first + len(frames) - 1}, the first at {[first + j, y, x]}; mask "
                "these pixels in the file, or set them to 0"
            )
    if frames.dtype.kind != "u" and frames.min(initial=0) < 0:
        j, y, x = (int(i) for i in np.unravel_index(frames.argmin(), frames.shape))
        raise ImportFileError(
            f"{source}: {name} has negative counts, down to {frames.min():g} at "
            f"{[first + j, y, x]}; expected what the detector counted"
        )


def check_positions(source: str, name: str, positions: NDArray, frames: int) -> None:
    """Check positions (N, ...), one for each frame.

    Raises
    ------
    ImportFileError
        If they differ in number, or one is not finite.
    """
    if len(positions) != frames:
        raise ImportFileError(
            f"{source}: {frames} frames but {len(positions)} positions; each frame needs one"
        )
    check_finite(source, name, positions)


def check_finite(source: str, name: str, array: NDArray) -> None:
    """Check a small array.

    Raises
    ------
    ImportFileError
        If a value is not finite.
    """
    finite = np.isfinite(array)
    if not finite.all():
        first = np.argwhere(~finite)[0].tolist()
        raise ImportFileError(
            f"{source}: {array.size - np.count_nonzero(finite)} of {array.size} values of {name} "
            f"are NaN or infinite, the first at {first}"
        )
