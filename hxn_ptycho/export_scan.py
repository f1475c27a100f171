"""A raw run's frames handed on to other programs, prepared as a reconstruction would have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .beamline import read_scan, rotation_deg
from .catalog import Catalogs, find_run, start_document
from .export import Filling, PreparedScan, write_scan
from .prepare import Plan, make_plan, override
from .recipe import Recipe
from .solver.frames import BATCH_BYTES, Share, check_frames, prepare_some

__all__ = ["export_scan", "prepared_scan"]


def export_scan(
    run: str | int,
    format: str,
    folder: str | os.PathLike[str],
    *,
    catalogs: Catalogs,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a raw run's frames for another program, see `export.write_scan` for the formats.

    Window, centre, orientation, mask, dark, flat, threshold and normalisation are those of the
    recipe, as in a reconstruction. The window is the crop itself: no rim, that only we know of.

    Parameters
    ----------
    run : str or int
        A uid (its first characters suffice), a scan id, or -1 for the last.
    format : {"ptycho_gui", "cxi_frames", "pynx"}
    folder : path
        Made if it is not there.
    catalogs : Catalogs
    recipe : Recipe, optional
        Default: what the run itself calls for.
    overwrite : bool
        Replace a file that is there already.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ExportError
        As `export.write_scan`.
    CatalogError, ScanError, RecipeError, JobError
        As in a reconstruction.
    """
    uid = find_run(catalogs.raw, run, derived=False)
    if recipe is None:
        recipe = override(Recipe(), start_document(catalogs.raw, uid))
    recipe = recipe.merge({"fft_window": "exact"})
    scan = read_scan(catalogs.raw, uid, home=catalogs.home, recipe=recipe)
    angle = rotation_deg(catalogs.raw, uid, home=catalogs.home)
    prepared = prepared_scan(make_plan(scan, recipe), angle)
    return write_scan(prepared, format, folder, overwrite=overwrite)


def prepared_scan(plan: Plan, angle_deg: float | None) -> PreparedScan:
    """Return what can be exported of a scan; its frames are read when they are asked for."""
    job, inputs = plan.job(), plan.inputs
    none = prepare_some(job, inputs, Path(), [])
    scaled = not (inputs.normalisation == 1).all()
    y, x = job.detector_pixel_m
    binning = plan.recipe.binning
    length = max(1, BATCH_BYTES // (job.fft_window**2 * 8))

    def batches() -> Iterator[tuple[NDArray, NDArray[np.int64]]]:
        bad: list[str] = []
        empty: list[str] = []
        for first in range(0, job.number_of_frames, length):
            which = range(first, min(first + length, job.number_of_frames))
            share = prepare_some(job, inputs, Path(), which)
            bad, empty = bad + share.bad, empty + share.empty
            check_frames(
                bad, empty, job.number_of_frames, plan.recipe.bad_frames, plan.recipe.empty_frames
            )
            counts = _without_gaps(share)
            if scaled:
                counts = counts * share.scale[:, None, None].astype(np.float32)
            yield counts, share.index

    return PreparedScan(
        scan_id=job.scan_id,
        raw_uid=job.raw_uid,
        count=job.number_of_frames,
        n=job.fft_window,
        batches=batches,
        dtype=np.dtype(np.float32) if scaled else none.counts.dtype,
        measured=none.measured,
        positions_m=inputs.positions_m,
        wavelength_m=job.wavelength_m,
        distance_m=job.distance_m,
        detector_pixel_m=(y * binning, x * binning),
        normalisation=inputs.normalisation,
        angle_deg=angle_deg,
    )


def _without_gaps(share: Share) -> NDArray:
    """Return counts, saturated pixels of single frames filled: no format has a mask for them."""
    if share.gaps is None:
        return share.counts
    counts = share.counts.copy()
    for j in range(len(counts)):
        measured = share.measured_in(j)
        filling = Filling(share.measured & ~measured, measured)
        counts[j] = filling(counts[j : j + 1])[0]
    return counts
