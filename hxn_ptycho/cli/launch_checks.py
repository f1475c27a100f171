"""What ``doctor`` looks at of where jobs run: GPUs, NCCL, Slurm, other hosts."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..host import mount_of
from .finding import Finding

if TYPE_CHECKING:
    from ..home import Config, Home, Slurm
    from ..launch import Gpu

_NVIDIA_SECONDS = 30
_NCCL_SECONDS = 30
# Loading it may fail in ways that end a process.
_LOAD_NCCL = """
import sys
try:
    import nccl.bindings.nccl
    version = nccl.bindings.nccl.get_version()
except (ImportError, OSError, RuntimeError) as error:
    sys.exit(" ".join(str(error).split()))
print(f"{version // 10000}.{version // 100 % 100}.{version % 100}")
"""


def gpu(home: Home) -> Finding:
    """Whether there are GPUs, how many are free, and what is needed to use them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("GPU", "optional", "none (no nvidia-smi)", "")
    try:
        said = subprocess.run(
            [program, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=_NVIDIA_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("GPU", "optional", f"nvidia-smi does not run: {error}", "mend the driver")
    cards = Counter(said.stdout.strip().splitlines())
    if said.returncode != 0 or not cards:
        words = " ".join((said.stderr or said.stdout).split()) or f"status {said.returncode}"
        return Finding("GPU", "optional", f"nvidia-smi found none: {words}", "mend the driver")
    found = "; ".join(f"{count} x {card}" if count > 1 else card for card, count in cards.items())
    lacking = [
        name for name in ("pycuda", "skcuda", "nccl") if importlib.util.find_spec(name) is None
    ]
    if lacking:
        advice = (
            f'{sys.executable} -m pip install "hxn_ptycho[gpu]"   ({", ".join(lacking)} missing)'
        )
        return Finding("GPU", "optional", found, advice)
    from ..launch import LaunchError, gpus, why_no_gpu

    if reason := why_no_gpu():
        said_, _, advice = reason.partition("; ")
        return Finding("GPU", "optional", f"{found}; none can be used: {said_}", advice)
    try:
        free = _free(home, gpus())
    except LaunchError as error:
        said_, _, advice = str(error).partition("; ")
        return Finding("GPU", "missing", f"{found}; {said_}", advice)
    return Finding("GPU", "good", f"{found}; {free}")


def nccl(home: Home) -> Finding | None:
    """Whether several GPUs can add up by NCCL."""
    from ..launch import gpus

    config = _config(home)
    if len(gpus()) < 2 or importlib.util.find_spec("nccl") is None:  # which row GPU tells
        return None
    if config is not None and config.sums not in ("auto", "nccl"):
        return Finding("NCCL", "good", f'not used: sums = "{config.sums}" in config.toml')
    try:
        said = subprocess.run(
            [sys.executable, "-c", _LOAD_NCCL], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_NCCL_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        fault = str(error)
    else:
        if said.returncode == 0:
            return Finding("NCCL", "good", f"version {said.stdout.strip()} can be loaded")
        fault = (said.stderr.strip() or f"exit status {said.returncode}").splitlines()[-1]
    only = config is not None and config.sums == "nccl"
    instead = "no other way is allowed (sums)" if only else "MPI adds up instead, slower"
    return Finding(
        "NCCL",
        "missing" if only else "optional",
        f"cannot be loaded, {instead}: {fault}",
        f"{sys.executable} -m pip install nvidia-nccl-cu13   (nvidia-nccl-cu12 where the driver is "
        "older than 580)",
    )


def slurm(home: Home) -> Finding | None:
    """Whether Slurm would take a job as config.toml asks for it; None where jobs run here."""
    from ..launch import LaunchError, try_slurm

    config = _config(home)
    if config is None or config.slurm is None:
        return None
    asked = _asked(config.slurm)
    try:
        said = try_slurm(config.slurm)
    except LaunchError as error:
        said, _, advice = str(error).partition("; ")
        return Finding("Slurm", "missing", said, advice)
    advice = _why_not_shared(home.jobs, "compute nodes")
    return Finding("Slurm", "optional" if advice else "good", f"{asked}: {said}", advice)


def hosts(home: Home) -> Finding | None:
    """Whether the host file can be used, and what it holds; None where none is named."""
    from ..launch import LaunchError, read_hosts

    config = _config(home)
    if config is None or not config.hosts:
        return None
    if config.slurm is not None:
        return Finding(
            "Hosts", "optional", f"{config.hosts} is not used: jobs go to Slurm",
            f"remove hosts or [slurm] from {home.config_file}",
        )  # fmt: skip
    try:
        there = read_hosts(config.hosts)
    except LaunchError as error:
        said, _, advice = str(error).partition("; ")
        return Finding("Hosts", "missing", said, advice or f"mend hosts in {home.config_file}")
    found = ", ".join(f"{host} ({slots})" for host, slots in there.items())
    advice = _why_not_shared(home.jobs, "hosts")
    return Finding(
        "Hosts", "optional" if advice else "good", f"{sum(there.values())} slots: {found}", advice
    )


def _config(home: Home) -> Config | None:
    """Return what config.toml says; None if it cannot be read, which other rows tell."""
    from ..home import ConfigError

    try:
        return home.config()
    except ConfigError:
        return None


def _free(home: Home, there: tuple[Gpu, ...]) -> str:
    """Return how many GPUs no job has now."""
    from ..launch import free_gpus

    config = _config(home)
    if config is not None and config.share_gpus:
        return f"jobs share {len(there)} (share_gpus)"
    return f"{free_gpus(there)} of {len(there)} are free now"


def _asked(settings: Slurm) -> str:
    """Return what a job asks of Slurm, in a few words."""
    what = f"{settings.gpus} GPUs" if settings.gpus else f"{settings.tasks} CPU ranks"
    return f"{what} in partition {settings.partition or '(default)'} for {settings.time_limit}"


def _why_not_shared(folder: Path, whose: str) -> str:
    """Return what to do if a folder is seen by this host only; empty: it may be shared."""
    mount = mount_of(folder)
    if mount.is_network or not mount.kind:
        return ""
    return (
        f"{folder} is on a disk of this machine ({mount.kind}): unless the {whose} see it too, "
        "move HXN_PTYCHO_HOME to a file system that they share"
    )
