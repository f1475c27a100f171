"""Random but reproducible problems for the solver: as hard as data may be, not physical."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hxn_ptycho.solver.cpu import CpuDevice
from hxn_ptycho.solver.device import Projection, Views
from hxn_ptycho.solver.preparation import Gaps

#: One plain iteration of the paper; tests change what they are about.
SCHEDULE = {
    "iterations": 1,
    "update_order": "PO",
    "probe_start": 0,
    "object_start": 0,
    "average_start": 1.0,
    "error_every": 1,
    "centre_probe": False,
}


@dataclass
class Case:
    """Views, first guesses and what a transcription needs of them."""

    views: Views
    probe: np.ndarray
    obj: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """Which pixels were measured in each view: (N, n, n)."""
        measured = np.repeat(self.views.measured[None], len(self.views.counts), axis=0)
        if self.views.gaps is not None:
            for j, each in enumerate(measured):
                each.flat[self.views.gaps.of_frame(j)] = False
        return measured

    @property
    def intensity(self) -> np.ndarray:
        return self.views.counts * self.views.scale[:, None, None]

    def device(self, algorithm: str = "DM", beta: float = 0.8, **options) -> CpuDevice:
        return CpuDevice(
            self.views, self.probe, self.obj, Projection.of(algorithm, beta), **options
        )


def make_case(
    n: int = 24,
    views: int = 11,
    probe_modes: int = 2,
    object_modes: int = 1,
    shape: tuple[int, int] = (37, 52),
    masked: bool = True,
    dtype: str = "uint16",
    seed: int = 0,
) -> Case:
    """Make views of random counts; the first two touch opposite corners of the object."""
    rng = np.random.default_rng(seed)
    room = np.array(shape) - n
    positions = rng.integers(0, room + 1, size=(views, 2))
    positions[0], positions[-1] = 0, room
    counts = rng.poisson(20, size=(views, n, n)).astype(dtype)
    measured = rng.uniform(size=(n, n)) > 0.1 if masked else np.ones((n, n), bool)
    counts[:, ~measured] = 0
    # Brighter in the middle, as probes are; no denominator near the guard of 1e-8.
    y = np.arange(n) - n / 2
    spot = np.exp(-(y[:, None] ** 2 + y[None] ** 2) / n**2)
    return Case(
        Views(counts, rng.uniform(0.8, 1.2, size=views), measured, positions.astype(np.int64)),
        spot * _complex(rng, (probe_modes, n, n)) * 3,
        1 + 0.3 * _complex(rng, (object_modes, *shape)),
    )


def with_gaps(case: Case, share: float) -> Case:
    """Take this share of the measured pixels from every other view, the last one all the more."""
    rng = np.random.default_rng(5)
    counts, pixels = case.views.counts.copy(), []
    for j, each in enumerate(counts):
        lost = rng.uniform(size=each.shape) < (share if j % 2 else 0.0)
        if j == len(counts) - 1:
            lost = rng.uniform(size=each.shape) < 0.5
        lost &= case.views.measured
        each[lost] = 0
        pixels.append(np.flatnonzero(lost).astype(np.int32))
    return Case(replace(case.views, counts=counts, gaps=Gaps.of(pixels)), case.probe, case.obj)


def _complex(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)
