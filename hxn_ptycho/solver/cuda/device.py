"""The CUDA device: probe and object of one rank on a GPU, and the order of what is done there."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device import Complex, Sums
from ..units import common
from .denominators import Denominators
from .gpu import DeviceArray, Gpu, Mail
from .shared_rows import SharedRows
from .waves import Waves

BLOCK = 256  # threads of a block of common.cu
_ALIGNMENT = 256  # bytes, as an allocation of its own has


def blocks(size: int) -> int:
    """Return how many blocks cover so many numbers, one a thread."""
    return -(-size // BLOCK)


class CudaDevice:
    """Probe, object and their means on a GPU; the exit waves are a `Waves`' (a `Device`).

    Parameters
    ----------
    gpu : Gpu
    waves : Waves
        Of this rank's views; started here from P O.
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object.
    probe : ndarray (M_P, n, n), complex
    obj : ndarray (M_O, H, W), complex
    double : bool
        complex128 instead of complex64.
    object_amplitude, object_phase : (low, high), optional
        Clamps of the object.
    shared : SharedRows, optional
        What adds up the object over the ranks, in the rows that are shared; without it, sums of
        the whole object are for the communicator to add up.
    name : str
        What it calls itself in progress and result.
    """

    computes_ahead = True

    def __init__(
        self,
        gpu: Gpu,
        waves: Waves,
        positions: NDArray[np.int64],
        probe: Complex,
        obj: Complex,
        *,
        double: bool = False,
        object_amplitude: tuple[float, float] | None = None,
        object_phase: tuple[float, float] | None = None,
        shared: SharedRows | None = None,
        name: str = "cuda",
    ) -> None:
        self.name = name
        self.window = probe.shape[-1]
        self._gpu, self._waves = gpu, waves
        self._complex = np.dtype(np.complex128 if double else np.complex64)
        self._clamps = _clamp(object_amplitude), _clamp(object_phase)
        self._shared = shared
        everything = (0, obj.shape[1])
        # Rows of the object that are worked on here, and that this rank answers for.
        self._rows = shared.rows if shared else everything
        self._owned = shared.owned if shared else everything
        self._complete = True  # whether the object is up to date in all rows
        real = "d" if double else "f"
        module = gpu.module(common("double" if double else "single"))
        self._density = module.kernel("density", "PPiii")
        self._maximum = module.kernel("maximum", "PPi")
        self._quotient = module.kernel("quotient", f"PPPPiiiii{real}{real}i{real}{real}P")
        self._centre = module.kernel("centre", "PPi")
        self._roll_picture = module.kernel("roll_picture", "PPiiii")
        self._overlap = module.kernel("overlap", "PPPPii")
        self._add_turned = module.kernel("add_turned", "PPPii")
        self._probe = gpu.array(probe, self._complex)
        self._object = gpu.array(obj, self._complex)
        self._denominators = Denominators(
            gpu, positions, self.window, obj.shape[1:], double, self._rows
        )
        self._probe_sums = self._sums(self._probe)
        self._object_sums = self._sums(self._object)
        if shared is not None:
            self._object_sums.add_up = partial(shared.sum, self._object_sums)
        real_type = np.float64 if double else np.float32
        self._intensity = gpu.empty(probe.shape[1:], real_type)
        self._most = gpu.zeros((1,), np.uint64)
        self._changes = [gpu.zeros((len(modes), 2), np.float64) for modes in (probe, obj)]
        self._change_mail = [Mail(array.shape, gpu) for array in self._changes]
        self._scalars = gpu.zeros((3,), np.float64)
        self._centre_sums, self._centre_mail = gpu.zeros((3,), np.float64), Mail((3,), gpu)
        self._averages: list[_Average] = []
        waves.start(self._probe, self._object)
        gpu.synchronize()

    @property
    def memory_bytes(self) -> int:
        """Bytes of GPU memory that this rank holds."""
        return self._gpu.held_bytes

    @property
    def summed_bytes(self) -> tuple[int, int]:
        """Bytes of what is added up over the ranks in an iteration: for the probe, the object."""
        sums = self._object_sums
        of_object = self._shared.bytes_of(sums) if self._shared else sums.whole.nbytes
        return self._probe_sums.whole.nbytes, of_object

    def update_views(self) -> None:
        """Move the exit waves by eqs. (3) and (4)."""
        self._waves.move(self._probe, self._object)

    def probe_sums(self) -> Sums:
        """Return this rank's part of eq. (5), with the object of the moment, on the GPU."""
        sums = self._probe_sums
        sums.numerator.fill_zero()
        self._waves.add_to_probe(sums.numerator, self._object)
        self._denominators.of_probe(sums.denominator, self._object)
        return sums

    def object_sums(self) -> Sums:
        """Return this rank's part of eq. (6), with the probe of the moment, on the GPU."""
        sums = self._object_sums
        if self._shared is None:
            sums.numerator.fill_zero()
        else:
            self._shared.clear(sums)
        self._waves.add_to_object(sums.numerator, self._probe)
        self._denominators.of_object(sums.denominator, self._probe)
        return sums

    def update_probe(self, sums: Sums) -> None:
        """Put eq. (5) in place of the probe; `sums` are over all ranks."""
        rows = (0, self.window)
        self._divide(self._probe, sums, self._changes[0], rows, rows)
        self._change_mail[0].send(self._changes[0])
        self._send_centre()

    def update_object(self, sums: Sums) -> None:
        """Put eq. (6), clamped, in place of the object; `sums` are over all ranks."""
        self._divide(
            self._object, sums, self._changes[1], self._rows, self._owned, *self._clamps,
            shared=self._shared,
        )  # fmt: skip
        self._complete = self._shared is None
        self._change_mail[1].send(self._changes[1])

    def change(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return eq. (7) of the updates since the last call, probe (M_P,) and object (M_O,)."""
        found = []
        for array, mail in zip(self._changes, self._change_mail, strict=True):
            sums = mail.read()
            moved, size = (np.zeros(array.shape) if sums is None else sums).T
            ratio = np.divide(moved, size, out=np.zeros(len(moved)), where=size != 0)
            found.append(np.sqrt(ratio))
        return found[0], found[1]

    def probe_centre(self) -> tuple[float, float]:
        """Return the centre of mass (row, column) of ``sum_k |P_k|^2``, pixels of the window."""
        sums = self._centre_mail.read()
        if sums is None:  # read already, or the probe was not updated but replaced or moved
            self._send_centre()
            sums = self._centre_mail.read()
        assert sums is not None
        total, row, column = sums.tolist()
        return row / total, column / total

    def roll(self, rows: int, columns: int) -> None:
        """Move probe, object and exit waves together by whole pixels, round the edges."""
        self._make_complete()
        for name in ("_probe", "_object"):
            array = getattr(self, name)
            modes, height, width = array.shape
            moved = self._gpu.empty(array.shape, array.dtype)
            self._roll_picture(
                (blocks(height * width), modes), BLOCK,
                moved, array, height, width, rows % height, columns % width,
            )  # fmt: skip
            self._gpu.stream.synchronize()
            setattr(self, name, moved)
            array.free()
        self._centre_mail.read()  # of the probe where it was
        self._waves.roll(rows, columns)

    def misfit(self) -> tuple[float, float]:
        """Return this rank's two sums of ``error_fourier`` for the P and O of the moment."""
        self._scalars.fill_zero()
        self._waves.misfit(self._probe, self._object, self._scalars)
        wrong, total, _ = self._scalars.get().tolist()
        return wrong, total

    def add_to_average(self) -> None:
        """Add the probe and object of the moment to their means."""
        if not self._averages:
            self._averages = [
                _Average(self._gpu, self._probe, (0, self.window)),
                _Average(self._gpu, self._object, self._owned, self._shared),
            ]
        for average, array in zip(self._averages, (self._probe, self._object), strict=True):
            average.add(array, self._overlap, self._add_turned)

    def means(self) -> tuple[Complex, Complex]:
        """Return mean probe and object on the host, complex128, as `finish.Average.means`."""
        (probe, power), (obj, _) = (average.mean() for average in self._averages)
        left = np.sum(np.abs(probe) ** 2, axis=(1, 2))
        gain = np.divide(power, left, out=np.ones(len(left)), where=left > 0)
        return probe * np.sqrt(gain)[:, None, None], obj

    def get(self) -> tuple[Complex, Complex]:
        """Return copies of probe (M_P, n, n) and object (M_O, H, W) on the host."""
        self._make_complete()
        return self._probe.get(), self._object.get()

    def set(self, probe: Complex, obj: Complex) -> None:
        """Replace probe and object; the exit waves stay."""
        self._probe.set(probe)
        self._object.set(obj)
        self._complete = True
        self._centre_mail.read()  # of the probe as it was

    def __len__(self) -> int:
        """Return the number of probe modes."""
        return self._probe.shape[0]

    def _sums(self, values: DeviceArray) -> Sums:
        """Return numerator and denominator as two parts of one array, which travels at once."""
        real = np.dtype(f"f{self._complex.itemsize // 2}")
        first = -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT  # of the denominator
        plane = values.shape[1:]
        whole = self._gpu.zeros((first // real.itemsize + math.prod(plane),), real)
        return Sums(
            DeviceArray.within(whole, 0, values.shape, values.dtype),
            DeviceArray.within(whole, first, plane, real),
            whole,
        )

    def _make_complete(self) -> None:
        """Bring the rows of the object that other ranks have; all ranks come here at once."""
        if not self._complete:
            assert self._shared is not None
            self._shared.complete(self._object)
            self._complete = True

    def _send_centre(self) -> None:
        n = self.window
        self._density(
            (blocks(n * n),), BLOCK, self._intensity, self._probe, len(self), n * n, n * n
        )
        self._centre_sums.fill_zero()
        self._centre((blocks(n * n),), BLOCK, self._centre_sums, self._intensity, n)
        self._centre_mail.send(self._centre_sums)

    def _divide(
        self,
        values: DeviceArray,
        sums: Sums,
        change: DeviceArray,
        rows: tuple[int, int],
        owned: tuple[int, int],
        amplitude: tuple[int, float, float] = (0, 0.0, 0.0),
        phase: tuple[int, float, float] = (0, 0.0, 0.0),
        *,
        shared: SharedRows | None = None,
    ) -> None:
        """Put the quotient in place of `rows` of `values`; count the change in `owned` ones."""
        modes, height, width = values.shape
        first, last = rows
        size, stride = (last - first) * width, height * width
        own, begin = (owned[1] - owned[0]) * width, (owned[0] - first) * width
        self._most.fill_zero()
        change.fill_zero()
        self._maximum(
            (min(blocks(own), 4 * self._gpu.multiprocessors),), BLOCK,
            self._most, sums.denominator.at(owned[0]), own,
        )  # fmt: skip
        if shared is not None:
            shared.maximum(self._most)
        self._quotient(
            (blocks(size), modes), BLOCK,
            values.at(0, first), sums.numerator.at(0, first), sums.denominator.at(first),
            self._most, size, stride, begin, begin + own, *amplitude, *phase, change,
        )  # fmt: skip
        if shared is not None:
            shared.add_up(change)


class _Average:
    """A mean on the GPU, each iterate phase-aligned to the first added: see `finish.Average`."""

    def __init__(
        self,
        gpu: Gpu,
        values: DeviceArray,
        rows: tuple[int, int],
        shared: SharedRows | None = None,
    ) -> None:
        self.count = 0
        self._gpu = gpu
        self._rows, self._shared = rows, shared  # only rows that this rank owns are kept here
        self._first = gpu.empty(values.shape, values.dtype)
        self._total = gpu.zeros(values.shape, np.complex128)
        # Of each mode: real and imaginary part of its overlap with the first.
        self._sums = gpu.empty((values.shape[0], 2), np.float64)
        self._powers = gpu.zeros((values.shape[0],), np.float64)  # of all iterates together

    def add(self, values: DeviceArray, overlap: Any, add_turned: Any) -> None:
        modes, height, width = values.shape
        first, last = self._rows
        size, stride = (last - first) * width, height * width
        if self.count == 0:
            self._first.copy_from(values)
        self._sums.fill_zero()
        grid, here = (blocks(size), modes), values.at(0, first)
        overlap(grid, BLOCK, self._sums, self._powers, here, self._first.at(0, first), size, stride)
        if self._shared is not None:
            self._shared.add_up(self._sums)
        add_turned(grid, BLOCK, self._total.at(0, first), here, self._sums, size, stride)
        self.count += 1

    def mean(self) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """Return the mean (modes, rows, columns), and the mean power of each mode's iterates."""
        if self._shared is not None:
            self._shared.complete(self._total)
        mean = self._total.get()
        mean /= self.count
        return mean, self._powers.get() / self.count


def _clamp(bounds: tuple[float, float] | None) -> tuple[int, float, float]:
    """Return what the kernel is told of a clamp: whether, low, high."""
    return (0, 0.0, 0.0) if bounds is None else (1, *bounds)
