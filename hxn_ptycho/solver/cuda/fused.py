"""The exit waves in mixed space, moved by the fused kernels (``kernels/fused.cu``).

The state is ``X = a R psi``: each wave transformed along its rows, times a scale. An iteration
reads and writes it once in mixed space, and reads it twice for the sums of eqs. (5) and (6): 48
bytes a number of a view and mode, where cuFFT and elementwise kernels need about 140.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device import Projection
from ..memory import batch_of, constrain_bytes, room_bytes, rows_bytes
from ..units import Lines, fused, lines_of
from .driver import drv
from .gpu import DeviceArray, Gpu, Kernel

# What beginning a block costs, in the time of a view.
_BLOCK_START = 0.3
_FEW_MODES = 5  # FEW_MODES of fused.cu


class FusedWaves:
    """The exit waves of one rank's views, (N, M_P) planes in mixed space (a `Waves`).

    Parameters
    ----------
    gpu : Gpu
    counts : DeviceArray (N, n n), uint16 or float32
        In strips of ``lines_of(window).columns`` columns, UNMEASURED where not measured.
    scale : ndarray (N,), float64
        What the counts of each view are multiplied by.
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object.
    window : int
        Side n of the FFT window, one that `lines_of` knows.
    probe_modes : int
        At most `memory.MOST_MODES`; there is one object mode.
    object_shape : (int, int)
    projection : Projection
    storage : {"single", "half"}
    brightest : float
        Photons of the brightest view: the scale of half storage.
    """

    def __init__(
        self,
        gpu: Gpu,
        counts: DeviceArray,
        scale: NDArray[np.float64],
        positions: NDArray[np.int64],
        window: int,
        probe_modes: int,
        object_shape: tuple[int, int],
        projection: Projection,
        *,
        storage: str = "single",
        brightest: float = 1.0,
    ) -> None:
        lines = lines_of(window)
        assert lines is not None
        self._gpu, self._counts, self._lines = gpu, counts, lines
        self._n, self._modes, self._views = window, probe_modes, len(positions)
        self._width = object_shape[1]
        self._projection = projection
        self._wide = int(counts.dtype == np.float32)
        half = storage == "half"
        self._type = np.dtype(np.uint32) if half else np.dtype(np.complex64)
        # |R psi / sqrt(n)| is at most sqrt(photons); the largest 16-bit float is 65,504. A power of
        # two: scaling rounds nothing.
        peak = math.sqrt(max(brightest, 1.0))
        self._a = 2.0 ** math.floor(math.log2(4096 / peak)) / math.sqrt(window) if half else 1.0
        self._norm = 1.0 / (self._a * window)
        module = gpu.module(fused(window, storage))
        self._product = module.kernel("fused_product", "PPPPPiiif")
        few = probe_modes <= _FEW_MODES
        self._constrain = module.kernel(
            f"fused_constrain_{'few' if few else 'many'}", "PPPPPiifffff"
        )
        self._misfit = module.kernel("fused_misfit", "PPPPPiif")
        self._probe_sums = module.kernel("fused_probe_sums", "PPPPPiiif")
        self._object_sums = module.kernel("fused_object_sums", "PPPPPiiif")
        self._roll = module.kernel("fused_roll", "Pii")
        self._roots = gpu.array(_roots(lines))
        self._positions = gpu.array(positions, np.int32)
        self._scale = gpu.array(scale, np.float32)
        self._gains = gpu.array(scale * (self._a * window) ** 2, np.float32)
        self._waves = gpu.empty((self._views, probe_modes, window * window), self._type)
        batch = batch_of(self._views, window, probe_modes, self._type.itemsize)
        self._batches = [
            (first, min(batch, self._views - first)) for first in range(0, self._views, batch or 1)
        ]
        self._cut: dict[tuple[str, int], int] = {}  # what `_parts` found, by kernel and views
        # While kernels are measured, one after the other: each is to have the GPU for itself.
        self._streams = [gpu.stream] if gpu.profiler.on else [drv.Stream() for _ in range(2)]
        self._auxiliary = [
            gpu.empty((batch, probe_modes, window * window), self._type) for _ in self._streams
        ]

    def start(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Set ``psi_jk = P_k O``, eq. (2)."""
        self._form(self._waves, probe, obj, 0, self._views, self._gpu.stream)

    def move(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Move the exit waves by eqs. (3) and (4), batch after batch, on two streams."""
        p = self._projection
        grid, block, shared = self._groups(self._constrain)
        self._fork()
        for number, (first, count) in enumerate(self._batches):
            which = number % len(self._streams)
            stream, auxiliary = self._streams[which], self._auxiliary[which]
            self._form(auxiliary, probe, obj, first, count, stream)
            self._constrain(
                (grid, count), block,
                self._waves.at(first), auxiliary, self._counts.at(first), self._gains.at(first),
                self._roots, self._modes, self._wide, p.product, p.wave, p.keep, p.constrained,
                p.free, shared=shared, stream=stream,
            )  # fmt: skip
        self._join()

    def add_to_probe(self, numerator: DeviceArray, obj: DeviceArray) -> None:
        """Add ``sum_j conj(O) psi_jk`` of eq. (5) to `numerator` (M_P, n, n)."""
        lines, modes = self._lines, self._modes
        room = 2 * room_bytes(lines)
        warps = min(self._probe_sums.most_warps, (self._gpu.shared_block - 8 * self._n) // room)
        shared = 8 * self._n + warps * room
        parts = self._parts(self._probe_sums, 32 * warps, shared, warps / modes)
        parts = max(parts, -(-modes // warps))  # a warp for every mode at least
        self._probe_sums(
            (self._n // lines.lines, parts), 32 * warps,
            numerator, self._waves, obj, self._positions, self._roots, self._views, modes,
            self._width, self._norm, shared=shared,
        )  # fmt: skip

    def add_to_object(self, numerator: DeviceArray, probe: DeviceArray) -> None:
        """Add ``sum_jk conj(P_k) psi_jk`` of eq. (6) to `numerator` (1, H, W)."""
        lines = self._lines
        rows, room = rows_bytes(lines, self._modes), 2 * room_bytes(lines)
        warps = min(self._object_sums.most_warps, (self._gpu.shared_block - rows) // room)
        shared = rows + warps * room
        parts = self._parts(self._object_sums, 32 * warps, shared, warps)
        self._object_sums(
            (self._n // lines.lines, parts), 32 * warps,
            numerator, self._waves, probe, self._positions, self._roots, self._views, self._modes,
            self._width, self._norm, shared=shared,
        )  # fmt: skip

    def misfit(self, probe: DeviceArray, obj: DeviceArray, sums: DeviceArray) -> None:
        """Add the two sums of ``error_fourier`` to `sums` (2,), float64."""
        grid, block, shared = self._groups(self._misfit)
        self._fork()
        for number, (first, count) in enumerate(self._batches):
            which = number % len(self._streams)
            stream, auxiliary = self._streams[which], self._auxiliary[which]
            self._form(auxiliary, probe, obj, first, count, stream)
            self._misfit(
                (grid, count), block,
                sums, auxiliary, self._counts.at(first), self._scale.at(first), self._roots,
                self._modes, self._wide, self._norm, shared=shared, stream=stream,
            )  # fmt: skip
        self._join()

    def roll(self, rows: int, columns: int) -> None:
        """Move every exit wave by whole pixels, round the edges."""
        n, most = self._n, 32768  # planes a launch
        for first in range(0, self._views * self._modes, most):
            count = min(most, self._views * self._modes - first)
            address = self._waves.pointer + first * n * n * self._type.itemsize
            self._roll((n // self._lines.lines, count), 32, address, rows % n, columns % n)

    def exit_waves(self) -> NDArray[np.complex64]:
        """Return psi (N, 1, M_P, n, n) on the host; slow, for those who look into it."""
        n, s = self._n, self._lines.columns
        planes = self._waves.get()
        if self._type == np.uint32:
            planes = planes.view(np.float16).astype(np.float32).view(np.complex64)
        mixed = planes.reshape(self._views, self._modes, n // s, n, s).transpose(0, 1, 3, 2, 4)
        mixed = mixed.reshape(self._views, 1, self._modes, n, n)
        return (np.fft.ifft(mixed, axis=4) / self._a).astype(np.complex64)

    def _form(
        self,
        target: DeviceArray,
        probe: DeviceArray,
        obj: DeviceArray,
        first: int,
        count: int,
        stream: Any,
    ) -> None:
        """Stage 1 for `count` views from `first` on."""
        lines = self._lines
        rows, room = rows_bytes(lines, self._modes), room_bytes(lines)
        gpu = self._gpu
        warps = min(self._product.most_warps, (gpu.shared_block - rows) // room)
        shared = rows + warps * room
        parts = self._parts(self._product, 32 * warps, shared, warps, count)
        self._product(
            (self._n // lines.lines, parts), 32 * warps,
            target, probe, obj, self._positions.at(first), self._roots, count, self._modes,
            self._width, self._a, shared=shared, stream=stream,
        )  # fmt: skip

    def _groups(self, kernel: Kernel) -> tuple[int, int, int]:
        """Return blocks a view, threads and shared bytes of stage 2: a strip's groups together.

        With so many modes that they are too much for a block, each by itself.
        """
        lines, modes = self._lines, self._modes
        groups = lines.columns // lines.lines
        if (
            groups * modes > kernel.most_warps
            or constrain_bytes(lines, modes, groups) > self._gpu.shared_block
        ):
            groups = 1
        blocks = self._n // (lines.lines * groups)
        return blocks, 32 * modes * groups, constrain_bytes(lines, modes, groups)

    def _parts(
        self,
        kernel: Kernel,
        threads: int,
        shared: int,
        streams: float,
        views: int | None = None,
    ) -> int:
        """Return into how many parts the views go, so that all multiprocessors are busy to the end.

        A block takes the same rows of some views; `streams` of them go through it side by side.
        Few parts spare the copying of the probe, many even out what the last blocks leave idle.
        """
        views = self._views if views is None else views
        if (kernel.name, views) in self._cut:
            return self._cut[kernel.name, views]
        kernel.allow_shared(shared)
        slots = self._gpu.multiprocessors * kernel.resident(threads, shared)
        rows = self._n // self._lines.lines
        most = min(4 * slots // rows + 1, max(1, math.ceil(views / (2 * streams))))
        best, least = 1, math.inf
        for parts in range(1, most + 1):
            # Rounds of blocks, times the views of the longest stream of a block.
            rounds = -(-rows * parts // slots)
            took = rounds * (math.ceil(views / (parts * streams)) + _BLOCK_START)
            if took < 0.995 * least:
                best, least = parts, took
        self._cut[kernel.name, views] = best
        return best

    def _fork(self) -> None:
        """Let both streams begin after what the GPU's stream has queued."""
        ready = drv.Event()
        ready.record(self._gpu.stream)
        for stream in self._streams:
            stream.wait_for_event(ready)

    def _join(self) -> None:
        """Let the GPU's stream go on after both streams."""
        for stream in self._streams:
            done = drv.Event()
            done.record(stream)
            self._gpu.stream.wait_for_event(done)


def _roots(lines: Lines) -> NDArray[np.complex64]:
    """Return ``exp(-2 pi i k t / n)``, (elements, threads)."""
    k, t = np.arange(lines.elements)[:, None], np.arange(lines.threads)
    n = lines.elements * lines.threads
    return np.exp(-2j * np.pi * k * t / n).astype(np.complex64)
