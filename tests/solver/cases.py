"""Random but reproducible problems for the solver: as hard as data may be, not physical."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hxn_ptycho.solver.cpu import CpuDevice
from hxn_ptycho.solver.device import Projection, Views

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


def _complex(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)
