"""A look at a scan's frames before it is reconstructed: what would be done to them.

Not among the names of `prepare`, as it needs matplotlib, which a compute host may lack.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plot.frames import FramesView
from ..recipe import Recipe
from ..scan import Scan
from ..solver.frames import Share, prepare_some
from .checks import length_text, neighbour_distances
from .plan import Plan, make_plan
from .sample import choose_frames

MOST_FRAMES = 2000  # whose photons are counted
TILES = 4


@dataclass(frozen=True)
class Look:
    """What a run would do, and what it would see.

    Attributes
    ----------
    plan : Plan
    view : FramesView
        For the picture, see `plot.frames`.
    numbers : dict
        The same as numbers, for JSON.
    """

    plan: Plan
    view: FramesView
    numbers: dict[str, Any]


def look(
    scan: Scan, recipe: Recipe, *, title: str = "", folder: str | os.PathLike[str] = "."
) -> Look:
    """Choose all that `prepare` would choose, and look at some frames as the solver would.

    Never more than some frames are read (2,000, or 128 MB of them), evenly spread over the scan.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    title : str
        For the picture, for instance the sample's name.
    folder : path
        That relative files of frames are relative to.

    Raises
    ------
    ScanError, RecipeError
        As `make_plan`.
    JobError
        If a frame cannot be read, or the window has no measured pixel.
    """
    plan = make_plan(scan, recipe, folder)
    which = choose_frames(plan.scan, folder, MOST_FRAMES)
    share = prepare_some(plan.job(), plan.inputs, Path(folder), which.tolist())
    numbers = _numbers(plan, recipe, share, len(which))
    tiles = np.unique(np.linspace(0, max(len(share.index) - 1, 0), TILES).round().astype(int))
    tiles = tiles[: len(share.index)]
    side = plan.window.fft_window
    view = FramesView(
        scan_id=scan.scan_id,
        title=title,
        facts=_facts(plan, numbers),
        mean=_upright(plan.sample.mean, scan),
        sampled=len(plan.sample.index),
        marked={kind: _upright(pixels, scan) for kind, pixels in _marked(plan).items()},
        crop=plan.window.crop,
        centre=_beam(plan),
        found=None if plan.centre.found is None else (plan.centre.found.y, plan.centre.found.x),
        tiles=np.array([_tile(share, j) for j in tiles]).reshape(-1, side, side),
        numbers=share.index[tiles],
        positions_m=plan.scan.positions_m,
        normalisation=plan.scan.normalisation,
        index=share.index,
        photons=share.photons,
        empty=_named(share.empty),
        bad=_named(share.bad),
    )  # fmt: skip
    return Look(plan, view, numbers)


def _numbers(plan: Plan, asked: Recipe, share: Share, looked_at: int) -> dict[str, Any]:
    scan, window, recipe = plan.scan, plan.window, plan.recipe
    found = plan.centre.found
    distances = neighbour_distances(scan, window) if scan.number_of_frames > 1 else np.zeros(1)
    photons = share.photons if len(share.photons) else np.zeros(1)
    return {
        "uid": scan.uid,
        "scan_id": scan.scan_id,
        "frames": scan.number_of_frames,
        "frame_shape": scan.frame_shape,
        "frame_dtype": scan.frame_dtype,
        "energy_kev": recipe.energy_kev,
        "distance_m": window.distance_m,
        "detector_pixel_m": scan.detector_pixel_m,
        "crop": window.crop,
        "binning": window.binning,
        "fft_window": window.fft_window,
        "object_pixel_m": window.object_pixel_m,
        "centre": _beam(plan),
        "centre_found": None if found is None else (found.y, found.x),
        "centre_likeness": None if found is None else found.likeness,
        "centre_how": plan.centre.how,
        "orientation": scan.orientation,
        "orientation_from": "detector" if asked.orientation is None else "recipe",
        "projection": plan.projection,
        "neighbour_distance_m": float(np.median(distances)) * window.side_m[0],
        "neighbour_distance_of_window": float(np.median(distances)),
        "masked_pixels": plan.pixels.counts,
        "masked_in_window": int(np.count_nonzero(~_cropped(plan))),
        "saturation": scan.saturation,
        "looked_at": looked_at,
        "empty": _named(share.empty).tolist(),
        "bad": _named(share.bad).tolist(),
        "bad_why": list(share.bad),
        "saturated_pixels": share.saturated_pixels,
        "photons_median": float(np.median(photons)),
        "photons_range": (float(photons.min()), float(photons.max())),
        "normalisation_range": (
            float(scan.normalisation.min()),
            float(scan.normalisation.max()),
        ),
        "recipe": recipe.model_dump(mode="json"),
    }


def _facts(plan: Plan, numbers: dict[str, Any]) -> list[str]:
    """Return what is said under the picture's title."""
    scan, window, recipe = plan.scan, plan.window, plan.recipe
    binned = f" binned by {window.binning}" if window.binning > 1 else ""
    optics = [
        f"{recipe.energy_kev:.5g} keV",
        f"distance {window.distance_m:.4g} m",
        f"detector pixel {_pair(scan.detector_pixel_m, 1e-6)} µm",
        f"window {window.crop[2]}{binned}",
        f"FFT window {window.fft_window}",
        f"object pixel {_pair(window.object_pixel_m, 1e-9)} nm",
        f"orientation {scan.orientation} (from the {numbers['orientation_from']})",
    ]
    frames = [f"{scan.number_of_frames} frames"]
    for kind, key in (("empty", "empty_frames"), ("bad", "bad_frames")):
        if number := len(numbers[kind]):
            fate = "dropped" if getattr(recipe, key) == "drop" else "refused"
            frames.append(f"{number} {kind} of {numbers['looked_at']} looked at, {fate}")
    if scan.number_of_frames > 1:
        share = numbers["neighbour_distance_of_window"]
        apart = length_text(numbers["neighbour_distance_m"])
        frames.append(f"neighbours {apart} apart, {100 * share:.2g} % of the window")
    frames.append(f"{numbers['photons_median']:.3g} photons a frame")
    masked = sum(numbers["masked_pixels"].values())
    plural = "s"[: masked != 1]
    frames.append(f"{masked} pixel{plural} masked, {numbers['masked_in_window']} in the window")
    frames += [key for key in ("dark", "flat") if getattr(recipe, key) is not None]
    if recipe.threshold:
        frames.append(f"threshold {recipe.threshold:g}")
    if plan.projection != (1.0, 1.0):
        y, x = plan.projection
        applied = "" if recipe.angle_correction else ", not applied"
        frames.append(f"across the beam y × {y:.4g}, x × {x:.4g}{applied}")
    return optics + frames


