"""What a job needs of a GPU's memory, known before any of it is taken and without any GPU.

Also which kernels a job can go by, as that decides it. Used by the CUDA device, and by those who
prepare jobs, perhaps on a host that has no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from .units import Lines, lines_of

#: Most probe modes of the fused kernels: a block of stage 2 has a warp a mode.
MOST_MODES = 16
#: Shared memory of a block where no GPU can be asked: that of Hopper.
LARGEST_SHARED_BYTES = 227 * 1024
#: Kept free on a GPU: what the driver takes for kernels and launches.
SPARE_BYTES = 200e6
#: What NCCL takes on each GPU: measured with 2.28 on 2 and 4 H200 of one host.
NCCL_BYTES = 910e6

# Auxiliary waves of two batches of views, one on each of two streams, of the fused kernels.
_FUSED_AUXILIARY_BYTES = 0.6e9
# Most bytes of the cuFFT path's auxiliary waves: a launch takes far longer than its queueing.
_PLAIN_AUXILIARY_BYTES = 300_000_000
_MOST_GRID = 65535  # blocks along y and z
_TILE = 32  # of common.cu


@dataclass(frozen=True)
class Case:
    """The numbers of a job that its memory depends on.

    Attributes
    ----------
    views : int
        Of all ranks.
    window : int
        Side of the FFT window.
    probe_modes, object_modes : int
    object_shape : (int, int)
    frame_dtype : dtype
        Of the frames as stored.
    double : bool
    storage : {"single", "half"}
    binning : int
        Detector pixels, along an axis, that make one of the window.
    corrected : bool
        Whether a dark or a flat is applied.
    """

    views: int
    window: int
    probe_modes: int
    object_modes: int
    object_shape: tuple[int, int]
    frame_dtype: DTypeLike
    double: bool = False
    storage: str = "single"
    binning: int = 1
    corrected: bool = False


@dataclass(frozen=True)
class Estimate:
    """Bytes on the GPU of the rank that has most views.

    Attributes
    ----------
    counts : int
        2 a pixel of a view where they are integers of 16 bits, as on file; else, and where dark,
        flat or binning make others of them, up to 6 (10 in double precision) while they are
        prepared.
    waves : int
        Exit waves and auxiliary waves.
    pictures : int
        Probe, object, their sums and means.
    sums : int
        What adding up over the ranks takes.
    """

    counts: int
    waves: int
    pictures: int
    sums: int

    @classmethod
    def of(
        cls,
        case: Case,
        ranks: int = 1,
        *,
        plain: bool,
        nccl: bool = True,
        cufft_bytes: Callable[[int, int, bool], int] | None = None,
    ) -> Estimate:
        """Estimate for a job that so many ranks share, one a GPU.

        Parameters
        ----------
        plain : bool
            Whether it goes by cuFFT, see `why_not_fused`.
        nccl : bool
            Whether several ranks add up by NCCL.
        cufft_bytes : callable, optional
            What cuFFT takes for (window, number of transforms, double); without it, as much as
            what it transforms.
        """
        views = -(-case.views // ranks)
        n, modes, each = case.window, case.probe_modes, 16 if case.double else 8
        # Wider counts are kept as floats until all of them are known to fit 16 bits.
        wide = 10 if case.double else 6
        dtype = np.dtype(case.frame_dtype)
        small = dtype.kind in "biu" and dtype.itemsize <= 2
        corrects = case.corrected or case.binning > 1
        counts = views * n**2 * (2 if small and not corrects else wide)
        if corrects:  # what says how
            counts += (n * case.binning) ** 2 * 12
        if plain:
            waves = modes * case.object_modes
            chunk = chunk_of(views, n, waves, case.double)
            own = chunk * waves * n**2 * each
            work = cufft_bytes(n, chunk * waves, case.double) if cufft_bytes else own
            exit_waves = views * (waves * n**2 * each + 16) + own + work
        else:
            wave = 4 if case.storage == "half" else 8
            batch = batch_of(views, n, modes, wave)
            exit_waves = (views + 2 * batch) * modes * n**2 * wave + views * 16 + 8 * n
        height, width = case.object_shape
        values = case.object_modes * height * width + modes * n**2
        # The iterate, its sums, the first averaged; the mean in double precision; densities and
        # denominators; while rolled, a copy.
        pictures = values * (4 * each + 16) + (height * width + n**2) * each
        tiles = views * (-(-n // _TILE) + 1) ** 2 * 4
        sums = int(NCCL_BYTES) if nccl and ranks > 1 else 0
        return cls(counts, exit_waves, pictures + tiles, sums)

    @property
    def total(self) -> int:
        """All of it, bytes."""
        return self.counts + self.waves + self.pictures + self.sums

    def fits(self, memory_bytes: float) -> bool:
        """Whether a GPU with so much free memory holds it."""
        return self.total + SPARE_BYTES <= memory_bytes

    def __str__(self) -> str:
        sums = f", NCCL {self.sums / 1e9:.2f}" if self.sums else ""
        return (
            f"{self.total / 1e9:.2f} GB (exit waves {self.waves / 1e9:.2f}, counts "
            f"{self.counts / 1e9:.2f}, pictures {self.pictures / 1e9:.2f}{sums})"
        )


def fewest_gpus(case: Case, memory_bytes: float, *, plain: bool) -> int | None:
    """Return the smallest number of GPUs with so much free memory that hold a job; None: no number.

    More GPUs hold fewer views each, but each has all of probe and object.
    """
    if Estimate.of(case, 1, plain=plain).fits(memory_bytes):  # which needs no NCCL
        return 1
    if not Estimate.of(case, max(1, case.views), plain=plain).fits(memory_bytes):
        return None
    low, high = 2, max(2, case.views)
    while low < high:
        middle = (low + high) // 2
        if Estimate.of(case, middle, plain=plain).fits(memory_bytes):
            high = middle
        else:
            low = middle + 1
    return low


def why_not_fused(case: Case, shared_block: int) -> str:
    """Return why the fused kernels do not do for a job, or an empty text.

    Parameters
    ----------
    case : Case
    shared_block : int
        Most bytes of shared memory that the GPU gives a block.
    """
    modes = case.probe_modes
    if case.double:
        return "double precision"
    if case.object_modes > 1:
        return f"{case.object_modes} object modes"
    if modes > MOST_MODES:
        return f"{modes} probe modes, more than {MOST_MODES}"
    lines = lines_of(case.window)
    if lines is None:
        return f"a window of {case.window}"
    needed = max(constrain_bytes(lines, modes, 1), rows_bytes(lines, modes) + 2 * room_bytes(lines))
    if needed > shared_block:
        return (
            f"{modes} modes of {case.window} pixels need {needed} bytes of shared memory, the GPU "
            f"has {shared_block}"
        )
    return ""


def batch_of(views: int, window: int, probe_modes: int, each: int) -> int:
    """Return how many views go through the fused kernels at a time; all batches about equal."""
    most = max(1, int(_FUSED_AUXILIARY_BYTES / 2 / (probe_modes * window**2 * each)))
    batches = max(2, -(-views // most))
    return -(-views // batches)


def chunk_of(views: int, window: int, waves: int, double: bool) -> int:
    """Return how many views go through cuFFT at a time: few chunks, of nearly equal size."""
    view = waves * window**2 * (16 if double else 8)
    most = max(1, min(_PLAIN_AUXILIARY_BYTES // view, _MOST_GRID))
    return -(-views // max(-(-views // most), 1))


def room_bytes(lines: Lines) -> int:
    """Return ROOM of layout.cuh, bytes."""
    return 8 * lines.elements * (lines.threads * lines.lines + lines.lines)


def rows_bytes(lines: Lines, modes: int) -> int:
    """Return the bytes of roots and of LINES rows of every mode of the probe."""
    n = lines.elements * lines.threads
    return 8 * n * (1 + lines.lines * modes)


def constrain_bytes(lines: Lines, modes: int, groups: int) -> int:
    """Return the bytes of stage 2's shared memory: roots; weights, counts and rooms a group."""
    n = lines.elements * lines.threads
    return 8 * n + groups * (8 * n * lines.lines + modes * room_bytes(lines))
