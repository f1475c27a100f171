"""The MPI program as a batch job of Slurm's, on a cluster that shares the job folder."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..home import Slurm
from ..solver.job import LOG_FILE, PROGRESS_FILE
from .failure import has_result
from .leftover import end_leftover
from .program import LaunchError
from .ranks import PROGRAM_FILE, make_ready, package_root, rank_environment, solver_command
from .slurm_command import run_command
from .slurm_job import JobWatch, SlurmJob
from .slurm_reason import describe, what_keeps, why_ended, why_refused
from .slurm_request import requested

log = logging.getLogger(__name__)

BATCH_FILE = "job.sbatch"

#: How long a job may be out of sight (no answer, no sign of life in its folder), or on its way
#: out, before it is given up; in seconds. Controllers are restarted, and updated.
PATIENCE_SECONDS = 1800.0
# How long a file that another host has written may stay unseen on a network file system.
_UNSEEN_SECONDS = 10.0

_SCRIPT = """\
#!/bin/sh
# One reconstruction. {program_file} beside this says how it was submitted.
# Every rank is to see all GPUs that the job has on its node, and takes one by its number there:
# GPUs that do not see each other cannot copy to each other.
unset SLURM_GPUS_PER_TASK SLURM_TRES_PER_TASK SLURM_GPU_BIND
exec srun {words} --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" \\
    {solver}
