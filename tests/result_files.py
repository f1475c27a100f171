"""Result files and progress lines as the solver writes them; for tests only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from hxn_ptycho.solver.job import ResultData

from .example_results import example_result


def write_result(folder: Path, **changes: Any) -> Path:
    """Write a result file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return example_result(**changes).write(folder)


def progress_lines(result: ResultData) -> list[dict[str, Any]]:
    """Return the lines of ``progress.jsonl`` that go with a result."""
    begun = time.time() - 60
    return [
        {
            "event": "iteration",
            "time": begun + int(number),
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
