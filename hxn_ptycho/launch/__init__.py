"""Start, watch and end the MPI program: mpiexec from this host, or Slurm on a cluster.

Another way to launch is another module here, whose handle is a `Program` too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cores import physical_cores
from .failure import has_result
from .gpu import Gpu, gpus, why_no_gpu
from .hosts import slots_of
from .leftover import end_leftover
from .local import LocalProgram
from .mpiexec import Mpiexec, find_mpiexec
from .program import LaunchError, Program
from .slurm import SlurmProgram

__all__ = [
    "Gpu",
    "LaunchError",
    "Mpiexec",
    "Program",
    "SlurmProgram",
    "end_leftover",
    "find_mpiexec",
    "gpus",
    "has_result",
    "launch",
    "physical_cores",
    "slots_of",
    "why_no_gpu",
]


def launch(
    folder: str | os.PathLike[str],
    ranks: int,
    *,
    mpiexec: str = "",
    environment: Mapping[str, str] | None = None,
    await_job: bool = False,
    options: Sequence[str] = (),
    hosts: str = "",
) -> Program:
    """Start the solver on a job folder, under mpiexec, and return at once.

    Standard output and error go to ``solver.log`` in the folder. A program that still runs there
    is ended first, and an earlier result and progress are removed.

    Parameters
    ----------
    folder : path
        A job folder that `prepare` made.
    ranks : int
        MPI ranks, one thread each.
    mpiexec : str
        As in config.toml; empty: see `find_mpiexec`.
    environment : mapping, optional
        Variables for the ranks besides this process's.
    await_job : bool
        Start before the folder is prepared: the ranks load what they need and wait for its
        ``job.json``, whose earlier version is removed. Whoever fails to prepare it ends them.
    options : sequence of str
        Further words for the solver's command line, as ``--device cuda``.
    hosts : str
        As in config.toml: a host file (`slots_of`); empty: all ranks on this host.

    Raises
    ------
    LaunchError
        If there is no MPI, the host file cannot be used or has fewer slots than `ranks`, or the
        program cannot be started.
    """
    if ranks < 1:
        raise LaunchError(f"{ranks} ranks cannot compute anything: give 1 at least")
    return LocalProgram(
        Path(folder).absolute(),
        ranks,
        find_mpiexec(mpiexec),
        environment,
        await_job=await_job,
        options=options,
        hosts=hosts,
    )
