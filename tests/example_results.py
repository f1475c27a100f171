"""Small results as the solver writes them, for tests of what is made of a result."""

from __future__ import annotations

from typing import Any

import numpy as np

from hxn_ptycho.solver.job import ResultData


def example_result(
    *,
    modes: int = 2,
    object_modes: int = 1,
    n: int = 16,
    shape: tuple[int, int] = (40, 48),
    pixel_size: tuple[float, float] = (5e-9, 5e-9),
    iterations: int = 12,
    phase: float = 0.0,
    scan_id: int = 12,
    **changes: Any,
) -> ResultData:
    """A disc with a phase of -0.5 rad, seen through Gaussian modes, on a grid of views."""
    rng = np.random.default_rng(0)
    height, width = shape
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width / 2) < min(shape) / 4
    noise = rng.normal(0, 0.01, (object_modes, height, width))
    obj = np.where(disc, 0.8, 1.0) * np.exp(1j * (phase - 0.5 * disc + noise))
    obj[1:] *= 0.1
    v, u = np.mgrid[:n, :n] - n // 2
    envelope = np.exp(-(u**2 + v**2) / (2 * (n / 8) ** 2))
    probe = np.stack([(u + 1j * v) ** k * envelope * 0.5**k for k in range(modes)])
    power = np.sum(np.abs(probe) ** 2, axis=(1, 2))
    probe = probe[np.argsort(-power)]
    power = np.sort(power)[::-1]
    positions = np.array(
        [
            (row, column)
            for row in range(0, height - n + 1, 4)
            for column in range(0, width - n + 1, 4)
        ]
    )
    iteration = np.arange(1, iterations + 1)
    fourier = np.full(iterations, np.nan)
    fourier[::5] = 0.5 / iteration[::5]
    values: dict[str, Any] = {
        "object": obj.astype(np.complex64),
        "probe": (100 * probe).astype(np.complex64),
        "positions": positions,
        "positions_m": positions * np.array(pixel_size),
        "iteration": iteration,
        "error_probe": np.outer(1 / iteration, 0.2 + 0.1 * np.arange(modes)),
        "error_object": np.outer(1 / iteration, 0.1 + 0.1 * np.arange(object_modes)),
        "error_fourier_curve": fourier,
        "probe_power": power / power.sum(),
        "pixel_size": pixel_size,
        "origin_m": (1e-6, -2e-6),
        "wavelength": 1.4e-10,
        "raw_uid": "0f3c9a54-0d6c-4d0c-9d3b-0b6d2f5f7a11",
        "scan_id": scan_id,
        "recipe": {"algorithm": "DM", "iterations": iterations, "probe_modes": modes, "beta": 0.8},
        "version": "0.1.0",
        "device": "cpu",
        "communicator": "mpi",
        "ranks": 2,
        "seconds": 1.5,
        "seconds_total": 2.0,
        "error_fourier": 0.0612,
    }
    return ResultData(**{**values, **changes})
