"""How far a result is from the sample that a simulated scan measured."""

from __future__ import annotations

import numpy as np

from hxn_ptycho.simulate import Sample
from hxn_ptycho.solver.job import ResultData
from hxn_ptycho.solver.metrics import object_error


def error_of(result: ResultData, sample: Sample) -> float:
    """Return the object's error in the scanned area, against the sample as rendered."""
    shape = result.object.shape[1:]
    truth = sample.render(shape, result.pixel_size, result.origin_m)
    middles = result.positions + result.probe.shape[-1] // 2
    (top, left), (bottom, right) = middles.min(axis=0), middles.max(axis=0)
    scanned = np.zeros(shape, bool)
    scanned[top : bottom + 1, left : right + 1] = True
    return object_error(truth, result.object[0], scanned, shift=True)
