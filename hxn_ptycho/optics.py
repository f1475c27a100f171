"""X-ray optics in the project's conventions: wavelength and energy, free space, a zone plate.

Waves go as exp(+i(kz - wt)), so that free space of length z multiplies by exp(+ikz) and a
converging wave has a phase that falls from the axis outwards. Needs numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# h, c and e are exact since the SI of 2019 (CODATA 2018), and so is their quotient.
HC_KEV_M = 6.62607015e-34 * 299_792_458 / 1.602176634e-19 / 1e3
"""Planck's constant times the speed of light, keV m."""

_OVERSAMPLING = 4  # windows' widths that a probe is computed on before it is cut to one


class OpticsError(ValueError):
    """Optics that a window of pixels cannot hold; the message gives the lengths."""


def wavelength_from_energy(energy_kev: float) -> float:
    """Return the wavelength (m) of photons of `energy_kev` (keV)."""
    if not energy_kev > 0:
        raise OpticsError(f"a photon energy of {energy_kev!r} keV has no wavelength")
    return HC_KEV_M / energy_kev


def energy_from_wavelength(wavelength_m: float) -> float:
    """Return the energy (keV) of photons of `wavelength_m` (m)."""
    if not wavelength_m > 0:
        raise OpticsError(f"a wavelength of {wavelength_m!r} m has no photon energy")
    return HC_KEV_M / wavelength_m


def object_pixel(
    wavelength_m: float, distance_m: float, n: int, detector_pixel_m: ArrayLike
) -> tuple[float, float]:
    """Return the object's pixel (y, x), m, of an FFT window of `n` detector pixels.

    Far field: wavelength x distance / (n x detector pixel), axis by axis.
    """
    y, x = _pair(detector_pixel_m)
    return (wavelength_m * distance_m / (n * y), wavelength_m * distance_m / (n * x))


def propagate(
    field: NDArray[np.complexfloating],
    pixel_m: ArrayLike,
    wavelength_m: float,
    distance_m: float,
) -> NDArray[np.complex128]:
    """Carry a field through free space by its angular spectrum.

    Parameters
    ----------
    field : ndarray (..., h, w), complex
        Taken as periodic: what leaves one edge of the array comes back at the other.
    pixel_m : float or (float, float), m
        Of the field, (y, x).
    wavelength_m, distance_m : float, m
        A negative distance goes upstream.

    Returns
    -------
    ndarray (..., h, w), complex128
        Without the common factor exp(+ikz). Its power is the field's (no wave is evanescent as
        long as a pixel is longer than half a wavelength).
    """
    transfer = _transfer(field.shape[-2:], pixel_m, wavelength_m, distance_m)
    return np.fft.ifft2(np.fft.fft2(field) * transfer)


def zone_plate_probe(
    n: int,
    pixel_m: ArrayLike,
    wavelength_m: float,
    *,
    diameter_m: float,
    outer_zone_width_m: float,
    central_stop_m: float = 0.0,
    defocus_m: float = 0.0,
) -> NDArray[np.complex128]:
    """Return the field that a Fresnel zone plate makes at the sample.

    The annular pupil, seen from the focus at f = D dr / wavelength (first order), is the field's
    angular spectrum; `defocus_m` of free space follows.

    Parameters
    ----------
    n : int
        Side of the window, pixels.
    pixel_m : float or (float, float), m
        Object pixel (y, x).
    wavelength_m : float, m
    diameter_m, outer_zone_width_m : float, m
        Of the zone plate: D and dr.
    central_stop_m : float, m
        Diameter of the central stop; 0: none.
    defocus_m : float, m
        Where the sample is: downstream (+) or upstream (-) of the focus.

    Returns
    -------
    ndarray (n, n), complex128
        Centred at [n // 2, n // 2]; ``sum |probe|^2 = 1``.

    Raises
    ------
    OpticsError
        If the zone plate's cone is wider than the detector or the beam wider than the window.
    """
    pixel = np.array(_pair(pixel_m))
    if not 0 < outer_zone_width_m < diameter_m:
        raise OpticsError(
            f"a zone plate of diameter {diameter_m:g} m cannot have an outermost zone of "
            f"{outer_zone_width_m:g} m"
        )
    if not 0 <= central_stop_m < diameter_m:
        raise OpticsError(
            f"the central stop ({central_stop_m:g} m) must be smaller than the zone plate "
            f"({diameter_m:g} m)"
        )
    if outer_zone_width_m < pixel.max():
        raise OpticsError(
            f"an outermost zone of {outer_zone_width_m * 1e9:.3g} nm makes a cone wider than the "
            f"detector's window, whose object pixel is {pixel.max() * 1e9:.3g} nm; take a larger "
            "window or a coarser zone plate"
        )
    width = beam_width(wavelength_m, outer_zone_width_m, defocus_m)
    if width > n * pixel.min():
        raise OpticsError(
            f"{defocus_m * 1e6:.4g} um from the focus the beam is {width * 1e6:.3g} um wide, more "
            f"than the window of {n} pixels, {n * pixel.min() * 1e6:.3g} um"
        )
    # On a window several times as wide the pupil's edge is finer and the tails do not wrap round.
    m = _OVERSAMPLING * n
    focal_length = diameter_m * outer_zone_width_m / wavelength_m
    fy, fx = np.fft.fftfreq(m, pixel[0])[:, None], np.fft.fftfreq(m, pixel[1])[None, :]
    radius = wavelength_m * focal_length * np.hypot(fy, fx)
    edge = wavelength_m * focal_length / (m * pixel.max())
    pupil = _disc(radius, diameter_m / 2, edge)
    if central_stop_m > 0:
        pupil -= _disc(radius, central_stop_m / 2, edge)
    field = np.fft.ifft2(pupil * _transfer((m, m), pixel, wavelength_m, defocus_m))
    start = m // 2 - n // 2
    probe = np.fft.fftshift(field)[start : start + n, start : start + n]
    return probe / np.sqrt(np.sum(np.abs(probe) ** 2))


def beam_width(wavelength_m: float, outer_zone_width_m: float, defocus_m: float) -> float:
    """Return the geometric width (m) of a zone plate's beam `defocus_m` from its focus.

    The full angle of the cone is D / f = wavelength / dr.
    """
    return abs(defocus_m) * wavelength_m / outer_zone_width_m


def _disc(radius: NDArray[np.floating], outer: float, edge: float) -> NDArray[np.floating]:
    """Return 1 inside `outer`, 0 outside, with a linear edge one pixel wide."""
    return np.clip((outer - radius) / edge + 0.5, 0.0, 1.0)


def _transfer(
    shape: tuple[int, ...], pixel_m: ArrayLike, wavelength_m: float, distance_m: float
) -> NDArray[np.complex128]:
    """Return exp(i z (kz - k)) on the FFT's frequencies of an array."""
    py, px = _pair(pixel_m)
    fy, fx = np.fft.fftfreq(shape[0], py)[:, None], np.fft.fftfreq(shape[1], px)[None, :]
    transverse = (wavelength_m**2) * (fy**2 + fx**2)
    # sqrt(1 - q) - 1 loses all digits for small q; this form does not. Evanescent waves die out.
    root = np.sqrt((1 - transverse).astype(complex))
    return np.exp(2j * np.pi * distance_m / wavelength_m * (-transverse / (1 + root))) * (
        transverse < 1
    )


def _pair(value: ArrayLike) -> tuple[float, float]:
    """Return (y, x) of a number, taken for both, or of a pair."""
    y, x = np.broadcast_to(np.asarray(value, float), (2,))
    return float(y), float(x)
