"""The real IOC of the simulated endstation, as a process, and how clients find it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ..waiting import until

PIXELS = 64


class Ioc:
    """``hxn-ptycho ioc``, started, ended, killed and started again.

    Parameters
    ----------
    log : Path
        What it prints.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = int(os.environ["EPICS_CA_SERVER_PORT"])  # of this process, see conftest.py
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        before = len(self._said())
        command = [sys.executable, "-m", "hxn_ptycho.cli", "ioc"]
        command += ["--port", str(self.port), "--pixels", str(PIXELS), "--seed", "1"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        process = self._process

        def ready() -> bool:
            assert process.poll() is None, f"the IOC ended:\n{self._said()}"
            return self._said()[before:].endswith("\n")

        until(ready, "the IOC is ready")
        variables = dict(word.split("=") for word in self._said()[before:].split())
        assert variables["EPICS_CA_ADDR_LIST"] == "127.0.0.1"
        assert int(variables["EPICS_CA_SERVER_PORT"]) == self.port or not self.port

    def end(self) -> int:
        """Ask it to end, and return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        """Kill it, whatever it does; again is allowed."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)

    def _said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""