"""


class SlurmProgram:
    """``srun python -m hxn_ptycho.solver FOLDER`` in a batch job of Slurm's (a `Program`).

    It outlives this process. ``program.json`` in the folder says which job it is, so that another
    worker, on whatever host, can end what a dead one left behind (`end_leftover`). Nothing but
    the folder, on a file system that the cluster shares, travels.

    Parameters
    ----------
    folder : Path
        A job folder that `prepare` made.
    ranks : int
        MPI ranks: GPUs, where there are some; one thread each on CPUs.
    settings : Slurm
        ``[slurm]`` of config.toml.
    options : sequence of str
        Further words for the solver's command line.
    environment : mapping, optional
        Variables for the ranks besides this process's.

    Raises
    ------
    LaunchError
        If Slurm takes no such job, is not there, or does not end an earlier one of this folder.
    """

    def __init__(
        self,
        folder: Path,
        ranks: int,
        settings: Slurm,
        *,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if ranks < 1:
            raise LaunchError(f"{ranks} ranks cannot compute anything: give 1 at least")
        self.folder = folder.absolute()
        self.ranks = ranks
        self.settings = settings
        end_leftover(self.folder)
        make_ready(self.folder)
        python = settings.python or sys.executable
        script = _SCRIPT.format(
            program_file=PROGRAM_FILE,
            words=shlex.join(
                [
                    *([f"--mpi={settings.mpi}"] if settings.mpi else []),
                    f"--ntasks={ranks}",
                    "--kill-on-bad-exit=1",
                    "--input=none",
                ]
            ),
            solver=shlex.join(solver_command(python, self.folder, options)),
        )
        (self.folder / BATCH_FILE).write_text(script)
        command = self._sbatch()
        status, said, complaint = run_command(
            command, cwd=self.folder, env=self._environment(environment or {})
        )
        number, _, cluster = said.strip().partition(";")
        if status != 0 or not number.isdigit():
            raise LaunchError(why_refused(complaint or said, settings, ranks))
        if complaint:
            log.warning("sbatch says of job %s: %s", number, complaint)
        self._identity = {"slurm_job": number, "slurm_cluster": cluster, "command": command}
        (self.folder / PROGRAM_FILE).write_text(json.dumps(self._identity))
        self._watch = JobWatch(number, cluster)
        self._status: int | None = None
        self._given_up = ""
        self._ended_here = False
        self._keeps = ("", 0.0)
        self._completed: float | None = None
        self._ending: float | None = None

    @property
    def number(self) -> str:
        """The job's id in Slurm."""
        return self._watch.number

    @property
    def state(self) -> str:
        """Where the job is, as ``waits in Slurm's queue (Priority)`` or ``runs on node01``."""
        said = describe(self._watch.job)
        if self._watch.silence:
            minutes = (time.monotonic() - self._watch.heard) / 60
            return f"{said}; Slurm has not answered for {minutes:.0f} min ({self._watch.silence})"
        return said

    def poll(self) -> int | None:
        """Return the exit status (minus the signal that ended it), or None while it runs or waits.

        Asks Slurm at most once a second, and does not wait for the answer.
        """
        if self._status is None:
            self._status = self._decide(self._watch.look())
            if self._status is not None and not self._given_up:
                ended = {**self._identity, "status": self._status}
                (self.folder / PROGRAM_FILE).write_text(json.dumps(ended))
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends and return the exit status; TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"Slurm's job {self.number} of {self.folder} {self.state}")
            time.sleep(0.05)
        return status

    def terminate(self, grace: float = 5.0) -> None:
        """End the job: SIGTERM to all ranks, SIGKILL after `grace` seconds; return when it is gone.

        Raises
        ------
        LaunchError
            If Slurm does not end it, or does not answer.
        """
        if self.poll() is None:
            self._ended_here = True
            self._watch.ask()
            self._watch.end(grace)
            self.wait(_UNSEEN_SECONDS + 5)

    @property
    def reason(self) -> str:
        """Why it ended without a result; empty while it runs or waits, and if there is one."""
        if self.poll() is None or has_result(self.folder):
            return ""
        if self._given_up:
            return self._given_up
        if self._ended_here:
            return f"Slurm's job {self.number} was ended from here"
        assert self._watch.job is not None
        return why_ended(self._watch.job, self.folder, self.settings)

    def _decide(self, job: SlurmJob | None) -> int | None:
        """Return the exit status if the program has ended."""
        now = time.monotonic()
        if self._watch.silence:
            return self._decide_alone()
        if job is None:  # asked for the first time
            return None
        if job.state == "COMPLETED":
            # Its result was written on another host: this one may see it a little later.
            self._completed = self._completed or now
            seen = has_result(self.folder) or now - self._completed > _UNSEEN_SECONDS
            return job.status if seen else None
        if job.state == "GONE":
            return 0 if has_result(self.folder) else 1
        if job.ended:
            return job.status
        if job.state == "COMPLETING":  # a node's epilog need not be waited for
            self._ending = self._ending or now
            if has_result(self.folder):
                return 0
            if now - self._ending > PATIENCE_SECONDS:
                return self._give_up(
                    f"is COMPLETING on {job.nodes} for {PATIENCE_SECONDS / 60:.0f} min and does "
                    "not end: ask who runs the cluster"
                )
            return None
        if advice := what_keeps(job):
            self._tell(f"{job.reason}: {advice}")
        return None

    def _decide_alone(self) -> int | None:
        """Return the exit status while Slurm does not answer: by the folder, as far as it says."""
        if has_result(self.folder):
            return 0
        quiet = time.monotonic() - self._watch.heard
        try:  # the program's last line is a sign of life too
            age = time.time() - (self.folder / PROGRESS_FILE).stat().st_mtime
        except FileNotFoundError:
            age = quiet
        if min(quiet, age) <= PATIENCE_SECONDS:
            return None
        return self._give_up(
            f"is out of sight for {PATIENCE_SECONDS / 60:.0f} min: Slurm does not answer "
            f"({self._watch.silence}). It may still run: scancel {self.number} when squeue answers"
        )

    def _give_up(self, why: str) -> int:
        self._given_up = f"Slurm's job {self.number} {why}"
        log.error("%s", self._given_up)
        return 1

    def _tell(self, why: str) -> None:
        """Log why the job does not start, once, when Slurm says so for the second time.

        A job just submitted gets a reason before Slurm has really looked at it.
        """
        said, since = self._keeps
        if why != said:
            self._keeps = (why, self._watch.heard)
        elif since and self._watch.heard > since:
            log.warning("Slurm's job %s waits in its queue: %s", self.number, why)
            self._keeps = (why, 0.0)

    def _sbatch(self) -> list[str]:
        """Return the words that submit the batch script."""
        words = [
            "sbatch",
            "--parsable",
            f"--job-name=hxn_ptycho-{self.folder.name}",
            f"--chdir={self.folder}",
            f"--output={self.folder / LOG_FILE}".replace("%", "%%"),
            "--open-mode=append",
            "--export=ALL",
            # Started again by Slurm itself, it would work in a folder that the worker has left.
            "--no-requeue",
        ]
        return [*words, *requested(self.settings, self.ranks), str(self.folder / BATCH_FILE)]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that sbatch hands on to the ranks."""
        # This Python's site-packages are not for another one; a bare tree is for any.
        installed = os.path.basename(package_root()) in ("site-packages", "dist-packages")
        environment = rank_environment(more, own_package=not (self.settings.python and installed))
        if "CUDA_VISIBLE_DEVICES" not in more:  # which of this host's GPUs: says nothing there
            environment.pop("CUDA_VISIBLE_DEVICES", None)
        return environment
