"""How fast this GPU copies its memory and adds up with others: the measure of what could be."""

from __future__ import annotations

import os
import statistics
import time

import numpy as np

from ..communicator import Adder, Communicator
from .device import CudaDevice
from .driver import drv
from .gpu import Gpu

_BYTES = 2**30
_SUM_BYTES, _SUMS = 256_000_000, 20
# Set by ``python -m hxn_ptycho.solver --measure-copy``.
_VARIABLE = "HXN_PTYCHO_MEASURE_COPY"


def measures_copies() -> bool:
    """Whether these rates are asked for; measuring them takes a moment."""
    return bool(os.environ.get(_VARIABLE))


def sums_rate(
    gpu: Gpu, adder: Adder, device: CudaDevice, communicator: Communicator
) -> dict[str, float]:
    """Return how long the sums of an iteration take by themselves; all ranks measure at once.

    Returns
    -------
    dict
        ``sum_bytes``: that a rank has to add up or send in an iteration; ``sum_seconds``: of an
        iteration's sums, one after the other, the mean of twenty; ``link_bytes_per_second``: of a
        sum of 256 MB, bytes over time, the best of five.
    """
    sums = device.probe_sums(), device.object_sums()
    large = gpu.zeros((_SUM_BYTES // 4,), np.float32)
    for each in sums:
        communicator.sum(each)  # the first one sets up what the others use
    adder.add_up(large)
    gpu.stream.synchronize()
    begin = time.perf_counter()
    for _ in range(_SUMS):
        for each in sums:
            communicator.sum(each)
    gpu.stream.synchronize()
    seconds = (time.perf_counter() - begin) / _SUMS
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        adder.add_up(large)
        gpu.stream.synchronize()
        times.append(time.perf_counter() - begin)
    large.free()
    gpu.forget_peak()
    return {
        "sum_bytes": sum(device.summed_bytes),
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
