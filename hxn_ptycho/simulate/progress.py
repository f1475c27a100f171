"""A progress bar for a scan at the terminal: a RunEngine's ``waiting_hook``."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ScanProgress:
    """Shows how far the things are that a plan waits for, if they count frames.

    ``RE.waiting_hook = ScanProgress()``. Moves of motors, over in a moment, are not shown.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._progress: Progress | None = None

    def __call__(self, statuses: Iterable[Any] | None) -> None:
        """Take the statuses that a plan begins to wait for, or None when it has waited."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
                self._progress = None
            for status in statuses or ():
                if hasattr(status, "tell") and not status.done:
                    if self._progress is None:
                        self._progress = self._start()
                    task = self._progress.add_task("", total=None)
                    status.watch(partial(self._update, self._progress, task))

    def _start(self) -> Progress:
        progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(compact=True),
            console=self._console or Console(),
            refresh_per_second=8,
            expand=True,
        )
        progress.start()
        return progress

    def _update(
        self,
        progress: Progress,
        task: TaskID,
        *,
        name: str | None = None,
        current: Any = None,
        target: Any = None,
        **_: Any,
    ) -> None:
        if current is not None:  # a status that ends says so with its device's name only
            progress.update(task, description=name or "", completed=current, total=target)
