"""Progress bars in a terminal, for those who wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..home import Home
from ..queue import Queue, QueuedJob
from .job import Watched
from .summary import print_summary

_POLL_SECONDS = 0.1


def wait(
    home: Home,
    job_uids: Sequence[str],
    *,
    timeout: float | None = None,
    console: Console | None = None,
    start_worker: bool = True,
) -> list[QueuedJob]:
    """Wait until these jobs have ended, showing a bar for each; print what came of them.

    Ctrl-C ends the waiting, not the jobs.

    Parameters
    ----------
    home : Home
    job_uids : sequence of str
    timeout : float, optional
        Seconds; default: for ever.
    console : rich Console, optional
        Default: ``sys.stdout``.
    start_worker : bool
        Start a worker if none serves the home.

    Returns
    -------
    list of QueuedJob
        As they ended, in the order given.

    Raises
    ------
    TimeoutError
        Naming the jobs that have not ended. They go on.
    QueueError
        If the queue cannot be used.
    """
    console = console or Console()
    queue = Queue(home)
    watched = [Watched(home, queue.find(uid)) for uid in job_uids]
    deadline = None if timeout is None else time.monotonic() + timeout
    next_look = 0.0
    with _progress(console) as progress:
        tasks = [progress.add_task("", total=each.iterations, error="") for each in watched]
        told: set[int] = set()
        while len(told) < len(watched):
            for number, (each, task) in enumerate(zip(watched, tasks, strict=True)):
                if number in told:
                    continue
                each.update()
                _show(progress, task, each)
                if each.job.ended:
                    told.add(number)
                    print_summary(each.job, progress.console)
            open_jobs = [each.job for i, each in enumerate(watched) if i not in told]
            if start_worker and open_jobs and time.monotonic() >= next_look:
                queue.ensure_worker()
                next_look = time.monotonic() + 10  # a new one takes seconds to hold its lock
            if open_jobs and deadline is not None and time.monotonic() > deadline:
                names = ", ".join(f"scan {job.scan_id} ({job.state})" for job in open_jobs)
                raise TimeoutError(f"after {timeout:g} s not ended, and going on: {names}")
            if open_jobs:
                time.sleep(_POLL_SECONDS)
    return [each.job for each in watched]


class ProgressBar:
    """A bar for one reconstruction by hand: ``reconstruct(..., progress=bar)``.

    Examples
    --------
    >>> with ProgressBar() as bar:
    ...     reconstruct(-1, progress=bar)
    """

    def __init__(self, console: Console | None = None) -> None:
        self._progress = _progress(console or Console())
        self._task = self._progress.add_task("preparing", total=None, error="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, line: dict[str, Any]) -> None:
        """Show one line of ``progress.jsonl``."""
        if line["event"] == "waiting":
            self._progress.update(self._task, description=line["reason"] or "preparing")
        elif line["event"] == "prepared":
            name = f"reading {line['views']} frames"
            self._progress.update(self._task, description=name, total=line["iterations"])
        elif line["event"] == "device":
            needs = f"{line['estimated_bytes'] / 1e9:.2f} GB of each GPU's memory"
            text = f"{line['gpu']}, {line['way']}: {needs}"
            self._progress.console.print(text, highlight=False, soft_wrap=True)
        elif line["event"] == "started":
            self._progress.update(self._task, description="reconstructing")
        elif line["event"] == "iteration":
            changes: dict[str, Any] = {"completed": line["iteration"]}
            if line["error_fourier"] is not None:
                changes["error"] = f"error {line['error_fourier']:.4f}"
            self._progress.update(self._task, **changes)
        elif line["event"] in ("finished", "failed"):
            self._progress.update(self._task, description=line["event"])


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[error]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _show(progress: Progress, task: TaskID, each: Watched) -> None:
    progress.update(
        task,
        description=f"scan {each.job.scan_id}: {each.phase}",
        completed=each.iterations if each.job.state == "done" else each.iteration,
        error="" if each.error is None else f"error {each.error:.4f}",
    )
