"""Make the job folder: checks, window, first guesses, everything the solver needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..home import Home
from ..launch import engine_of
from ..optics import energy_from_wavelength
from ..recipe import Recipe, RecipeError
from ..scan import Scan
from ..solver.job import START_FILE, Inputs, Job, write_arrays
from .checks import check_files, check_positions, check_scan
from .machine import choose_device, choose_ranks, resolve
from .resources import check_resources
from .starts import Start, absolute_starts, object_start, probe_start
from .window import Window, choose_window

__all__ = [
    "absolute_starts",
    "choose_device",
    "choose_ranks",
    "choose_window",
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
    check_scan(scan)
    window = choose_window(scan, recipe)
    check_positions(scan, window)
    check_files(scan, folder)
    ranks = int(recipe.ranks)
    check_resources(scan, recipe, window, ranks, (folder, home.results), engine)

    probe = probe_start(scan, recipe, window, home)
    obj = object_start(recipe, window, home)

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    job = Job(
        job_uid=job_uid,
        derived_uid=derived_uid,
        raw_uid=scan.uid,
        scan_id=scan.scan_id,
        frames=scan.frames,
        frame_shape=scan.frame_shape,
        frame_dtype=scan.frame_dtype,
        dc=scan.dc,
        crop=window.crop,
        fft_window=window.fft_window,
        wavelength_m=window.wavelength_m,
        distance_m=window.distance_m,
        detector_pixel_m=scan.detector_pixel_m,
        object_pixel_m=window.object_pixel_m,
        recipe=_resolved(recipe, scan, window, probe).model_dump(mode="json"),
        start=_write_starts(folder, probe, obj),
        saturation=scan.saturation,
    )
    mask = np.ones(scan.frame_shape, bool) if scan.mask is None else scan.mask
    Inputs(scan.positions_m, scan.normalisation, mask).write(folder)
    job.write(folder)
    log.info(
        "scan %s: %d views of %d pixels in a window of %d, object pixel %.3g nm, %d ranks",
        scan.scan_id,
        job.number_of_frames,
        window.crop[2],
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


def _resolved(recipe: Recipe, scan: Scan, window: Window, probe: Start | None) -> Recipe:
    """Return the recipe with everything that was chosen for it, to be kept with the result."""
    y0, x0, side = window.crop
    keys: dict[str, Any] = {
        "window": side,
        "centre": (float(y0 + side // 2), float(x0 + side // 2)),
        "distance_m": window.distance_m,
        "energy_kev": energy_from_wavelength(window.wavelength_m),
    }
    if recipe.probe == "auto" and probe is None:
        keys["probe"] = "data"
    return recipe.merge(keys)


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
