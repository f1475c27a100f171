"""End what a dead worker left running: processes of this host, or a job of Slurm's."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .program import LaunchError
from .ranks import PROGRAM_FILE
from .slurm_job import JobWatch

#: Held by the processes of a job's program, in its folder.
LOCK_FILE = "program.lock"


def end_leftover(folder: Path, grace: float = 5.0) -> bool:
    """End the program that a dead worker left running in `folder`; return whether one ran.

    A process or a job that merely has the same id by now is left alone: it started at another
    time, or in another folder.

    Raises
    ------
    LaunchError
        If it is a job of Slurm's, and Slurm does not answer or does not end it.
    """
    try:
        left = json.loads((folder / PROGRAM_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if "slurm_job" in left:
        return _end_job(left, folder, grace)
    return _end_processes(left, grace)


def hold_folder(folder: Path, grace: float = 10.0) -> int:
    """Return a descriptor that holds a job folder, for its program's processes to hold too.

    By it a worker of another host, which can neither see nor end them, knows that they live.

    Raises
    ------
    LaunchError
        If the processes of an earlier program hold it still.
    """
    file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if folder.stat().st_mode & stat.S_IWGRP:  # another account's worker may have to hold it
        with suppress(PermissionError):
            os.fchmod(file, 0o664)
    deadline = time.monotonic() + grace
    while True:
        try:  # exclusive locks need a file open for writing, on NFS
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() < deadline:  # ranks may die a moment after their mpiexec
                time.sleep(0.05)
                continue
        os.close(file)
        try:
            left = json.loads((folder / PROGRAM_FILE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            left = {}
        where, pid = left.get("host", "another host"), left.get("pid", "PID")
        raise LaunchError(
            f"the program that an earlier worker started for this job still runs on {where}; end "
            f"it there (kill -- -{pid}), then reconstruct the scan by hand"
        )


def _end_job(left: dict[str, Any], folder: Path, grace: float) -> bool:
    if "status" in left:  # it was seen to end
        return False
    watch = JobWatch(left["slurm_job"], left.get("slurm_cluster", ""))
    job = watch.ask()
    if job is None or job.ended or job.folder != folder.resolve():
        return False
    watch.end(grace)
    return True


def _end_processes(left: dict[str, Any], grace: float) -> bool:
    pid, start = left["pid"], left["start"]
    if left["host"] != os.uname().nodename or start is None or start_of(pid) != start:
        return False
    deadline = time.monotonic() + grace
    signal_group(pid, signal.SIGTERM)
    while start_of(pid) == start and time.monotonic() < deadline:
        time.sleep(0.05)
    if start_of(pid) == start:
        signal_group(pid, signal.SIGKILL)
    return True


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group that need not exist any more."""
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(group, number)


def start_of(pid: int) -> str | None:
    """Return when a living process started, in clock ticks after a boot; None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return None if state == "Z" else f"{boot}:{fields[18]}"
