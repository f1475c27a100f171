"""What the solver asks of a GPU: frames prepared there, and the device that iterates."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from ..device import Complex, Projection, Views
from ..frames import Geometry, share_of
from ..job import Inputs, Job, JobError
from ..preparation import FramePlan, Preparation
from ..units import fused, lines_of
from .copying import copy_rate
from .device import CudaDevice
from .frames import GpuPreparation
from .fused import FusedWaves
from .gpu import Gpu
from .memory import Estimate
from .plain import PlainWaves
from .waves import Waves

log = logging.getLogger("hxn_ptycho.solver")

# Set by ``python -m hxn_ptycho.solver --measure-copy``.
COPY_VARIABLE = "HXN_PTYCHO_MEASURE_COPY"
# How MPI libraries and Slurm tell a rank its number on its host.
_LOCAL_RANK = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")

_warm: Gpu | None = None


def warm_up(rank: int) -> None:
    """Open the GPU of `rank` ahead of the job, for `CudaBackend` to use."""
    global _warm
    if _warm is None:
        _warm = Gpu(_local(rank))


class CudaBackend:
    """The GPU of one rank.

    Parameters
    ----------
    job : Job
    inputs : Inputs
    rank, size : int

    Raises
    ------
    JobError
        If there is no GPU to use, or too little memory on it; with the numbers.
    """

    def __init__(self, job: Job, inputs: Inputs, rank: int, size: int) -> None:
        global _warm
        recipe = job.recipe
        self._recipe = recipe
        self._gpu, _warm = _warm or Gpu(_local(rank)), None
        self.name = f"cuda ({self._gpu.name})"
        self._double = recipe["precision"] == "double"
        self._storage = recipe.get("storage", "single")
        n, modes, object_modes = job.fft_window, recipe["probe_modes"], recipe["object_modes"]
        reason = FusedWaves.why_not(self._gpu, n, modes, object_modes, self._double)
        self._plain = bool(reason)
        if reason and self._storage == "half":
            raise JobError(
                f'storage = "half" is for the fused kernels, which do not do {reason}',
                'set storage = "single", or change that',
            )
        way = f"cuFFT, as the fused kernels do not do {reason}" if reason else "fused kernels"
        first, last = share_of(rank, size, job.number_of_frames)
        shape = Geometry.of(job, inputs.positions_m).object_shape
        estimate = Estimate.of(
            views=last - first, window=n, probe_modes=modes, object_modes=object_modes,
            object_shape=shape, frame_dtype=np.dtype(job.frame_dtype), double=self._double,
            storage=self._storage, plain=self._plain,
        )  # fmt: skip
        estimate.check(self._gpu)
        self.facts: dict[str, Any] = {
            "gpu": self._gpu.name,
            "driver": self._gpu.driver,
            "way": way,
            "estimated_bytes": estimate.total,
        }
        if os.environ.get(COPY_VARIABLE):
            self.facts["copy_bytes_per_second"] = copy_rate(self._gpu)
        log.info(
            "GPU %d, %s, CUDA %s: %s; %s", self._gpu.number, self._gpu.name, self._gpu.driver,
            way, estimate,
        )  # fmt: skip
        if not self._plain:
            self._gpu.module(fused(n, self._storage))

    def preparation(self, plan: FramePlan) -> Preparation:
        """Return what takes this rank's frames as they are read."""
        n = plan.measured.shape[0]
        strip = n if self._plain else lines_of(n).columns  # type: ignore[union-attr]
        return GpuPreparation(self._gpu, plan, strip, double=self._double)

    def device(self, views: Views, probe: Complex, obj: Complex) -> CudaDevice:
        """Return the device with `views`, as prepared here, and the first guesses on it."""
        recipe = self._recipe
        return make_device(
            self._gpu, views, probe, obj,
            Projection.of(recipe["algorithm"], recipe["beta"]),
            plain=self._plain, double=self._double, storage=self._storage,
            object_amplitude=recipe["object_amplitude"], object_phase=recipe["object_phase"],
        )  # fmt: skip

    def profile(self) -> list[dict[str, Any]] | None:
        """Return the time of each kernel, if it was asked for."""
        return self._gpu.profiler.table() if self._gpu.profiler.on else None

    def close(self) -> None:
        """Let go of the GPU; no device made here is used after this."""
        self._gpu.close()


def make_device(
    gpu: Gpu,
    views: Views,
    probe: Complex,
    obj: Complex,
    projection: Projection,
    *,
    plain: bool,
    double: bool = False,
    storage: str = "single",
    object_amplitude: tuple[float, float] | None = None,
    object_phase: tuple[float, float] | None = None,
) -> CudaDevice:
    """Return a CUDA device; ``views.counts`` are on the GPU, as `GpuPreparation` leaves them.

    Parameters
    ----------
    plain : bool
        cuFFT and elementwise kernels instead of the fused ones.
    double, storage, object_amplitude, object_phase
        As in a recipe.
    """
    n, modes = views.window, len(probe)
    shape = (obj.shape[0], obj.shape[1], obj.shape[2])
    waves: Waves
    if plain:
        waves = PlainWaves(
            gpu, views.counts, views.scale, views.positions, n, modes, shape, projection,
            double=double,
        )  # fmt: skip
        way = "double" if double else "single"
    else:
        waves = FusedWaves(
            gpu, views.counts, views.scale, views.positions, n, modes, shape[1:], projection,
            storage=storage, brightest=float(np.sum(np.abs(probe) ** 2)),
        )  # fmt: skip
        way = f"{storage}, fused"
    return CudaDevice(
        gpu, waves, views.positions, probe, obj, double=double,
        object_amplitude=object_amplitude, object_phase=object_phase,
        name=f"cuda ({gpu.name}, {way})",
    )  # fmt: skip


def _local(rank: int) -> int:
    """Return this rank's number on its host."""
    for name in _LOCAL_RANK:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return rank
