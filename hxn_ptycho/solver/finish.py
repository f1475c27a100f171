"""What is done once after the iterations: averages, orthonormal modes, ramp and gauge."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating]
Real = NDArray[np.floating]


@dataclass
class Average:
    """Means of probe and object, each iterate phase-aligned to the first one added.

    The phase of each mode of the probe, and of the object, turns freely from one iteration to the
    next; without the alignment the mean of a turning phase would fade. A mean of things that move
    otherwise fades too, weak modes most: each mode of the probe is given back the mean power of its
    iterates (on the Siemens star a second mode had lost a quarter).
    """

    count: int = 0
    _first: list[Complex] = field(default_factory=list)
    _total: list[Complex] = field(default_factory=list)
    _power: Real = field(default_factory=lambda: np.zeros(0))

    def add(self, probe: Complex, obj: Complex) -> None:
        """Add one iterate: probe (M_P, n, n) and object (M_O, H, W)."""
        arrays = [probe, obj]
        power = np.asarray(np.sum(np.abs(probe) ** 2, axis=(1, 2), dtype=np.float64))
        self._power = power if not self._first else self._power + power
        if not self._first:
            self._first = [array.copy() for array in arrays]
            self._total = [array.astype(np.complex128) for array in arrays]
        else:
            for first, total, array in zip(self._first, self._total, arrays, strict=True):
                overlap = np.sum(np.conj(array) * first, axis=(1, 2), dtype=np.complex128)
                size = np.abs(overlap)
                phase = np.where(size > 0, overlap / np.where(size > 0, size, 1), 1)
                total += array * phase[:, None, None]
        self.count += 1

    def means(self) -> tuple[Complex, Complex]:
        """Return mean probe and object, complex128."""
        probe, obj = (total / self.count for total in self._total)
        left = np.sum(np.abs(probe) ** 2, axis=(1, 2))
        gain = np.divide(self._power / self.count, left, out=np.ones(len(left)), where=left > 0)
        return probe * np.sqrt(gain)[:, None, None], obj


def orthonormalise(modes: Complex, weight: Real | None = None) -> tuple[Complex, Real]:
    """Turn modes into orthogonal ones by falling power, by a unitary mixture of them.

    A unitary mixture leaves ``sum_k |F P_k O_l|^2`` as it is, so the fit to the data stays.
    Thibault and Menzel, Nature 494 (2013) 68; the mixture diagonalises the Gram matrix.

    Parameters
    ----------
    modes : ndarray (M, rows, columns), complex
    weight : ndarray (rows, columns), real, optional
        Of the inner product.

    Returns
    -------
    orthogonal : ndarray (M, rows, columns)
    power : ndarray (M,), float64
        Share of each mode in the whole; sums to 1 (all zero for modes that are all zero).
    """
    flat = modes.reshape(len(modes), -1).astype(np.complex128)
    weighted = flat if weight is None else flat * weight.ravel()
    gram = weighted @ flat.conj().T
    # G = U diag(power) U^H; the rows of U^H modes are orthogonal.
    power, vectors = np.linalg.eigh(gram)
    order = np.argsort(power)[::-1]
    power = np.clip(power[order], 0, None)
    mixed = vectors[:, order].conj().T @ flat
    # The phase of an eigenvector is arbitrary: keep that of the mode it resembles most.
    turn = vectors[:, order].conj().T
    largest = turn[np.arange(len(turn)), np.argmax(np.abs(turn), axis=1)]
    mixed *= (np.conj(largest) / np.abs(largest))[:, None]
    total = power.sum()
    return mixed.reshape(modes.shape), power / total if total > 0 else power


def phase_ramp(obj: Complex, weight: Real) -> tuple[float, float]:
    """Return the object's mean phase gradient (rad / pixel) along (y, x), weighted by the light.

    Parameters
    ----------
    obj : ndarray (H, W), complex
    weight : ndarray (H, W), real
        The illumination, ``sum |P|^2``.
    """
    gradient = []
    for axis in (0, 1):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        step = np.conj(obj[low]) * obj[high]
        # Unit vectors, so that strong absorbers count as much as clear parts.
        size = np.abs(step)
        unit = np.divide(step, size, out=np.zeros_like(step), where=size > 0)
        gradient.append(float(np.angle(np.sum(unit * np.minimum(weight[low], weight[high])))))
    return gradient[0], gradient[1]


def remove_ramp(probe: Complex, obj: Complex, weight: Real) -> tuple[Complex, Complex]:
    """Take the ramp and the mean phase off the object and put the ramp onto the probe.

    ``O exp(-ik.r)`` and ``P exp(+ik.r')``, r' within the window, change the product on view j by
    the constant phase ``exp(-ik.r_j)`` only: probe and object still fit the data together.

    Parameters
    ----------
    probe : ndarray (M_P, n, n), complex
    obj : ndarray (M_O, H, W), complex
    weight : ndarray (H, W), real
        The illumination.
    """
    k_y, k_x = phase_ramp(obj[0], weight)

    def ramp(shape: tuple[int, ...], sign: float) -> Complex:
        y, x = (np.arange(size) - size // 2 for size in shape)
        return np.exp(sign * 1j * (k_y * y[:, None] + k_x * x[None, :]))

    obj = obj * ramp(obj.shape[1:], -1.0)
    mean = np.sum(obj[0] * weight)
    if mean != 0:
        obj = obj * (np.conj(mean) / np.abs(mean))
    return probe * ramp(probe.shape[1:], +1.0), obj


def gauge(probe: Complex, obj: Complex, photons: float) -> tuple[Complex, Complex]:
    """Scale so that ``sum_k sum_r |P_k|^2 = photons`` and the product P O stays.

    With `photons` those of the 99th-percentile frame, hence of one where the sample hardly
    absorbs, |O| is the sample's transmission.
    """
    power = float(np.sum(np.abs(probe) ** 2))
    if power == 0:
        return probe, obj
    factor = np.sqrt(photons / power)
    return probe * factor, obj / factor
