"""The CPU device: one rank, one thread, view after view in the cache."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from . import cpu_kernels as kernels
from .device import Complex, Projection, Sums, Views

# Where a denominator of (5) or (6) is below this share of its maximum, the old value stays.
LEAST_DENOMINATOR = 1e-8

# Views whose part of the probe's numerator is added up in the working precision before it goes
# into a double: thousands of views in float32 would lose digits.
_VIEWS_A_FLUSH = 64


class CpuDevice:
    """Exit waves (N, M_O M_P, n, n), probe and object of one rank in host memory.

    Parameters
    ----------
    views : Views
        This rank's data.
    probe : ndarray (M_P, n, n), complex
    obj : ndarray (M_O, H, W), complex
        The first guesses; every window lies within the object.
    projection : Projection
    update_order : {"PO", "OP"}
        Which sums `update_views` prepares in its own pass over the exit waves.
    double : bool
        complex128 instead of complex64.
    object_amplitude, object_phase : (low, high), optional
        Clamps of the object.
    """

    def __init__(
        self,
        views: Views,
        probe: Complex,
        obj: Complex,
        projection: Projection,
        *,
        update_order: str = "PO",
        double: bool = False,
        object_amplitude: tuple[float, float] | None = None,
        object_phase: tuple[float, float] | None = None,
    ) -> None:
        self.name = f"cpu ({'double' if double else 'single'})"
        self._complex: type[np.complexfloating] = np.complex128 if double else np.complex64
        self._real = np.float64 if double else np.float32
        self._views = views
        self._projection = [
            self._real(value)
            for value in (
                projection.product,
                projection.wave,
                projection.keep,
                projection.constrained,
                projection.free,
            )
        ]
        self._probe_first = update_order[0] == "P"
        self._amplitude = object_amplitude
        self._phase = object_phase
        self._probe: Complex = np.ascontiguousarray(probe, self._complex)
        self._object: Complex = np.ascontiguousarray(obj, self._complex)
        n, waves = views.window, len(probe) * len(obj)
        self._work = np.empty((waves, n, n), self._complex)
        self._row = np.empty(n, self._real)
        self._psi = np.empty((len(views.counts), waves, n, n), self._complex)
        self._probe_sums: Sums | None = None
        self._change = (np.zeros(len(probe)), np.zeros(len(obj)))
        one, zero = self._real(1), self._real(0)
        for psi, (row, column) in zip(self._psi, views.positions, strict=True):
            psi[:] = 0
            kernels.trial(psi, psi, self._probe, self._object, row, column, one, zero)

    @property
    def memory_bytes(self) -> int:
        """Bytes of exit waves, frames, work arrays, probe and object."""
        arrays = (self._psi, self._views.counts, self._work, self._probe, self._object)
        return sum(array.nbytes for array in arrays)

    def update_views(self) -> None:
        """Move the exit waves by eqs. (3) and (4); sum for eq. (5) on the way, if it comes next."""
        product, wave, keep, constrained, free = self._projection
        views, work = self._views, self._work
        sums = self._empty_probe_sums() if self._probe_first else None
        part = np.zeros_like(self._probe)
        for j, (row, column) in enumerate(views.positions):
            psi = self._psi[j]
            kernels.trial(work, psi, self._probe, self._object, row, column, product, wave)
            wave_fft = self._transform(work)
            kernels.constrain(
                wave_fft, views.counts[j], views.scale[j], views.measured, self._row,
                constrained, free,
            )  # fmt: skip
            update = self._transform_back(wave_fft)
            if sums is None:
                kernels.move(psi, update, keep)
                continue
            kernels.move_and_add_to_probe(psi, update, keep, part, self._object, row, column)
            if (j + 1) % _VIEWS_A_FLUSH == 0:
                sums.numerator += part
                part[:] = 0
        if sums is not None:
            sums.numerator += part
            self._probe_sums = sums

    def probe_sums(self) -> Sums:
        """Return this rank's part of eq. (5), with the object of the moment, complex128."""
        sums, self._probe_sums = self._probe_sums, None
        if sums is None:
            sums = self._empty_probe_sums()
            part = np.zeros_like(self._probe)
            for j, (row, column) in enumerate(self._views.positions):
                kernels.add_to_probe(part, self._psi[j], self._object, row, column)
                if (j + 1) % _VIEWS_A_FLUSH == 0:
                    sums.numerator += part
                    part[:] = 0
            sums.numerator += part
        density = np.sum(np.abs(self._object) ** 2, axis=0, dtype=np.float64)
        kernels.sum_windows(sums.denominator, density, self._views.positions)
        return sums

    def object_sums(self) -> Sums:
        """Return this rank's part of eq. (6), with the probe of the moment."""
        numerator = np.zeros_like(self._object)
        for psi, (row, column) in zip(self._psi, self._views.positions, strict=True):
            kernels.add_to_object(numerator, psi, self._probe, row, column)
        denominator = np.zeros(self._object.shape[1:], np.float64)
        intensity = np.sum(np.abs(self._probe) ** 2, axis=0, dtype=np.float64)
        kernels.add_windows(denominator, intensity, self._views.positions)
        return Sums(numerator, denominator)

    def update_probe(self, sums: Sums) -> None:
        """Put eq. (5) in place of the probe; `sums` are over all ranks."""
        new = _quotient(sums, self._probe)
        self._change = (_relative_change(new, self._probe), self._change[1])
        self._probe = new

    def update_object(self, sums: Sums) -> None:
        """Put eq. (6), clamped, in place of the object; `sums` are over all ranks."""
        new = _clamp(_quotient(sums, self._object), self._amplitude, self._phase)
        self._change = (self._change[0], _relative_change(new, self._object))
        self._object = new
        # Sums taken with the old object are of no use any more.
        self._probe_sums = None

    def change(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return eq. (7) of the updates since the last call, probe (M_P,) and object (M_O,)."""
        change = self._change
        self._change = (np.zeros(len(self._probe)), np.zeros(len(self._object)))
        return change

    def misfit(self) -> tuple[float, float]:
        """Return this rank's two sums of ``error_fourier`` for the P and O of the moment."""
        views, one, zero = self._views, self._real(1), self._real(0)
        wrong = total = 0.0
        for j, (row, column) in enumerate(views.positions):
            # psi only lends its memory to an argument that is multiplied by zero; a wave that blew
            # up would turn 0 * inf into NaN, so the work array, set to 0, lends its own.
            self._work[:] = 0
            kernels.trial(self._work, self._work, self._probe, self._object, row, column, one, zero)
            wave_fft = self._transform(self._work)
            a, b = kernels.misfit(
                wave_fft, views.counts[j], views.scale[j], views.measured, self._row
            )
            wrong += a
            total += b
        return wrong, total

    def get(self) -> tuple[Complex, Complex]:
        """Return copies of probe (M_P, n, n) and object (M_O, H, W)."""
        return self._probe.copy(), self._object.copy()

    def set(self, probe: Complex, obj: Complex) -> None:
        """Replace probe and object; the exit waves stay."""
        self._probe = np.ascontiguousarray(probe, self._complex)
        self._object = np.ascontiguousarray(obj, self._complex)
        self._probe_sums = None

    def _empty_probe_sums(self) -> Sums:
        return Sums(
            np.zeros(self._probe.shape, np.complex128),
            np.zeros(self._probe.shape[1:], np.float64),
        )

    def _transform(self, work: Complex) -> Complex:
        return scipy.fft.fft2(work, axes=(1, 2), overwrite_x=True, workers=1)

    def _transform_back(self, work: Complex) -> Complex:
        # norm="forward" leaves the inverse without a factor: constrain() has put it in.
        return scipy.fft.ifft2(work, axes=(1, 2), norm="forward", overwrite_x=True, workers=1)


def _quotient(sums: Sums, old: Complex) -> Complex:
    """Return numerator / denominator, and the old value where the denominator is too small."""
    lit = sums.denominator > LEAST_DENOMINATOR * sums.denominator.max()
    inverse = np.divide(1.0, sums.denominator, out=np.zeros_like(sums.denominator), where=lit)
    return np.where(lit, sums.numerator * inverse, old).astype(old.dtype)


def _clamp(
    obj: Complex, amplitude: tuple[float, float] | None, phase: tuple[float, float] | None
) -> Complex:
    if amplitude is None and phase is None:
        return obj
    size, angle = np.abs(obj), np.angle(obj)
    if amplitude is not None:
        size = np.clip(size, *amplitude)
    if phase is not None:
        angle = np.clip(angle, *phase)
    return (size * np.exp(1j * angle)).astype(obj.dtype)


def _relative_change(new: Complex, old: Complex) -> NDArray[np.float64]:
    """Eq. (7), for each mode."""
    change = np.array([np.linalg.norm(a - b) for a, b in zip(new, old, strict=True)])
    size = np.array([np.linalg.norm(a) for a in new])
    return np.divide(change, size, out=np.zeros(len(new)), where=size > 0)
