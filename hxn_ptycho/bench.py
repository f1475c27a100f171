"""How fast this machine reconstructs: the real solver on simulated data of any size."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .home import Home
from .launch import LaunchError, launch
from .prepare import prepare
from .recipe import Recipe
from .scan import Scan
from .simulate import dataset
from .solver.job import FrameBlock, read_progress

# Frames simulated; more views read these again, as their content does not change the speed.
_FRAMES = 100


def run(
    *,
    device: str = "cpu",
    ranks: int = 1,
    views: int = 100,
    window: int = 192,
    probe_modes: int = 5,
    object_modes: int = 1,
    iterations: int = 20,
    precision: str = "single",
) -> dict[str, Any]:
    """Reconstruct simulated data and measure.

    Parameters
    ----------
    device, ranks, probe_modes, object_modes, iterations, precision
        As in a recipe; at least two iterations.
    views : int
        Number of frames.
    window : int
        Side of a frame, pixels.

    Returns
    -------
    dict
        ``gpx_mode_iterations_per_second`` (1e9 views x window^2 x modes x iterations a second),
        ``seconds_per_iteration`` (mean over all but the first iteration, the computation of
        ``error_fourier`` in every tenth included), ``startup_seconds`` (from the launch to the
        first iteration), ``memory_bytes`` (peak of the largest rank), and the case.

    Raises
    ------
    LaunchError
        If the solver failed; the message gives its reason.
    RecipeError, ScanError
        If the case is out of bounds.
    """
    recipe = Recipe.make(
        device=device,
        ranks=ranks,
        probe_modes=probe_modes,
        object_modes=object_modes,
        iterations=max(2, iterations),
        precision=precision,
        fft_window="exact",
        checkpoint_every=0,
    )
    with tempfile.TemporaryDirectory(prefix="hxn-ptycho-bench-") as name:
        home = Home(Path(name)).make()
        folder = home.jobs / "bench"
        scan = _scan(Path(name) / "frames.h5", views, window)
        prepare(scan, recipe, folder, job_uid="bench", derived_uid="bench", home=home)
        program = launch(folder, ranks)
        if program.wait() != 0 or program.reason:
            raise LaunchError(f"the benchmark failed: {program.reason}")
        lines: dict[str, list[dict]] = {}
        for line in read_progress(folder)[0]:
            lines.setdefault(line["event"], []).append(line)
    seconds = [line["seconds"] for line in lines["iteration"]]
    each = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    started, finished = lines["started"][0], lines["finished"][0]
    pixels = views * window**2 * probe_modes * object_modes
    return {
        "gpx_mode_iterations_per_second": pixels / each / 1e9,
        "seconds_per_iteration": each,
        "startup_seconds": started["startup_seconds"],
        "memory_bytes": finished["peak_memory_bytes"],
        "error_fourier": finished["error_fourier"],
        "device": started["device"],
        "communicator": started["communicator"],
        "ranks": ranks,
        "views": views,
        "window": window,
        "probe_modes": probe_modes,
        "object_modes": object_modes,
        "iterations": recipe.iterations,
        "precision": precision,
    }


def _scan(file: Path, views: int, window: int) -> Scan:
    """Return a scan of `views` frames, a square raster of the steps that `dataset` makes."""
    side = math.ceil(math.sqrt(min(views, _FRAMES)))
    few = dataset(n=window, grid=(side, side), probe_modes=1)
    scan = few.scan(file)
    block, count = scan.frames[0], min(views, _FRAMES)
    repeats, rest = divmod(views, count)
    blocks = [replace(block, count=count)] * repeats
    if rest:
        blocks.append(FrameBlock(block.file, block.dataset, 0, rest))
    across = math.ceil(math.sqrt(views))
    step = np.ptp(few.positions_m, axis=0) / (side - 1 if side > 1 else 1)
    row, column = np.divmod(np.arange(views), across)
    positions = np.stack([row, column], axis=1) * step
    if views <= len(few.positions_m):
        positions = few.positions_m[:views]
    return replace(scan, frames=tuple(blocks), positions_m=positions, normalisation=np.ones(views))
