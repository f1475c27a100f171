"""The reconstructions' progress below IPython's prompt, which stays usable."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..home import Home
from ..queue import Queue, QueueError
from .job import Watched
from .summary import print_summary

if TYPE_CHECKING:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

log = logging.getLogger(__name__)

_BUSY_SECONDS, _IDLE_SECONDS = 0.2, 0.5
_WORKER_SECONDS = 15.0  # a new worker takes seconds before it holds its lock
_MOST_LINES = 3


class Toolbar:
    """Shows jobs in the toolbar of a terminal IPython, and prints what came of each at its end.

    Parameters
    ----------
    home : Home
    job_uids : callable
        Returns the uids of the jobs to show, also those that have ended.
    shell : TerminalInteractiveShell
        ``get_ipython()``. Without prompt_toolkit (``ipython --simple-prompt``) only the ends are
        printed.
    keep_worker : bool
        Start a worker while there are jobs and none serves the home.
    """

    def __init__(
        self,
        home: Home,
        job_uids: Callable[[], Sequence[str]],
        shell: TerminalInteractiveShell,
        *,
        keep_worker: bool = True,
    ) -> None:
        self.home = home
        self.keep_worker = keep_worker
        self._next_worker = 0.0
        self.job_uids = job_uids
        self.session = getattr(shell, "pt_app", None)
        self.shown: dict[str, Watched] = {}
        self.told: set[str] = set()
        self._text: str | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        # A daemon: it must not keep IPython from ending.
        self._thread = threading.Thread(target=self._watch, name="ptycho progress", daemon=True)

    def start(self) -> None:
        """Begin to show."""
        self._thread.start()

    def stop(self) -> None:
        """Show nothing any more."""
        self._end.set()
        self._thread.join()
        if self.session is not None:
            self.session.bottom_toolbar = None

    def leave(self, job_uids: Sequence[str]) -> list[str]:
        """Leave jobs to someone who waits for them; return those whose end was not told yet."""
        with self._lock:
            left = [uid for uid in job_uids if uid not in self.told]
            self.told |= set(left)
            for uid in left:
                self.shown.pop(uid, None)
        return left

    def text(self) -> str | None:
        """Return what the toolbar shows: up to three jobs, the running ones first."""
        jobs = [*self.shown.values()]  # a copy: the thread may change the dict meanwhile
        jobs.sort(key=lambda each: each.job.state != "running")
        lines = [each.line() for each in jobs[:_MOST_LINES]]
        if len(jobs) > _MOST_LINES:
            lines.append(f"and {len(jobs) - _MOST_LINES} more waiting")
        return "\n".join(lines) or None

    def _watch(self) -> None:
        while not self._end.wait(_BUSY_SECONDS if self.shown else _IDLE_SECONDS):
            try:
                self._look()
            except QueueError as error:  # the next look may do
                log.debug("%s", error)

    def _look(self) -> None:
        if self.shown and self.keep_worker and time.monotonic() >= self._next_worker:
            Queue(self.home).ensure_worker()  # its worker may have been killed
            self._next_worker = time.monotonic() + _WORKER_SECONDS
        with self._lock:
            for uid in self.job_uids():
                if uid not in self.told and uid not in self.shown:
                    self.shown[uid] = Watched(self.home, Queue(self.home).find(uid))
            for each in self.shown.values():
                each.update()
            ended = [uid for uid, each in self.shown.items() if each.job.ended]
            told = [self.shown.pop(uid) for uid in ended]
            self.told |= set(ended)
        for each in told:
            print_summary(each.job)
        text = self.text()
        if self.session is not None and text != self._text:
            self._text = text
            self.session.bottom_toolbar = self.text if text else None
            self.session.app.invalidate()
