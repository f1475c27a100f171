"""The paper's equations (2)-(7) in plain float64 NumPy, as truth for every device.

Written from the paper alone, slow and literal: nothing of the project is imported. `measured` is
(n, n), for all views, or (N, n, n).
"""

from __future__ import annotations

import numpy as np


def windows(obj: np.ndarray, positions: np.ndarray, n: int) -> np.ndarray:
    """O_l on every view: (N, L, n, n)."""
    return np.stack([obj[:, r : r + n, c : c + n] for r, c in positions])


def product(probe: np.ndarray, obj: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Eq. (2): (N, L, K, n, n)."""
    return probe[None, None] * windows(obj, positions, probe.shape[-1])[:, :, None]


def constraint(waves: np.ndarray, intensity: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Eq. (4) in reciprocal space, then back: F^-1 Fc[waves]."""
    spectra = np.fft.fft2(waves, norm="ortho")
    total = np.sum(np.abs(spectra) ** 2, axis=(1, 2))
    factor = np.zeros_like(total)
    np.divide(intensity, total, out=factor, where=total > 0)
    factor = np.where(measured, np.sqrt(factor), 1.0)
    return np.fft.ifft2(factor[:, None, None] * spectra, norm="ortho")


def move_waves(psi, probe, obj, positions, intensity, measured, algorithm, beta):
    """Eq. (3), and its relatives."""
    po = product(probe, obj, positions)
    if algorithm == "ER":
        return constraint(po, intensity, measured)
    reflected = constraint(2 * po - psi, intensity, measured)
    if algorithm == "RAAR":
        return beta * psi + beta * reflected + (1 - 2 * beta) * po
    return psi + beta * (reflected - po)


def new_probe(psi, probe, obj, positions):
    """Eq. (5), the old value where the denominator is below 1e-8 of its maximum."""
    o = windows(obj, positions, probe.shape[-1])
    numerator = np.einsum("jlyx,jlkyx->kyx", o.conj(), psi)
    denominator = np.einsum("jlyx->yx", np.abs(o) ** 2)
    lit = denominator > 1e-8 * denominator.max()
    return np.where(lit, numerator / np.where(lit, denominator, 1), probe)


def new_object(psi, probe, obj, positions):
    """Eq. (6), the old value where the denominator is below 1e-8 of its maximum."""
    n = probe.shape[-1]
    numerator = np.zeros_like(obj)
    denominator = np.zeros(obj.shape[1:])
    for j, (r, c) in enumerate(positions):
        numerator[:, r : r + n, c : c + n] += np.einsum("kyx,lkyx->lyx", probe.conj(), psi[j])
        denominator[r : r + n, c : c + n] += np.sum(np.abs(probe) ** 2, axis=0)
    lit = denominator > 1e-8 * denominator.max()
    return np.where(lit, numerator / np.where(lit, denominator, 1), obj)


def change(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Eq. (7), for each mode."""
    return np.array(
        [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(new, old, strict=True)]
    )


def error_fourier(probe, obj, positions, intensity, measured):
    spectra = np.fft.fft2(product(probe, obj, positions), norm="ortho")
    modelled = np.sqrt(np.sum(np.abs(spectra) ** 2, axis=(1, 2)))
    wrong = (np.sqrt(intensity) - modelled) ** 2 * measured
    return np.sqrt(wrong.sum() / np.sum(intensity * measured))


def iterate(
    psi, probe, obj, positions, intensity, measured, *, order="PO", algorithm="DM", beta=0.8
):
    """One iteration; psi None: P O. Returns psi, probe, object, eps of P, eps of O."""
    if psi is None:
        psi = product(probe, obj, positions)
    psi = move_waves(psi, probe, obj, positions, intensity, measured, algorithm, beta)
    before = probe, obj
    for part in order:
        if part == "P":
            probe = new_probe(psi, probe, obj, positions)
        else:
            obj = new_object(psi, probe, obj, positions)
    return psi, probe, obj, change(probe, before[0]), change(obj, before[1])
