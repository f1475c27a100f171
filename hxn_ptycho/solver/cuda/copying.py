"""How fast this GPU copies its memory and adds up with others: the measure of what could be."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence

import numpy as np

from ..communicator import Adder
from .driver import drv
from .gpu import Gpu

_BYTES = 2**30
_SUM_BYTES, _SUMS = 256_000_000, 20
# Set by ``python -m hxn_ptycho.solver --measure-copy``.
_VARIABLE = "HXN_PTYCHO_MEASURE_COPY"


def measures_copies() -> bool:
    """Whether these rates are asked for; measuring them takes a moment."""
    return bool(os.environ.get(_VARIABLE))


def sums_rate(gpu: Gpu, adder: Adder, sizes: Sequence[int]) -> dict[str, float]:
    """Return how long the sums of an iteration take by themselves; all ranks measure at once.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of what is added up in an iteration.

    Returns
    -------
    dict
        ``sum_bytes``: all sizes together; ``sum_seconds``: of all, one after the other, the mean
        of twenty; ``link_bytes_per_second``: of 256 MB, bytes over time, the best of five.
    """
    arrays = [gpu.zeros((size // 4,), np.float32) for size in sizes]
    large = gpu.zeros((_SUM_BYTES // 4,), np.float32)
    for array in (*arrays, large):
        adder.add_up(array)  # the first one sets up what the others use
    gpu.stream.synchronize()
    begin = time.perf_counter()
    for _ in range(_SUMS):
        for array in arrays:
            adder.add_up(array)
    gpu.stream.synchronize()
    seconds = (time.perf_counter() - begin) / _SUMS
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        adder.add_up(large)
        gpu.stream.synchronize()
        times.append(time.perf_counter() - begin)
    for array in (*arrays, large):
        array.free()
    gpu.forget_peak()
    return {
        "sum_bytes": sum(sizes),
        "sum_seconds": seconds,
        "link_bytes_per_second": _SUM_BYTES / min(times),
    }


def copy_rate(gpu: Gpu) -> float:
    """Return bytes read and written a second by copies of 1 GiB, the median of ten."""
    source, target = gpu.zeros((_BYTES,), "u1"), gpu.empty((_BYTES,), "u1")
    rates = []
    for _ in range(12):
        before, after = drv.Event(), drv.Event()
        before.record(gpu.stream)
        drv.memcpy_dtod_async(target.pointer, source.pointer, _BYTES, gpu.stream)
        after.record(gpu.stream)
        after.synchronize()
        rates.append(2 * _BYTES / (after.time_since(before) * 1e-3))
    source.free()
    target.free()
    gpu.forget_peak()
    return statistics.median(rates[2:])  # the first ones start from idle clocks
