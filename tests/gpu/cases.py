"""The problems of tests/solver/cases.py on a GPU, and their truth by plain NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from hxn_ptycho.solver.communicator import Alone
from hxn_ptycho.solver.device import Projection
from hxn_ptycho.solver.difference_map import Schedule, iterate

from ..solver import transcription
from ..solver.cases import SCHEDULE, Case


def laid_out(counts: np.ndarray, measured: np.ndarray, strip: int) -> np.ndarray:
    """Return counts (N, n, n) as (N, n n) in strips of columns, the sentinel where not measured.

    measured: (n, n), or (N, n, n).
    """
    views, n, _ = counts.shape
    sentinel = 65535 if counts.dtype == np.uint16 else -1
    marked = np.where(measured, counts, np.array(sentinel, counts.dtype))
    strips = marked.reshape(views, n, n // strip, strip).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(strips).reshape(views, n * n)


@contextmanager
def cuda_device(
    gpu,
    case: Case,
    algorithm: str = "DM",
    beta: float = 0.8,
    *,
    plain: bool = False,
    dtype: type = np.uint16,
    **options,
) -> Iterator:
    """Make a device of the case's views, and give its memory back afterwards."""
    from hxn_ptycho.solver.cuda.backend import make_device
    from hxn_ptycho.solver.units import lines_of

    n = case.views.window
    strip = n if plain else lines_of(n).columns
    counts = gpu.array(laid_out(case.views.counts.astype(dtype), case.measured, strip))
    views = replace(case.views, counts=counts, gaps=None)
    projection = Projection.of(algorithm, beta)
    yield make_device(gpu, views, case.probe, case.obj, projection, plain=plain, **options)
    gpu.synchronize()


def run(device, iterations: int = 1, **schedule) -> list:
    """Iterate and return the reports."""
    reports: list = []
    keys = {**SCHEDULE, "iterations": iterations, **schedule}
    iterate(device, Alone(), Schedule(**keys), reports.append)
    return reports


def expected(case: Case, iterations: int = 1, **options):
    """Return psi, probe, object and eq. (7) of both, by the transcription."""
    psi, probe, obj = None, case.probe, case.obj
    for _ in range(iterations):
        psi, probe, obj, *change = transcription.iterate(
            psi, probe, obj, case.views.positions, case.intensity, case.views.measured, **options
        )
    return psi, probe, obj, change


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative difference; infinite for NaN, which no comparison passes."""
    value = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    return value if np.isfinite(value) else np.inf
