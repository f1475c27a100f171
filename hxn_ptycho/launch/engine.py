"""Where MPI programs run: on this host (and others, by a host file), or through Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..home import Config, Slurm
from ..solver.job import Job
from . import gpu
from .cores import physical_cores
from .gpu import Gpu
from .hosts import slots_of
from .local import launch
from .places import Place, free_gpus, take_cores, take_gpus
from .program import Program
from .slurm import SlurmProgram


class Engine(Protocol):
    """What jobs are made for, and what starts their programs."""

    #: Whether ranks may start while the scan is read: not where they queue first.
    starts_early: bool

    def why_no_gpu(self) -> str:
        """Return why no GPU can be used, and what to do; empty if one can be."""

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs that a job can have, as far as they are known here."""

    def ranks(self, device: str) -> int:
        """Return how many ranks a job has that leaves the number to us.

        Raises
        ------
        LaunchError
            If the host file cannot be used.
        """

    def on_this_host(self) -> bool:
        """Whether this host's memory is what a job takes."""

    def take(self, device: str, ranks: int) -> Place | None:
        """Take what a job needs for itself, or None if it is in use by others now.

        Raises
        ------
        LaunchError
            If it cannot be told.
        """

    def busy(self, device: str, ranks: int) -> str:
        """Return what a job waits for that `take` had nothing for."""

    def launch(
        self,
        folder: Path,
        ranks: int,
        place: Place,
        *,
        await_job: bool = False,
        options: Sequence[str] = (),
    ) -> Program:
        """Start the solver on a job folder and return at once.

        Parameters
        ----------
        folder : Path
            A job folder that `prepare` made.
        ranks : int
        place : Place
            From `take`; released by the caller when the program has ended.
        await_job : bool
            Start before the folder is prepared, where `starts_early`.
        options : sequence of str
            Further words for the solver's command line.

        Raises
        ------
        LaunchError
            If it cannot be started.
        """


def engine_of(config: Config) -> Engine:
    """Return where the jobs of a home run, as its ``config.toml`` says."""
    return SlurmEngine(config.slurm, config.sums) if config.slurm else LocalEngine(config)


class LocalEngine:
    """mpiexec: on this host, or on those of a host file (an `Engine`)."""

    starts_early = True

    def __init__(self, config: Config) -> None:
        self._mpiexec, self._hosts = config.mpiexec, config.hosts
        self._share, self._sums = config.share_gpus, config.sums

    def why_no_gpu(self) -> str:
        """Return why no GPU can be used on this host, and what to do; empty if one can be."""
        return gpu.why_no_gpu()

    def gpus(self) -> tuple[Gpu, ...]:
        """Return this host's GPUs; those of other hosts are taken to be like them."""
        return gpu.gpus()

    def ranks(self, device: str) -> int:
        """Return the slots of the host file; without one, the GPUs, or the physical cores."""
        if self._hosts:
            return slots_of(self._hosts)
        return len(self.gpus()) if device == "cuda" else physical_cores()

    def on_this_host(self) -> bool:
        """Whether there is no host file."""
        return not self._hosts

    def take(self, device: str, ranks: int) -> Place | None:
        """Take GPUs, one a rank, or cores; with a host file, all of this host."""
        wanted = self._here(device, ranks)
        if device == "cpu":
            return take_cores(wanted)
        return Place() if self._share else take_gpus(wanted, self.gpus())

    def busy(self, device: str, ranks: int) -> str:
        """Return how many GPUs, or cores, it waits for."""
        wanted = self._here(device, ranks)
        if device == "cpu":
            return f"waits for {wanted} cores"
        there = self.gpus()
        return (
            f"waits for {min(wanted, len(there))} GPUs: {free_gpus(there)} of {len(there)} are free"
        )

    def launch(
        self,
        folder: Path,
        ranks: int,
        place: Place,
        *,
        await_job: bool = False,
        options: Sequence[str] = (),
    ) -> Program:
        """Start mpiexec."""
        # Ranks on other hosts take the GPUs of theirs, by their number there.
        environment = {} if self._hosts else place.environment
        return launch(
            folder, ranks, mpiexec=self._mpiexec, environment=environment, await_job=await_job,
            options=[*_sums(self._sums), *options], hosts=self._hosts, hold=place.files,
        )  # fmt: skip

    def _here(self, device: str, ranks: int) -> int:
        if not self._hosts:
            return ranks
        return len(self.gpus()) if device == "cuda" else physical_cores()


class SlurmEngine:
    """Batch jobs of Slurm, which hands out what there is (an `Engine`)."""

    starts_early = False

    def __init__(self, settings: Slurm, sums: str = "auto") -> None:
        self._settings, self._sums = settings, sums

    def why_no_gpu(self) -> str:
        """Return that no GPU is asked for, if so; whether there is one, Slurm will say."""
        if self._settings.gpus:
            return ""
        return "[slurm] in config.toml asks for no GPU: set gpus there"

    def gpus(self) -> tuple[Gpu, ...]:
        """Return GPUs of the memory that is configured, 0 if it is not."""
        memory = int(1e9 * (self._settings.gpu_memory_gb or 0))
        name = f"a GPU of partition {self._settings.partition or '(default)'}"
        return (Gpu(name, memory, (0, 0)),) * self._settings.gpus

    def ranks(self, device: str) -> int:
        """Return the GPUs, or the tasks, of one job."""
        return self._settings.gpus if device == "cuda" else self._settings.tasks

    def on_this_host(self) -> bool:
        """It is not."""
        return False

    def take(self, device: str, ranks: int) -> Place:
        """Take nothing: jobs wait in Slurm's queue."""
        return Place()

    def busy(self, device: str, ranks: int) -> str:
        """It never is, seen from here."""
        return ""

    def launch(
        self,
        folder: Path,
        ranks: int,
        place: Place,
        *,
        await_job: bool = False,
        options: Sequence[str] = (),
    ) -> Program:
        """Submit a batch job; one that computes on CPUs asks for no GPU."""
        assert not await_job
        settings = self._settings
        if Job.read(folder).recipe["device"] != "cuda":
            settings = settings.model_copy(update={"gpus": 0})
        return SlurmProgram(folder, ranks, settings, options=[*_sums(self._sums), *options])


def _sums(way: str) -> list[str]:
    return [] if way == "auto" else ["--sums", way]
