"""Queue each ptychography scan when it has ended: the callback `AutoReconstruct`, or a call."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from . import watch
from .beamline import expected_frames, is_ptychography
from .catalog import (
    CatalogAway,
    CatalogError,
    Catalogs,
    check_readable,
    describe,
    descriptors,
    home_of,
    open_catalog,
    wait_for_stop,
)
from .home import Store, Stores, find_home
from .prepare import absolute_files, override
from .queue import AlreadyQueued, Queue, QueuedJob
from .recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from databroker import Broker

log = logging.getLogger(__name__)

# Runs that were begun and never ended (a killed detector, a lost connection) are forgotten.
_MOST_RUNS = 100
# The RunEngine waits for callbacks: give up on a busy queue soon.
_QUEUE_SECONDS = 1.0
# Nothing waits for `end_of_run` but who called it: for the queue, and for the catalog's writer.
_PATIENT_SECONDS, _CATALOG_SECONDS = 10.0, 60.0


@dataclass
class _Run:
    """What has been seen of a run that has not ended."""

    start: dict[str, Any]
    descriptors: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


class AutoReconstruct:
    """Queues each ptychography scan for reconstruction as soon as its stop document is there.

    A callback for ``RE.subscribe``: it looks at documents and writes one line into the queue; the
    work is done by a worker process, which it starts. It never raises and never waits for a
    reconstruction; what goes wrong is printed in one line, and told by the derived run.

    Examples
    --------
    >>> ptycho = AutoReconstruct(catalogs, recipe="ptycho.toml")
    >>> RE.subscribe(ptycho)
    >>> ptycho.show()

    Parameters
    ----------
    catalog : Catalogs or databroker.Broker, optional
        Where the scans are: HXN's own ``db`` (databroker.v0), a Tiled server's, or the catalogs of
        a home, whose queue and worker are used then; others use those of ``HXN_PTYCHO_HOME``, else
        of the user's data folder. Default: as that home's config.toml says.
    recipe : Recipe, mapping or path, optional
        What to compute. A path is a TOML file with a ``[ptycho]`` table, read anew for each scan.
        ``md={"ptycho": {...}}`` of a plan overrides it for that scan.
    processed : databroker.Broker, optional
        Where results go; default: as config.toml says, else into the home.
    start_worker : bool
        Start a worker process if none serves the home. False: a service does, perhaps on another
        host that shares the home.

    Attributes
    ----------
    jobs : list of str
        Job uids of the scans that this callback saw, in order; those too that another had queued.

    Raises
    ------
    RecipeError
        If the recipe cannot be used. Only here: not once subscribed.
    """

    def __init__(
        self,
        catalog: Catalogs | Broker | None = None,
        recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        processed: Broker | None = None,
        start_worker: bool = True,
    ) -> None:
        if catalog is None:
            self.home = find_home()
        elif isinstance(catalog, Catalogs):
            self.home = catalog.home
        else:
            self.home = find_home(home_of(catalog))
        #: Where scans are and results go; None: as config.toml says when a scan is worked on.
        self.stores = self._stores_of(catalog, processed)
        if isinstance(recipe, str | os.PathLike):
            recipe = Path(recipe).expanduser().absolute()
        self.recipe = recipe
        self.start_worker = start_worker
        self.jobs: list[str] = []
        self._runs: dict[str, _Run] = {}
        self._waited: set[str] = set()
        self._current_recipe()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document."""
        try:
            if name == "start":
                self._start(dict(doc))
            elif name == "descriptor":
                if run := self._runs.get(doc["run_start"]):
                    run.descriptors.append(dict(doc))
            elif name in ("resource", "stream_resource"):
                # HXN's resources do not say whose they are.
                own = self._runs.get(doc.get("run_start", ""))
                for run in [own] if own else self._runs.values():
                    run.files.add(_file_of(doc))
            elif name == "stop":
                self._stop(doc)
        except Exception as error:
            # Whatever it is, the scan goes on: a callback that raises fails it.
            log.debug("%s document", name, exc_info=True)
            uid = doc.get("run_start") or doc.get("uid")
            _say(
                f"run {uid}: not queued, {type(error).__name__}: {error}; "
                f"hxn-ptycho reconstruct {uid}   does it by hand"
            )

    def wait(self, timeout: float | None = None) -> list[QueuedJob]:
        """Wait for the scans queued so far, with a progress bar; print what came of each.

        Ctrl-C ends the waiting, not the reconstructions.

        Parameters
        ----------
        timeout : float, optional
            Seconds; default: for ever.

        Returns
        -------
        list of QueuedJob
            Those that had not been waited for before.

        Raises
        ------
        TimeoutError
            If they have not ended by then.
        """
        jobs = [uid for uid in self.jobs if uid not in self._waited]
        if toolbar := _toolbars.get(id(self)):
            jobs = toolbar.leave(jobs)
        self._waited |= set(jobs)
        return watch.wait(self.home, jobs, timeout=timeout, start_worker=self.start_worker)

    def show(self) -> None:
        """Show the reconstructions below IPython's prompt, and what came of each when it ends.

        Outside IPython nothing is shown: use `wait`.
        """
        shell = _ipython()
        if shell is None:
            return
        self.hide()
        _toolbars[id(self)] = toolbar = watch.Toolbar(
            self.home, lambda: self.jobs, shell, keep_worker=self.start_worker
        )
        toolbar.start()

    def hide(self) -> None:
        """Show nothing any more."""
        if toolbar := _toolbars.pop(id(self), None):
            toolbar.stop()

    def _start(self, start: dict[str, Any]) -> None:
        if "analysis_stage" in start:  # a reconstruction must not trigger another
            return
        while len(self._runs) >= _MOST_RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[start["uid"]] = _Run(start)
        # A start document alone may be of a ptychography scan or not. If so, begin a worker now: it
        # will be warm when the scan ends.
        if self.start_worker and expected_frames(start) is not None:
            Queue(self.home).ensure_worker()

    def _stop(self, stop: Mapping[str, Any]) -> None:
        run = self._runs.pop(stop["run_start"], None)
        job = self._queue(run, stop, _QUEUE_SECONDS) if run else None
        if job and job.job_uid not in self.jobs:
            self.jobs.append(job.job_uid)

    def _queue(self, run: _Run, stop: Mapping[str, Any], seconds: float) -> QueuedJob | None:
        """Queue a run that has ended, if it is to be reconstructed; wait so long for the queue."""
        uid, scan = run.start["uid"], f"scan {run.start.get('scan_id')}"
        if not is_ptychography(run.start, run.descriptors):
            log.info("%s, run %s, is not a ptychography scan: not queued", scan, uid)
            return None
        if stop.get("exit_status") != "success":
            reason = f" ({stop['reason']})" if stop.get("reason") else ""
            _say(f"{scan} ended with {stop.get('exit_status')}{reason}: not reconstructed")
            return None
        embedded = (self.stores or self.home.config().catalogs).raw.is_embedded
        for file in sorted(run.files) if embedded else ():
            try:
                check_readable(self.home, file)
            except CatalogError as error:
                _say(f"{scan}: {error}")
                break
        recipe, refusal = self._recipe_for(run.start)
        queue = Queue(self.home, timeout=seconds)
        try:
            job = queue.submit(
                uid,
                int(run.start.get("scan_id", 0)),
                recipe,
                stores=self.stores,
                refusal=refusal,
                once=True,
            )
        except AlreadyQueued as earlier:
            job = earlier.job
            _say(f"{scan} was queued before (job {job.job_uid[:8]}, {job.state}): not queued again")
        else:
            if refusal:
                _say(f"{scan} cannot be reconstructed: {refusal}")
            if not self.start_worker and not queue.has_worker():
                _say(f"{scan} waits: no worker serves {self.home.root}; is its service up?")
        if self.start_worker and not job.ended:
            queue.ensure_worker()
        if (serving := queue.serving()) and not serving.is_here and self._has_embedded():
            _say(
                f"{scan}: the worker is on {serving.host}, and the catalogs in "
                f"{self.home.catalogs} are for one host at a time; name a Tiled server or "
                f"databroker.v0 in [catalogs] of {self.home.config_file}"
            )
        return job

    def _stores_of(self, raw: Catalogs | Broker | None, processed: Broker | None) -> Stores | None:
        """Return what the brokers that were given say of where they are."""
        if isinstance(raw, Catalogs):
            raw, processed = raw.raw, processed or raw.processed
        if raw is None and processed is None:
            return None
        known = self.home.config().catalogs

        def place(broker: Broker | None, as_known: Store) -> Store:
            return as_known if broker is None else describe(broker, as_known)

        stores = Stores(raw=place(raw, known.raw), processed=place(processed, known.processed))
        return None if stores == known else stores

    def _has_embedded(self) -> bool:
        """Whether scans or results are in the home's own files."""
        stores = self.stores or self.home.config().catalogs
        return stores.raw.is_embedded or stores.processed.is_embedded

    def _recipe_for(self, start: Mapping[str, Any]) -> tuple[Recipe, str]:
        """Return the recipe of one scan, and why it cannot be used, if so."""
        recipe = Recipe()
        try:
            recipe = self._current_recipe()
            return absolute_files(override(recipe, start), Path.cwd()), ""
        except RecipeError as error:
            return recipe, str(error)

    def _current_recipe(self) -> Recipe:
        if self.recipe is None:
            return Recipe()
        if isinstance(self.recipe, Recipe):
            return self.recipe
        if isinstance(self.recipe, Mapping):
            return Recipe.make(**self.recipe)
        return Recipe.from_toml(self.recipe)


