"""First guesses of probe and object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating]


def probe_from_data(mean_intensity: NDArray[np.float64]) -> Complex:
    """Return the focal spot of the mean diffraction amplitude with a flat phase, (n, n) complex128.

    Parameters
    ----------
    mean_intensity : ndarray (n, n), float64
        Mean counts, DC at [0, 0].
    """
    return np.fft.fftshift(np.fft.ifft2(np.sqrt(mean_intensity), norm="ortho"))


def binning_ramp(n: int, binning: int) -> Complex:
    """Return the ramp (n, n) that a probe has in the solver when pixels are binned.

    A binned pixel k adds up detector pixels whose middle is k + d, d = (b - 1) / (2 b), binned
    pixels from the direct beam, and counts, along each axis,
    ``|F psi (k + d)|^2 = |F [psi exp(-2 pi i d x / n)] (k)|^2``: the exit wave's ramp is the
    probe's. Times its conjugate, a probe is again that of the beam. Ones without binning.
    """
    line = np.exp(-1j * np.pi * (1 - 1 / binning) / n * (np.arange(n) - n // 2))
    return np.outer(line, line)


def random_probe(mean_intensity: NDArray[np.float64], generator: np.random.Generator) -> Complex:
    """Return a probe whose far field has the mean amplitude and a smooth random phase."""
    n = len(mean_intensity)
    frequency = np.fft.fftfreq(n)
    # Random phases over a few pixels at most: the probe stays within the middle of the window.
    narrow = np.exp(-np.add.outer(frequency**2, frequency**2) * (n / 2) ** 2 / 2)
    noise = np.fft.ifft2(np.fft.fft2(generator.normal(size=(n, n))) * narrow).real
    phase = np.pi * noise / np.abs(noise).max()
    return np.fft.fftshift(np.fft.ifft2(np.sqrt(mean_intensity) * np.exp(1j * phase), norm="ortho"))


def further_modes(
    given: Complex, modes: int, power_ratio: float, generator: np.random.Generator
) -> Complex:
    """Return `modes` probe modes: those given, then orthogonal variants of the first.

    A variant is the first mode times a Hermite-like polynomial of the distance from its middle
    (1st order along x and y, then 2nd, ...), roughened by 1 % of noise, made orthogonal to the
    modes before it; its power is `power_ratio` times that of the mode before. They are linearly
    independent by construction: modes that start equal stay equal.

    Parameters
    ----------
    given : ndarray (M, n, n), complex
    modes : int
    power_ratio : float
        0 to 1.
    generator : numpy Generator
    """
    result = [np.asarray(mode, np.complex128) for mode in given[:modes]]
    first = result[0]
    y, x, width_y, width_x = _extent(first)
    orders = sorted(
        ((a, b) for a in range(modes + 1) for b in range(modes + 1)), key=lambda o: (sum(o), o)
    )
    next_order = iter(orders[1:])
    for _ in range(modes - len(result)):
        a, b = next(next_order)
        rough = 1 + 0.01 * generator.normal(size=first.shape)
        variant = first * (y / width_y) ** a * (x / width_x) ** b * rough
        for mode in result:
            size = np.vdot(mode, mode)
            if size != 0:
                variant = variant - mode * (np.vdot(mode, variant) / size)
        power = np.sum(np.abs(result[-1]) ** 2) * power_ratio
        result.append(variant * np.sqrt(power / np.sum(np.abs(variant) ** 2)))
    return np.stack(result)


def _extent(mode: Complex) -> tuple[NDArray, NDArray, float, float]:
    """Return coordinates from the mode's middle, and its root-mean-square widths."""
    weight = np.abs(mode) ** 2
    weight = weight / weight.sum()
    n_y, n_x = mode.shape
    y, x = np.arange(n_y)[:, None], np.arange(n_x)[None, :]
    y, x = y - np.sum(weight * y), x - np.sum(weight * x)
    width_y, width_x = (float(np.sqrt(np.sum(weight * c**2))) for c in (y, x))
    return y, x, max(width_y, 0.5), max(width_x, 0.5)


def scale_to(probe: Complex, photons: float) -> Complex:
    """Scale the modes together so that ``sum |P|^2 = photons``."""
    return probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))


def make_object(
    kind: str, modes: int, shape: tuple[int, int], generator: np.random.Generator
) -> Complex:
    """Return a first object (modes, H, W), complex128: "ones" or "random".

    "random" has amplitude 0.9 to 1 and phase -0.2 to 0.2 rad. Further modes are 0.1 times random
    numbers: modes that start equal stay equal.
    """
    random = generator.uniform(size=(2, modes, *shape))
    obj = (0.9 + 0.1 * random[0]) * np.exp(0.4j * (random[1] - 0.5))
    if kind == "ones":
        obj[0] = 1
    obj[1:] *= 0.1
    return obj


def place_object(obj: Complex, given: Complex, offset: tuple[int, int] | None) -> Complex:
    """Return a copy of `obj` (modes, H, W) with `given` (M, h, w) laid over it.

    Parameters
    ----------
    offset : (int, int), optional
        Pixel of `obj` that pixel [0, 0] of `given` lies on; may be negative. By default the middles
        lie on each other. What falls outside is cut off; what `given` does not cover stays.
    """
    result = obj.copy()
    if offset is None:
        offset = (
            (obj.shape[1] - given.shape[1]) // 2,
            (obj.shape[2] - given.shape[2]) // 2,
        )
    put, take = [], []
    for start, have, want in zip(offset, given.shape[1:], obj.shape[1:], strict=True):
        low, high = max(start, 0), min(start + have, want)
        put.append(slice(low, max(low, high)))
        take.append(slice(low - start, max(low, high) - start))
    count = min(len(obj), len(given))
    result[:count, put[0], put[1]] = given[:count, take[0], take[1]]
    return result
