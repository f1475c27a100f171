"""What a job needs of a GPU's memory, known before any of it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..job import JobError
from .fused import FusedWaves
from .gpu import MEMORY_HINT, Gpu
from .plain import PlainWaves

# Kept free: what the driver takes for kernels and launches.
_SPARE = 200e6


@dataclass(frozen=True)
class Estimate:
    """Bytes on one rank's GPU.

    Attributes
    ----------
    counts : int
        2 a pixel of a view where they are integers of 16 bits, else up to 6 (10 in double
        precision) while they are prepared.
    waves : int
        Exit waves and auxiliary waves.
    pictures : int
        Probe, object, their sums and means.
    """

    counts: int
    waves: int
    pictures: int

    @classmethod
    def of(
        cls,
        *,
        views: int,
        window: int,
        probe_modes: int,
        object_modes: int,
        object_shape: tuple[int, int],
        frame_dtype: np.dtype,
        double: bool,
        storage: str,
        plain: bool,
    ) -> Estimate:
        """Estimate from the job's numbers; `views` are this rank's."""
        each = 16 if double else 8
        # Wider counts are kept as floats until all of them are known to fit 16 bits.
        count_bytes = 2 if frame_dtype.itemsize <= 2 else (10 if double else 6)
        if plain:
            waves = PlainWaves.estimate(views, window, probe_modes, object_modes, double)
        else:
            waves = FusedWaves.estimate(views, window, probe_modes, storage)
        height, width = object_shape
        values = object_modes * height * width + probe_modes * window**2
        # The iterate, its sums, the first averaged; the mean in double precision; densities and
        # denominators; while rolled, a copy.
        pictures = values * (4 * each + 16) + (height * width + window**2) * each
        tiles = views * (-(-window // 32) + 1) ** 2 * 4
        return cls(views * window**2 * count_bytes, waves, pictures + tiles)

    @property
    def total(self) -> int:
        """All of it, bytes."""
        return self.counts + self.waves + self.pictures

    def __str__(self) -> str:
        return (
            f"needs {self.total / 1e9:.2f} GB (exit waves {self.waves / 1e9:.2f}, counts "
            f"{self.counts / 1e9:.2f}, pictures {self.pictures / 1e9:.2f})"
        )

    def check(self, gpu: Gpu) -> None:
        """Refuse what does not fit, before any work.

        Raises
        ------
        JobError
            With both numbers.
        """
        free = gpu.free_bytes()
        if self.total + _SPARE > free:
            raise JobError(
                f"GPU {gpu.number} ({gpu.name}) has {free / 1e9:.2f} GB free of "
                f"{gpu.total_bytes / 1e9:.1f} GB; this rank {self}",
                MEMORY_HINT,
            )
