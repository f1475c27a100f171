"""From exit waves to counts: far-field intensities and a photon-counting detector."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .faults import Faults

SATURATION = np.iinfo(np.uint16).max


class SaturationError(ValueError):
    """More photons in a pixel than it can count; the message gives both numbers."""


def windows(
    picture: NDArray[np.complexfloating], corners: NDArray[np.integer], n: int
) -> NDArray[np.complexfloating]:
    """Return the (N, n, n) windows of a picture whose [0, 0] pixels are at `corners` (N, 2)."""
    outside = (corners < 0) | (corners + n > np.array(picture.shape))
    if outside.any():
        bad = corners[outside.any(axis=1)][0]
        raise IndexError(
            f"the window of {n} pixels at {tuple(bad.tolist())} leaves the picture of "
            f"{picture.shape}"
        )
    view = np.lib.stride_tricks.sliding_window_view(picture, (n, n))
    return view[corners[:, 0], corners[:, 1]]


def intensities(
    probe: NDArray[np.complexfloating],
    picture: NDArray[np.complexfloating],
    corners: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Return the far field of some views, summed over the probe's modes.

    Parameters
    ----------
    probe : ndarray (M, n, n), complex
        ``sum |probe|^2`` = photons in a view with nothing in the beam.
    picture : ndarray (H, W), complex
        The object.
    corners : ndarray (N, 2), int
        Row and column of each view's [0, 0] pixel in the object.

    Returns
    -------
    ndarray (N, n, n), float32
        Expected photons, DC at the centre, [n // 2, n // 2].
    """
    n = probe.shape[-1]
    views = windows(picture.astype(np.complex64, copy=False), corners, n)
    total = np.zeros(views.shape, np.float32)
    for mode in probe.astype(np.complex64, copy=False):
        far = scipy.fft.fft2(views * mode, norm="ortho", overwrite_x=True)
        total += far.real**2 + far.imag**2
    return scipy.fft.fftshift(total, axes=(-2, -1))


def count(
    light: NDArray[np.floating],
    generator: np.random.Generator,
    faults: Faults | None = None,
    *,
    first: int = 0,
) -> NDArray[np.uint16]:
    """Return Poisson counts, as the detector stores them, of light (N, n, n) in photons.

    Raises
    ------
    SaturationError
        If a pixel would count more than uint16 holds, and the detector does not saturate before.
    """
    faults = faults or Faults()
    rows, columns = light.shape[-2:]
    most = np.iinfo(np.int64).max
    mean = faults.expected(light, (rows, columns))
    counts = faults.count(mean, generator, first=first, most=most)
    if counts.size and counts.max() > SATURATION:
        raise SaturationError(
            f"the brightest pixel counts {counts.max()} photons, more than the {SATURATION} "
            "that uint16 holds; take fewer photons or a larger window"
        )
    return counts.astype(np.uint16)
