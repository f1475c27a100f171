"""The plain path: exit waves of any window and any number of modes; cuFFT transforms them.

The kernels are those of ``kernels/plain.cu``. `PlainWaves.move` goes through the views chunk by
chunk with an auxiliary buffer of one chunk: form, FFT, constrain, inverse FFT, mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..build import plain
from ..device import Projection
from ..memory import chunk_of
from .cufft import Fft
from .driver import drv
from .gpu import DeviceArray, Gpu

# Suffix of the kernels for each type of the counts.
_SUFFIXES = {"uint16": "u16", "float32": "f32", "float64": "f64"}

_BLOCK = 256  # threads a block
_VIEWS = 4  # views that a block of most kernels does
_MODES = 5  # probe modes that a block of add_to_probe can sum: BATCH in plain.cu
_VIEWS_A_SUM = 64  # most views that it sums: thousands in float32 would lose digits
_BLOCKS_A_MULTIPROCESSOR = 8  # that it is to have at least, if there are so many views
_MOST_GRID = 65535  # blocks along y and z


@dataclass(frozen=True)
class _Part:
    """Some of the views, and the addresses of what belongs to the first of them."""

    views: int
    psi: int
    positions: int
    counts: int
    scale: int


class PlainWaves:
    """The exit waves psi (N, M_O, M_P, n, n) of one rank's views, in C order; implements `Waves`.

    Parameters
    ----------
    gpu : Gpu
    counts : DeviceArray (N, n n), uint16, float32, or (in double precision) float64
        Photon counts, rows after rows, DC first; ``UNMEASURED`` where not measured, else not
        negative. Used, not copied.
    scale : ndarray (N,)
        What the counts of each view are multiplied by.
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object.
    window : int
        Side n of the window, pixels.
    probe_modes : int
        M_P.
    object_shape : (M_O, H, W)
    projection : Projection
    double : bool
        complex128 and float64 instead of complex64 and float32.

    Raises
    ------
    JobError
        If cuFFT or scikit-cuda is missing, or the memory does not suffice.
    """

    def __init__(
        self,
        gpu: Gpu,
        counts: DeviceArray,
        scale: NDArray,
        positions: NDArray[np.int64],
        window: int,
        probe_modes: int,
        object_shape: tuple[int, int, int],
        projection: Projection,
        *,
        double: bool,
    ) -> None:
        views, kind = len(positions), str(counts.dtype)
        if counts.shape[0] != views or counts.size != views * window**2 or len(scale) != views:
            raise ValueError(
                f"counts of {counts.shape} and {len(scale)} scales do not fit {views} views of "
                f"{window} x {window}"
            )
        if kind not in _SUFFIXES or (kind == "float64" and not double):
            raise ValueError(f"no kernel takes counts of {kind}")
        self._gpu, self._window, self._views = gpu, window, views
        self._probe_modes, self._waves = probe_modes, probe_modes * object_shape[0]
        self._projection = projection
        self._shape = (window, probe_modes, *object_shape)  # Shape of plain.cu
        # Two pixels a thread where they are 16 bytes, aligned.
        self._pack = 2 if not double and window % 2 == 0 else 1
        self._counts = counts
        self._psi = gpu.empty(
            (views, object_shape[0], probe_modes, window, window), _complex_type(double)
        )
        self._positions = gpu.array(np.reshape(positions, (views, 2)), np.int32)
        self._scale = gpu.array(scale, _real_type(double))
        chunk = chunk_of(views, window, self._waves, double)
        self._auxiliary = gpu.empty((chunk, *self._psi.shape[1:]), self._psi.dtype)
        self._fft = Fft(gpu, window, chunk * self._waves, double)
        self._chunks = list(self._parts(chunk))
        # Kernels that need no auxiliary buffer take all views at once.
        self._wholes = list(self._parts(_VIEWS * _MOST_GRID))
        self._load_kernels(_SUFFIXES[kind], "d" if double else "f")

    def start(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Set ``psi_jlk = P_k O_l`` on every view, eq. (2)."""
        for part in self._wholes:
            self._multiply_into(part.psi, part, probe, obj)

    def move(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Move the exit waves by eqs. (3) and (4)."""
        numbers, auxiliary = self._projection, self._auxiliary
        for part in self._chunks:
            if (numbers.product, numbers.wave) == (1, 0):
                self._multiply_into(auxiliary.pointer, part, probe, obj)
            else:
                self._form(
                    self._grid(part), _BLOCK, auxiliary, part.psi, probe, obj,
                    *self._views_of(part), *self._shape, numbers.product, numbers.wave,
                )  # fmt: skip
            self._fft.forward(auxiliary)
            self._constrain(
                (self._tiles(self._pack), part.views), _BLOCK, auxiliary, part.counts, part.scale,
                self._window, self._waves, numbers.constrained, numbers.free,
            )  # fmt: skip
            self._fft.inverse(auxiliary)
            size = part.views * self._waves * self._window**2
            self._mix(
                (_ceil(size, _BLOCK * self._pack),), _BLOCK, part.psi, auxiliary, size,
                self._window, numbers.keep,
            )  # fmt: skip

    def add_to_probe(self, numerator: DeviceArray, obj: DeviceArray) -> None:
        """Add ``sum_jl conj(O_l) psi_jlk`` of eq. (5) to `numerator` (M_P, n, n)."""
        groups = _ceil(self._probe_modes, _MODES)
        modes = _ceil(self._probe_modes, groups)
        tiles = self._tiles(self._pack)
        wanted = _BLOCKS_A_MULTIPROCESSOR * self._gpu.multiprocessors
        for part in self._wholes:
            views = part.views * tiles * groups // wanted
            views = max(min(views, _VIEWS_A_SUM), _VIEWS)
            self._add_to_probe(
                (tiles, groups, _ceil(part.views, views)), _BLOCK, numerator, part.psi, obj,
                *self._views_of(part, views), *self._shape, modes,
            )  # fmt: skip

    def add_to_object(self, numerator: DeviceArray, probe: DeviceArray) -> None:
        """Add ``sum_jk conj(P_k) psi_jlk`` of eq. (6) to `numerator` (M_O, H, W)."""
        for part in self._wholes:
            self._add_to_object(
                self._grid(part, 1), _BLOCK, numerator, part.psi, probe,
                *self._views_of(part), *self._shape,
            )  # fmt: skip

    def misfit(self, probe: DeviceArray, obj: DeviceArray, sums: DeviceArray) -> None:
        """Add the two sums of ``error_fourier`` to `sums` (2,), float64."""
        for part in self._chunks:
            self._multiply_into(self._auxiliary.pointer, part, probe, obj)
            self._fft.forward(self._auxiliary)
            self._misfit(
                self._grid(part), _BLOCK, sums, self._auxiliary, part.counts, part.scale,
                *self._views_of(part), self._window, self._waves,
            )  # fmt: skip

    def exit_waves(self) -> NDArray[np.complexfloating]:
        """Return psi (N, M_O, M_P, n, n) on the host."""
        return self._psi.get()

    def roll(self, rows: int, columns: int) -> None:
        """Move every exit wave by whole pixels, round the edges."""
        n, stream = self._window, self._gpu.stream
        for part in self._chunks:
            self._roll(
                self._grid(part, 1), _BLOCK, self._auxiliary, part.psi,
                *self._views_of(part), n, self._waves, rows % n, columns % n,
            )  # fmt: skip
            size = part.views * self._waves * n * n * self._psi.dtype.itemsize
            with self._gpu.profiler.measure("copy", stream):
                drv.memcpy_dtod_async(part.psi, self._auxiliary.pointer, size, stream)

    def _load_kernels(self, counts: str, real: str) -> None:
        module = self._gpu.module(plain("double" if real == "d" else "single"))
        views, shape = "Pii", "iiiii"  # the structs Views and Shape of plain.cu
        self._multiply = module.kernel("multiply", "PPP" + views + shape)
        self._form = module.kernel("form", "PPPP" + views + shape + 2 * real)
        self._constrain = module.kernel(f"constrain_{counts}", "PPPii" + 2 * real)
        self._mix = module.kernel("mix", "PPqi" + real)
        self._add_to_probe = module.kernel("add_to_probe", "PPP" + views + shape + "i")
        self._add_to_object = module.kernel("add_to_object", "PPP" + views + shape)
        self._misfit = module.kernel(f"misfit_{counts}", "PPPP" + views + "ii")
        self._roll = module.kernel("roll", "PP" + views + "iiii")

    def _multiply_into(
        self, target: int, part: _Part, probe: DeviceArray, obj: DeviceArray
    ) -> None:
        self._multiply(
            self._grid(part), _BLOCK, target, probe, obj, *self._views_of(part), *self._shape
        )

    def _parts(self, most: int) -> Iterator[_Part]:
        """Cut the views into parts of at most `most`."""
        for first in range(0, self._views, most or 1):
            arrays = (self._psi, self._positions, self._counts, self._scale)
            addresses = [array.at(first) for array in arrays]
            yield _Part(min(most, self._views - first), *addresses)

    def _tiles(self, pixels: int) -> int:
        """Return how many blocks do a window, `pixels` a thread."""
        return _ceil(self._window**2, _BLOCK * pixels)

    def _grid(self, part: _Part, pixels: int = 0) -> tuple[int, int]:
        """Return the grid (pixels, groups of views)."""
        return self._tiles(pixels or self._pack), _ceil(part.views, _VIEWS)

    def _views_of(self, part: _Part, a_block: int = _VIEWS) -> tuple[int, int, int]:
        """Return the struct Views of plain.cu."""
        return part.positions, part.views, a_block


def _complex_type(double: bool) -> type[np.complexfloating]:
    return np.complex128 if double else np.complex64


def _real_type(double: bool) -> type[np.floating]:
    return np.float64 if double else np.float32


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
