"""What the solver asks of a GPU: frames prepared there, and the device that iterates."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..bands import Bands
from ..communicator import Adder, Communicator
from ..device import Complex, Projection, Views
from ..frames import Geometry, share_of
from ..job import Inputs, Job, JobError
from ..memory import Case, Estimate, fewest_gpus, why_not_fused
from ..preparation import FramePlan, Preparation
from ..units import fused, lines_of
from .adders import NcclAdder, make_adder
from .copying import copy_rate, measures_copies, sums_rate
from .cufft import work_bytes
from .device import CudaDevice
from .frames import GpuPreparation
from .fused import FusedWaves
from .gpu import MEMORY_HINT, Gpu
from .plain import PlainWaves
from .shared_rows import SharedRows
from .waves import Waves

log = logging.getLogger("hxn_ptycho.solver")

_warm: tuple[Gpu, Adder | None] | None = None


def warm_up(communicator: Communicator) -> None:
    """Open this rank's GPU, and what adds up, ahead of the job, for `CudaBackend` to use."""
    global _warm
    if _warm is None:
        _warm = _open(communicator)


def _open(communicator: Communicator) -> tuple[Gpu, Adder | None]:
    gpu = Gpu(communicator.local_rank)
    return gpu, make_adder(gpu, communicator) if communicator.size > 1 else None


