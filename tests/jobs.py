"""Small jobs for tests: a simulated scan and its prepared folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hxn_ptycho.home import Home
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan
from hxn_ptycho.simulate import dataset


def make_scan(folder: Path, n: int = 32, grid: tuple[int, int] = (5, 5), **changes: Any) -> Scan:
    """Write a simulated scan's frames into `folder` and return the Scan, with `changes` made."""
    folder.mkdir(parents=True, exist_ok=True)
    scan = dataset(n=n, grid=grid, probe_modes=1).scan(folder / "frames.h5", uid="raw", scan_id=7)
    return replace(scan, **changes)


def make_job(home: Home, scan: Scan | None = None, name: str = "job", **keys: Any) -> Path:
    """Prepare a job of `scan` (default: a small one) with these keys of the recipe."""
    folder = home.jobs / name
    scan = make_scan(home.data) if scan is None else scan
    recipe = Recipe(**{"iterations": 5, "ranks": 1, **keys})
    prepare(scan, recipe, folder, job_uid=name, derived_uid=f"{name}-derived", home=home)
    return folder


def with_nan(positions: np.ndarray, index: int) -> np.ndarray:
    """Return a copy with one position NaN."""
    changed = positions.copy()
    changed[index] = np.nan
    return changed
