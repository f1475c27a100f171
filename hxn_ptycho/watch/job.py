"""How far one job of the queue is, from the queue and its progress file."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..home import Home
from ..queue import Queue, QueuedJob
from ..solver.job import read_progress


@dataclass
class Watched:
    """One job, followed from outside: nothing here touches the worker or the catalog.

    Attributes
    ----------
    job : QueuedJob
        As last read.
    iteration : int
        Of `iterations`; 0 before the first.
    error : float or None
        The last ``error_fourier``.
    seconds : float
        From the first iteration's start to the last one's end.
    started : dict
        The solver's ``started`` line; empty before.
    """

    home: Home
    job: QueuedJob
    iteration: int = 0
    error: float | None = None
    seconds: float = 0.0
    started: dict[str, Any] = field(default_factory=dict)
    _offset: int = 0
    _attempts: int = 0

    @property
    def iterations(self) -> int:
        """How many iterations the recipe asks for."""
        return self.job.recipe.iterations

    def update(self) -> None:
        """Read what is new.

        Raises
        ------
        QueueError
            If the queue cannot be read, or has no such job any more.
        """
        self.job = Queue(self.home).find(self.job.job_uid)
        if self.job.attempts != self._attempts:  # another worker has begun it anew
            self._attempts, self._offset = self.job.attempts, 0
            self.iteration, self.error, self.seconds, self.started = 0, None, 0.0, {}
        lines, self._offset = read_progress(self.home.jobs / self.job.job_uid, self._offset)
        for line in lines:
            self.take(line)

    def take(self, line: dict[str, Any]) -> None:
        """Take one line of ``progress.jsonl``."""
        if line["event"] == "started":
            self.started = line
        elif line["event"] == "iteration":
            self.iteration, self.seconds = line["iteration"], line["seconds"]
            if line["error_fourier"] is not None:
                self.error = line["error_fourier"]
        elif line["event"] == "finished":
            self.seconds, self.error = line["seconds"], line["error_fourier"]

    @property
    def phase(self) -> str:
        """What is being done now, in a word or three."""
        if self.job.state == "queued":
            return "waiting" if self.job.attempts == 0 else "waiting again"
        if self.job.state != "running":
            return self.job.state
        if self.iteration >= self.iterations:
            return "publishing"
        if self.started:
            return "reconstructing"
        return "preparing"

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the iterations' remaining time; None before the second."""
        if self.iteration < 2 or self.job.state != "running":
            return None
        return self.seconds / self.iteration * (self.iterations - self.iteration)

    def line(self, bar: int = 20) -> str:
        """Return the state as one line of text, for a toolbar."""
        words = [f"scan {self.job.scan_id}: {self.phase}"]
        if self.job.state == "running" and self.started:
            full = int(bar * self.iteration / self.iterations)
            words.append("\u2588" * full + "\u2591" * (bar - full))
            words.append(f"{self.iteration}/{self.iterations}")
        if self.job.state == "running" and self.error is not None:
            words.append(f"error {self.error:.3g}")
        if self.seconds_left is not None:
            words.append(f"{self.seconds_left:.0f} s left")
        if not self.job.ended and self.job.reason:
            words.append(self.job.reason)
        if self.job.state == "queued":
            words.append(f"for {max(0.0, time.time() - self.job.submitted):.0f} s")
        return "  ".join(words)
