"""The process that works the queue off."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from types import FrameType

from filelock import Timeout

from ..catalog import CatalogAway, CatalogError, open_catalog
from ..home import ConfigError, Home, find_home
from ..launch import LaunchError, Place, end_leftover, engine_of, has_result
from ..prepare import choose_device, choose_ranks
from ..queue import Queue, QueuedJob, QueueError
from ..recipe import RecipeError
from .attempt import Cancelled, Interrupted, Postponed, ReconstructionError, run_job
from .following import Line
from .notify import notify

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_QUEUE_ATTEMPTS = 5
_LOCK_SECONDS = 2.0  # between looks whether the worker that serves has ended
_MOST_AT_ONCE = 16  # jobs: each has a thread here, and Slurm does not say when it is enough
_LOG_BYTES, _LOG_FILES = 1_000_000, 3
#: Seconds until a job that waits for a catalog is tried again: growing from the first to the most.
FIRST_PAUSE, MOST_PAUSE = 1.0, 60.0
#: After so long of it the job fails; its result, if there is one, stays in its folder.
MOST_WAIT_SECONDS = 24 * 3600.0
# The RunEngine of the same machine goes first.
_NICENESS = 5


@dataclass
class _Wait:
    """A job that waits for a catalog."""

    since: float
    until: float
    pause: float = FIRST_PAUSE


class Worker:
    """Takes jobs from a home's queue, oldest first, until it is idle.

    Jobs run side by side as far as there is room: each has its GPUs, or cores, for itself. The
    oldest that waits is never overtaken, so that none waits for ever. Jobs whose catalog is away
    wait in the queue, which says so, for up to a day; others go on meanwhile.

    SIGTERM or SIGINT ends it: the MPI programs of its jobs are ended, and the jobs are queued again
    for the next worker. If it is killed, the next worker finds the jobs and starts them again.

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
        self._running: dict[str, threading.Thread] = {}
        self._faults: list[Exception] = []
        self._waiting: dict[str, _Wait] = {}
        self._begun: set[str] = set()

    def run(self, until_idle_seconds: float | None = None, *, stay: bool = False) -> int:
        """Work until there has been no job for so long; return the number of jobs worked on.

        Parameters
        ----------
        until_idle_seconds : float, optional
            Default: ``idle_seconds`` of config.toml.
        stay : bool
            As a service: work until it is asked to end, and wait while another worker serves.

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
        if stay:
            idle = math.inf
        worked = 0
        with _log_to_file(self.home), self.queue, _signals(self.stop):
            _stand_back()
            while True:
                served = self._serve(idle)
                if served is None and stay:
                    self._wait_for_lock()
                    served = 0
                elif served is None:
                    log.info("another worker serves %s: nothing to do", self.home.root)
                    return worked
                worked += served
                # A job submitted after the last look, by someone who saw this worker still there.
                done = not stay and (self.beside or not self.queue.jobs("queued"))
                if self._end.is_set() or done:
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

    def _wait_for_lock(self) -> None:
        """Wait until the worker that serves the home has ended, or this one is to end."""
        other = f"another worker serves {self.home.root} ({self.queue.serving() or 'unnamed'})"
        log.info("%s: this one waits", other)
        notify(READY=1, STATUS=f"waits: {other}")
        while self.queue.has_worker() and not self._end.wait(_LOCK_SECONDS):
            pass

    def _work_off(self, idle: float) -> int:
        log.info("worker %d begins, home %s", os.getpid(), self.home.root)
        if not self.beside:
            self.queue.serve()
        try:
            open_catalog(self.home)  # seconds, now rather than after the first scan
        except (CatalogError, ConfigError) as error:
            log.error("%s", error)  # each job will say so too
        log.info("worker %d is ready", os.getpid())
        notify(READY=1, STATUS="waits for scans")
        last = time.monotonic()
        self._begun.clear()
        try:
            while not self._end.is_set() and not self._faults:
                if self._start_next():
                    continue
                if self._any_running() or self._any_waiting():
                    last = time.monotonic()
                    self._end.wait(_POLL_SECONDS)
                elif time.monotonic() - last >= idle:
                    break
                else:
                    self._end.wait(_POLL_SECONDS)
        finally:
            notify(STOPPING=1)
            for thread in self._running.values():
                thread.join()
        if self._faults:
            raise self._faults[0]
        log.info("worker %d ends after %d jobs", os.getpid(), len(self._begun))
        return len(self._begun)

    def _any_running(self) -> bool:
        """Whether a job is being worked on."""
        before = len(self._running)
        self._running = {uid: each for uid, each in self._running.items() if each.is_alive()}
        if before and not self._running:
            notify(STATUS="waits for scans")
        return bool(self._running)

    def _any_waiting(self) -> bool:
        """Whether a job waits for a catalog."""
        if self._waiting:
            there = {job.job_uid for job in self.queue.jobs("queued", "running")}
            for uid in [uid for uid in self._waiting.copy() if uid not in there]:  # cancelled
                self._waiting.pop(uid, None)
        return bool(self._waiting)

    def _start_next(self) -> bool:
        """Begin the oldest queued job, if there is one and room for it."""
        if self._any_running() and len(self._running) >= _MOST_AT_ONCE:
            return False
        job = self._next()
        if job is None:
            return False
        place: Place | None = None
        try:
            if self._needs_place(job) and (place := self._take_place(job)) is None:
                return False
        except (ConfigError, LaunchError, RecipeError) as error:
            log.info("scan %s: %s", job.scan_id, error)  # the job will end with it
        claimed = self.queue.claim(job)
        if claimed is not None and job.job_uid in self._waiting:
            self.queue.note(claimed, job.reason)  # until more is known
        if claimed is None:  # cancelled, or another worker was quicker
            if place is not None:
                place.release()
            return False
        thread = threading.Thread(target=self._work, args=(claimed, place), name=job.job_uid)
        self._running[job.job_uid] = thread
        self._begun.add(job.job_uid)
        thread.start()
        notify(STATUS=f"{len(self._running)} running, the last of scan {job.scan_id}")
        return True

    def _needs_place(self, job: QueuedJob) -> bool:
        """Whether GPUs or cores are taken for a job beforehand; it may take its own later."""
        waited = job.job_uid in self._waiting  # and may well have to again
        return not (job.refusal or waited or has_result(self.home.jobs / job.job_uid))

    def _take_place(self, job: QueuedJob) -> Place | None:
        """Take the GPUs or cores of a job; None if they are in use, which the queue then tells."""
        if job.attempts:  # a program that a dead worker left would hold them
            end_leftover(self.home.jobs / job.job_uid)
        engine = engine_of(self.home.config())
        device = choose_device(job.recipe, engine)
        ranks = choose_ranks(job.recipe, device, engine)
        place = engine.take(device, ranks)
        if place is None and (busy := engine.busy(device, ranks)) != job.reason:
            log.info("scan %s: %s", job.scan_id, busy)
            self.queue.note(job, busy)
        return place

    def _next(self) -> QueuedJob | None:
        """Return the oldest queued job; a queue that is not there for a moment is asked again."""
        now = time.monotonic()
        skip = [uid for uid, wait in self._waiting.copy().items() if now < wait.until]
        for attempt in range(1, _QUEUE_ATTEMPTS + 1):
            try:
                return self.queue.next(skip)
            except QueueError as error:
                log.error("%s", error)
                if attempt == _QUEUE_ATTEMPTS or self._end.wait(attempt):
                    raise
        raise AssertionError("not reached")

    def _work(self, job: QueuedJob, place: Place | None) -> None:
        """Work on one job, in a thread of its own; what must end the worker is kept for it."""
        try:
            self._reconstruct(job, place)
        except Exception as error:
            log.exception("scan %s: the worker ends", job.scan_id)
            self._faults.append(error)
        finally:
            if place is not None:
                place.release()

    def _reconstruct(self, job: QueuedJob, place: Place | None) -> None:
        """Work on one job and tell the queue how it ended."""
        if job.job_uid not in self._waiting:
            log.info("scan %s, run %s: job %s", job.scan_id, job.raw_uid, job.job_uid)
        begun = time.monotonic()
        try:
            result_file = run_job(
                job,
                open_catalog(self.home, job.stores),
                progress=lambda line: self._tell(job, line),
                interrupt=lambda: self._check(job),
                place=place,
            )
        except Interrupted:
            self.queue.release(job)
            log.info("scan %s: put back into the queue", job.scan_id)
        except Postponed as waits:
            self._postpone(job, str(waits), waits.failure)
            return
        except CatalogAway as error:
            self._postpone(job, f"waits for the catalog: {error}")
            return
        except Cancelled as error:
            self.queue.finish(job, "cancelled", str(error))
            log.info("scan %s: %s", job.scan_id, error)
        except (ReconstructionError, CatalogError, ConfigError) as error:
            self.queue.finish(job, "failed", str(error))
        else:
            self.queue.finish(job, "done", result_file=result_file)
            took = time.monotonic() - begun
            log.info("scan %s: %s after %.1f s", job.scan_id, result_file, took)
        self._waiting.pop(job.job_uid, None)

    def _postpone(self, job: QueuedJob, reason: str, failure: str = "") -> None:
        """Put a job back until its catalog is there again; not for ever."""
        now = time.monotonic()
        wait = self._waiting.setdefault(job.job_uid, _Wait(since=now, until=now))
        if self.queue.order(job) == "cancel":
            self.queue.finish(job, "cancelled", "cancelled by hand")
        elif now - wait.since > MOST_WAIT_SECONDS:
            hours = (now - wait.since) / 3600
            self.queue.finish(
                job,
                "failed",
                f"{reason}: for {hours:.0f} h. What was computed is in "
                f"{self.home.jobs / job.job_uid}",
            )
        else:
            if wait.pause == FIRST_PAUSE:
                log.warning("scan %s: %s", job.scan_id, reason)
            wait.until = now + wait.pause
            wait.pause = min(2 * wait.pause, MOST_PAUSE)
            self.queue.release(job, reason, refusal=failure)
            return
        del self._waiting[job.job_uid]

    def _tell(self, job: QueuedJob, line: Line) -> None:
        """Tell the queue what a running job waits for, and the log what it takes."""
        if line["event"] == "device":
            needs = line["estimated_bytes"] / 1e9
            log.info("scan %s: %s, %.2f GB of each GPU", job.scan_id, line["gpu"], needs)
        if line["event"] == "prepared" and self._waiting.pop(job.job_uid, None):
            line = {"event": "waiting", "reason": ""}  # its catalog is back
        if line["event"] == "waiting":
            if line["reason"]:
                log.info("scan %s: %s", job.scan_id, line["reason"])
            try:
                self.queue.note(job, line["reason"])
            except QueueError as error:  # no reason to lose the job
                log.warning("%s", error)

    def _check(self, job: QueuedJob) -> None:
        """Raise if this job is not to go on."""
        if self._end.is_set():
            raise Interrupted
        try:
            order = self.queue.order(job)
        except QueueError as error:  # no reason to lose the job
            log.warning("%s", error)
            return
        if order == "leave":
            self._faults.append(
                QueueError(
                    f"job {job.job_uid[:8]} of scan {job.scan_id} was given to another worker: "
                    f"this one's locks in {self.home.root} are lost (was the file server away, or "
                    "a lock file removed?); start the worker anew"
                )
            )
            raise Interrupted
        if order == "cancel":
            raise Cancelled("cancelled by hand")


class _log_to_file:
    """Logs of the package go to ``HOME/worker.log``, and to a terminal or systemd's journal."""

    def __init__(self, home: Home) -> None:
        self.path = home.make().root / "worker.log"

    def __enter__(self) -> None:
        self.handlers: list[logging.Handler] = [
            RotatingFileHandler(self.path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
        ]
        if sys.stderr is not None and (sys.stderr.isatty() or "JOURNAL_STREAM" in os.environ):
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
    if os.getsid(0) == os.getpid() and os.nice(0) < _NICENESS:  # else systemd has done so
        os.nice(_NICENESS - os.nice(0))
