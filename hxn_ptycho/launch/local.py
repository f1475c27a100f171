"""The MPI program on this host, under mpiexec, in a session and process group of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..solver.job import JOB_FILE, LOG_FILE, PROGRESS_FILE, RESULT_FILE
from .failure import has_result, why_it_failed
from .mpiexec import Mpiexec
from .program import LaunchError

PROGRAM_FILE = "program.json"

# One thread a rank: the ranks share the cores among themselves.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "BLIS")
}
# What a surrounding mpiexec or srun says to its own ranks is not meant for ours.
_FOREIGN = ("PMI_", "PMIX_", "PMI2_", "HYDI_", "HYDRA_", "MPI_LOCAL", "OMPI_COMM_", "PRTE_")


class LocalProgram:
    """``mpiexec -n RANKS python -m hxn_ptycho.solver FOLDER`` on this host (a `Program`).

    It outlives this process. ``program.json`` in the folder says which process it is, so that
    another worker can end what a dead one left behind (`end_leftover`).

    Raises
    ------
    LaunchError
        If it cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        ranks: int,
        mpiexec: Mpiexec,
        environment: Mapping[str, str] | None = None,
        *,
        await_job: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.ranks = ranks
        end_leftover(folder)
        # Of an earlier attempt:
        for name in (PROGRESS_FILE, RESULT_FILE, *([JOB_FILE] if await_job else [])):
            (folder / name).unlink(missing_ok=True)
        command = [*mpiexec.command(ranks), sys.executable, "-m", "hxn_ptycho.solver", str(folder)]
        command += options
        if await_job:
            command.append("--await-job")
        try:
            with open(folder / LOG_FILE, "ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,  # inherited, it would eat what is typed at IPython
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=_environment(environment or {}),
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(f"{mpiexec.path} cannot be started: {error}") from error
        identity = {"host": os.uname().nodename, "pid": self.pid, "start": _start_of(self.pid)}
        (folder / PROGRAM_FILE).write_text(json.dumps({**identity, "command": command}))

    @property
    def pid(self) -> int:
        """Process id of mpiexec, also its process group's."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status (minus the signal that ended mpiexec), or None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends and return the exit status; TimeoutError after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the solver in {self.folder} still runs") from error

    def terminate(self, grace: float = 5.0) -> None:
        """End all ranks: SIGTERM to the process group, SIGKILL after `grace` seconds."""
        _signal_group(self.pid, signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            _signal_group(self.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def reason(self) -> str:
        """Why it ended without a result; empty while it runs and if there is one."""
        status = self.poll()
        if status is None or has_result(self.folder):
            return ""
        return why_it_failed(self.folder, status)


def end_leftover(folder: Path, grace: float = 5.0) -> bool:
    """End the program that a dead worker left running in `folder`; return whether one ran.

    A process that merely has the same id by now is left alone: it started at another time.
    """
    try:
        left = json.loads((folder / PROGRAM_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    pid, start = left["pid"], left["start"]
    if left["host"] != os.uname().nodename or start is None or _start_of(pid) != start:
        return False
    deadline = time.monotonic() + grace
    _signal_group(pid, signal.SIGTERM)
    while _start_of(pid) == start and time.monotonic() < deadline:
        time.sleep(0.05)
    if _start_of(pid) == start:
        _signal_group(pid, signal.SIGKILL)
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(group, number)


def _start_of(pid: int) -> str | None:
    """Return when a living process started, in clock ticks after a boot; None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return None if state == "Z" else f"{boot}:{fields[18]}"


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the ranks' environment: one thread each, and this very package also uninstalled."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return {
        **kept,
        **_ONE_THREAD,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
