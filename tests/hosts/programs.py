"""Programs of others that host the callback, as processes of their own; each ends with its test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ..waiting import until

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class Program:
    """A running program, and all that it has said so far, a line at a time."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self.words = words
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def says(self, text: str, times: int = 1, *, meanwhile: Callable[[], object] = int) -> str:
        """Wait until `text` is in so many lines; return the last of them."""

        def found() -> str:
            meanwhile()
            matching = [line for line in self.lines if text in line]
            if len(matching) < times and self.process.poll() is not None:
                self._reader.join()
                raise AssertionError(f"{self.words} ended: " + "\n".join(self.lines))
            return matching[times - 1] if len(matching) >= times else ""

        try:
            return until(found, f"{text!r}, {times} times, of {Path(self.words[0]).name}", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.lines)) from None

    def told(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(60)
        self._reader.join(60)
        return status

    def kill(self) -> None:
        """End it and all it started, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self._reader.join(60)


class Programs:
    """Starts programs, those beside Python first, and ends those that are left."""

    def __init__(self) -> None:
        self._started: list[Program] = []

    def start(self, *words: object, **environment: str) -> Program:
        """Start a program, in a process group of its own."""
        name, *rest = map(str, words)
        program = Program((shutil.which(name, path=PATH) or name, *rest), environment)
        self._started.append(program)
        return program

    def end_all(self) -> None:
        """End what still runs, the last first."""
        for program in reversed(self._started):
            program.kill()


@contextlib.contextmanager
def running() -> Iterator[Programs]:
    """Programs that are ended at the end, whatever comes of the test."""
    programs = Programs()
    try:
        yield programs
    finally:
        programs.end_all()


def free_ports(count: int) -> list[int]:
    """Return so many ports of this host that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
