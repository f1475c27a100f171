"""A first probe from the frames alone, as wide on the sample as the beam was.

The focal spot of the mean frame is a poor first probe of a beam that is out of focus: hundreds of
iterations go by before any orientation fits. How wide the beam is the frames tell, as the size of
their speckles; how far from focus that is, the cone tells that the mean frame shows. Upstream or
downstream of the focus remains open: both are tried.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..optics import propagate

Real = NDArray[np.float64]
Complex = NDArray[np.complexfloating]

_STEPS = 40  # distances tried, up to where the beam fills the window


def focal_spot(mean: Real) -> Complex:
    """Return the far field's amplitude with a flat phase, focused: (n, n), centred.

    Parameters
    ----------
    mean : ndarray (n, n)
        Mean counts, DC at [0, 0].
    """
    return np.fft.fftshift(np.fft.ifft2(np.sqrt(mean), norm="ortho"))


def defocus(
    counts: NDArray, mean: Real, pixel_m: tuple[float, float], wavelength_m: float
) -> float:
    """Return how far from focus the beam is as wide as the frames say, m; the sign is not told.

    Parameters
    ----------
    counts : ndarray (K, n, n)
        Frames, DC at [0, 0].
    mean : ndarray (n, n)
    pixel_m : (float, float), m
        Of the object.
    wavelength_m : float, m

    Returns
    -------
    float, m
        0 where the beam is hardly wider than at its focus.
    """
    spot, measured = focal_spot(mean), speckle_width(counts)
    # A beam from the pixel at the rim of the detector leaves the window after this distance.
    farthest = len(mean) * max(pixel_m) ** 2 / wavelength_m * 2
    distances = np.linspace(0, farthest, _STEPS + 1)
    widths = np.array(
        [beam_width(propagate(spot, pixel_m, wavelength_m, float(z))) for z in distances]
    )
    # The width grows from the focus on, until the beam wraps round the window.
    last = int(np.argmax(widths)) + 1
    return float(distances[np.argmin(np.abs(widths[:last] - measured))])


def speckle_width(counts: NDArray) -> float:
    """Return the width (pixels of the object) that the frames' speckles say the beam has.

    The Fourier transform of a frame is the autocorrelation of its exit wave. What differs from
    frame to frame is, for an object of fine grain, as wide as the autocorrelation of the beam's
    intensity; photon noise adds the same everywhere.

    Parameters
    ----------
    counts : ndarray (K, n, n)
        Frames, DC at [0, 0].
    """
    photons = counts.sum(axis=(1, 2), dtype=np.float64)
    frames = counts[photons > 0] / photons[photons > 0, None, None]
    power = np.mean(np.abs(np.fft.fft2(frames - frames.mean(axis=0))) ** 2, axis=0)
    radius = _radius(len(power))
    return _half(np.clip(power - np.median(power[radius > 0.45 * len(power)]), 0, None), radius)


def beam_width(wave: Complex) -> float:
    """Return the same width of a known beam (n, n)."""
    spectrum = np.abs(np.fft.fft2(np.abs(wave) ** 2)) ** 2
    return _half(np.fft.ifft2(spectrum).real, _radius(len(wave)))


def _radius(n: int) -> Real:
    """Return the distance (n, n) of each pixel from [0, 0], round the edges."""
    away = np.fft.fftfreq(n, 1 / n)
    return np.hypot(away[:, None], away[None, :])


def _half(power: Real, radius: Real) -> float:
    """Return the radius that half of `power` (n, n) is within, [0, 0] left out."""
    half = len(power) // 2
    ring = np.rint(radius).astype(np.intp)
    within = np.bincount(ring.ravel(), power.ravel())[:half]
    within[0] = 0
    total = np.cumsum(within)
    return float(np.interp(0.5 * total[-1], total, np.arange(half) + 0.5)) if total[-1] > 0 else 0.0