def _marked(plan: Plan) -> dict[str, NDArray[np.bool_]]:
    pixels = plan.pixels
    return {
        "named": pixels.named,
        "saturated": pixels.saturated,
        "hot": pixels.hot,
        "dead": pixels.dead,
        "set to 0": plan.zeroed,
    }


def _upright(frame: NDArray, scan: Scan) -> NDArray:
    """Return a frame with the direct beam in the middle, where the crop is counted."""
    return np.fft.fftshift(frame) if scan.dc == "corner" else frame


def _beam(plan: Plan) -> tuple[float, float]:
    """Return the pixel that the window is around."""
    y0, x0, side = plan.window.crop
    return float(y0 + side // 2), float(x0 + side // 2)


def _cropped(plan: Plan) -> NDArray[np.bool_]:
    """Return what is measured (n, n) of the crop."""
    y0, x0, side = plan.window.crop
    measured = plan.pixels.measured | plan.zeroed
    return _upright(measured, plan.scan)[y0 : y0 + side, x0 : x0 + side]


def _tile(share: Share, j: int) -> NDArray[np.float64]:
    """Return a frame with the direct beam in the middle, normalised; NaN where not measured."""
    frame = np.where(share.measured_in(j), share.counts[j] * share.scale[j], np.nan)
    return np.fft.fftshift(frame)


def _named(frames: list[str]) -> NDArray[np.int64]:
    """Return the numbers of frames that are named as a share names them, ``frame 7 has ...``."""
    return np.array([int(text.split()[1]) for text in frames], np.int64)


def _pair(lengths: tuple[float, float], unit: float) -> str:
    y, x = (f"{length / unit:.4g}" for length in lengths)
    return x if y == x else f"{y} × {x}"
