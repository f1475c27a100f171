"""All that is chosen for a run from its scan, its recipe and a sample of its frames."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..optics import energy_from_wavelength
from ..recipe import Recipe, RecipeError
from ..scan import Scan
from ..solver.job import Inputs, Job
from .centre import Centre, choose_centre
from .checks import check_files, check_positions, check_scan
from .corrections import Corrections, check_dark, read_corrections
from .pixels import Pixels, judge_pixels
from .sample import FrameSample, read_sample
from .window import Window, choose_window


@dataclass(frozen=True)
class Plan:
    """What a run will do, before anything of it is written.

    Attributes
    ----------
    scan : Scan
        As it is used: positions are those across the beam and the normalisation is applied, unless
        the recipe forbids it; the orientation is the recipe's, where it has one.
    recipe : Recipe
        With all that was chosen here in place of what was left open.
    sample : FrameSample
        The frames by which it was chosen.
    corrections : Corrections
    pixels : Pixels
        Which ones are not believed.
    centre : Centre
        Of the direct beam.
    window : Window
    zeroed : ndarray (h, w), bool
        Where counts are set to 0.
    projection : (float, float)
        (y, x): what the run says that positions are to be multiplied by.
    """

    scan: Scan
    recipe: Recipe
    sample: FrameSample
    corrections: Corrections
    pixels: Pixels
    centre: Centre
    window: Window
    zeroed: NDArray[np.bool_]
    projection: tuple[float, float]

    @property
    def inputs(self) -> Inputs:
        """What ``input.h5`` has."""
        return Inputs(
            self.scan.positions_m,
            self.scan.normalisation,
            self.pixels.measured,
            self.corrections.dark,
            self.corrections.flat,
        )

    def job(
        self,
        job_uid: str = "",
        derived_uid: str = "",
        start: dict[str, str | None] | None = None,
    ) -> Job:
        """Return what ``job.json`` has."""
        scan, window = self.scan, self.window
        return Job(
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
            recipe=self.recipe.model_dump(mode="json"),
            start={"probe": None, "object": None} if start is None else start,
            saturation=scan.saturation,
        )


def make_plan(scan: Scan, recipe: Recipe, folder: str | os.PathLike[str] = ".") -> Plan:
    """Check a scan against a recipe, and choose what is left open; reads few of the frames.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    folder : path
        That relative files of frames are relative to.

    Raises
    ------
    ScanError
        If the scan cannot be reconstructed, with the numbers.
    RecipeError
        If the recipe cannot be used for this scan.
    """
    projection = scan.projection
    scan = _settled(scan, recipe)
    zeroed = _zeroed(scan, recipe)
    check_files(scan, folder)
    corrections = read_corrections(scan, recipe)
    sample = read_sample(scan, folder)
    pixels = judge_pixels(
        sample, corrections.bad, recipe.hot_pixels, corrections.dark, corrections.flat
    )
    mean = sample.mean
    if corrections.dark is not None:
        check_dark(corrections.dark, mean, pixels.measured)
        mean = mean - corrections.dark
    if corrections.flat is not None:
        mean = mean / corrections.flat
    centre = choose_centre(scan, recipe, mean, pixels.measured & ~zeroed)
    window = choose_window(scan, recipe.merge({"centre": (centre.y, centre.x)}))
    check_positions(scan, window)
    return Plan(
        scan,
        _chosen(recipe, scan, window),
        sample,
        corrections,
        pixels,
        centre,
        window,
        zeroed,
        projection,
    )


def _settled(scan: Scan, recipe: Recipe) -> Scan:
    """Check the scan, and return it as it is used."""
    if not recipe.normalise:
        scan = replace(scan, normalisation=np.ones(scan.number_of_frames))
    check_scan(scan)
    if recipe.angle_correction:
        scan = replace(scan, positions_m=scan.positions_m * scan.projection, projection=(1.0, 1.0))
    if recipe.orientation is not None:
        scan = replace(scan, orientation=recipe.orientation)
    return scan


def _zeroed(scan: Scan, recipe: Recipe) -> NDArray[np.bool_]:
    """Return where (h, w) counts are set to 0: what they were says nothing.

    Raises
    ------
    RecipeError
        If a region is not on the detector.
    """
    height, width = scan.frame_shape
    zeroed = np.zeros(scan.frame_shape, bool)
    for y0, x0, rows, columns in recipe.zero_regions:
        if y0 + rows > height or x0 + columns > width:
            raise RecipeError(
                f"zero_regions: ({y0}, {x0}, {rows}, {columns}), as (y0, x0, height, width), ends "
                f"at ({y0 + rows}, {x0 + columns}), outside the frames of {height} x {width} pixels"
            )
        zeroed[y0 : y0 + rows, x0 : x0 + columns] = True
    return zeroed


def _chosen(recipe: Recipe, scan: Scan, window: Window) -> Recipe:
    """Return the recipe with everything that was chosen for it, to be kept with the result."""
    y0, x0, side = window.crop
    return recipe.merge(
        {
            "window": side,
            "centre": (float(y0 + side // 2), float(x0 + side // 2)),
            "orientation": scan.orientation,
            "distance_m": window.distance_m,
            "energy_kev": energy_from_wavelength(window.wavelength_m),
        }
    )