def end_of_run(
    stop_doc: Mapping[str, Any],
    catalog: Catalogs | Broker | None = None,
    recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    processed: Broker | None = None,
    start_worker: bool = True,
    seconds: float = _CATALOG_SECONDS,
) -> QueuedJob | None:
    """Queue the scan that a stop document ends, if it is one to reconstruct.

    What a workflow engine calls (a Prefect flow, a consumer of Kafka's, a shell's hook), with the
    same rules as `AutoReconstruct`. The documents come from the catalog. A scan is queued once,
    however often and by whomever its end is told.

    Examples
    --------
    >>> end_of_run(stop_doc)
    <job 3fa9c1d2 of scan 7: queued>
    >>> end_of_run({"run_start": uid}, recipe={"probe_modes": 3})

    Parameters
    ----------
    stop_doc : mapping
        The stop document; of it, ``run_start`` is used, the uid of the run that has ended.
    catalog : Catalogs or databroker.Broker, optional
        Where the run is, and whose queue and worker are used; default: those of
        ``HXN_PTYCHO_HOME``, else of the user's data folder.
    recipe : Recipe, mapping or path, optional
        As of `AutoReconstruct`.
    processed : databroker.Broker, optional
        As of `AutoReconstruct`.
    start_worker : bool
        Start a worker process if none serves the home.
    seconds : float
        How long to wait for the catalog to have the run and its stop document.

    Returns
    -------
    QueuedJob or None
        The job, also if it was queued by an earlier call; None if the run is not a ptychography
        scan or did not end well, and the log says which.

    Raises
    ------
    TypeError, ValueError
        If `stop_doc` is not a mapping, or has no ``run_start``.
    RecipeError
        If `recipe` cannot be used.
    CatalogError
        If the catalog does not have the run, or not its stop document, after so many seconds.
    ConfigError
        If ``config.toml`` or ``hxn.toml`` cannot be used.
    QueueError
        If the queue cannot be written, or the worker not be started.
    """
    uid = _run_of(stop_doc)
    callback = AutoReconstruct(catalog, recipe, processed=processed, start_worker=start_worker)
    if catalog is None:
        catalog = open_catalog(callback.home)
    raw = catalog.raw if isinstance(catalog, Catalogs) else catalog
    attempts = Retrying(
        retry=retry_if_exception_type(CatalogAway),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(1),
        reraise=True,
    )
    start, stop = attempts(wait_for_stop, raw, uid, seconds)
    return callback._queue(_Run(start, descriptors(raw, uid)), stop, _PATIENT_SECONDS)


