"""Simulated scans whose frames lie on file as a detector that is turned would store them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hxn_ptycho.scan import Scan
from hxn_ptycho.simulate import dataset
from hxn_ptycho.simulate.sample import Sample
from hxn_ptycho.solver.orientation import Orientation, matrix


@dataclass(frozen=True)
class Deposit(Sample):
    """A sample of one material: amplitude and phase follow from the same thickness."""

    def amplitude(self, y: NDArray, x: NDArray) -> NDArray:
        return np.exp(self.absorption * self.phase(y, x) / self.phase_depth)


def stored(frames: NDArray, orientation: Orientation) -> NDArray:
    """The frames (..., n, n) on file that `orientation` turns into these, about [n // 2, n // 2].

    A far field of an FFT repeats itself: what a turn moves over the rim is there at the other side.
    """
    n = frames.shape[-1]
    away = np.stack(np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij"))
    row, column = (np.tensordot(matrix(orientation), away, axes=1) + n // 2) % n
    on_file = np.empty_like(frames)
    on_file[..., row, column] = frames
    return on_file


def turned_scan(folder: Path, orientation: Orientation, **of_the_dataset: Any) -> Scan:
    """A simulated scan whose frames were stored turned."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"n": 48, "grid": (8, 8), "probe_modes": 1, "photons": 3e5, **of_the_dataset}
    data = dataset(**keys)
    data = replace(data, frames=stored(data.frames, orientation))
    return data.scan(folder / f"{orientation}.h5", uid=f"raw-{orientation}")


def zone_plate(n: int = 48, beam: float = 0.32) -> dict[str, float]:
    """The optics that `dataset` simulates, as a recipe has them."""
    data = dataset(n=n, grid=(2, 2), probe_modes=1, beam=beam)
    pixel = data.pixel_size[0]
    return {
        "diameter": 200e-6,
        "outer_zone_width": 4 * pixel,
        "central_stop": 60e-6,
        "defocus": beam * n * pixel * 4 * pixel / data.wavelength_m,
    }
