"""The durable list of jobs: submitted by the trigger, claimed by workers, kept over restarts."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

from filelock import FileLock

from ..home import Home, Stores
from ..recipe import Recipe
from .entry import TABLE, QueuedJob, State, select
from .service import Serving, is_free, read_serving, start_worker, write_serving

__all__ = [
    "MOST_ATTEMPTS",
    "AlreadyQueued",
    "Queue",
    "QueueError",
    "QueuedJob",
    "Serving",
    "State",
]

#: How often a job is given to a worker before it is refused because its workers die.
MOST_ATTEMPTS = 2


class QueueError(RuntimeError):
    """The queue cannot be used, or has no such job; the message says which and what to do."""


class AlreadyQueued(QueueError):
    """A raw run was submitted before.

    Attributes
    ----------
    job : QueuedJob
        The earlier job, as it is now.
    """

    def __init__(self, job: QueuedJob) -> None:
        super().__init__(
            f"run {job.raw_uid} has job {job.job_uid[:8]} already, which is {job.state}"
        )
        self.job = job


class Queue:
    """The jobs of one home, in ``HOME/queue.db``; any number of processes may use it at once.

    Of any hosts too, where the home is on a file system that they share, with locks (NFSv4).

    A worker that claims jobs holds a lock file as long as it lives; a running job whose worker's
    lock is free belongs to a dead worker and is queued again, once.

    Parameters
    ----------
    home : Home
        Whose jobs.
    timeout : float
        Seconds to wait for another process that is writing.
    """

    def __init__(self, home: Home, timeout: float = 10.0) -> None:
        self.home = home
        self.timeout = timeout
        self._identity: FileLock | None = None

    @property
    def path(self) -> Path:
        """The database file."""
        return self.home.root / "queue.db"

    def submit(
        self,
        raw_uid: str,
        scan_id: int,
        recipe: Recipe,
        *,
        stores: Stores | None = None,
        refusal: str = "",
        once: bool = False,
    ) -> QueuedJob:
        """Add a job at the end; return it once it is on disk (milliseconds).

        Parameters
        ----------
        raw_uid, scan_id : str, int
            Of the raw run.
        recipe : Recipe
            What to compute.
        stores : Stores, optional
            Where the raw run is and where the result goes; default: as config.toml says, when the
            job is worked on.
        refusal : str
            If not empty: publish the job as failed for this reason, without computing.
        once : bool
            Add none if the queue has, or ever had, a job of this raw run: whoever tells that a scan
            has ended may tell it twice, and two may tell it at the same moment.

        Raises
        ------
        AlreadyQueued
            If `once`, and there is one.
        QueueError
            If the queue cannot be written.
        """
        job_uid, derived_uid = str(uuid.uuid4()), str(uuid.uuid4())
        with self._transaction() as database:
            if once and (earlier := select(database, "WHERE raw_uid = ? ORDER BY number", raw_uid)):
                raise AlreadyQueued(earlier[-1])
            database.execute(
                "INSERT INTO jobs (job_uid, derived_uid, raw_uid, scan_id, recipe, stores,"
                " refusal, submitted) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_uid,
                    derived_uid,
                    raw_uid,
                    scan_id,
                    recipe.model_dump_json(),
                    stores.model_dump_json() if stores else "",
                    refusal,
                    time.time(),
                ),
            )
            return select(database, "WHERE job_uid = ?", job_uid)[0]

    def next(self, skip: Collection[str] = ()) -> QueuedJob | None:
        """Return the oldest queued job, which `claim` would take now, or None.

        Jobs of workers that died are queued again first.

        Parameters
        ----------
        skip : collection of str
            Uids of jobs that are to wait.

        Raises
        ------
        QueueError
            If the queue cannot be read or written.
        """
        marks = ", ".join("?" for _ in skip)
        oldest_queued = (
            f"WHERE state = 'queued' AND job_uid NOT IN ({marks}) ORDER BY number LIMIT 1"
        )
        with self._connection() as database:  # most looks end here, without a write
            held = database.execute(
                "SELECT DISTINCT worker FROM jobs WHERE state = 'running' AND worker IS NOT ?",
                (self._name,),
            ).fetchall()
            orphans = any(is_free(self._workers() / str(row["worker"])) for row in held)
            if not orphans:
                oldest = select(database, oldest_queued, *skip)
                return oldest[0] if oldest else None
        with self._transaction() as database:
            self._requeue_orphans(database)
            oldest = select(database, oldest_queued, *skip)
            return oldest[0] if oldest else None

    def claim(self, job: QueuedJob | None = None) -> QueuedJob | None:
        """Take the oldest queued job for this process, or None; no other process gets the same.

        Jobs of workers that died are queued again first.

        Parameters
        ----------
        job : QueuedJob, optional
            Take this one, if it is still queued.

        Raises
        ------
        QueueError
            If the queue cannot be read or written.
        """
        if job is None:
            while oldest := self.next():
                if claimed := self.claim(oldest):  # else another process was quicker
                    return claimed
            return None
        identity = self._hold_identity()
        with self._transaction() as database:
            taken = database.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = ?,"
                " started = ?, finished = NULL, reason = ''"
                " WHERE job_uid = ? AND state = 'queued'",
                (identity, time.time(), job.job_uid),
            ).rowcount
            return select(database, "WHERE job_uid = ?", job.job_uid)[0] if taken else None

    def note(self, job: QueuedJob, text: str) -> None:
        """Say what a job that has not ended waits for; empty: nothing any more."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET reason = ? WHERE job_uid = ? AND state IN ('queued', 'running')",
                (text, job.job_uid),
            )

    def finish(
        self,
        job: QueuedJob,
        state: Literal["done", "failed", "cancelled"],
        reason: str = "",
        *,
        result_file: str | os.PathLike[str] = "",
    ) -> QueuedJob:
        """Say how a claimed job ended, and where its published result is."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = ?, reason = ?, result_file = ?, worker = NULL,"
                " finished = ? WHERE job_uid = ?",
                (state, reason, os.fspath(result_file), time.time(), job.job_uid),
            )
            return select(database, "WHERE job_uid = ?", job.job_uid)[0]

    def release(self, job: QueuedJob, reason: str = "", *, refusal: str = "") -> None:
        """Put a claimed job back where it was.

        Parameters
        ----------
        job : QueuedJob
        reason : str
            What it waits for, if for more than its turn.
        refusal : str
            If not empty: it need only be published as failed, for this reason.
        """
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'queued', worker = NULL, started = NULL, reason = ?,"
                " refusal = CASE ? WHEN '' THEN refusal ELSE ? END, attempts = attempts - 1"
                " WHERE job_uid = ? AND state = 'running' AND worker = ?",
                (reason, refusal, refusal, job.job_uid, self._name),
            )

    def cancel(self, job_uid: str) -> QueuedJob:
        """Cancel a queued job; ask the worker of a running one to end it.

        Parameters
        ----------
        job_uid : str
            The uid or its first characters.

        Raises
        ------
        QueueError
            If there is no such job, more than one, or it has ended already.
        """
        job = self.find(job_uid)
        if job.ended:
            raise QueueError(f"job {job.job_uid[:8]} is {job.state} already")
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET cancel = 1,"
                " finished = CASE state WHEN 'queued' THEN ? ELSE finished END,"
                " reason = CASE state WHEN 'queued' THEN 'cancelled before it ran' ELSE '' END,"
                " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END"
                " WHERE job_uid = ? AND state IN ('queued', 'running')",
                (time.time(), job.job_uid),
            )
        return self.find(job.job_uid)

    def order(self, job: QueuedJob) -> Literal["go on", "cancel", "leave"]:
        """Return what the process that claimed a job is to do: leave it, if it is another's now.

        A host that the file system did not hear of for a minute or two loses its locks, and its
        jobs are given to others.
        """
        with self._connection() as database:
            row = database.execute(
                "SELECT cancel, worker FROM jobs WHERE job_uid = ?", (job.job_uid,)
            ).fetchone()
        if row is None or row["worker"] != self._name:
            return "leave"
        return "cancel" if row["cancel"] else "go on"

    def jobs(self, *states: State) -> list[QueuedJob]:
        """Return the jobs in these states (all, if none is given), oldest first."""
        if not self.path.exists():
            return []
        marks = ", ".join("?" for _ in states)
        where = f"WHERE state IN ({marks}) " if states else ""
        with self._connection() as database:
            return select(database, f"{where}ORDER BY number", *states)

    def of_run(self, raw_uid: str) -> list[QueuedJob]:
        """Return the jobs of a raw run, oldest first; also those that have ended."""
        if not self.path.exists():
            return []
        with self._connection() as database:
            return select(database, "WHERE raw_uid = ? ORDER BY number", raw_uid)

    def find(self, job_uid: str) -> QueuedJob:
        """Return one job by its uid or the first characters of it.

        Raises
        ------
        QueueError
            If there is none, or more than one.
        """
        with self._connection() as database:
            found = select(database, "WHERE substr(job_uid, 1, ?) = ?", len(job_uid), job_uid)
        if len(found) != 1 or not job_uid:
            count = "no job" if not found else f"{len(found)} jobs"
            raise QueueError(f"the queue has {count} with the uid {job_uid!r}")
        return found[0]

    # -- workers ---------------------------------------------------------------------------

    def worker_lock(self) -> FileLock:
        """Return the lock that the home's worker holds while it lives."""
        # A second: has_worker() of another process holds the lock for a moment while it looks.
        return FileLock(
            self.home.make().root / "worker.lock",
            timeout=1,
            mode=self.home.lock_mode,
            thread_local=False,
        )

    def has_worker(self) -> bool:
        """Whether a worker serves this home now, here or on another host."""
        return not is_free(self.home.root / "worker.lock")

    def serve(self) -> None:
        """Say which process the worker is; to be called by it, once it holds the lock."""
        write_serving(self.home)

    def serving(self) -> Serving | None:
        """Return which process serves this home now; None if none does, or none has said so."""
        return read_serving(self.home) if self.has_worker() else None

    def ensure_worker(self) -> bool:
        """Start a worker if none serves this home; return whether one was started.

        The worker is a process of its own session: neither closing nor killing this process
        ends it. If two processes start one at the same moment, the second worker ends at once.

        Raises
        ------
        QueueError
            If the process cannot be started.
        """
        if self.has_worker():
            return False
        try:
            start_worker(self.home)
        except OSError as error:
            raise QueueError(f"the worker cannot be started: {error}") from error
        return True

    def close(self) -> None:
        """Give up this process's claims: running jobs of it count as orphans from now on."""
        if self._identity is not None:
            self._identity.release()
            self._identity = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold_identity(self) -> str:
        """Hold this process's lock file, by which others see that it lives; return its name."""
        if self._identity is None:
            folder = self._workers()
            folder.mkdir(exist_ok=True)
            self.home.share(folder)
            name = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
            # thread_local=False: whichever thread claims, the process lives.
            self._identity = FileLock(
                folder / name, timeout=0, mode=self.home.lock_mode, thread_local=False
            )
            self._identity.acquire()
        assert self._name is not None
        return self._name

    @property
    def _name(self) -> str | None:
        """Under which this process has claimed jobs, if it has."""
        return Path(self._identity.lock_file).name if self._identity else None

    def _workers(self) -> Path:
        return self.home.root / "workers"

    def _requeue_orphans(self, database: sqlite3.Connection) -> None:
        for row in database.execute(
            "SELECT job_uid, worker, attempts FROM jobs WHERE state = 'running'"
        ).fetchall():
            lock_file = self._workers() / str(row["worker"])
            if not is_free(lock_file):
                continue
            lock_file.unlink(missing_ok=True)
            if row["attempts"] > MOST_ATTEMPTS:  # even publishing the failure killed a worker
                database.execute(
                    "UPDATE jobs SET state = 'failed', finished = ?, worker = NULL,"
                    " reason = 'the workers of this job died' WHERE job_uid = ?",
                    (time.time(), row["job_uid"]),
                )
                continue
            refusal = (
                f"the worker of this job died {row['attempts']} times; HOME/worker.log may say "
                "why (out of memory?)"
                if row["attempts"] == MOST_ATTEMPTS
                else ""
            )
            database.execute(
                "UPDATE jobs SET state = 'queued', worker = NULL, started = NULL,"
                " refusal = CASE ? WHEN '' THEN refusal ELSE ? END WHERE job_uid = ?",
                (refusal, refusal, row["job_uid"]),
            )

    # -- the database ----------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open the database for one piece of work (a connection must not cross fork or thread)."""
        try:
            if not self.path.exists():
                self._make()
            database = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        except sqlite3.Error as error:
            raise QueueError(f"the queue {self.path} cannot be opened: {error}") from error
        try:
            database.row_factory = sqlite3.Row
            _set_up(database)
            yield database
        except sqlite3.Error as error:
            raise QueueError(
                f"the queue {self.path} cannot be used: {error}; if the file is damaged, move it "
                "away: the next submission makes a new one"
            ) from error
        finally:
            database.close()

    def _make(self) -> None:
        """Make the database beside its place, and put it there when it is whole.

        Made in place by several at the same moment, each would find it locked: SQLite waits for
        others, but not while the journal's mode is set.
        """
        self.home.make()
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            with closing(sqlite3.connect(partial, isolation_level=None)) as database:
                _set_up(database)
            self.home.share(partial)  # its journal gets the same mode
            # FileExistsError: another was quicker, and theirs is as good. Any other error: a file
            # system without links, where the database is made in place, by `_connection`.
            with suppress(OSError):
                os.link(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)
            partial.with_name(f"{partial.name}-journal").unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, so that claims are atomic."""
        with self._connection() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _set_up(database: sqlite3.Connection) -> None:
    """Make the table if there is none, as in a file that was not made beside its place."""
    columns = {row[1] for row in database.execute("PRAGMA table_info(jobs)")}
    # Not WAL: its index is memory that hosts do not share. Not DELETE: a host might not see, for as
    # long as its client remembers names and sizes, that another died with the journal half written.
    # A file made by a version before 0.2 stays in WAL until a moment when nobody else has it open.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = PERSIST")
    if not columns:
        database.executescript(TABLE)
    elif "stores" not in columns:  # made by a version before 0.2
        with suppress(sqlite3.OperationalError):  # another process was quicker
            database.execute("ALTER TABLE jobs ADD COLUMN stores TEXT NOT NULL DEFAULT ''")