def _run_of(stop_doc: Mapping[str, Any]) -> str:
    """Return the uid of the run that a stop document ends."""
    if not isinstance(stop_doc, Mapping):
        raise TypeError(
            f"end_of_run takes a stop document, and this is of type {type(stop_doc).__name__}: "
            '{"run_start": UID} will do'
        )
    uid = stop_doc.get("run_start")
    if not isinstance(uid, str) or not uid:
        kind = "start document" if "plan_name" in stop_doc or "scan_id" in stop_doc else "document"
        raise ValueError(
            f"this {kind} is not a stop document: it has no run_start, the uid of the run that has "
            f"ended, but {', '.join(sorted(map(str, stop_doc))) or 'nothing'}"
        )
    return uid


# Not attributes: a callback may be pickled, a thread may not.
_toolbars: dict[int, watch.Toolbar] = {}


def _ipython() -> Any:
    """Return IPython's shell, or None outside of it; does not import IPython."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _file_of(resource: Mapping[str, Any]) -> str:
    """Return the file of a resource or stream_resource document."""
    if "uri" in resource:
        return unquote(urlparse(resource["uri"]).path)
    return os.path.join(resource.get("root", "/"), resource["resource_path"].lstrip("/"))


def _say(text: str) -> None:
    log.info("%s", text)
    with suppress(OSError, ValueError):  # no terminal any more
        print(f"ptycho: {text}", flush=True)