class CudaBackend:
    """The GPU of one rank.

    Parameters
    ----------
    job : Job
    inputs : Inputs
    communicator : Communicator
        Is given what adds up the arrays of the ranks' GPUs.

    Raises
    ------
    JobError
        If there is no GPU to use, or too little memory on it; with the numbers.
    """

    def __init__(self, job: Job, inputs: Inputs, communicator: Communicator) -> None:
        global _warm
        recipe = job.recipe
        self._recipe = recipe
        (self._gpu, self._adder), _warm = _warm or _open(communicator), None
        if self._adder is not None:
            communicator.use(self._adder)
        self.name = f"cuda ({self._gpu.name})"
        geometry = Geometry.of(job, inputs.positions_m)
        case = Case(
            views=job.number_of_frames, window=job.fft_window, probe_modes=recipe["probe_modes"],
            object_modes=recipe["object_modes"],
            object_shape=geometry.object_shape,
            frame_dtype=job.frame_dtype, double=recipe["precision"] == "double",
            storage=recipe.get("storage", "single"), binning=recipe.get("binning", 1),
            corrected=inputs.dark is not None or inputs.flat is not None,
        )  # fmt: skip
        self._case = case
        reason = why_not_fused(case, self._gpu.shared_block)
        self._plain = bool(reason)
        if reason and case.storage == "half":
            raise JobError(
                f'storage = "half" is for the fused kernels, which do not do {reason}',
                'set storage = "single", or change that',
            )
        way = f"cuFFT, as the fused kernels do not do {reason}" if reason else "fused kernels"
        self._ranks = communicator.size
        self._communicator = communicator
        self._bands = Bands.of(
            geometry.positions, case.window, case.object_shape[0],
            lambda rank: share_of(rank, communicator.size, case.views), communicator.size,
        )  # fmt: skip
        estimate = self._check_memory()
        self.facts: dict[str, Any] = {
            "gpu": self._gpu.name,
            "driver": self._gpu.driver,
            "way": way,
            "estimated_bytes": estimate.total,
        }
        if self._adder is not None:
            self.facts["object_sums"] = self._said_of_sums()
            if communicator.rank == 0:
                log.info("of the object, %s", self.facts["object_sums"])
        if measures_copies():
            self.facts["copy_bytes_per_second"] = copy_rate(self._gpu)
        log.info(
            "GPU %d, %s, CUDA %s: %s; needs %s", self._gpu.number, self._gpu.name,
            self._gpu.driver, way, estimate,
        )  # fmt: skip
        if not self._plain:
            self._gpu.module(fused(case.window, case.storage))

    def _check_memory(self) -> Estimate:
        """Refuse what does not fit, before any work.

        Raises
        ------
        JobError
            With the numbers, and how many such GPUs would do.
        """
        gpu, case = self._gpu, self._case
        nccl = isinstance(self._adder, NcclAdder)
        estimate = Estimate.of(
            case, self._ranks, plain=self._plain, nccl=nccl, cufft_bytes=work_bytes
        )
        free = gpu.free_at_first  # NCCL may have taken its part of the estimate since
        if not estimate.fits(free):
            would_do = fewest_gpus(case, free, plain=self._plain)
            raise JobError(
                f"GPU {gpu.number} ({gpu.name}) has {free / 1e9:.2f} GB free of "
                f"{gpu.total_bytes / 1e9:.1f} GB; each of {self._ranks} ranks needs {estimate}",
                f"{would_do} such GPUs would do; or {MEMORY_HINT}" if would_do else MEMORY_HINT,
            )
        return estimate

    def preparation(self, plan: FramePlan) -> Preparation:
        """Return what takes this rank's frames as they are read."""
        n = plan.measured.shape[0]
        strip = n if self._plain else lines_of(n).columns  # type: ignore[union-attr]
        return GpuPreparation(self._gpu, plan, strip, double=self._case.double)

    def device(self, views: Views, probe: Complex, obj: Complex) -> CudaDevice:
        """Return the device with `views`, as prepared here, and the first guesses on it."""
        recipe, case = self._recipe, self._case
        device = make_device(
            self._gpu, views, probe, obj,
            Projection.of(recipe["algorithm"], recipe["beta"]),
            plain=self._plain, double=case.double, storage=case.storage,
            object_amplitude=recipe["object_amplitude"], object_phase=recipe["object_phase"],
            shared=self._shared_rows(),
        )  # fmt: skip
        if self._adder is not None and measures_copies():
            self.facts |= sums_rate(self._gpu, self._adder, device, self._communicator)
        return device

    def _shared_rows(self) -> SharedRows | None:
        """Return what adds up the object, where only shared rows have to be."""
        if not isinstance(self._adder, NcclAdder) or self._bands.why_not:
            return None
        return SharedRows(self._gpu, self._adder, self._bands, self._communicator.rank)

    def _said_of_sums(self) -> str:
        """Say which rows of the object are added up, and why."""
        if not isinstance(self._adder, NcclAdder):
            return f"all rows are added up: {self._adder.name if self._adder else 'one rank'}"
        if self._bands.why_not:
            return f"all rows are added up: {self._bands.why_not}"
        shared = sum(last - first for first, last in self._bands.zones)
        return f"{shared} of {self._case.object_shape[0]} rows are added up, others one rank sees"

    def peak_bytes(self) -> int:
        """Return the most GPU memory that this rank took, what NCCL and cuFFT took included."""
        return self._gpu.peak_bytes()

    def profile(self) -> list[dict[str, Any]] | None:
        """Return the time of each kernel, if it was asked for."""
        return self._gpu.profiler.table() if self._gpu.profiler.on else None

    def close(self) -> None:
        """Let go of the GPU; no device made here is used after this, and all ranks are done."""
        if self._adder is not None:
            self._adder.close()
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
    shared: SharedRows | None = None,
) -> CudaDevice:
    """Return a CUDA device; ``views.counts`` are on the GPU, as `GpuPreparation` leaves them.

    Parameters
    ----------
    plain : bool
        cuFFT and elementwise kernels instead of the fused ones.
    double, storage, object_amplitude, object_phase
        As in a recipe.
    shared : SharedRows, optional
        What adds up the object over the ranks, see `CudaDevice`.
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
        object_amplitude=object_amplitude, object_phase=object_phase, shared=shared,
        name=f"cuda ({gpu.name}, {way})",
    )  # fmt: skip
