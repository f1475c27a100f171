"""Find the mpiexec to launch with, and how to ask it for ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
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

    def command(
        self, ranks: int, hosts: str | os.PathLike[str] = "", hand_on: Sequence[str] = ()
    ) -> list[str]:
        """Return the words that start `ranks` ranks of the program named after them.

        Parameters
        ----------
        ranks : int
        hosts : path
            A host file in this MPI's own form (see `host_lines`); empty: all ranks on this host.
        hand_on : sequence of str
            Names of environment variables that ranks on other hosts need too.

        Raises
        ------
        LaunchError
            If there is a host file, and it is not known how to give one to this MPI.
        """
        words = [str(self.path), "-n", str(ranks)]
        if os.fspath(hosts):
            words += self._on_hosts(os.fspath(hosts), hand_on)
        if self.flavour == "Open MPI":  # which refuses root, and more ranks than cores
            # Bound, the threads that read a rank's frames share one core, and so do two jobs.
            words += ["--oversubscribe", "--bind-to", "none"]
            if os.geteuid() == 0:
                words.append("--allow-run-as-root")
        return words

    def host_lines(self, hosts: Mapping[str, int]) -> str:
        """Return a host file's text in this MPI's form, which the other refuses."""
        form = "{} slots={}\n" if self.flavour == "Open MPI" else "{}:{}\n"
        return "".join(form.format(host, slots) for host, slots in hosts.items())

    def _on_hosts(self, hosts: str, hand_on: Sequence[str]) -> list[str]:
        if self.flavour == "MPICH":  # hands the whole environment on by itself
            return ["-f", hosts]
        if self.flavour == "Open MPI":
            return ["--hostfile", hosts, *(word for name in hand_on for word in ("-x", name))]
        raise LaunchError(
            f"{self.path} is neither of MPICH nor of Open MPI ({self.version}): how it takes a "
            "host file is not known; remove hosts from config.toml, or name another mpiexec there"
        )


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
