"""Start, watch and end the MPI program: mpiexec from this host, or Slurm on a cluster.

Another way to launch is another module here, whose handle is a `Program` too.
"""

from __future__ import annotations

from .cores import physical_cores
from .engine import Engine, LocalEngine, SlurmEngine, engine_of
from .failure import has_result
from .gpu import Gpu, gpus, why_no_gpu
from .hosts import read_hosts, slots_of
from .leftover import end_leftover
from .local import launch
from .mpiexec import Mpiexec, find_mpiexec
from .places import Place, free_gpus
from .program import LaunchError, Program
from .slurm import SlurmProgram
from .slurm_request import try_slurm

__all__ = [
    "Engine",
    "Gpu",
    "LaunchError",
    "LocalEngine",
    "Mpiexec",
    "Place",
    "Program",
    "SlurmEngine",
    "SlurmProgram",
    "end_leftover",
    "engine_of",
    "find_mpiexec",
    "free_gpus",
    "gpus",
    "has_result",
    "launch",
    "physical_cores",
    "read_hosts",
    "slots_of",
    "try_slurm",
    "why_no_gpu",
]
