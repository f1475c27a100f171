"""What a job needs of the machine, against what the machine has."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..launch import Engine, Gpu
from ..recipe import Recipe
from ..scan import Scan, ScanError
from ..solver.memory import LARGEST_SHARED_BYTES, Case, Estimate, fewest_gpus, why_not_fused
from .checks import existing_parent
from .window import Window

log = logging.getLogger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")
_RANK_BYTES = 150e6  # a rank's Python, numba and MPI
_GPU_RANK_BYTES = 600e6  # the same with CUDA's context and the buffers that frames pass through
_SPARE_DISK_BYTES = 100e6


def check_resources(
    scan: Scan,
    recipe: Recipe,
    window: Window,
    ranks: int,
    folders: tuple[Path, ...],
    engine: Engine,
) -> None:
    """Check memory, of the GPUs too, and disk space.

    Parameters
    ----------
    recipe : Recipe
        With its device resolved.
    folders : tuple of Path
        Where the job and its result are written.
    engine : Engine
        Where it will run.

    Raises
    ------
    ScanError
        If one of them cannot be enough.
    """
    if engine.on_this_host():
        check_memory(needed_memory(scan, recipe, window, ranks), available_memory(), recipe)
    if recipe.device == "cuda":
        check_gpu_memory(memory_case(scan, recipe, window), recipe, engine.gpus())
    needed = needed_disk(scan, recipe, window)
    for folder in folders:
        free = shutil.disk_usage(existing_parent(folder)).free
        if free < needed:
            raise ScanError(
                f"{folder} has {_size(free)} free, the result needs {_size(needed)}: make room, or "
                "set results_root in config.toml to a larger disk"
            )


def check_memory(needed: float, available: float, recipe: Recipe) -> None:
    """Refuse what cannot fit: better than a machine that swaps, or kills IPython.

    Raises
    ------
    ScanError
        With both numbers.
    """
    if needed > available:
        raise ScanError(
            f"the reconstruction needs {_size(needed)} of memory and {_size(available)} are "
            f"available: use a smaller window, fewer modes (probe_modes = {recipe.probe_modes}, "
            f"object_modes = {recipe.object_modes}), or a machine with more; if neither scan nor "
            "recipe is large, check the positions' units"
        )


def check_gpu_memory(case: Case, recipe: Recipe, gpus: Sequence[Gpu]) -> None:
    """Say what a job takes of each GPU, and refuse what cannot fit.

    Of each GPU all memory is counted, as others may end before it runs; the solver asks again, how
    much is free. GPUs whose memory is not known are left to it altogether.

    Raises
    ------
    ScanError
        With the numbers, and how many such GPUs would do.
    """
    ranks = int(recipe.ranks)
    # Unknown only of GPUs of other hosts; all that can take that many modes have enough of it.
    shared = min((gpu.shared_block_bytes for gpu in gpus), default=0) or LARGEST_SHARED_BYTES
    plain = bool(why_not_fused(case, shared))
    estimate = Estimate.of(case, ranks, plain=plain)
    log.info("each of %d GPU ranks needs %s", ranks, estimate)
    least = min(gpus, key=lambda gpu: gpu.memory_bytes, default=None)
    if least is None or not least.memory_bytes:
        return
    on_one = -(-ranks // len(gpus))  # ranks that share a GPU
    if estimate.fits(least.memory_bytes / on_one):
        return
    sharing = f", which {on_one} ranks share" if on_one > 1 else ""
    would_do = fewest_gpus(case, least.memory_bytes, plain=plain)
    if would_do is None:
        advice = "no number of such GPUs would do: "
    elif would_do <= len(gpus):
        advice = f"{would_do} GPUs would do: ranks = {would_do}; or "
    else:
        advice = f"{would_do} such GPUs would do, and there are {len(gpus)}; or "
    half = 'storage = "half", ' if recipe.storage == "single" and _may_be_half(recipe) else ""
    raise ScanError(
        f"each of {ranks} ranks needs {estimate} of GPU memory and {least.name} has "
        f"{_size(least.memory_bytes)}{sharing}: {advice}use fewer modes (probe_modes = "
        f"{recipe.probe_modes}, object_modes = {recipe.object_modes}), a smaller window, {half}or "
        'device = "cpu"'
    )


def memory_case(scan: Scan, recipe: Recipe, window: Window) -> Case:
    """Return what a job's GPU memory depends on."""
    rows, columns = _object_shape(scan, window)
    return Case(
        views=scan.number_of_frames,
        window=window.fft_window,
        probe_modes=_modes(recipe),
        object_modes=recipe.object_modes,
        object_shape=(rows, columns),
        frame_dtype=scan.frame_dtype,
        double=recipe.precision == "double",
        storage=recipe.storage,
        binning=recipe.binning,
        corrected=recipe.dark is not None or recipe.flat is not None,
    )


def needed_memory(scan: Scan, recipe: Recipe, window: Window, ranks: int) -> float:
    """Return the bytes that all ranks need together of the host's memory, at least.

    Exit waves (one a view and pair of modes) and frames at their stored type, unless a GPU holds
    them; each rank's own copies of object and probe with their sums.
    """
    # The iterate, the previous one, the mean over the last iterations (double), and the sums.
    copies = 5 * _picture_values(scan, recipe, window) * _complex_bytes(recipe)
    if recipe.device == "cuda":
        return ranks * (copies + _GPU_RANK_BYTES)
    waves = _wave_values(scan, recipe, window) * _complex_bytes(recipe)
    corrected = recipe.dark is not None or recipe.flat is not None or recipe.binning > 1
    item = 4 if corrected else min(4, np.dtype(scan.frame_dtype).itemsize)
    frames = scan.number_of_frames * window.fft_window**2 * item
    return waves + frames + ranks * (copies + _RANK_BYTES)


def needed_disk(scan: Scan, recipe: Recipe, window: Window) -> float:
    """Return the bytes of a result, its checkpoint and its start."""
    return 3 * _picture_values(scan, recipe, window) * _complex_bytes(recipe) + _SPARE_DISK_BYTES


def available_memory() -> float:
    """Return the bytes of memory that can be had now, by the machine and the container."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    meminfo = {name: value for name, _, value in (line.partition(":") for line in lines)}
    available = float(meminfo["MemAvailable"].split()[0]) * 1024
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most = (_CGROUPS / limit).read_text().strip()
            now = float((_CGROUPS / used).read_text())
        except OSError:
            continue
        if most != "max":
            available = min(available, float(most) - now)
    return max(available, 0.0)


def _wave_values(scan: Scan, recipe: Recipe, window: Window) -> int:
    """Return how many complex numbers the exit waves are."""
    modes = _modes(recipe) * recipe.object_modes
    return scan.number_of_frames * modes * window.fft_window**2


def _may_be_half(recipe: Recipe) -> bool:
    return recipe.precision == "single" and recipe.object_modes == 1


def _picture_values(scan: Scan, recipe: Recipe, window: Window) -> int:
    """Return how many complex numbers object and probe have together."""
    rows, columns = _object_shape(scan, window)
    return recipe.object_modes * rows * columns + _modes(recipe) * window.fft_window**2


def _object_shape(scan: Scan, window: Window) -> tuple[int, int]:
    extent = np.ptp(scan.positions_m, axis=0) / window.object_pixel_m
    rows, columns = np.ceil(extent + window.fft_window + 1)
    return int(rows), int(columns)


def _modes(recipe: Recipe) -> int:
    return int(recipe.probe_modes)


def _complex_bytes(recipe: Recipe) -> int:
    return 16 if recipe.precision == "double" else 8


def _size(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
