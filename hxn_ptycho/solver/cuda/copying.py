"""How fast this GPU copies its own memory: the measure of what an iteration could take at least."""

from __future__ import annotations

import statistics

from .driver import drv
from .gpu import Gpu

_BYTES = 2**30


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
    return statistics.median(rates[2:])  # the first ones start from idle clocks
