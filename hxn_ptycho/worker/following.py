"""Follow a running MPI program by its progress file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..launch import Program
from ..solver.job import read_progress

Line = dict[str, Any]
Listener = Callable[[Line], object]

# How often the file is read, and how often its lines are handed on together, in seconds. Events
# written one by one cost the catalog 35 ms each.
_POLL_SECONDS = 0.1
_BATCH_SECONDS = 0.5


class WrongMpi(RuntimeError):
    """mpiexec is of another MPI than mpi4py: each rank believes that it is alone."""


def follow(
    program: Program,
    folder: Path,
    ranks: int,
    *,
    listener: Listener,
    iterations: Callable[[list[Line]], object],
    interrupt: Callable[[], object],
) -> None:
    """Follow a program until it ends.

    Parameters
    ----------
    program : Program
    folder : Path
        Its job folder.
    ranks : int
        That it was asked for.
    listener : callable
        Gets each line of ``progress.jsonl`` as it appears.
    iterations : callable
        Gets the ``iteration`` lines, a batch at a time.
    interrupt : callable
        Is called some times a second; what it raises ends the following, not the program.

    Raises
    ------
    WrongMpi
        If the ranks do not see each other.
    """
    offset, batch, sent = 0, [], time.monotonic()
    while True:
        ended = program.poll() is not None  # asked first: its last lines are then there
        lines, offset = read_progress(folder, offset)
        for line in lines:
            listener(line)
            if line["event"] == "started" and line["ranks"] != ranks:
                raise WrongMpi(
                    f"{ranks} ranks were started but each sees {line['ranks']}: mpiexec is of "
                    "another MPI than mpi4py; set mpiexec in config.toml to that of mpi4py's MPI "
                    "(with Slurm: mpi in its table [slurm])"
                )
        batch += [line for line in lines if line["event"] == "iteration"]
        if batch and (ended or time.monotonic() - sent >= _BATCH_SECONDS):
            iterations(batch)
            batch, sent = [], time.monotonic()
        if ended:
            return
        interrupt()
        with suppress(TimeoutError):
            program.wait(_POLL_SECONDS)
