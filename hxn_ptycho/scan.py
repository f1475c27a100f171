"""What one measured scan is, whichever beamline, flavour or file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .solver.job import FrameBlock
from .solver.orientation import Orientation


class ScanError(ValueError):
    """A scan that cannot be reconstructed; the message says why, with the numbers involved."""


@dataclass(frozen=True)
class Scan:
    """One measured scan: frames by reference, and the small arrays that go with them.

    Attributes
    ----------
    uid, scan_id : str, int
        Of the raw run's start document.
    frames : tuple of FrameBlock
        Where the frames lie: file, dataset, first frame, number of frames; in order.
    frame_shape : (int, int)
        Rows and columns of one frame on file.
    frame_dtype : str
        Type of a pixel on file, as in ``numpy.dtype(...).name``.
    dc : {"centre", "corner"}
        Where the direct beam is in a frame on file: near the middle, or at [0, 0].
    positions_m : ndarray (N, 2), float64, m
        Where the beam is on the sample, (y, x), y growing with the object's rows and x with its
        columns; before `projection`.
    wavelength_m, distance_m : float
        Of the X-rays; from sample to detector (m).
    detector_pixel_m : (float, float)
        Height and width of a detector pixel, m.
    normalisation : ndarray (N,), float64
        What the counts of each frame are multiplied by (1: nothing).
    mask : ndarray (h, w), bool, or None
        True where a pixel was measured; None: everywhere.
    orientation : str
        What is done to a frame on file so that it is as seen along the beam, see
        `solver.orientation`.
    projection : (float, float)
        (y, x): the part of each stage's motion that is across the beam, by the rotation below it;
        what positions are multiplied by unless the recipe forbids it.
    saturation : int or None
        Counts from which on a pixel is not to be trusted; None: not known.
    start_probe : tuple (file, dataset) or None
        A first guess of the probe that came with the scan: complex (modes, n, n).
    start : dict
        The raw run's start document.
    """

    uid: str
    scan_id: int
    frames: tuple[FrameBlock, ...]
    frame_shape: tuple[int, int]
    frame_dtype: str
    dc: Literal["centre", "corner"]
    positions_m: NDArray[np.float64]
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    normalisation: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None
    orientation: Orientation = "identity"
    projection: tuple[float, float] = (1.0, 1.0)
    saturation: int | None = None
    start_probe: tuple[str, str] | None = None
    start: dict[str, Any] = field(default_factory=dict)

    @property
    def number_of_frames(self) -> int:
        """How many frames the blocks hold together."""
        return sum(block.count for block in self.frames)
