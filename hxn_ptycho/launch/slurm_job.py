"""One job as Slurm's controller knows it: asked about, and ended."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .program import LaunchError
from .slurm_command import COMMAND_SECONDS, run_command

log = logging.getLogger(__name__)

#: At most so often is the controller asked, in seconds: it serves a whole cluster.
ASK_SECONDS = 1.0
# While a job is being ended, someone waits.
_ASK_ENDING_SECONDS = 0.25
# After the last signal. Slurm's own KillWait is 30 s, and nodes may have an epilog to run.
_END_SECONDS = 120.0
_UNKNOWN = "Invalid job id"
_FIELD = re.compile(r"(?:^|\s)([A-Za-z][\w/:&]*)=(.*?)(?=\s[A-Za-z][\w/:&]*=|\s*$)")
# A state that is not among these, of a later Slurm, is waited for.
_ENDED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"),
    *("BOOT_FAIL", "DEADLINE", "REVOKED", "GONE"),
)


@dataclass(frozen=True)
class SlurmJob:
    """What Slurm says of a job; texts in Slurm's own words.

    Attributes
    ----------
    number : str
        Its id.
    state : str
        As ``RUNNING``, ``OUT_OF_MEMORY``; ``GONE`` where Slurm has forgotten the job.
    reason : str
        Why it waits, or has ended so.
    exit_code : (int, int)
        Exit status of its script and the signal that ended it.
    nodes, partition, time_limit, run_time : str
    folder : Path
        That it was submitted for.
    by : str
        Who cancelled it, where the accounting database knows; as ``uid 1000``.
    """

    number: str
    state: str
    reason: str = ""
    exit_code: tuple[int, int] = (0, 0)
    nodes: str = ""
    partition: str = ""
    time_limit: str = ""
    run_time: str = ""
    folder: Path = Path()
    by: str = ""

    @property
    def ended(self) -> bool:
        """Whether no process of it is left."""
        return self.state in _ENDED

    @property
    def status(self) -> int:
        """Exit status, or minus the signal; never 0 for a job that did not complete."""
        code, number = self.exit_code
        if self.state == "COMPLETED":
            return code
        return -number or code or 1

    @classmethod
    def parse(cls, text: str) -> SlurmJob:
        """Read what ``scontrol --oneliner show job`` prints.

        Raises
        ------
        LaunchError
            If it is nothing of the kind.
        """
        said = dict(_FIELD.findall(text))
        if not {"JobId", "JobState", "WorkDir"} <= said.keys():
            raise LaunchError(f"scontrol show job says what is not understood: {text.strip()!r}")
        return cls(
            number=said["JobId"],
            state=said["JobState"],
            reason="" if said.get("Reason") in (None, "None") else said["Reason"],
            exit_code=_exit_code(said.get("ExitCode", "")),
            nodes="" if said.get("NodeList") in (None, "(null)") else said["NodeList"],
            partition=said.get("Partition", ""),
            time_limit=said.get("TimeLimit", ""),
            run_time=said.get("RunTime", ""),
            folder=Path(said["WorkDir"]),
        )

    @classmethod
    def parse_accounting(cls, text: str) -> SlurmJob:
        """Read a line of ``sacct`` with the fields that `JobWatch` asks it for."""
        number, state, code, nodes, partition, limit, elapsed, folder = text.rstrip("\n").split(
            "|", 7
        )
        word, _, by = state.partition(" by ")
        return cls(
            number, word, "", _exit_code(code), nodes, partition, limit, elapsed, Path(folder),
            f"uid {by}" if by else "",
        )  # fmt: skip


_ACCOUNTING = "JobID,State,ExitCode,NodeList,Partition,Timelimit,Elapsed,WorkDir"


class JobWatch:
    """Asks the controller about one job, in the background and not too often.

    Parameters
    ----------
    number : str
        The job's id.
    cluster : str
        Of a federation; empty: the only one.

    Attributes
    ----------
    job : SlurmJob or None
        What was last heard.
    silence : str
        What is said instead of an answer, while there is none; else empty.
    heard : float
        When the controller last answered (or this began), by `time.monotonic`.
    """

    def __init__(self, number: str, cluster: str = "") -> None:
        self.number = number
        self.cluster = cluster
        self.job: SlurmJob | None = None
        self.silence = ""
        self.heard = time.monotonic()
        self._asked = -ASK_SECONDS  # set back, to be asked at once
        self._begun = 0.0  # the question under way
        self._asking: subprocess.Popen[str] | None = None

    def look(self, every: float = ASK_SECONDS) -> SlurmJob | None:
        """Return what was last heard, without waiting; ask again if that is `every` seconds ago."""
        if self._asking is None and time.monotonic() - self._asked >= every:
            self._asked = self._begun = time.monotonic()
            try:
                self._asking = subprocess.Popen(
                    self._words("scontrol", "--oneliner", "show", "job", self.number),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                self._hear_nothing(f"scontrol cannot be run: {error}")
        if self._asking is not None:
            status = self._asking.poll()
            if status is not None:
                said, complaint = self._asking.communicate()  # far less than a pipe holds
                self._asking = None
                self._hear(status, said, complaint)
            elif time.monotonic() - self._begun > COMMAND_SECONDS:
                self._asking.kill()
                self._asking.communicate()
                self._asking = None
                self._hear_nothing(f"scontrol has hung for {COMMAND_SECONDS:g} s")
        return self.job

    def ask(self) -> SlurmJob | None:
        """Return what Slurm says now; None if it knows nothing of the job.

        Raises
        ------
        LaunchError
            If the controller does not answer.
        """
        self._asked, since = -ASK_SECONDS, time.monotonic()
        while True:
            self.look()
            if self.silence:
                raise LaunchError(
                    f"Slurm does not say whether its job {self.number} still runs: {self.silence}; "
                    "try again when squeue answers"
                )
            if self.heard > since:
                return None if self.job is None or self.job.state == "GONE" else self.job
            time.sleep(0.01)

    def end(self, grace: float) -> None:
        """End the job: SIGTERM to its processes, SIGKILL after `grace` seconds; wait until gone.

        Raises
        ------
        LaunchError
            If it does not end, or the controller does not answer.
        """
        if self.job is not None and self.job.state in ("RUNNING", "SUSPENDED"):
            self._signal("TERM")
            if self._gone_within(grace):
                return
            self._signal("KILL")
        # Also of a job that waits, or that begins to run at this moment.
        complaint = self._cancel()
        if not self._gone_within(_END_SECONDS):
            state = self.job.state if self.job else "unknown"
            raise LaunchError(
                f"Slurm's job {self.number} does not end (its state is {state}): "
                f"{self.silence or complaint or 'Slurm gives no reason'}; "
                f"end it by hand: scancel {self.number}"
            )

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        self._asked = -ASK_SECONDS
        while time.monotonic() < deadline:
            job = self.look(_ASK_ENDING_SECONDS)
            if job is not None and job.ended and not self.silence:
                return True
            time.sleep(0.02)
        return False

    def _signal(self, name: str) -> str:
        # With --full also to the script itself, which is srun by then.
        return self._cancel(f"--signal={name}", "--full")

    def _cancel(self, *options: str) -> str:
        """Run scancel; return what it complains of."""
        return run_command(self._words("scancel", *options, self.number))[2]

    def _words(self, program: str, *words: str) -> list[str]:
        return [program, *([f"--clusters={self.cluster}"] if self.cluster else []), *words]

    def _hear(self, status: int, said: str, complaint: str) -> None:
        if status == 0:
            self._heard(lambda: SlurmJob.parse(said))
        elif _UNKNOWN in complaint:  # some minutes after its end the controller forgets a job
            self._heard(self._look_up)
        else:
            self._hear_nothing(complaint.strip() or f"scontrol ended with status {status}")

    def _heard(self, read: Callable[[], SlurmJob]) -> None:
        self.job = read()
        self.heard = time.monotonic()
        if self.silence:
            log.info("Slurm answers again about job %s: %s", self.number, self.job.state)
        self.silence = ""

    def _hear_nothing(self, words: str) -> None:
        if not self.silence:
            log.warning(
                "Slurm does not answer about job %s (%s); the job goes on, and it is asked again",
                self.number,
                words,
            )
        self.silence = words

    def _look_up(self) -> SlurmJob:
        """Return what the accounting database says, if there is one."""
        fields = ["--noheader", "--parsable2", "--allocations", f"--format={_ACCOUNTING}"]
        status, said, _ = run_command(self._words("sacct", *fields, f"--jobs={self.number}"))
        if status == 0 and said.strip():
            return SlurmJob.parse_accounting(said.strip().splitlines()[-1])
        return SlurmJob(self.number, "GONE")


def _exit_code(text: str) -> tuple[int, int]:
    code, _, number = text.partition(":")
    return (int(code), int(number)) if code.isdigit() and number.isdigit() else (0, 0)
