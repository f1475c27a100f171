"""The MPI program under mpiexec, started on this host, in a process group of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..solver.job import LOG_FILE
from .failure import has_result, why_it_failed
from .hosts import read_hosts
from .leftover import end_leftover, hold_folder, signal_group, start_of
from .mpiexec import Mpiexec, find_mpiexec
from .program import LaunchError
from .ranks import PROGRAM_FILE, make_ready, names_to_hand_on, rank_environment, solver_command

#: The host file in the job folder, in the form of the MPI at hand.
HOSTS_FILE = "hosts"


class LocalProgram:
    """``mpiexec -n RANKS python -m hxn_ptycho.solver FOLDER``, from this host (a `Program`).

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
        hosts: str = "",
        hold: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.ranks = ranks
        end_leftover(folder)
        lock = hold_folder(folder)
        try:
            self._start(folder, mpiexec, environment, await_job, options, hosts, (*hold, lock))
        finally:
            os.close(lock)  # its processes have it

    def _start(
        self,
        folder: Path,
        mpiexec: Mpiexec,
        environment: Mapping[str, str] | None,
        await_job: bool,
        options: Sequence[str],
        hosts: str,
        hold: Sequence[int],
    ) -> None:
        make_ready(folder, await_job=await_job)
        more = environment or {}
        # On hosts of an allocation, mpiexec starts its ranks through Slurm.
        ranks_environment = rank_environment(more, keep_allocation=bool(hosts))
        command = mpiexec.command(
            self.ranks,
            self._host_file(hosts, mpiexec) if hosts else "",
            names_to_hand_on(ranks_environment, more),
        )
        command += solver_command(sys.executable, folder, options)
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
                    env=ranks_environment,
                    start_new_session=True,
                    pass_fds=tuple(hold),
                )
        except OSError as error:
            raise LaunchError(f"{mpiexec.path} cannot be started: {error}") from error
        identity = {"host": os.uname().nodename, "pid": self.pid, "start": start_of(self.pid)}
        (folder / PROGRAM_FILE).write_text(json.dumps({**identity, "command": command}))

    def _host_file(self, hosts: str, mpiexec: Mpiexec) -> Path:
        """Write the host file in the form of this MPI, and return where."""
        known = read_hosts(hosts)
        slots = sum(known.values())
        if slots < self.ranks:
            raise LaunchError(
                f"{self.ranks} ranks do not fit into the {slots} slots of {hosts} (hosts in "
                "config.toml): add slots there, or ask for fewer ranks"
            )
        path = self.folder / HOSTS_FILE
        path.write_text(mpiexec.host_lines(known))
        return path

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
        signal_group(self.pid, signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            signal_group(self.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def state(self) -> str:
        """Nothing to tell: it was started at once."""
        return ""

    @property
    def reason(self) -> str:
        """Why it ended without a result; empty while it runs and if there is one."""
        status = self.poll()
        if status is None or has_result(self.folder):
            return ""
        return why_it_failed(self.folder, status)


def launch(
    folder: str | os.PathLike[str],
    ranks: int,
    *,
    mpiexec: str = "",
    environment: Mapping[str, str] | None = None,
    await_job: bool = False,
    options: Sequence[str] = (),
    hosts: str = "",
    hold: Sequence[int] = (),
) -> LocalProgram:
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
    hold : sequence of int
        Descriptors of open files that the program's processes are to hold open as well.

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
        hold=hold,
    )
