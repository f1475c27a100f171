"""How good a picture is, and how alike two pictures are: numpy only, for every room.

A ptychographic object is known up to a complex scale, a linear phase ramp and a translation (the
probe takes up their inverse); comparisons remove them first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating]


@dataclass(frozen=True)
class Alignment:
    """What `align` did to the other object.

    Attributes
    ----------
    scale : complex
        Factor.
    ramp : (float, float), rad / pixel
        Phase gradient along (y, x).
    shift : (float, float), pixels
        Translation along (y, x); zero unless it was asked for.
    """

    scale: complex
    ramp: tuple[float, float]
    shift: tuple[float, float]


def align(
    reference: Complex,
    other: Complex,
    mask: NDArray[np.bool_] | None = None,
    *,
    shift: bool = False,
) -> tuple[Complex, Alignment]:
    """Bring `other` to the scale, phase ramp and (if asked) place of `reference`.

    Parameters
    ----------
    reference, other : ndarray (H, W), complex
        Of the same shape.
    mask : ndarray (H, W), bool, optional
        Where to compare; everywhere by default.
    shift : bool
        Also remove a translation, by Fourier interpolation (the edges wrap round).

    Returns
    -------
    aligned : ndarray (H, W), complex128
    alignment : Alignment

    Raises
    ------
    ValueError
        If the shapes differ, or nothing is lit in common.
    """
    if reference.shape != other.shape or reference.ndim != 2:
        raise ValueError(f"objects of shapes {reference.shape} and {other.shape} cannot be aligned")
    reference = np.asarray(reference, np.complex128)
    other = np.asarray(other, np.complex128)
    weight = np.ones(reference.shape) if mask is None else mask.astype(float)
    given, moved = other, (0.0, 0.0)
    ramp = _ramp(reference, given, weight)
    other = given * _phase_ramp(given.shape, ramp)
    for _ in range(3 if shift else 0):
        # Each is found better when the other is gone. The ramp is removed first: without it the
        # picture is nearly alike at opposite edges, which wrap round.
        moved = _translation(reference * weight, other * weight)
        rest = _ramp(reference, _translate(other, moved), weight)
        ramp = (ramp[0] + rest[0], ramp[1] + rest[1])
        other = given * _phase_ramp(given.shape, ramp)
    if shift:
        other = _translate(other, moved)
    power = np.sum(weight * np.abs(other) ** 2)
    if power == 0:
        raise ValueError("the object to align is zero wherever the two are compared")
    scale = complex(np.sum(weight * np.conj(other) * reference) / power)
    return other * scale, Alignment(scale, ramp, moved)


def object_error(
    reference: Complex,
    other: Complex,
    mask: NDArray[np.bool_] | None = None,
    *,
    shift: bool = False,
) -> float:
    """Return ``||other - reference|| / ||reference||`` over `mask`, after `align`.

    Parameters and errors as `align`.
    """
    aligned, _ = align(reference, other, mask, shift=shift)
    chosen = np.ones(reference.shape, bool) if mask is None else mask
    difference = np.linalg.norm(aligned[chosen] - reference[chosen])
    return float(difference / np.linalg.norm(reference[chosen]))


def fourier_ring_correlation(
    a: Complex, b: Complex, *, ring_width: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Fourier ring correlation of two pictures of the same shape.

    van Heel, Ultramicroscopy 21 (1987) 95: ``|sum A conj(B)| / sqrt(sum |A|^2 sum |B|^2)`` over
    rings of the spectra; a Hann window keeps the edges out.

    Parameters
    ----------
    a, b : ndarray (H, W)
        Aligned to each other.
    ring_width : float
        In steps of the spectrum along the shorter side.

    Returns
    -------
    frequency : ndarray (K,), float64
        Centres of the rings, as a share of Nyquist (0.5 / pixel), up to 1.
    correlation : ndarray (K,), float64
        0 to 1.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"pictures of shapes {a.shape} and {b.shape} cannot be correlated")
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    spectrum_a, spectrum_b = np.fft.fft2(a * window), np.fft.fft2(b * window)
    side = min(a.shape)
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(s) * side for s in a.shape), indexing="ij"))
    ring = np.floor(radius / ring_width + 0.5).astype(int).ravel()
    rings = int(side / 2 / ring_width) + 1
    kept = ring < rings

    def sums(values: NDArray) -> NDArray:
        return np.bincount(ring[kept], values.ravel()[kept], minlength=rings)

    product = spectrum_a * np.conj(spectrum_b)
    power = sums(np.abs(spectrum_a) ** 2) * sums(np.abs(spectrum_b) ** 2)
    cross = np.hypot(sums(product.real), sums(product.imag))
    correlation = np.divide(cross, np.sqrt(power), out=np.zeros(rings), where=power > 0)
    return np.arange(rings) * ring_width / (side / 2), correlation


def illumination(
    probe: Complex, positions: NDArray[np.integer], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return ``sum_k sum_j |P_k|^2`` over the object, the denominator of eq. (6).

    Parameters
    ----------
    probe : ndarray (M, n, n), complex
    positions : ndarray (N, 2), int
        Row and column of each window's [0, 0] pixel.
    shape : (int, int)
        Of the object.
    """
    density = np.zeros(shape)
    intensity = np.sum(np.abs(probe) ** 2, axis=0)
    n = intensity.shape[0]
    for row, column in positions:
        density[row : row + n, column : column + n] += intensity
    return density


