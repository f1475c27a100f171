"""Which way round the detector's frames are, relative to the positions: found from one scan.

The scan is reconstructed in the four classes of orientations that the data tell apart; the one
that fits is ahead by its ``error_fourier``. Which of the two of a class, optics or sample tell.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..beamline import read_scan
from ..catalog import Catalogs, find_run, open_catalog, start_document
from ..home import Home, find_home
from ..prepare import absolute_files, override
from ..recipe import Recipe
from ..scan import Scan
from .contest import OrientError
from .pictures import Picture, save, verdict
from .report import OrientationReport, Ranked, Twin
from .twin import Matter, Optics
from .work import Listener, Work

__all__ = [
    "Listener",
    "Matter",
    "Optics",
    "OrientError",
    "OrientationReport",
    "Picture",
    "Ranked",
    "Twin",
    "orient",
    "orient_scan",
    "save",
    "verdict",
]

#: Views looked at, and most iterations, unless one says otherwise.
VIEWS, ITERATIONS = 150, 400


def orient(
    run: str | int,
    *,
    catalogs: Catalogs | None = None,
    home: Home | str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    views: int = VIEWS,
    iterations: int = ITERATIONS,
    progress: Listener = lambda line: None,
    **keys: Any,
) -> OrientationReport:
    """Find the orientation of a run's frames. Nothing is published.

    Examples
    --------
    >>> orient(-1).lines
    ('orientation = "flip_y"',)

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
        ``md={"ptycho": {...}}`` says. Its algorithm, iterations and orientation do not count.
    views, iterations, progress
        As for `orient_scan`.
    **keys
        Keys of the recipe, in place of its own.

    Raises
    ------
    CatalogError, ScanError, RecipeError, ConfigError, LaunchError
        If the run cannot be found, read, reconstructed so, or reconstructed here.
    OrientError
        If a reconstruction failed.
    """
    catalogs = catalogs or open_catalog(home)
    raw_uid = find_run(catalogs.raw, run, derived=False)
    start = start_document(catalogs.raw, raw_uid)
    if recipe is None:
        chosen = override(Recipe(), start)
    else:
        chosen = recipe if isinstance(recipe, Recipe) else Recipe.from_toml(recipe)
    chosen = absolute_files(chosen.merge(keys), Path.cwd())
    scan = read_scan(catalogs.raw, raw_uid, home=catalogs.home)
    return orient_scan(
        scan, chosen, home=catalogs.home, views=views, iterations=iterations, progress=progress
    )


def orient_scan(
    scan: Scan,
    recipe: Recipe | None = None,
    *,
    home: Home | None = None,
    views: int = VIEWS,
    iterations: int = ITERATIONS,
    progress: Listener = lambda line: None,
    interrupt: Callable[[], object] = lambda: None,
) -> OrientationReport:
    """Find the orientation of a scan's frames.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe, optional
        What is known of the measurement: window, energy, modes, zone plate... Its algorithm,
        iterations and orientation do not count.
    home : Home, optional
        Its config.toml says where jobs run. Their folders are removed at the end.
    views : int
        At most so many are looked at: those around the place where the scan has most to show.
    iterations : int
        After which it stays open.
    progress : callable
        Gets dicts: ``{"event": "waiting", "reason"}`` whenever what it waits for changes,
        ``{"event": "class", "orientation", "iteration", "iterations", "error_fourier"}``, and
        ``{"event": "decided", "orientation", "iteration"}`` when one class is ahead for good.
    interrupt : callable
        Is called some times a second; what it raises ends it.

    Raises
    ------
    ScanError, RecipeError, ConfigError, LaunchError
        If the scan cannot be reconstructed so, or not here.
    OrientError
        If a reconstruction failed.
    """
    home = (home or find_home()).make()
    folder = home.jobs / f"orient-{uuid.uuid4()}"
    try:
        work = Work(scan, recipe or Recipe(), home, folder, iterations)
        work.prepare(views)
        work.run(progress, interrupt)
        return work.report()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
