"""The process that works the queue off."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from types import FrameType

from filelock import Timeout

from ..catalog import CatalogError, open_catalog
from ..home import ConfigError, Home, find_home
from ..queue import Queue, QueuedJob, QueueError
from .attempt import Cancelled, Interrupted, ReconstructionError, run_job

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_QUEUE_ATTEMPTS = 5
_LOG_BYTES, _LOG_FILES = 1_000_000, 3
# The RunEngine of the same machine goes first.
_NICENESS = 5


class Worker:
    """Takes jobs from a home's queue, one at a time, oldest first, until it is idle.

    SIGTERM or SIGINT ends it: the MPI program of its job is ended, and the job is queued again
    for the next worker. If it is killed, the next worker finds the job and starts it again.

    Parameters
    ----------
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    beside : bool
        Work also if another worker serves the home. Claims are atomic: no job is done twice.
    """

    def __init__(self, home: Home | str | os.PathLike[str] | None = None, *, beside: bool = False):
        self.home = home if isinstance(home, Home) else find_home(home)
        self.beside = beside
        self.queue = Queue(self.home)
        self._end = threading.Event()

    def run(self, until_idle_seconds: float | None = None) -> int:
        """Work until there has been no job for so long; return the number of jobs worked on.

        Parameters
        ----------
        until_idle_seconds : float, optional
            Default: ``idle_seconds`` of config.toml.

        Returns
        -------
        int
            0 also if another worker serves the home already (and `beside` is false).

        Raises
        ------
        ConfigError, QueueError
            If the home or its queue cannot be used.
        """
        idle = self.home.config().idle_seconds if until_idle_seconds is None else until_idle_seconds
        worked = 0
        with _log_to_file(self.home), self.queue, _signals(self.stop):
            _stand_back()
            while True:
                served = self._serve(idle)
                if served is None:
                    log.info("another worker serves %s: nothing to do", self.home.root)
                    return worked
                worked += served
                # A job submitted after the last look, by someone who saw this worker still there.
                if self._end.is_set() or self.beside or not self.queue.jobs("queued"):
                    return worked

    def stop(self) -> None:
        """Ask the worker to end: its job is put back into the queue."""
        self._end.set()

    def _serve(self, idle: float) -> int | None:
        """Hold the lock and work until idle; None if another worker holds it."""
        if self.beside:
            return self._work_off(idle)
        lock = self.queue.worker_lock()
        try:
            lock.acquire()
        except Timeout:
            return None
        try:
            return self._work_off(idle)
        finally:
            lock.release()

    def _work_off(self, idle: float) -> int:
        log.info("worker %d begins, home %s", os.getpid(), self.home.root)
        try:
            open_catalog(self.home)  # seconds, now rather than after the first scan
        except (CatalogError, ConfigError) as error:
            log.error("%s", error)  # each job will say so too
        log.info("worker %d is ready", os.getpid())
        worked, last = 0, time.monotonic()
        while not self._end.is_set():
            job = self._claim()
            if job is not None:
                self._work(job)
                worked, last = worked + 1, time.monotonic()
            elif time.monotonic() - last >= idle:
                break
            else:
                self._end.wait(_POLL_SECONDS)
        log.info("worker %d ends after %d jobs", os.getpid(), worked)
        return worked

    def _claim(self) -> QueuedJob | None:
        """Take the next job; a queue that is not there for a moment is asked again."""
        for attempt in range(1, _QUEUE_ATTEMPTS + 1):
            try:
                return self.queue.claim()
            except QueueError as error:
                log.error("%s", error)
                if attempt == _QUEUE_ATTEMPTS or self._end.wait(attempt):
                    raise
        raise AssertionError("not reached")

    def _work(self, job: QueuedJob) -> None:
        """Work on one job and tell the queue how it ended."""
        log.info("scan %s, run %s: job %s", job.scan_id, job.raw_uid, job.job_uid)
        begun = time.monotonic()
        try:
            result_file = run_job(job, open_catalog(self.home), interrupt=lambda: self._check(job))
        except Interrupted:
            self.queue.release(job)
            log.info("scan %s: put back into the queue", job.scan_id)
        except Cancelled as error:
            self.queue.finish(job, "cancelled", str(error))
            log.info("scan %s: %s", job.scan_id, error)
        except (ReconstructionError, CatalogError, ConfigError) as error:
            self.queue.finish(job, "failed", str(error))
        else:
            self.queue.finish(job, "done", result_file=result_file)
            took = time.monotonic() - begun
            log.info("scan %s: %s after %.1f s", job.scan_id, result_file, took)

    def _check(self, job: QueuedJob) -> None:
        """Raise if this job is not to go on."""
        if self._end.is_set():
            raise Interrupted
        try:
            cancelled = self.queue.is_cancelled(job)
        except QueueError as error:  # no reason to lose the job
            log.warning("%s", error)
            return
        if cancelled:
            raise Cancelled("cancelled by hand")


class _log_to_file:
    """Logs of the package go to ``HOME/worker.log``, and to a terminal if there is one."""

    def __init__(self, home: Home) -> None:
        self.path = home.make().root / "worker.log"

    def __enter__(self) -> None:
        self.handlers: list[logging.Handler] = [
            RotatingFileHandler(self.path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
        ]
        if sys.stderr is not None and sys.stderr.isatty():
            self.handlers.append(logging.StreamHandler())
        self.logger = logging.getLogger("hxn_ptycho")
        self.level = self.logger.level
        self.logger.setLevel(logging.INFO)
        for handler in self.handlers:
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            self.logger.addHandler(handler)

    def __exit__(self, *_: object) -> None:
        for handler in self.handlers:
            self.logger.removeHandler(handler)
            handler.close()
        self.logger.setLevel(self.level)


class _signals:
    """SIGTERM and SIGINT call a function, while within; only the main thread can say so."""

    def __init__(self, function: object) -> None:
        self.function = function

    def __enter__(self) -> None:
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        assert callable(self.function)
        self.function()

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _stand_back() -> None:
    """Lower the priority of a process that is a worker and nothing else."""
    if os.getsid(0) == os.getpid():
        os.nice(_NICENESS)
