"""The solver's processes on this host, and how far they are."""

from __future__ import annotations

import sys
from pathlib import Path

from hxn_ptycho.solver.job import read_progress


def ranks_of(folder: Path) -> list[int]:
    """Return the process ids of the ranks (not of mpiexec) that work on a job folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has just ended
            continue
        python = words[0].endswith(Path(sys.executable).name.encode())
        if python and b"hxn_ptycho.solver" in words and str(folder).encode() in words:
            found += [int(process.name)] if state != "Z" else []
    return found


def iterating(folder: Path) -> bool:
    return any(line["event"] == "iteration" for line in read_progress(folder)[0])


def environment_of(process: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    entries = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
