"""The algorithm, against the paper's equations (Dong et al. 2018, section II), for every device.

The order of the updates is part of it: the exit waves, then the probe with the old object, then
the object with the new probe ("PO"), or object before probe ("OP"). Updating both from old values
diverges after a few iterations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .communicator import Communicator
from .device import Device


@dataclass(frozen=True)
class Schedule:
    """What happens in which iteration.

    Attributes
    ----------
    iterations : int
    update_order : {"PO", "OP"}
    probe_start, object_start : int
        Iterations before the first update of the probe, of the object.
    average_start : float
        Share of the iterations after which probe and object are averaged.
    error_every : int
        Iterations between values of ``error_fourier``.
    centre_probe : bool
        Whether the probe is kept in the middle of its window, see `keep_centred`.
    """

    iterations: int
    update_order: str
    probe_start: int
    object_start: int
    average_start: float
    error_every: int
    centre_probe: bool

    @classmethod
    def of(cls, recipe: dict[str, Any]) -> Schedule:
        """Take the schedule from a job's recipe."""
        return cls(**{key: recipe[key] for key in cls.__dataclass_fields__})

    def averages(self, iteration: int) -> bool:
        """Whether this iterate is part of the average; the last one always is."""
        return iteration > self.average_start * self.iterations or iteration == self.iterations

    def measures(self, iteration: int) -> bool:
        """Whether ``error_fourier`` is computed after this iteration."""
        return iteration in (1, self.iterations) or iteration % self.error_every == 0


@dataclass(frozen=True)
class Report:
    """What one iteration reports; errors by eq. (7), ``error_fourier`` NaN where not computed."""

    iteration: int
    error_probe: NDArray[np.float64]
    error_object: NDArray[np.float64]
    error_fourier: float
    seconds: float


def iterate(
    device: Device,
    communicator: Communicator,
    schedule: Schedule,
    report: Callable[[Report], None],
) -> None:
    """Run the iterations; the device averages probe and object over their last part.

    Parameters
    ----------
    device : Device
        This rank's views, with the first probe and object in place.
    communicator : Communicator
        Sums over the ranks.
    schedule : Schedule
    report : callable
        Called on every rank after every iteration; `seconds` count from the start of the first.
    """
    begin = time.perf_counter()
    ahead = device.computes_ahead
    for iteration in range(1, schedule.iterations + 1):
        if iteration == 1 or not ahead:
            device.update_views()  # (3), (4)
        for part in schedule.update_order:
            if part == "P" and iteration > schedule.probe_start:
                probe_sums = device.probe_sums()
                communicator.sum(probe_sums)
                device.update_probe(probe_sums)  # (5)
            if part == "O" and iteration > schedule.object_start:
                object_sums = device.object_sums()
                communicator.sum(object_sums)
                device.update_object(object_sums)  # (6)
        if schedule.centre_probe:
            keep_centred(device)
        error = error_fourier(device, communicator) if schedule.measures(iteration) else math.nan
        if schedule.averages(iteration):
            device.add_to_average()
        if ahead and iteration < schedule.iterations:
            device.update_views()  # the next one's, so that a GPU does not wait for the report
        error_probe, error_object = device.change()  # (7)
        report(Report(iteration, error_probe, error_object, error, time.perf_counter() - begin))


# Pixels that the probe may stray before it is fetched back; more than a half, so that a fetched
# probe is not at the limit on the other side.
_MAY_STRAY = 0.75


def keep_centred(device: Device) -> None:
    """Move everything by whole pixels if the probe has strayed from the middle of its window.

    Probe and object may be moved together without any change of the diffraction. The difference
    map on noisy data does so by itself: 3 pixels in 40 iterations were seen, which blurs averages
    and in the end drives the probe to the window's edge. Every rank has the same probe, hence
    moves alike.
    """
    middle = device.window // 2
    stray = [centre - middle for centre in device.probe_centre()]
    if max(map(abs, stray)) > _MAY_STRAY:
        device.roll(-round(stray[0]), -round(stray[1]))


def error_fourier(device: Device, communicator: Communicator) -> float:
    """Return ``sqrt(sum (sqrt I - sqrt(sum_kl |F P_k O_l|^2))^2 / sum I)`` over measured pixels."""
    misfit, total = communicator.sum_scalars(*device.misfit())
    return math.sqrt(misfit / total)


def best_scale(device: Device, communicator: Communicator) -> float:
    """Return the factor of the probe that makes ``error_fourier`` least; the probe is changed.

    The sum of squares is ``T - 2 c X + c^2 Y``: two values of it give X and Y, hence c = X / Y.
    """
    probe, obj = device.get()
    wrong, total = communicator.sum_scalars(*device.misfit())
    device.set(2 * probe, obj)
    twice, _ = communicator.sum_scalars(*device.misfit())
    # wrong = T - 2 X + Y, twice = T - 4 X + 4 Y
    y = (twice - 2 * wrong + total) / 2
    x = (total + y - wrong) / 2
    factor = x / y if y > 0 and x > 0 else 1.0
    device.set(factor * probe, obj)
    return factor
