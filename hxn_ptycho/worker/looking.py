"""A look at a scan's frames before it is reconstructed, by the run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..beamline import read_scan
from ..catalog import Catalogs, find_run, open_catalog, start_document
from ..home import Home
from ..plot import sample_name, show
from ..plot.frames import figure_frames
from ..prepare.looking import Look, look
from ..recipe import Recipe
from .choosing import choose_recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def look_at_frames(
    run: str | int,
    *,
    catalogs: Catalogs | None = None,
    home: Home | str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    **keys: Any,
) -> Look:
    """Return what `reconstruct` would do with a run's frames, and what it would see.

    Parameters are those of `reconstruct`. Some of the frames are read, nothing is written.

    Returns
    -------
    Look
        ``numbers`` for a program, ``view`` for `plot.frames.save_frames`.

    Raises
    ------
    CatalogError
        If the catalog cannot be opened or has no such run.
    RecipeError, ScanError, JobError
        If the recipe or the scan cannot be used, as `reconstruct` would say.
    """
    catalogs = catalogs or open_catalog(home)
    raw_uid = find_run(catalogs.raw, run, derived=False)
    start = start_document(catalogs.raw, raw_uid)
    chosen = choose_recipe(recipe, start, keys)
    scan = read_scan(catalogs.raw, raw_uid, home=catalogs.home)
    return look(scan, chosen, title=sample_name(start), folder=catalogs.home.root)


def show_frames(
    run: str | int,
    *,
    catalogs: Catalogs | None = None,
    home: Home | str | os.PathLike[str] | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    **keys: Any,
) -> Figure:
    """Return the picture of a run's frames, before they are reconstructed: crop, centre, mask.

    A notebook shows it, IPython with ``%matplotlib`` opens a window; ``.savefig("frames.png")``
    writes it.

    Examples
    --------
    >>> show_frames(-1, window=128)

    Parameters are those of `reconstruct`; raises as `look_at_frames`.
    """
    seen = look_at_frames(run, catalogs=catalogs, home=home, recipe=recipe, **keys)
    drawn = figure_frames(seen.view)
    show(drawn, None)
    return drawn
