"""The process that works the queue off: is there one, and start one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from ..home import HOME_VARIABLE, Home

_started: list[subprocess.Popen[bytes]] = []


def is_free(lock_file: Path) -> bool:
    """Whether no living process holds this lock file."""
    if not lock_file.exists():
        return True
    with open(lock_file) as file:
        try:  # shared, so that two processes that look at the same moment do not see each other
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def start_worker(home: Home) -> None:
    """Start a worker in a process of its own session, which outlives this one.

    Raises
    ------
    OSError
        If the process cannot be started.
    """
    with open(home.make().root / "worker.log", "a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hxn_ptycho.cli", "worker"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            env=_environment(home),
            start_new_session=True,
        )
    # Kept, so that a worker that has ended while we live is reaped at the next start.
    _started[:] = [process, *(earlier for earlier in _started if earlier.poll() is None)]


def _environment(home: Home) -> dict[str, str]:
    """Return the environment of a worker: this home, and this very package also uninstalled."""
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        HOME_VARIABLE: str(home.root),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }
