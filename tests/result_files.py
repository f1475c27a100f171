"""Result files as the solver writes them, small and with known numbers; for tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hxn_ptycho.solver.job import ResultData

WAVELENGTH = 1.24e-10


def make_result(
    raw_uid: str = "raw",
    scan_id: int = 1,
    *,
    size: tuple[int, int] = (40, 48),
    window: int = 16,
    modes: int = 2,
    iterations: int = 4,
    noise: float = 0.0,
    origin_m: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    **recipe: Any,
) -> ResultData:
    """Return a result with a smooth object, lit wherever a window can lie."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    obj = (0.8 + 0.1 * np.cos(y / 5)) * np.exp(0.5j * np.sin(x / 4))
    obj = obj + noise * (rng.normal(size=size) + 1j * rng.normal(size=size))
    row, column = np.mgrid[:window, :window] - window // 2
    blob = np.exp(-(row**2 + column**2) / (window / 3) ** 2)
    probe = np.stack([blob * (row + 1j) ** k / 3**k for k in range(modes)])
    power = np.sum(np.abs(probe) ** 2, axis=(1, 2))
    positions = np.array(
        [
            (r, c)
            for r in range(0, size[0] - window + 1, 4)
            for c in range(0, size[1] - window + 1, 4)
        ]
    )
    pixel = (10e-9, 10e-9)
    number = np.arange(1, iterations + 1)
    fourier = np.full(iterations, np.nan)
    fourier[[0, -1]] = 0.5, 0.125
    return ResultData(
        object=obj[None].astype(np.complex64),
        probe=probe.astype(np.complex64),
        positions=positions,
        positions_m=positions * np.array(pixel),
        iteration=number,
        error_probe=np.outer(1.0 / number, np.arange(1, modes + 1)),
        error_object=(0.5 / number)[:, None],
        error_fourier_curve=fourier,
        probe_power=np.sort(power / power.sum())[::-1],
        pixel_size=pixel,
        origin_m=origin_m,
        wavelength=WAVELENGTH,
        raw_uid=raw_uid,
        scan_id=scan_id,
        recipe={"algorithm": "DM", "iterations": iterations, "probe_modes": modes, **recipe},
        version="0",
        device="cpu",
        communicator="MPI",
        ranks=2,
        seconds=1.5,
        seconds_total=2.5,
        error_fourier=0.125,
    )


def write_result(folder: Path, **keywords: Any) -> Path:
    """Write a result file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return make_result(**keywords).write(folder)


def progress_lines(result: ResultData) -> list[dict[str, Any]]:
    """Return the lines of ``progress.jsonl`` that go with a result."""
    return [
        {
            "event": "iteration",
            "time": 1000.0 + number,
            "iteration": int(number),
            "error_probe": probe.tolist(),
            "error_object": object_.tolist(),
            "error_fourier": None if np.isnan(misfit) else float(misfit),
            "seconds": 0.1 * float(number),
        }
        for number, probe, object_, misfit in zip(
            result.iteration,
            result.error_probe,
            result.error_object,
            result.error_fourier_curve,
            strict=True,
        )
    ]
