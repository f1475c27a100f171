"""A scan as a file of others holds it: frames, positions in object pixels, a first probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class ImportFileError(ValueError):
    """A file that cannot be imported; the message says what was found and what is expected."""


@dataclass(frozen=True)
class Measured:
    """What an importer read from a file.

    Attributes
    ----------
    frames : ndarray (N, h, w), unsigned integer or float
        Counts, DC at the corner [0, 0].
    corners : ndarray (N, 2), float64, object pixels
        Row and column of each window's [0, 0] pixel in the object.
    probe : ndarray (modes, h, w), complex, or None
        A first guess of the probe.
    stored : str
        How the frames are kept, and as what they came.
    """

    frames: NDArray
    corners: NDArray[np.float64]
    probe: NDArray[np.complexfloating] | None
    stored: str


def checked(source: str, frames: NDArray, corners: NDArray, probe: NDArray | None) -> Measured:
    """Check and normalise the arrays of a file.

    Parameters
    ----------
    source : str
        The file's name, for messages.
    frames : ndarray (..., N, h, w)
        Axes before the last three have length 1.
    corners : ndarray (..., N, 2)
        Axes before the last two have length 1.
    probe : ndarray (..., modes, h, w) or None
        Axes before the last three have length 1.

    Raises
    ------
    ImportFileError
        If shapes do not fit together, or a value is not finite, negative or no number.
    """
    frames = _squeezed(source, "data", frames, 3, "(frames, rows, columns)")
    corners = _squeezed(source, "scan", corners, 2, "(frames, 2), columns (y, x)")
    if frames.dtype.kind not in "uif":
        raise ImportFileError(f"{source}: data has type {frames.dtype}; expected counts")
    if corners.dtype.kind not in "uif" or corners.shape[1] != 2:
        raise ImportFileError(
            f"{source}: scan has shape {corners.shape} and type {corners.dtype}; expected "
            f"({len(frames)}, 2) numbers: row and column of each window's corner, object pixels"
        )
    if len(frames) != len(corners):
        raise ImportFileError(
            f"{source}: {len(frames)} frames but {len(corners)} positions; each frame needs one"
        )
    if min(frames.shape) < 1:
        raise ImportFileError(f"{source}: data has shape {frames.shape}: there is nothing in it")
    _finite(source, "scan", corners)
    _finite(source, "data", frames)
    if frames.dtype.kind != "u" and frames.min() < 0:
        raise ImportFileError(
            f"{source}: data has negative counts, down to {frames.min():g}; expected what the "
            "detector counted"
        )
    if probe is not None:
        probe = _squeezed(source, "probe", probe, 3, "(modes, rows, columns)")
        if probe.shape[1:] != frames.shape[1:]:
            raise ImportFileError(
                f"{source}: the probe has {probe.shape[1]} x {probe.shape[2]} pixels and a frame "
                f"{frames.shape[1]} x {frames.shape[2]}; both are on the same window"
            )
        _finite(source, "probe", probe)
        probe = probe.astype(np.complex128 if probe.dtype == np.complex128 else np.complex64)
    kept, stored = _compact(frames)
    return Measured(kept, corners.astype(np.float64), probe, stored)


def _squeezed(source: str, name: str, array: NDArray, axes: int, expected: str) -> NDArray:
    leading = array.shape[: max(array.ndim - axes, 0)]
    if array.ndim < axes - (name == "probe") or any(length != 1 for length in leading):
        raise ImportFileError(
            f"{source}: {name} has shape {array.shape}; expected {expected}, with axes of length 1 "
            "before them at most"
        )
    return array.reshape((1,) * (axes - array.ndim) + array.shape[len(leading) :])


def _finite(source: str, name: str, array: NDArray) -> None:
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ImportFileError(
            f"{source}: {bad} of {array.size} values of {name} are NaN or infinite, the first at "
            f"{first}"
        )


def _compact(frames: NDArray) -> tuple[NDArray, str]:
    """Keep whole numbers below 65,536 that came as floats as uint16: half the size, no loss."""
    kind = frames.dtype
    if kind.kind == "f" and frames.max() < 65536 and np.array_equal(frames, np.rint(frames)):
        return frames.astype(np.uint16), f"uint16 (whole numbers below 65,536, {kind} in the file)"
    return frames, f"{kind}, as in the file"
