"""What the worker asks of a launched MPI program, wherever it runs."""

from __future__ import annotations

from typing import Protocol


class LaunchError(RuntimeError):
    """The MPI program cannot be started; the message says what is missing and what to do."""


class Program(Protocol):
    """A launched MPI program. `launch` makes one on this host; a cluster's queue makes another."""

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends and return the exit status.

        Raises
        ------
        TimeoutError
            If it still runs after `timeout` seconds.
        """

    def terminate(self, grace: float = 5.0) -> None:
        """End it, all ranks: asked first, killed after `grace` seconds. Return when it is gone."""

    @property
    def state(self) -> str:
        """Where it is on its way to its first sign of life; empty: it was started at once."""

    @property
    def reason(self) -> str:
        """Why an ended program has no result, for the person at the beamline; empty: it has."""
