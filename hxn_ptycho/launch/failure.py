"""Why an MPI program ended without a result, in words for the person at the beamline."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from ..solver.job import LOG_FILE, RESULT_FILE, read_progress

_LAST_LINES = 8
_LAST_BYTES = 16_384
# MPICH: "... EXIT STRING: Killed (signal 9)"; Open MPI: "... exited on signal 9 (Killed)."
_SIGNAL = re.compile(r"\(signal (\d+)\)|exited on signal (\d+)")
# srun: "srun: error: node01: task 1: Killed"; that it then ends the others is no cause.
_SRUN = re.compile(
    r"^srun: error: \S+: tasks? [\d,-]+: ([A-Z][a-z ]+?)(?: \(core dumped\))?$", re.M
)
_BY_NAME = {
    signal.strsignal(number): number.value for number in signal.Signals if number != signal.SIGTERM
}
# MPICH of a rank that it copied from and that was no more (ESRCH): it ends the others by itself
# then, and nobody tells what became of that one.
_GONE = re.compile(r"process_vm_(?:readv|writev) failed \(errno 3\)")
# Shells and srun say of a program that got signal n that it ended with status 128 + n.
_SHELL, _MOST = 128, 64
# mpiexec's own words after a rank has died say nothing about why.
_NOISE = re.compile(
    r"^=+$|^=   |^YOUR APPLICATION TERMINATED|^This typically refers|^Please see the FAQ|^-+$"
)


def has_result(folder: Path) -> bool:
    """Whether the program said that it finished and its result is there."""
    if not (folder / RESULT_FILE).exists():
        return False
    lines, _ = read_progress(folder)
    return any(line["event"] == "finished" for line in lines)


def why_it_failed(folder: Path, status: int) -> str:
    """Return why the program in `folder`, ended with this exit status, has no result.

    The solver's own ``failed`` line, if there is one; else the signal or exit status, and the
    last lines of ``solver.log``.
    """
    if said := what_solver_said(folder):
        return said
    log = _tail(folder / LOG_FILE)
    if _GONE.search("\n".join(log)):
        killer = (
            "MPI, as one of its ranks died without a word: by SIGKILL (signal 9), as when the "
            "machine runs out of memory, or the like"
        )
    else:
        killer = _signal(status, "\n".join(log))
    if not killer and (said := what_solver_said(folder, bereft=True)):
        return said
    words = " | ".join([line for line in log if not _NOISE.match(line)][-_LAST_LINES:])
    said = f"; its last words: {words}" if words else f"; {folder / LOG_FILE} says nothing"
    if killer:
        return f"the solver was ended by {killer}{said}"
    if status == 0:
        return f"the solver ended without a result{said}"
    return f"the solver ended with exit status {status}{said}"


def what_solver_said(folder: Path, *, bereft: bool = False) -> str:
    """Return the solver's own ``failed`` line with its hint; empty if there is none.

    With `bereft`, also that of a rank that only missed another.
    """
    lines, _ = read_progress(folder)
    for line in lines:
        if line["event"] == "failed" and (bereft or not line.get("bereft")):
            hint = line.get("hint")
            return f"{line['reason']}; {hint}" if hint else str(line["reason"])
    return ""


def _signal(status: int, log: str) -> str:
    """Name the signal that ended mpiexec or a rank, or return an empty text."""
    found = _SIGNAL.search(log)
    by_srun = [_BY_NAME[name] for name in _SRUN.findall(log) if name in _BY_NAME]
    if status < 0:
        number, who = -status, "mpiexec got"
    elif found:
        number, who = int(found[1] or found[2]), "one of its ranks got"
    elif by_srun:
        number, who = by_srun[0], "one of its ranks got"
    elif _SHELL < status <= _SHELL + _MOST:
        number, who = status - _SHELL, "one of its ranks got"
    else:
        return ""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    memory = ", as when the machine runs out of memory" if number == signal.SIGKILL else ""
    return f"{name} ({who} signal {number}{memory})"


def _tail(path: Path) -> list[str]:
    """Return the last lines of a log that need not exist."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]
