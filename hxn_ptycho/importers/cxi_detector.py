"""The detector of a CXI file: how its frames lie, its pixels, where the beam meets it."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from ..solver.orientation import ORIENTATIONS, Orientation, matrix
from .errors import ImportFileError
from .hdf5 import find, number

DETECTOR = "entry_1/instrument_1/detector_1"
_ALIGNED = 0.02  # sine of the angle by which a detector's axes may miss those of the laboratory


@dataclass(frozen=True)
class Detector:
    """What a CXI file says of its detector.

    Attributes
    ----------
    orientation : str
        What is done to a frame on file so that it is as seen along the beam.
    pixel_um : (float, float) or None, um
        (y, x), of the turned frame; None: not said.
    distance_m : float or None, m
    centre : (float, float) or None
        Row and column on file that the direct beam meets; None: not said. CXI files differ by half
        a pixel in what they call the corner.
    """

    orientation: Orientation
    pixel_um: tuple[float, float] | None
    distance_m: float | None
    centre: tuple[float, float] | None


def read_detector(source: str, file: h5py.File, axes: str) -> Detector:
    """Read ``detector_1``.

    Parameters
    ----------
    source : str
        The file's name, for messages.
    axes : str
        Of the frames, "translation:y:x" for instance; counts where there are no basis vectors.

    Raises
    ------
    ImportFileError
        If the detector does not stand upright across the beam.
    """
    basis = _basis(source, file, axes)
    corner = find(file, f"{DETECTOR}/corner_position")
    place = None if corner is None else np.asarray(corner[()], float).ravel()
    distance = number(file, f"{DETECTOR}/distance")
    if distance is None and place is not None and place.size == 3 and place[2]:
        distance = abs(float(place[2]))
    if basis is None:
        swapped = axes.endswith("x:y")
        return Detector("transpose" if swapped else "identity", None, distance, None)
    sizes = np.linalg.norm(basis, axis=1)
    # CXI: y up, x to the left seen along the beam. Ours: rows down, columns to the right.
    steps = -basis[:, [1, 0]] / sizes[:, None]  # what a step along a file's axis is, (y, x)
    whole = np.rint(steps)
    if np.abs(steps - whole).max() > _ALIGNED or not np.array_equal(whole @ whole.T, np.eye(2)):
        raise ImportFileError(
            f"{source}: {DETECTOR}/basis_vectors {basis.tolist()} are not along x and y: a "
            "detector that is tilted or turned by other than quarter turns cannot be imported"
        )
    # Row a of `whole` is where axis a of the file points to: matrix @ (y, x) is on file.
    name = next(each for each in ORIENTATIONS if np.array_equal(matrix(each), whole))
    pixel = np.abs(whole.T @ sizes) * 1e6
    centre = None
    if place is not None and place.size == 3 and np.isfinite(place).all() and place[:2].any():
        found = -(basis[:, :2] @ place[:2]) / sizes**2
        centre = (float(found[0]), float(found[1]))
    return Detector(name, (float(pixel[0]), float(pixel[1])), distance, centre)


def _basis(source: str, file: h5py.File, axes: str) -> NDArray[np.float64] | None:
    """Return (2, 3): the step from pixel to pixel along a frame's first and second axis, m."""
    vectors = find(file, f"{DETECTOR}/basis_vectors")
    if vectors is not None:
        basis = np.asarray(vectors[()], float)
        basis = basis.T if basis.shape == (3, 2) else basis  # some write it so
        if basis.shape == (2, 3) and np.linalg.norm(basis, axis=1).all():
            return basis
        raise ImportFileError(
            f"{source}: {vectors.name} is {basis.tolist()}; expected (2, 3), of lengths not 0"
        )
    x = number(file, f"{DETECTOR}/x_pixel_size")
    y = number(file, f"{DETECTOR}/y_pixel_size")
    x, y = x or y, y or x  # some write but one
    if not x or not y:
        return None
    basis = np.array([[0, -y, 0], [-x, 0, 0]])
    return basis[::-1] if axes.endswith("x:y") else basis
