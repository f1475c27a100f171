"""Partially coherent illumination: orthogonal probe modes, and a beam that moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Modes = NDArray[np.complex128]


def default_powers(modes: int) -> NDArray[np.float64]:
    """Return the powers of `modes` modes: 0.7, 0.2, 0.1 and halves from there, summing to 1."""
    powers = np.array([0.7, 0.2, *(0.1 / 2**k for k in range(max(modes - 2, 0)))][:modes])
    return powers / powers.sum()


def probe_modes(probe: NDArray[np.complexfloating], powers: Sequence[float]) -> Modes:
    """Return orthogonal modes of given powers that begin with `probe`.

    The further modes are the probe times 1, x, y, x^2, xy, ..., the modes of a source with some
    angular size (as Hermite-Gauss modes follow from a Gauss beam), orthonormalised in this order.

    Parameters
    ----------
    probe : ndarray (n, n), complex
    powers : sequence of M floats
        ``sum |mode|^2`` of each, in falling order.

    Returns
    -------
    ndarray (M, n, n), complex128
    """
    n = probe.shape[-1]
    weight = np.abs(probe) ** 2 / np.sum(np.abs(probe) ** 2)
    y, x = np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij")
    y, x = ((c - np.sum(weight * c)) for c in (y, x))
    y, x = (c / np.sqrt(np.sum(weight * c**2)) for c in (y, x))
    degrees = [(d - k, k) for d in range(len(powers)) for k in range(d + 1)][: len(powers)]
    modes: list[NDArray] = []
    for dx, dy in degrees:
        mode = probe * x**dx * y**dy
        for _ in range(2):  # twice is enough for Gram-Schmidt
            for earlier in modes:
                mode = mode - np.vdot(earlier, mode) * earlier
        modes.append(mode / np.linalg.norm(mode))
    return np.stack(modes) * np.sqrt(np.asarray(powers))[:, None, None]


def shift(
    probe: NDArray[np.complexfloating], offsets: NDArray[np.floating]
) -> NDArray[np.complexfloating]:
    """Return the probe moved by each offset (y, x), pixels, by the Fourier shift theorem.

    Parameters
    ----------
    probe : ndarray (..., n, n), complex
    offsets : ndarray (S, 2), pixels
        Fractions allowed; what leaves the window comes back at the other side.

    Returns
    -------
    ndarray (S, ..., n, n), complex, of the probe's type
    """
    h, w = probe.shape[-2:]
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None, :]
    spectrum = np.fft.fft2(probe)
    moved = [
        np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (dy * fy + dx * fx))) for dy, dx in offsets
    ]
    return np.stack(moved).astype(probe.dtype)


def orthogonal(states: NDArray[np.complexfloating], smallest: float = 1e-7) -> Modes:
    """Return the orthogonal modes, by falling power, that an incoherent sum of states amounts to.

    Modes with less than `smallest` of the power are left out.

    Parameters
    ----------
    states : ndarray (S, n, n), complex

    Returns
    -------
    ndarray (M, n, n), complex128
        M <= S; the total power is that of the states but for what is left out.
    """
    flat = states.reshape(len(states), -1).astype(complex)
    values, vectors = np.linalg.eigh(flat.conj() @ flat.T)  # small: S x S
    keep = [i for i in np.argsort(values)[::-1] if values[i] > smallest * values.sum()]
    return (vectors[:, keep].T @ flat).reshape(-1, *states.shape[1:])


def moving_modes(probe: NDArray[np.complexfloating], path: NDArray[np.floating]) -> Modes:
    """Return the modes of a beam that moves along a path while a frame is exposed.

    A frame's intensity does not change when exit waves are shifted; the incoherent sum over the
    beam's places is therefore exactly a multi-mode probe at rest.

    Parameters
    ----------
    probe : ndarray (n, n), complex
    path : ndarray (S, 2), pixels
        Places (y, x) of the beam, for equal times.

    Returns
    -------
    ndarray (M, n, n), complex128
        Orthogonal, by falling power, with the probe's power in all.
    """
    return orthogonal(shift(probe.astype(complex), path) / np.sqrt(len(path)))
