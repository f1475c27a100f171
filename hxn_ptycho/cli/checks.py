"""What ``doctor`` looks at: each check is one function that returns a finding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .beamline_checks import beamline, roots, scales
from .catalog_checks import kept_scans, processed_catalog, raw_catalog
from .finding import Finding
from .home_checks import sharing, worker
from .launch_checks import gpu, hosts, nccl, slurm

if TYPE_CHECKING:
    from ..home import Home

RANKS_SECONDS = 60
# Below these a scan of a hundred MB may not fit.
LEAST_DISK, LEAST_MEMORY = 2 * 2**30, 2 * 2**30


def examine(home: Home) -> list[Finding]:
    """Return all findings; none of a thing that is not used here."""
    checks: list[Callable[[Home], Finding | None]] = [
        python,
        mpi,
        ranks,
        cores,
        memory,
        disk,
        sharing,
        results_folder,
        raw_catalog,
        processed_catalog,
        kept_scans,
        beamline,
        roots,
        scales,
        worker,
        slurm,
        hosts,
        gpu,
        nccl,
        compiler,
    ]
    return [finding for check in checks if (finding := check(home)) is not None]


def python(home: Home) -> Finding:
    """Which Python runs this."""
    return Finding("Python", "good", f"{sys.version.split()[0]}, {sys.executable}")


def mpi(home: Home) -> Finding:
    """Whether there is an mpiexec to launch with."""
    from ..home import ConfigError
    from ..launch import LaunchError, find_mpiexec

    try:
        found = find_mpiexec(home.config().mpiexec)
    except (LaunchError, ConfigError) as error:
        said, _, advice = str(error).partition("; ")
        return Finding("MPI", "missing", said, advice)
    return Finding("MPI", "good", f"{found.flavour}, {found.path}")


def ranks(home: Home) -> Finding:
    """Whether two ranks started by it see each other."""
    from ..home import ConfigError
    from ..launch import LaunchError, find_mpiexec

    advice = (
        "mpiexec must be of the MPI that mpi4py uses; set mpiexec in config.toml, or run "
        f"{sys.executable} -m pip install --force-reinstall mpi4py mpich"
    )
    # One write a rank: print's text and its newline may come between another rank's.
    program = (
        "import os; from mpi4py import MPI; os.write(1, b'%d\\n' % MPI.COMM_WORLD.allreduce(1))"
    )
    try:
        command = find_mpiexec(home.config().mpiexec).command(2)
        said = subprocess.run(
            [*command, sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RANKS_SECONDS,
            check=False,
        )
    except (LaunchError, ConfigError, OSError, subprocess.TimeoutExpired) as error:
        return Finding("MPI ranks", "missing", f"two ranks do not start: {error}", advice)
    seen = said.stdout.split()
    if said.returncode != 0 or not seen:
        words = (said.stderr.strip() or said.stdout.strip() or "no words").splitlines()[-1]
        return Finding("MPI ranks", "missing", f"exit status {said.returncode}: {words}", advice)
    if seen != ["2", "2"]:
        return Finding("MPI ranks", "missing", "two ranks do not see each other", advice)
    return Finding("MPI ranks", "good", "two ranks add up a number")


def cores(home: Home) -> Finding:
    """How many cores the CPU device may use."""
    from ..launch import physical_cores

    return Finding("Cores", "good", f"{physical_cores()} physical")


def memory(home: Home) -> Finding:
    """How much memory is free."""
    free = _free_memory()
    if free is None:
        return Finding("Memory", "optional", "unknown: this machine has no /proc/meminfo")
    advice = "" if free >= LEAST_MEMORY else "end other programs: exit waves may not fit"
    return Finding("Memory", "optional" if advice else "good", f"{_gb(free)} free", advice)


def disk(home: Home) -> Finding:
    """How much room the home has."""
    free = shutil.disk_usage(_existing(home.root)).free
    advice = f"make room at {home.root}, or move HXN_PTYCHO_HOME" if free < LEAST_DISK else ""
    return Finding("Disk", "optional" if advice else "good", f"{_gb(free)} at {home.root}", advice)


def results_folder(home: Home) -> Finding:
    """Whether results can be written where config.toml says."""
    from ..home import ConfigError

    try:
        template = home.config().results_root
    except ConfigError as error:
        return Finding("Results", "missing", str(error), f"correct {home.config_file}")
    folder = Path(template.partition("{")[0]).expanduser() if template else home.results
    nearest = _existing(folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        return Finding(
            "Results", "missing", f"{folder} cannot be written",
            f"make it writable, or change results_root in {home.config_file}",
        )  # fmt: skip
    return Finding("Results", "good", template or str(folder))


def compiler(home: Home) -> Finding:
    """Whether there is a CUDA compiler, and which kernels are compiled; only GPUs need them."""
    from ..solver.build import cache_folder, list_cached
    from ..solver.job import JobError
    from ..solver.nvcc import find_nvcc, nvcc_version

    try:
        nvcc = find_nvcc()
        there = list_cached()
    except JobError as error:
        return Finding("CUDA compiler", "optional", str(error), error.hint)
    kernels = ", ".join(f"{count} for {arch}" for arch, count in there.items())
    kernels = f"compiled kernels in {cache_folder()}: {kernels or 'none'}"
    if nvcc:
        return Finding("CUDA compiler", "good", f"{nvcc}, CUDA {nvcc_version(nvcc)}; {kernels}")
    if there:
        return Finding("CUDA compiler", "good", f"no nvcc; {kernels}")
    advice = ""
    if shutil.which("nvidia-smi") is not None:
        advice = (
            f"install the CUDA toolkit, or {sys.executable} -m pip install nvidia-cuda-nvcc "
            "nvidia-cuda-cccl; or run hxn-ptycho build-kernels -o DIR where nvcc is, and copy the "
            f"files to {cache_folder()}"
        )
    return Finding("CUDA compiler", "optional", f"no nvcc; only a GPU needs it; {kernels}", advice)


def _free_memory() -> int | None:
    """Return free memory, bytes: of the machine, or what is left to the container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next(
        (1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None
    )
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    if limit == "max" or free is None:
        return free
    return min(free, max(0, int(limit) - used))


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
