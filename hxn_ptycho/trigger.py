"""`AutoReconstruct`: the callback that queues each ptychography scan when it has ended."""

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

from . import watch
from .beamline import expected_frames, is_ptychography
from .catalog import CatalogError, Catalogs, check_readable, describe, home_of
from .home import Stores, find_home
from .prepare import absolute_files, override
from .queue import Queue, QueuedJob
from .recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from databroker import Broker

log = logging.getLogger(__name__)

# Runs that were begun and never ended (a killed detector, a lost connection) are forgotten.
_MOST_RUNS = 100
# The RunEngine waits for callbacks: give up on a busy queue soon.
_QUEUE_SECONDS = 1.0


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
        Job uids of the scans queued by this callback, in order.

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
        uid = stop["run_start"]
        run = self._runs.pop(uid, None)
        if run is None or not is_ptychography(run.start, run.descriptors):
            return
        scan = f"scan {run.start.get('scan_id')}"
        if stop.get("exit_status") != "success":
            reason = f" ({stop['reason']})" if stop.get("reason") else ""
            _say(f"{scan} ended with {stop.get('exit_status')}{reason}: not reconstructed")
            return
        for file in sorted(run.files):
            try:
                check_readable(self.home, file)
            except CatalogError as error:
                _say(f"{scan}: {error}")
                break
        recipe, refusal = self._recipe_for(run.start)
        if refusal:
            _say(f"{scan} cannot be reconstructed: {refusal}")
        queue = Queue(self.home, timeout=_QUEUE_SECONDS)
        job = queue.submit(
            uid,
            int(run.start.get("scan_id", 0)),
            recipe,
            stores=self.stores,
            refusal=refusal,
        )
        self.jobs.append(job.job_uid)
        if self.start_worker:
            queue.ensure_worker()
        elif not queue.has_worker():
            _say(f"{scan} waits: no worker serves {self.home.root}; is its service up?")
        if (serving := queue.serving()) and not serving.is_here and self._has_embedded():
            _say(
                f"{scan}: the worker is on {serving.host}, and the catalogs in "
                f"{self.home.catalogs} are for one host at a time; name a Tiled server or "
                f"databroker.v0 in [catalogs] of {self.home.config_file}"
            )

    def _stores_of(self, raw: Catalogs | Broker | None, processed: Broker | None) -> Stores | None:
        """Return what the brokers that were given say of where they are."""
        if isinstance(raw, Catalogs):
            raw, processed = raw.raw, processed or raw.processed
        if raw is None and processed is None:
            return None
        known = self.home.config().catalogs
        stores = Stores(
            raw=known.raw if raw is None else describe(raw),
            processed=known.processed if processed is None else describe(processed),
        )
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
