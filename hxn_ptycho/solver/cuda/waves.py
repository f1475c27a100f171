"""What the CUDA device asks of those who keep the exit waves: `fused` and `plain`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .gpu import DeviceArray

# Value of a count that was not measured (masked, or the rim of the window), by its type.
UNMEASURED = {"uint16": 65535, "float32": -1.0, "float64": -1.0}


class Waves(Protocol):
    """The exit waves of one rank's views, in GPU memory.

    Probe (M_P, n, n) and object (M_O, H, W) are C-ordered complex arrays in GPU memory, of the
    device's precision. Everything is queued on the GPU's stream; nothing waits.
    """

    def start(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Set ``psi_jlk = P_k O_l`` on every view, eq. (2)."""

    def move(self, probe: DeviceArray, obj: DeviceArray) -> None:
        """Move the exit waves by eqs. (3) and (4)."""

    def add_to_probe(self, numerator: DeviceArray, obj: DeviceArray) -> None:
        """Add ``sum_jl conj(O_l) psi_jlk`` of eq. (5) to `numerator` (M_P, n, n)."""

    def add_to_object(self, numerator: DeviceArray, probe: DeviceArray) -> None:
        """Add ``sum_jk conj(P_k) psi_jlk`` of eq. (6) to `numerator` (M_O, H, W)."""

    def misfit(self, probe: DeviceArray, obj: DeviceArray, sums: DeviceArray) -> None:
        """Add the two sums of ``error_fourier`` to `sums` (2,), float64."""

    def exit_waves(self) -> NDArray[np.complexfloating]:
        """Return psi (N, M_O, M_P, n, n) on the host; slow, for those who look into it."""

    def roll(self, rows: int, columns: int) -> None:
        """Move every exit wave by whole pixels, round the edges."""
