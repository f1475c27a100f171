"""Find the mpiexec to launch with, and how to ask it for ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from .program import LaunchError


@dataclass(frozen=True)
class Mpiexec:
    """An mpiexec: where it is, of which MPI, and the first line of what it says of itself."""

    path: Path
    flavour: Literal["MPICH", "Open MPI", "other"]
    version: str

    def command(self, ranks: int) -> list[str]:
        """Return the words that start `ranks` ranks of the program named after them."""
        words = [str(self.path), "-n", str(ranks)]
        if self.flavour == "Open MPI":  # which refuses root, and more ranks than cores
            # Bound, the threads that read a rank's frames share one core, and so do two jobs.
            words += ["--oversubscribe", "--bind-to", "none"]
            if os.geteuid() == 0:
                words.append("--allow-run-as-root")
        return words


def find_mpiexec(configured: str = "") -> Mpiexec:
    """Return the mpiexec to launch with.

    Parameters
    ----------
    configured : str
        ``mpiexec`` of config.toml; empty: the one beside this Python, which comes with the MPI
        that mpi4py uses, else the first on PATH. (Of IPython started by its path, PATH does not
        hold the environment's programs.)

    Raises
    ------
    LaunchError
        If there is none, or it does not run.
    """
    if configured:
        found = shutil.which(os.path.expanduser(configured))
        if found is None:
            raise LaunchError(
                f"mpiexec = {configured!r} of config.toml is not a program on this machine; "
                "correct it, or remove the line to use the one beside Python"
            )
        return _identify(found)
    beside = os.path.dirname(sys.executable)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None:
        raise LaunchError(
            f"there is no MPI: no mpiexec beside Python in {beside} nor on PATH; "
            f"{sys.executable} -m pip install mpich   brings one, or name yours in config.toml: "
            'mpiexec = "/path/to/mpiexec"'
        )
    return _identify(found)


@lru_cache
def _identify(path: str) -> Mpiexec:
    try:
        said = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{path} does not run: {error}") from error
    text = said.stdout + said.stderr
    if said.returncode != 0:
        raise LaunchError(f"{path} --version ended with status {said.returncode}: {text.strip()}")
    flavour: Literal["MPICH", "Open MPI", "other"] = "other"
    if any(name in text for name in ("Open MPI", "OpenRTE", "PRRTE")):
        flavour = "Open MPI"
    elif "HYDRA" in text or "MPICH" in text:
        flavour = "MPICH"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    version = " ".join(" ".join(lines[:2]).split())
    return Mpiexec(Path(path), flavour, version)
