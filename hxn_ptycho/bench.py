"""How fast this machine reconstructs: the real solver on simulated data of any size."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .home import Config, Home
from .launch import LaunchError, LocalEngine, gpus
from .prepare import choose_device, prepare
from .recipe import Recipe, RecipeError
from .scan import Scan
from .simulate import dataset
from .solver.job import RESULT_FILE, FrameBlock, ResultData, read_progress

# Frames simulated; more views read these again, as their content does not change the speed.
_FRAMES = 100


def run(
    *,
    device: str = "cpu",
    ranks: int = 1,
    views: int = 100,
    window: int = 192,
    fft_window: str = "exact",
    probe_modes: int = 5,
    object_modes: int = 1,
    iterations: int = 20,
    algorithm: str = "DM",
    precision: str = "single",
    storage: str = "single",
    sums: str = "auto",
    profile: bool = False,
) -> dict[str, Any]:
    """Reconstruct simulated data and measure.

    Parameters
    ----------
    device, ranks, probe_modes, object_modes, iterations, algorithm, precision, storage
        As in a recipe; at least two iterations.
    views : int
        Number of frames.
    window : int
        Side of a frame, pixels.
    fft_window : {"exact", "fast"}
        "fast", as in a recipe: frames embedded in the next size with factors 2, 3, 5.
    sums : {"auto", "nccl", "mpi-cuda", "host"}
        How several GPUs add up, see ``solver/communicator.py``.
    profile : bool
        Also measure each kernel of the GPU, which takes a little time itself.

    Returns
    -------
    dict
        ``gpx_mode_iterations_per_second`` (1e9 views x window^2 x modes x iterations a second),
        ``seconds_per_iteration`` (mean over all but the first iteration, the computation of
        ``error_fourier`` in every tenth included), ``startup_seconds`` (from the launch to the
        first iteration) with its parts in ``startup``, ``seconds_total`` (until there is a result),
        ``memory_bytes`` (peak of the largest rank), and the case, in which ``fft_window`` is the
        side of the FFT window in pixels.

        On a GPU also ``device_memory_bytes`` and ``estimated_memory_bytes`` (the most that the
        solver took of one GPU, and had expected to take), ``copy_bytes_per_second`` (read and
        written, within one GPU's memory) and ``fraction_of_copy_floor``: the time in which the
        GPUs would copy the exit waves once and read the counts (2 bytes a pixel) once, over the
        time of an iteration. On several GPUs also ``sum_bytes`` that an iteration adds up,
        ``sum_seconds`` that this takes by itself, and ``link_bytes_per_second`` of a large sum.
        With `profile`, ``profile``: ``name``, ``calls``, ``seconds`` and ``share`` of each kernel.

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
        algorithm=algorithm,
        precision=precision,
        storage=storage,
        fft_window=fft_window,
        checkpoint_every=0,
    )
    engine = LocalEngine(Config())
    options = _options(choose_device(recipe, engine), sums, profile)
    with tempfile.TemporaryDirectory(prefix="hxn-ptycho-bench-") as name:
        home = Home(Path(name)).make()
        folder = home.jobs / "bench"
        scan = _scan(Path(name) / "frames.h5", views, window)
        job = prepare(scan, recipe, folder, job_uid="bench", derived_uid="bench", home=home)
        recipe = Recipe.make(**job.recipe)
        place = engine.take(str(recipe.device), ranks)
        if place is None:  # beside another job, no figure would be worth anything
            busy = engine.busy(str(recipe.device), ranks)
            raise LaunchError(f"the benchmark {busy}; run it when they are")
        try:
            program = engine.launch(folder, ranks, place, options=options)
            status = program.wait()
        finally:
            place.release()
        if status != 0 or program.reason:
            raise LaunchError(f"the benchmark failed: {program.reason}")
        lines: dict[str, list[dict]] = {}
        for line in read_progress(folder)[0]:
            lines.setdefault(line["event"], []).append(line)
        total = ResultData.read(folder / RESULT_FILE).seconds_total
    seconds = [line["seconds"] for line in lines["iteration"]]
    each = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    started, finished = lines["started"][0], lines["finished"][0]
    pixels = views * window**2 * probe_modes * object_modes
    measured = {
        "gpx_mode_iterations_per_second": pixels / each / 1e9,
        "seconds_per_iteration": each,
        "startup_seconds": started["startup_seconds"],
        "startup": started["startup"],
        "seconds_total": total,
        "memory_bytes": finished["peak_memory_bytes"],
        "error_fourier": finished["error_fourier"],
        "device": started["device"],
        "communicator": started["communicator"],
        "ranks": ranks,
        "views": views,
        "window": window,
        "fft_window": job.fft_window,
        "probe_modes": probe_modes,
        "object_modes": object_modes,
        "iterations": recipe.iterations,
        "algorithm": algorithm,
        "precision": precision,
    }
    if recipe.device == "cuda":
        # What is computed with has the rim that is not measured, too.
        measured |= _of_the_gpu(recipe, views * job.fft_window**2, each, lines)
    if profile:
        measured["profile"] = lines["profile"][0]["kernels"]
    return measured


def _options(device: str, sums: str, profile: bool) -> list[str]:
    """Return the solver's options; only a GPU has anything to measure by them."""
    if device == "cuda":
        return ["--measure-copy", "--sums", sums, *(["--profile"] if profile else [])]
    if sums != "auto":
        raise RecipeError(f"sums = {sums!r} is for several GPUs, and the device is {device!r}")
    if profile:
        raise RecipeError(f"a profile is of a GPU's kernels, and the device is {device!r}")
    return []


def _of_the_gpu(
    recipe: Recipe, pixels: int, seconds: float, lines: dict[str, list[dict]]
) -> dict[str, Any]:
    """Return what is measured on GPUs only; `pixels` of all views, `seconds` an iteration."""
    device, finished = lines["device"][0], lines["finished"][0]
    rate = device["copy_bytes_per_second"]
    floor = copy_floor_bytes(recipe, pixels) / (rate * min(int(recipe.ranks), len(gpus())))
    of_sums = ("sum_bytes", "sum_seconds", "link_bytes_per_second")
    return {
        "storage": recipe.storage,
        "device_memory_bytes": finished["peak_device_bytes"],
        "estimated_memory_bytes": device["estimated_bytes"],
        "copy_bytes_per_second": rate,
        "fraction_of_copy_floor": floor / seconds,
        **{name: device[name] for name in of_sums if name in device},
    }


def copy_floor_bytes(recipe: Recipe, pixels: int) -> int:
    """Return the least bytes that an iteration moves: waves read and written, counts read."""
    wave = 32 if recipe.precision == "double" else 8 if recipe.storage == "half" else 16
    return pixels * (wave * int(recipe.probe_modes) * recipe.object_modes + 2)


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
