"""Make the job folder: checks, what is chosen, first guesses, everything the solver needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..home import Home
from ..launch import engine_of
from ..recipe import Recipe, RecipeError
from ..scan import Scan
from ..solver.job import START_FILE, Job, write_arrays
from .machine import choose_device, choose_ranks, resolve
from .paths import absolute_files
from .plan import Plan, make_plan
from .resources import check_resources
from .starts import Start, object_start, probe_start
from .window import choose_window

__all__ = [
    "Plan",
    "absolute_files",
    "choose_device",
    "choose_ranks",
    "choose_window",
    "make_plan",
    "override",
    "prepare",
    "resolve",
]

log = logging.getLogger(__name__)


def prepare(
    scan: Scan, recipe: Recipe, folder: Path, *, job_uid: str, derived_uid: str, home: Home
) -> Job:
    """Check a scan against a recipe and make its job folder.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    folder : Path
        Is made, private to the user; files of an earlier attempt are replaced.
    job_uid, derived_uid : str
        Of the job, and of the run it will be published as.
    home : Home
        Where results named by uid are looked for; its config.toml says where jobs run.

    Returns
    -------
    Job
        As ``job.json`` in `folder` has it, every key of the recipe resolved.

    Raises
    ------
    ScanError
        If the scan cannot be reconstructed; before any work, with the numbers.
    RecipeError
        If the recipe cannot be used for this scan.
    ConfigError, LaunchError
        If config.toml or its host file cannot be used.
    """
    engine = engine_of(home.config())
    recipe = resolve(recipe, scan.number_of_frames, engine)
    plan = make_plan(scan, recipe, folder)
    window, ranks = plan.window, int(recipe.ranks)
    check_resources(plan.scan, recipe, window, ranks, (folder, home.results), engine)

    probe = probe_start(scan, recipe, window, home)
    obj = object_start(recipe, window, home)
    if recipe.probe == "auto" and probe is None:
        plan = replace(plan, recipe=plan.recipe.merge({"probe": "data"}))

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.share(folder)
    job = plan.job(job_uid, derived_uid, _write_starts(folder, probe, obj))
    plan.inputs.write(folder)
    job.write(folder)
    log.info(
        "scan %s: %d views of %d pixels%s, %s, in a window of %d, object pixel %.3g nm, %d ranks",
        scan.scan_id,
        job.number_of_frames,
        window.crop[2],
        f" binned by {window.binning}" if window.binning > 1 else "",
        f"turned by {plan.scan.orientation}" if plan.scan.orientation != "identity" else "upright",
        window.fft_window,
        window.object_pixel_m[0] * 1e9,
        ranks,
    )
    return job


def override(recipe: Recipe, start: Mapping[str, Any]) -> Recipe:
    """Return the recipe changed by what a plan said for its scan, ``md={"ptycho": {...}}``.

    Parameters
    ----------
    recipe : Recipe
    start : mapping
        The raw run's start document.

    Raises
    ------
    RecipeError
        If what it says is no recipe's.
    """
    keys = start.get("ptycho", {})
    if not isinstance(keys, Mapping):
        raise RecipeError(
            f'md={{"ptycho": {keys!r}}}: give a dict of recipe keys, as {{"probe_modes": 3}}'
        )
    try:
        return recipe.merge(keys)
    except RecipeError as error:
        raise RecipeError(f'md={{"ptycho": ...}}: {error}') from None


def _write_starts(folder: Path, probe: Start | None, obj: Start | None) -> dict[str, str | None]:
    """Write ``start.h5`` if there is a start; return what ``job.json`` says of it."""
    arrays = {
        name: start.array
        for name, start in (("probe", probe), ("object", obj))
        if start is not None
    }
    path = folder / START_FILE
    path.unlink(missing_ok=True)
    if arrays:
        write_arrays(path, object_origin_m=obj.origin_m if obj else None, **arrays)
    return {
        name: f"{START_FILE}:/{name}" if name in arrays else None for name in ("probe", "object")
    }
