"""Work jobs off: prepare, launch, follow, publish. `reconstruct` is the same by hand."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..catalog import Catalogs, find_run, open_catalog, start_document
from ..home import Home
from ..queue import QueuedJob
from ..recipe import Recipe
from ..results import results
from .attempt import Cancelled, Interrupted, Listener, Postponed, ReconstructionError, run_job
from .choosing import choose_recipe
from .looking import look_at_frames, show_frames
from .service import FIRST_PAUSE, MOST_PAUSE, Worker

if TYPE_CHECKING:
    from ..results import Result

__all__ = [
    "Cancelled",
    "Interrupted",
    "Postponed",
    "ReconstructionError",
    "Worker",
    "look_at_frames",
    "reconstruct",
    "run_job",
    "show_frames",
]


def reconstruct(
    run: str | int,
    *,
    catalogs: Catalogs | None = None,
    home: Home | str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    progress: Listener = lambda line: None,
    **keys: Any,
) -> Result:
    """Reconstruct a scan in this process, now, and return the published result.

    While the catalog of results is away, the computed one waits for it.

    Examples
    --------
    >>> reconstruct(-1, probe_modes=3, iterations=100).plot()

    Parameters
    ----------
    run : str or int
        A raw run: uid, its first characters, a scan id, or -1 for the last, -2...
    catalogs : Catalogs, optional
        Default: those of `home`.
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    recipe : Recipe or path, optional
        A recipe or a TOML file. Default: the defaults, with what the run's own
        ``md={"ptycho": {...}}`` says.
    progress : callable
        Gets each line of the job's ``progress.jsonl`` as a dict.
    **keys
        Keys of the recipe, in place of its own.

    Raises
    ------
    CatalogError
        If the catalog cannot be opened or has no such run.
    RecipeError
        If the recipe cannot be used.
    ReconstructionError
        If it failed; the derived run says so too.
    """
    catalogs = catalogs or open_catalog(home)
    raw_uid = find_run(catalogs.raw, run, derived=False)
    start = start_document(catalogs.raw, raw_uid)
    now = time.time()
    job = QueuedJob(
        job_uid=str(uuid.uuid4()),
        derived_uid=str(uuid.uuid4()),
        raw_uid=raw_uid,
        scan_id=int(start.get("scan_id", 0)),
        recipe=choose_recipe(recipe, start, keys),
        stores=None,
        refusal="",
        state="running",
        reason="",
        result_file="",
        attempts=1,
        submitted=now,
        started=now,
        finished=None,
    )
    pause = FIRST_PAUSE
    while True:
        try:
            run_job(job, catalogs, progress=progress, stop_seconds=0)
            break
        except Postponed as waits:
            progress({"event": "waiting", "reason": str(waits)})
            if waits.failure:
                job = replace(job, refusal=waits.failure)
            time.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE)
    return results(uid=job.derived_uid, catalogs=catalogs)[-1]
