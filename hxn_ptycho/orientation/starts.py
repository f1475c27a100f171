"""Which part of a scan is looked at, and from which first probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..home import Home
from ..optics import propagate
from ..prepare import make_plan
from ..prepare.starts import probe_start
from ..recipe import Recipe
from ..scan import Scan
from ..solver.frames import prepare_some
from ..solver.job import write_arrays
from ..solver.orientation import Orientation, matrix
from .beam import defocus, focal_spot
from .patch import patch, richest, spread

_LOOKED_AT = 400  # frames, to find the part of the scan that has most to show

#: Changes of the recipe, by a word for the first probe.
Starts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """The part of a scan that is reconstructed, and how.

    Attributes
    ----------
    scan : Scan
    recipe : Recipe
        With all that was chosen for the whole scan.
    starts : callable
        Orientation -> the first probes to try.
    """

    scan: Scan
    recipe: Recipe
    starts: Callable[[Orientation], Starts]


def choose_part(scan: Scan, recipe: Recipe, views: int, home: Home, folder: Path) -> Part:
    """Choose the views, and the first probes.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    views : int
        At most so many.
    home : Home
        Where probes named by uid are looked for.
    folder : Path
        For the first probes' files.

    Raises
    ------
    ScanError, RecipeError
        If the scan cannot be reconstructed so.
    JobError
        If its frames cannot be read.
    """
    upright = recipe.merge({"orientation": "identity"})
    plan = make_plan(scan, upright, folder)
    job, inputs = plan.job(), plan.inputs
    if scan.number_of_frames > views:
        some = prepare_some(job, inputs, folder, spread(scan, _LOOKED_AT).tolist())
        where = plan.scan.positions_m[some.index]
        share = views / scan.number_of_frames
        around = richest(some.counts, where, some.index, share)
        part, numbers = patch(scan, views, around)
    else:
        part, numbers = scan, np.arange(scan.number_of_frames)
    # What was found by the whole scan holds for its part.
    chosen = recipe.merge({"window": plan.recipe.window, "centre": plan.recipe.centre})
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = probe_start(plan.scan, plan.recipe, plan.window, home)
    pixel = plan.window.object_pixel_m
    if given is not None:
        conjugate = {"given": given.array, "conjugate": given.array.conj()}
        written = {name: _write(folder, name, wave, pixel) for name, wave in conjugate.items()}
        return Part(part, chosen, lambda orientation: written)
    if recipe.probe == "random":
        return Part(part, chosen, lambda orientation: {"random": {}})

    frames = prepare_some(job, inputs, folder, numbers.tolist())
    mean = frames.total / len(frames.counts)
    away = defocus(frames.counts, mean, pixel, plan.window.wavelength_m)

    def from_data(orientation: Orientation) -> Starts:
        spot = focal_spot(_turned(mean, orientation))
        found: dict[str, Mapping[str, Any]] = {"focused": {"probe": "data"}}
        for name, sign in (("downstream", 1), ("upstream", -1)) if away > 0 else ():
            wave = propagate(spot, pixel, plan.window.wavelength_m, sign * away)
            found[name] = _write(folder, f"{name}-{orientation}", wave[None], pixel)
        return found

    return Part(part, chosen, from_data)


def _turned(mean: NDArray[np.float64], orientation: Orientation) -> NDArray[np.float64]:
    """Return a mean frame (n, n), DC at [0, 0], turned about the direct beam."""
    n = len(mean)
    y, x = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    row, column = np.tensordot(matrix(orientation), np.stack([y, x]), axes=1) % n
    turned: NDArray[np.float64] = mean[row, column]
    return turned


def _write(
    folder: Path, name: str, wave: NDArray[np.complexfloating], pixel_m: tuple[float, float]
) -> dict[str, Any]:
    """Write a first probe (modes, n, n) and return what the recipe says of it."""
    path = folder / f"{name}.h5"
    write_arrays(path, probe=wave)
    with h5py.File(path, "r+") as file:
        file.attrs["pixel_size"] = pixel_m
    return {"probe": str(path)}
