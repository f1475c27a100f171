"""The CPU device: one rank, one thread, view after view in the cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import cpu_kernels as kernels
from .cpu_fft import LANES, plan, strips_of
from .device import Complex, Projection, Sums, Views
from .finish import Average

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

    computes_ahead = False

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
        self.window = n = views.window
        self._views = views
        real = self._real
        product, wave, keep = projection.product, projection.wave, projection.keep
        self._reflect = real(product), real(wave)
        self._keep = real(keep)
        self._constrained, self._free = real(projection.constrained), real(projection.free)
        self._probe_first = update_order[0] == "P"
        self._amplitude = object_amplitude
        self._phase = object_phase
        waves, strips = len(probe) * len(obj), strips_of(n)
        self._plan = plan(n, real)
        self._strip_a, self._strip_b = np.zeros((2, n * 2 * LANES), real)
        self._half, self._turned = np.zeros((2, waves, strips, n, 2, LANES), real)
        self._psi = np.empty((len(views.counts), waves, strips, n, 2, LANES), real)
        self._measured = kernels.pack_mask(views.measured, real)
        self._measured_here = np.zeros_like(self._measured)
        self._probe_sums: Sums | None = None
        self._average = Average()
        self._change = (np.zeros(len(probe)), np.zeros(len(obj)))
        self.set(probe, obj)
        for psi, (row, column) in zip(self._psi, views.positions, strict=True):
            kernels.start_waves(psi, self._probe_strips, self._object_planes, row, column)
        self._load_kernels()

    @property
    def memory_bytes(self) -> int:
        """Bytes of exit waves, frames, spectra of one view, probe and object."""
        arrays = (self._psi, self._views.counts, self._half, self._turned)
        return sum(array.nbytes for array in (*arrays, self._probe, self._object))

    def update_views(self) -> None:
        """Move the exit waves by eqs. (3) and (4); sum for eq. (5) on the way, if it comes next."""
        views = self._views
        sums = self._empty_probe_sums() if self._probe_first else None
        part = np.zeros_like(self._probe_strips if self._probe_first else self._probe_strips[:0])
        for j in range(len(views.counts)):
            self._move_view(j, self._psi[j], part)
            if sums is not None and (j + 1) % _VIEWS_A_FLUSH == 0:
                self._flush(part, sums)
        if sums is not None:
            self._flush(part, sums)
            self._probe_sums = sums

    def probe_sums(self) -> Sums:
        """Return this rank's part of eq. (5), with the object of the moment, complex128."""
        sums, self._probe_sums = self._probe_sums, None
        if sums is None:
            sums = self._empty_probe_sums()
            part = np.zeros_like(self._probe_strips)
            for j, (row, column) in enumerate(self._views.positions):
                kernels.add_to_probe(part, self._psi[j], self._object_planes, row, column)
                if (j + 1) % _VIEWS_A_FLUSH == 0:
                    self._flush(part, sums)
            self._flush(part, sums)
        density = np.sum(np.abs(self._object) ** 2, axis=0, dtype=np.float64)
        kernels.sum_windows(sums.denominator, density, self._views.positions)
        return sums

    def object_sums(self) -> Sums:
        """Return this rank's part of eq. (6), with the probe of the moment."""
        numerator = np.zeros_like(self._object_planes)
        for psi, (row, column) in zip(self._psi, self._views.positions, strict=True):
            kernels.add_to_object(numerator, psi, self._probe_strips, row, column)
        denominator = np.zeros(self._object.shape[1:], np.float64)
        intensity = np.sum(np.abs(self._probe) ** 2, axis=0, dtype=np.float64)
        kernels.add_windows(denominator, intensity, self._views.positions)
        return Sums(kernels.unpack_object(numerator, self._complex), denominator)

    def update_probe(self, sums: Sums) -> None:
        """Put eq. (5) in place of the probe; `sums` are over all ranks."""
        new = _quotient(sums, self._probe)
        self._change = (_relative_change(new, self._probe), self._change[1])
        self._set_probe(new)

    def update_object(self, sums: Sums) -> None:
        """Put eq. (6), clamped, in place of the object; `sums` are over all ranks."""
        new = _clamp(_quotient(sums, self._object), self._amplitude, self._phase)
        self._change = (self._change[0], _relative_change(new, self._object))
        self._set_object(new)

    def change(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return eq. (7) of the updates since the last call, probe (M_P,) and object (M_O,)."""
        change = self._change
        self._change = (np.zeros(len(self._probe)), np.zeros(len(self._object)))
        return change

    def probe_centre(self) -> tuple[float, float]:
        """Return the centre of mass (row, column) of ``sum_k |P_k|^2``, pixels of the window."""
        intensity = np.asarray(np.sum(np.abs(self._probe) ** 2, axis=0, dtype=np.float64))
        pixel = np.arange(self.window)
        row, column = (np.sum(intensity.sum(axis=a) * pixel) for a in (1, 0))
        return float(row / intensity.sum()), float(column / intensity.sum())

    def roll(self, rows: int, columns: int) -> None:
        """Move probe, object and exit waves together by whole pixels, round the edges."""
        moved = (rows, columns)
        self.set(np.roll(self._probe, moved, (1, 2)), np.roll(self._object, moved, (1, 2)))
        for psi in self._psi:  # one view at a time: a copy of all would double the memory
            waves = np.roll(kernels.unpack(psi, self._complex), moved, (1, 2))
            psi[:] = kernels.pack(waves, self._real)

    def misfit(self) -> tuple[float, float]:
        """Return this rank's two sums of ``error_fourier`` for the P and O of the moment."""
        views, one, zero = self._views, self._real(1), self._real(0)
        wrong = total = 0.0
        for j in range(len(views.counts)):
            self._to_half_spectra(j, self._psi[j], one, zero)
            part = kernels.misfit(
                self._half, views.counts[j], views.scale[j], self._measured_in(j), self._plan,
                self._strip_b,
            )  # fmt: skip
            wrong += part[0]
            total += part[1]
        return wrong, total

    def add_to_average(self) -> None:
        """Add the probe and object of the moment to their means."""
        self._average.add(self._probe, self._object)

    def means(self) -> tuple[Complex, Complex]:
        """Return mean probe and object, complex128, as `finish.Average.means`."""
        return self._average.means()

    def get(self) -> tuple[Complex, Complex]:
        """Return copies of probe (M_P, n, n) and object (M_O, H, W)."""
        return self._probe.copy(), self._object.copy()

    def set(self, probe: Complex, obj: Complex) -> None:
        """Replace probe and object; the exit waves stay."""
        self._set_probe(np.ascontiguousarray(probe, self._complex))
        self._set_object(np.ascontiguousarray(obj, self._complex))

    def _load_kernels(self) -> None:
        """Run every kernel once on one view that is thrown away.

        numba compiles them at their first call, or loads them from its cache: done here, no
        iteration waits for it.
        """
        if not len(self._psi):
            return
        views, psi, part = self._views, self._psi[0].copy(), np.zeros_like(self._probe_strips)
        row, column = views.positions[0]
        if views.gaps is not None:
            kernels.unmark(self._measured_here, views.gaps.pixels[:0])
        self._move_view(0, psi, part)
        kernels.misfit(
            self._half, views.counts[0], views.scale[0], self._measured, self._plan, self._strip_b
        )
        kernels.add_to_probe(part, psi, self._object_planes, row, column)
        kernels.add_to_object(
            np.zeros_like(self._object_planes), psi, self._probe_strips, row, column
        )

    def _move_view(self, j: int, psi: NDArray, part: NDArray) -> None:
        """Move the exit waves `psi` of view j; add to `part` if it has modes."""
        views = self._views
        row, column = views.positions[j]
        self._to_half_spectra(j, psi, *self._reflect)
        kernels.project(
            self._turned, self._half, views.counts[j], views.scale[j], self._measured_in(j),
            self._constrained, self._free, self._plan, self._strip_b,
        )  # fmt: skip
        kernels.to_waves(
            psi, self._turned, self._keep, self._object_planes, row, column, part,
            self._plan, self._strip_b,
        )  # fmt: skip

    def _measured_in(self, j: int) -> NDArray:
        """Return the mask of view j, until the next call: that of all, less the view's own gaps."""
        gaps = self._views.gaps
        pixels = None if gaps is None else gaps.of_frame(j)
        if pixels is None or not len(pixels):
            return self._measured
        self._measured_here[:] = self._measured
        kernels.unmark(self._measured_here, pixels)
        return self._measured_here

    def _set_probe(self, probe: Complex) -> None:
        self._probe = probe
        self._probe_strips = kernels.pack(probe, self._real)

    def _set_object(self, obj: Complex) -> None:
        self._object = obj
        self._object_planes = kernels.pack_object(obj, self._real)
        # Sums taken with the old object are of no use any more.
        self._probe_sums = None

    def _to_half_spectra(
        self, j: int, psi: NDArray, product: np.floating, wave: np.floating
    ) -> None:
        row, column = self._views.positions[j]
        kernels.to_half_spectra(
            self._half, psi, self._probe_strips, self._object_planes, row, column,
            product, wave, self._plan, self._strip_a, self._strip_b,
        )  # fmt: skip

    def _empty_probe_sums(self) -> Sums:
        return Sums(
            np.zeros(self._probe.shape, np.complex128),
            np.zeros(self._probe.shape[1:], np.float64),
        )

    def _flush(self, part: NDArray, sums: Sums) -> None:
        sums.numerator += kernels.unpack(part, self._complex)
        part[:] = 0


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
