"""Where one rank computes: on the CPU, or on a GPU."""

from __future__ import annotations

import resource
from typing import Any, Protocol

from .communicator import Communicator
from .device import Complex, Device, Projection, Views
from .job import Inputs, Job, JobError
from .preparation import FramePlan, HostPreparation, Preparation


class Backend(Protocol):
    """Where one rank computes: prepares frames, and makes the device that iterates."""

    name: str

    #: What is worth telling of it, for the progress line ``device``; empty: nothing.
    facts: dict[str, Any]

    def profile(self) -> list[dict[str, Any]] | None:
        """Return what each kernel took (name, calls, seconds, share), where that was asked for."""

    def preparation(self, plan: FramePlan) -> Preparation:
        """Return what takes this rank's frames as they are read."""

    def device(self, views: Views, probe: Complex, obj: Complex) -> Device:
        """Return the device with `views`, as prepared here, and the first guesses on it."""

    def peak_bytes(self) -> int:
        """Return the most memory that this rank took of its device; on a CPU, of the host."""

    def close(self) -> None:
        """Give back what was taken; no device made here is used after this.

        Only when all ranks are done: it may have to wait for them.
        """


def open_backend(job: Job, inputs: Inputs, communicator: Communicator) -> Backend:
    """Return where this rank computes, as the job's recipe says.

    Raises
    ------
    JobError
        If this version has no such device, or this host has none to give.
    """
    # Each brings libraries that a host without it need not have: imported only where used.
    device = job.recipe["device"]
    if device == "cuda":
        from .cuda.backend import CudaBackend

        return CudaBackend(job, inputs, communicator)
    if device in ("auto", "cpu"):
        return CpuBackend(job)
    raise JobError(f'device="{device}" is not in this version of the solver', 'use device="cpu"')


def process_peak_bytes() -> int:
    """Return the most host memory that this process took, everything included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux


class CpuBackend:
    """Frames and exit waves in host memory, one thread a rank."""

    def __init__(self, job: Job) -> None:
        from .cpu import CpuDevice  # brings numba

        self.name = "cpu"
        self._make = CpuDevice
        self._recipe = job.recipe
        self.facts: dict[str, Any] = {}

    def profile(self) -> None:
        """Nothing is measured."""

    def preparation(self, plan: FramePlan) -> Preparation:
        """Return what takes this rank's frames as they are read."""
        return HostPreparation(plan, double=self._recipe["precision"] == "double")

    def device(self, views: Views, probe: Complex, obj: Complex) -> Device:
        """Return the device with `views` and the first guesses on it."""
        recipe = self._recipe
        return self._make(
            views,
            probe,
            obj,
            Projection.of(recipe["algorithm"], recipe["beta"]),
            update_order=recipe["update_order"],
            double=recipe["precision"] == "double",
            object_amplitude=recipe["object_amplitude"],
            object_phase=recipe["object_phase"],
        )

    def peak_bytes(self) -> int:
        """Return the most memory that this process took, everything included."""
        return process_peak_bytes()

    def close(self) -> None:
        """Nothing was taken."""
