"""The process that works the queue off: is there one, and start one."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import host
from .._version import __version__
from ..home import HOME_VARIABLE, Home

_SERVING_FILE = "worker.json"
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Serving:
    """Which process serves a home, as it said itself.

    Attributes
    ----------
    host, boot : str
        The host's name, and what tells it from others (`host.boot`).
    pid, user : int, str
    since : float
        Seconds since 1970, by that host's clock.
    version : str
        Of hxn_ptycho.
    """

    host: str
    boot: str
    pid: int
    user: str
    since: float
    version: str

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host."""
        return self.boot == host.boot()

    def __str__(self) -> str:
        """Say it in a few words."""
        where = "" if self.is_here else f"on {self.host}, "
        return f"{where}process {self.pid} of {self.user}, version {self.version}"


def write_serving(home: Home) -> None:
    """Write down that this process serves a home."""
    said = Serving(host.name(), host.boot(), os.getpid(), _user(), time.time(), __version__)
    path = home.root / _SERVING_FILE
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(asdict(said)))
    home.share(partial)
    os.replace(partial, path)


def read_serving(home: Home) -> Serving | None:
    """Return which process wrote that it serves a home; it may have ended."""
    try:
        return Serving(**json.loads((home.root / _SERVING_FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # of another version
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return f"user {os.getuid()}"


def is_free(lock_file: Path) -> bool:
    """Whether no living process holds this lock file, on whatever host."""
    try:
        file = open(lock_file)  # noqa: SIM115, opened, not looked up: NFS asks its server then
    except FileNotFoundError:
        return True
    with file:
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
