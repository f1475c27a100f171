"""`Publisher`: one derived run, from its start to its stop document."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from ..catalog import (
    CatalogAway,
    CatalogError,
    Catalogs,
    check_readable,
    run_metadata,
    run_writer,
    why_unreadable,
)
from ..recipe import Recipe
from .documents import iteration_row, iterations_descriptor, read_result, start_document
from .place import move, result_path

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between rows that appear in the catalog; each time costs it some 50 ms.
LIVE_SECONDS = 0.4
#: Seconds between looks whether a catalog that was away is back: growing from the first to the
#: most. A look may take some, in which the reconstruction goes on but nobody can cancel it.
FIRST_PAUSE, MOST_PAUSE = 2.0, 60.0


class Publisher:
    """Publishes one reconstruction: `open`, `iterations` while it runs, then `succeed` or `fail`.

    Parameters
    ----------
    catalogs : Catalogs
    derived_uid : str
        Of the run in ``processed``; fixed when the job was made.
    job_uid : str
        Name of the job folder.
    raw_start : dict
        Start document of the run that was reconstructed; at least ``uid``.
    recipe : Recipe
    ranks : int
        MPI ranks; 0 if it did not come so far.
    device : str
    """

    def __init__(
        self,
        catalogs: Catalogs,
        *,
        derived_uid: str,
        job_uid: str,
        raw_start: Mapping[str, Any],
        recipe: Recipe,
        ranks: int,
        device: str,
    ) -> None:
        self.catalogs = catalogs
        self.derived_uid = derived_uid
        self.raw_start = dict(raw_start)
        start = start_document(derived_uid, job_uid, self.raw_start, recipe, ranks, device)
        self._start = start
        self._run = run_writer(catalogs.processed, start)
        self._modes = (int(recipe.probe_modes), recipe.object_modes)
        self._begun = False
        self._published: Path | None = None
        self._ended = False
        # All of them: a run whose catalog was away is written anew.
        self._rows: list[dict[str, Any]] = []
        self._appended_rows = 0
        self._newest = 0
        self._pause, self._next_try = FIRST_PAUSE, 0.0
        self._appended = 0.0
        locks = catalogs.home.root / "locks"
        locks.mkdir(exist_ok=True)
        catalogs.home.share(locks)
        self._lock = FileLock(
            locks / f"{derived_uid}.lock", timeout=0, mode=catalogs.home.lock_mode
        )

    def open(self) -> None:
        """Begin the derived run. A run of this uid that is no success is replaced.

        While the catalog is away, that is done later, with the rows.

        Raises
        ------
        ConfigError
            If ``results_root`` cannot be made of this run's start document.
        CatalogError
            If the catalog cannot store it, could not read the result where it is to be, or if
            another process is publishing this reconstruction.
        """
        target = result_path(self.catalogs.home, self.raw_start, self.derived_uid)
        check_readable(self.catalogs.processed, target)
        try:
            self._begin()
        except CatalogAway as error:
            self._later(error)

    def iterations(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take lines of ``progress.jsonl``; their errors appear in the catalog some times a second.

        A catalog that is away does not stop a reconstruction: the rows are kept and stored with
        later ones.

        Parameters
        ----------
        lines : iterable of dict
            Of any ``event``; an iteration that was taken before is left out.
        """
        self._take(lines)
        now = time.monotonic()
        due = now - self._appended >= LIVE_SECONDS and now >= self._next_try
        if due and len(self._rows) > self._appended_rows:
            try:
                self._begin()
                self._append()
            except CatalogAway as error:
                self._later(error)
            except CatalogError as error:
                logger.warning("the errors of %s wait: %s", self.derived_uid[:8], error)

    def succeed(self, result_file: str | os.PathLike[str]) -> Path:
        """Move the result to ``results_root``, publish it, and return where it is now.

        Parameters
        ----------
        result_file : path
            ``result.h5``. If it was moved by a publisher that died afterwards, that is seen.

        Raises
        ------
        ConfigError
            If ``results_root`` cannot be made of this run's start document.
        CatalogError
            If there is no whole result file, or it or the run cannot be stored.
        CatalogAway
            If the catalog does not answer: to be tried again, by this publisher or another, with
            the same `result_file`.
        """
        self._begin()
        if self._published is not None:
            return self._published
        target = result_path(self.catalogs.home, self.raw_start, self.derived_uid)
        check_readable(self.catalogs.processed, target)
        source = Path(result_file)
        facts, rows = read_result(source if source.exists() else target)
        self._take(rows)  # those that a publisher before this one had taken
        if source.exists() and source.absolute() != target:
            move(source, target)
        self._append()
        external = {"external": "FILESTORE:", "dtype": "array", "source": str(target)}
        keys = {
            "object": {**external, "shape": list(facts.pop("object_shape"))},
            "probe": {**external, "shape": list(facts.pop("probe_shape"))},
        }
        dims = {"object": ("object_mode", "y", "x"), "probe": ("probe_mode", "probe_y", "probe_x")}
        self._store(lambda: self._run.describe("result", {"data_keys": keys}))
        for key in keys:
            self._store(
                lambda key=key: self._run.attach("result", key, target, key, dims=dims[key])  # type: ignore[misc]
            )
        # A server may not read what it was told of, and says so only when asked.
        refusal = self._store(
            lambda: why_unreadable(self.catalogs.processed, self.derived_uid, "object", "result")
        )
        if refusal:
            logger.error("%s", refusal)
        self._end(
            {"exit_status": "success", "reason": refusal, "result": facts | {"file": str(target)}}
        )
        self._published = target
        return target

    def fail(self, reason: str, exit_status: str = "fail") -> None:
        """Publish that there is no result, and why; a success that is there stays.

        Parameters
        ----------
        reason : str
            What a person can act on.
        exit_status : {"fail", "abort"}

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        self._begin()
        if self._published is not None or self._ended:
            return
        self._append()
        self._end({"exit_status": exit_status, "reason": reason})

    def close(self) -> None:
        """Leave the run as it is, to another publisher of it."""
        if self._lock.is_locked:
            self._release()

    def _take(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in lines:
            if line.get("event", "iteration") == "iteration" and line["iteration"] > self._newest:
                self._newest = int(line["iteration"])
                self._rows.append(iteration_row(line))

    def _begin(self) -> None:
        if self._begun:
            return
        if not self._lock.is_locked:
            try:
                self._lock.acquire()
            except Timeout as error:
                raise CatalogError(
                    f"reconstruction {self.derived_uid[:8]} is being published by another process"
                ) from error
        there = run_metadata(self.catalogs.processed, self.derived_uid)
        stop = (there or {}).get("stop") or {}
        if stop.get("exit_status") == "success":
            self._published = Path(stop["result"]["file"])
            self._release()
        else:
            self._store(lambda: self._run.begin(replace=True))
            descriptor = iterations_descriptor(*self._modes)
            self._store(lambda: self._run.describe("iterations", descriptor))
        self._begun = True

    def _append(self) -> None:
        if not self._begun or self._published is not None:
            return
        self._appended = time.monotonic()
        number = len(self._rows)
        self._store(lambda: self._run.append("iterations", self._rows[self._appended_rows :]))
        self._appended_rows = number

    def _end(self, stop: Mapping[str, Any]) -> None:
        self._store(lambda: self._run.end(stop))
        self._ended = True
        self._release()

    def _store(self, action: Callable[[], T]) -> T:
        """Store a part; if the catalog is away, the whole run is written anew when it is back."""
        try:
            done = action()
        except CatalogAway:
            # Whether this part is there now cannot be known.
            self._run = run_writer(self.catalogs.processed, self._start)
            self._begun, self._appended_rows = False, 0
            raise
        self._pause, self._next_try = FIRST_PAUSE, 0.0
        return done

    def _later(self, error: CatalogAway) -> None:
        """Try again after a while."""
        if self._pause == FIRST_PAUSE:
            logger.warning("reconstruction %s goes on: %s", self.derived_uid[:8], error)
        self._next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE)

    def _release(self) -> None:
        # Removed while held: nobody else can have it then.
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()