def _phase_ramp(shape: tuple[int, ...], ramp: tuple[float, float]) -> Complex:
    """``exp(i ramp . r)``, r counted from the middle."""
    y, x = (np.arange(size) - size // 2 for size in shape)
    return np.exp(1j * (ramp[0] * y[:, None] + ramp[1] * x[None, :]))


def _ramp(reference: Complex, other: Complex, weight: NDArray) -> tuple[float, float]:
    """Return the phase ramp (rad / pixel) that `other` lacks against `reference`."""
    cross = np.conj(other) * reference * weight
    # The coarse ramp is where the spectrum of the cross product peaks, so that wraps do not matter.
    peak = np.unravel_index(np.argmax(np.abs(np.fft.fft2(cross))), cross.shape)
    ramp = [2 * np.pi * np.fft.fftfreq(s)[p] for s, p in zip(cross.shape, peak, strict=True)]
    y, x = (np.arange(size) - size // 2 for size in cross.shape)
    # The rest is under a period over the picture: Gauss-Newton on sum |cross| (phase - ramp)^2.
    for _ in range(8):
        flat = cross * np.conj(_phase_ramp(cross.shape, (ramp[0], ramp[1])))
        total = np.sum(flat)
        if total == 0:
            break
        flat = flat * np.conj(total) / np.abs(total)
        strength = np.abs(flat)
        phase = np.angle(flat)
        design = [np.ones_like(strength), np.broadcast_to(y[:, None], cross.shape),
                  np.broadcast_to(x[None, :], cross.shape)]  # fmt: skip
        normal = np.array([[np.sum(strength * p * q) for q in design] for p in design])
        right = np.array([np.sum(strength * phase * p) for p in design])
        _, step_y, step_x = np.linalg.lstsq(normal, right, rcond=None)[0]
        ramp = [ramp[0] + step_y, ramp[1] + step_x]
        if max(abs(step_y), abs(step_x)) * max(cross.shape) < 1e-9:
            break
    return float(ramp[0]), float(ramp[1])


def _translation(reference: Complex, other: Complex) -> tuple[float, float]:
    """Return by how many pixels `other` must move to lie on `reference` (to about 0.01)."""
    cross = np.fft.fft2(reference) * np.conj(np.fft.fft2(other))
    correlation = np.abs(np.fft.ifft2(cross))
    peak = np.unravel_index(np.argmax(correlation), correlation.shape)
    best = [float((p + s // 2) % s - s // 2) for p, s in zip(peak, correlation.shape, strict=True)]
    frequency = [np.fft.fftfreq(size) for size in cross.shape]
    for step in (0.25, 0.05, 0.01):
        # Correlation at a small grid of sub-pixel places, by a matrix product (Guizar-Sicairos,
        # Thurman and Fienup, Opt. Lett. 33 (2008) 156).
        places = [centre + step * np.arange(-5, 6) for centre in best]
        left = np.exp(2j * np.pi * np.outer(places[0], frequency[0]))
        right = np.exp(2j * np.pi * np.outer(frequency[1], places[1]))
        fine = np.abs(left @ cross @ right)
        row, column = np.unravel_index(np.argmax(fine), fine.shape)
        best = [float(places[0][row]), float(places[1][column])]
    return best[0], best[1]


def _translate(array: Complex, shift: tuple[float, float]) -> Complex:
    spectrum = np.fft.fft2(array)
    for axis, distance in enumerate(shift):
        frequency = np.fft.fftfreq(array.shape[axis])
        factor = np.exp(-2j * np.pi * frequency * distance)
        spectrum *= factor[:, None] if axis == 0 else factor[None, :]
    return np.fft.ifft2(spectrum)
