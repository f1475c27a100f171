"""Small scans in catalog ``raw`` of a test's home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hxn_ptycho.catalog import Catalogs
from hxn_ptycho.importers import import_file
from hxn_ptycho.simulate import dataset


def measure(
    catalogs: Catalogs, n: int = 32, grid: tuple[int, int] = (5, 5), **md: Any
) -> tuple[str, int]:
    """Put a simulated scan into the catalog; return its uid and scan id."""
    data = dataset(n=n, grid=grid, probe_modes=1)
    folder: Path = catalogs.home.root / "measured"
    folder.mkdir(exist_ok=True)
    path = folder / f"scan_{len(list(folder.iterdir()))}.npz"
    np.savez(path, data=np.fft.ifftshift(data.frames, axes=(1, 2)), scan=data.corners)
    uid = import_file(
        path,
        energy_kev=12.0,
        distance_m=data.distance_m,
        detector_pixel_um=55.0,
        catalogs=catalogs,
        md=md,
    )
    return uid, int(catalogs.raw.v3[uid].metadata["start"]["scan_id"])
