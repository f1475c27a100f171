"""What a job needs of the machine, against what the machine has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ..launch import gpus
from ..recipe import Recipe
from ..scan import Scan, ScanError
from .checks import existing_parent
from .window import Window

_CGROUPS = Path("/sys/fs/cgroup")
_RANK_BYTES = 150e6  # a rank's Python, numba and MPI
_GPU_RANK_BYTES = 600e6  # the same with CUDA's context and the buffers that frames pass through
_SPARE_DISK_BYTES = 100e6


def check_resources(
    scan: Scan, recipe: Recipe, window: Window, ranks: int, folders: tuple[Path, ...]
) -> None:
    """Check memory, of the GPUs too, and disk space.

    Parameters
    ----------
    recipe : Recipe
        With its device resolved.
    folders : tuple of Path
        Where the job and its result are written.

    Raises
    ------
    ScanError
        If one of them cannot be enough.
    """
    check_memory(needed_memory(scan, recipe, window, ranks), available_memory(), recipe)
    if recipe.device == "cuda":
        total = sum(gpu.memory_bytes for gpu in gpus()[:ranks])
        check_gpu_memory(gpu_memory(scan, recipe, window), total, recipe)
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


def check_gpu_memory(needed: float, total: float, recipe: Recipe) -> None:
    """Refuse what cannot fit into the memory of the GPUs; the solver asks how much is free.

    Raises
    ------
    ScanError
        With both numbers.
    """
    if needed < total:
        return
    half = 'storage = "half", ' if recipe.storage == "single" and _may_be_half(recipe) else ""
    raise ScanError(
        f"the reconstruction needs {_size(needed)} of GPU memory and there are {_size(total)}: use "
        f"fewer modes (probe_modes = {recipe.probe_modes}, object_modes = {recipe.object_modes}), "
        f'a smaller window, {half}more GPUs, or device = "cpu"'
    )


def gpu_memory(scan: Scan, recipe: Recipe, window: Window) -> float:
    """Return the bytes that exit waves and counts take of all GPUs together: most of what is used.

    Counts are kept as 16-bit integers where the detector gives no more, else in 4 bytes.
    """
    dtype = np.dtype(scan.frame_dtype)
    count_bytes = 2 if dtype.kind in "ui" and dtype.itemsize <= 2 else 4
    counts = scan.number_of_frames * window.fft_window**2 * count_bytes
    return _wave_values(scan, recipe, window) * _wave_bytes(recipe) + counts


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
    item = min(4, np.dtype(scan.frame_dtype).itemsize)
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


def _wave_bytes(recipe: Recipe) -> int:
    """Return the bytes of a complex number of an exit wave on a GPU."""
    return 4 if recipe.storage == "half" else _complex_bytes(recipe)


def _may_be_half(recipe: Recipe) -> bool:
    return recipe.precision == "single" and recipe.object_modes == 1


def _picture_values(scan: Scan, recipe: Recipe, window: Window) -> float:
    """Return how many complex numbers object and probe have together."""
    extent = np.ptp(scan.positions_m, axis=0) / window.object_pixel_m
    rows, columns = extent + window.fft_window + 1
    return (
        recipe.object_modes * float(rows) * float(columns) + _modes(recipe) * window.fft_window**2
    )


def _modes(recipe: Recipe) -> int:
    return int(recipe.probe_modes)


def _complex_bytes(recipe: Recipe) -> int:
    return 16 if recipe.precision == "double" else 8


def _size(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
