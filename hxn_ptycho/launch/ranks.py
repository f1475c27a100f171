"""What every way to launch shares: the solver's command, its environment, a folder made ready."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..solver.job import JOB_FILE, PROGRESS_FILE, RESULT_FILE

#: Says which program works on a folder, so that another worker can end what a dead one left.
PROGRAM_FILE = "program.json"

# One thread a rank: the ranks share the cores among themselves.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "BLIS")
}
# What a surrounding mpiexec or srun says to its own ranks is not meant for ours.
_FOREIGN = ("PMI_", "PMIX_", "PMI2_", "HYDI_", "HYDRA_", "MPI_LOCAL", "OMPI_COMM_", "PRTE_")
# Of SLURM_*, these say where Slurm is; all others describe the allocation that we are in.
_WHERE_SLURM_IS = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
# What Open MPI is told to hand on to other hosts, besides what is set here.
_HANDED_ON = ("HXN_PTYCHO_", "MPI4PY_", "LD_LIBRARY_PATH")


def solver_command(python: str, folder: Path, options: Sequence[str]) -> list[str]:
    """Return the words that run one rank of the solver."""
    return [python, "-m", "hxn_ptycho.solver", str(folder), *options]


def make_ready(folder: Path, *, await_job: bool = False) -> None:
    """Remove what an earlier attempt left; with `await_job` also its ``job.json``."""
    for name in (PROGRESS_FILE, RESULT_FILE, *([JOB_FILE] if await_job else [])):
        (folder / name).unlink(missing_ok=True)


def rank_environment(
    more: Mapping[str, str], *, keep_allocation: bool = False, own_package: bool = True
) -> dict[str, str]:
    """Return the ranks' environment: one thread each, and this very package also uninstalled.

    Parameters
    ----------
    more : mapping
        Variables besides this process's, and before all others.
    keep_allocation : bool
        Keep what Slurm says of the allocation that this process is in (default: it is not for a
        program of our own).
    own_package : bool
        Put this package's folder on PYTHONPATH; not for another Python with packages of its own.
    """
    paths = [package_root()] if own_package else []
    paths += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    foreign = _FOREIGN if keep_allocation else (*_FOREIGN, "SLURM_", "SLURMD_")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(foreign) or key in _WHERE_SLURM_IS
    }
    if paths:
        kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return {**kept, **_ONE_THREAD, "PYTHONUNBUFFERED": "1", **more}


def names_to_hand_on(environment: Mapping[str, str], more: Mapping[str, str]) -> list[str]:
    """Return the names of `environment` that ranks on other hosts need too.

    Parameters
    ----------
    environment : mapping
        As `rank_environment` returned it.
    more : mapping
        As it was given to it.
    """
    ours = {*_ONE_THREAD, "PYTHONPATH", "PYTHONUNBUFFERED", *more}
    return sorted(name for name in environment if name in ours or name.startswith(_HANDED_ON))


def package_root() -> str:
    """Return the folder that holds this package: a tree, or where pip has installed it."""
    return str(Path(__file__).resolve().parents[2])
