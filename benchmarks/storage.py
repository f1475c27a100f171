"""What storage="half" costs in quality: single and half storage on the same data, on a GPU.

    python benchmarks/storage.py [--star siemens-star-small.npz.bz2]

Simulated cases are judged by the object's error and ring correlation against the sample; the
measured Siemens star by two halves of its data, reconstructed apart. Prints JSON: for every case
the figures of both storages, their ratios, and the largest difference.
"""

from __future__ import annotations

import argparse
import bz2
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hxn_ptycho.home import Home
from hxn_ptycho.launch import launch
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe, ZonePlate
from hxn_ptycho.scan import Scan
from hxn_ptycho.simulate import Dataset, dataset
from hxn_ptycho.solver.job import FrameBlock, ResultData
from hxn_ptycho.solver.metrics import align, fourier_ring_correlation, object_error

PIXEL = 29.35e-9  # of the star, m: 8.8 keV, 2 m, 75 um

# n, grid, photons a frame, pixels a step, modes, algorithm, iterations
CASES = {
    "1e6 photons, DM": (128, 30, 1e6, 6, 3, "DM", 100),
    "1e6 photons, RAAR": (128, 30, 1e6, 6, 3, "RAAR", 100),
    "1e7 photons, DM": (128, 24, 1e7, 6, 3, "DM", 100),
    "1e5 photons, RAAR": (96, 24, 1e5, 5, 2, "RAAR", 100),
    "192 x 192, five modes, DM": (192, 24, 3e6, 8, 5, "DM", 50),
}


def solve(scan: Scan, home: Home, name: str, **keys: Any) -> ResultData:
    folder = home.jobs / name
    recipe = Recipe.make(device="cuda", ranks=1, **keys)
    prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
    program = launch(folder, 1)
    if program.wait() != 0 or program.reason:
        raise SystemExit(f"{name}: {program.reason}")
    return ResultData.read(folder / "result.h5")


def crossing(frequency: np.ndarray, correlation: np.ndarray) -> float:
    """Return where the correlation first falls below 0.5, as a share of Nyquist (1: nowhere)."""
    below = np.flatnonzero(correlation < 0.5)
    return float(frequency[below[0]]) if len(below) else 1.0


def simulated(home: Home, storage: str, case: tuple) -> dict[str, float]:
    n, side, photons, step, modes, algorithm, iterations = case
    data = dataset(n=n, grid=(side, side), probe_modes=modes, photons=photons, step_px=step)
    pixel, outer = data.pixel_size[0], 4 * data.pixel_size[0]
    result = solve(
        data.scan(home.data / "frames.h5"), home, "job", storage=storage, probe_modes=modes,
        algorithm=algorithm, beta=0.75 if algorithm == "RAAR" else 0.8, iterations=iterations,
        probe="zone-plate",
        zone_plate=ZonePlate(
            diameter=200e-6, outer_zone_width=outer, central_stop=60e-6,
            defocus=1.15 * 0.32 * n * pixel * outer / data.wavelength_m,
        ),
    )  # fmt: skip
    return {"error_fourier": result.error_fourier, **against_truth(data, result)}


def against_truth(data: Dataset, result: ResultData) -> dict[str, float]:
    row, column = data.corners.min(axis=0)
    _, height, width = result.object.shape
    part = slice(row, row + height), slice(column, column + width)
    truth, seen = data.object[part], data.scanned[part]
    error = object_error(truth, result.object[0], seen, shift=True)
    rows, columns = np.nonzero(seen)
    middle = (
        slice(rows.min() + 4, rows.max() - 4),
        slice(columns.min() + 4, columns.max() - 4),
    )
    found, _ = align(truth[middle], result.object[0][middle], shift=True)
    frequency, correlation = fourier_ring_correlation(truth[middle], found)
    return {
        "object_error": float(error),
        "frc_crossing": crossing(frequency, correlation),
        "frc_mean": float(np.mean(correlation[frequency < 0.5])),
    }


def star_halves(home: Home, storage: str, star: Any) -> dict[str, float]:
    pictures, errors = [], []
    for name, part in (("even", slice(0, None, 2)), ("odd", slice(1, None, 2))):
        file = home.data / f"{name}.h5"
        frames, positions = star["data"][0, part], star["scan"][0, part]
        with h5py.File(file, "w") as target:
            target["frames"], target["probe"] = frames, star["probe"][0, 0, 0]
        scan = Scan(
            uid="star", scan_id=1, frames=(FrameBlock(str(file), "frames", 0, len(frames)),),
            frame_shape=frames.shape[1:], frame_dtype=frames.dtype.name, dc="corner",
            positions_m=positions.astype(float) * PIXEL, wavelength_m=PIXEL * 128 * 75e-6 / 2.0,
            distance_m=2.0, detector_pixel_m=(75e-6, 75e-6), normalisation=np.ones(len(frames)),
            start_probe=(str(file), "probe"),
        )  # fmt: skip
        result = solve(scan, home, name, storage=storage, probe_modes=2, iterations=60)
        corner = np.rint(np.array(result.origin_m) / PIXEL).astype(int)
        pictures.append((result.object[0], corner))
        errors.append(result.error_fourier)
    middle = np.rint(star["scan"][0].astype(float).mean(axis=0)).astype(int)
    a, b = (
        picture[y : y + 160, x : x + 160]
        for picture, corner in pictures
        for y, x in [middle - 80 - corner]
    )
    b, _ = align(a, b, shift=True)
    frequency, correlation = fourier_ring_correlation(a, b)
    band = (frequency > 0.12) & (frequency < 0.22)
    return {
        "error_fourier": float(np.mean(errors)),
        "frc_mean": float(np.mean(correlation[band])),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--star", type=Path, help="siemens-star-small.npz.bz2 of tike")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    table: dict[str, Any] = {"commit": commit.stdout.strip()}
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name)).make()
        for label, case in CASES.items():
            table[label] = {s: simulated(home, s, case) for s in ("single", "half")}
        if options.star:
            star = np.load(io.BytesIO(bz2.decompress(options.star.read_bytes())))
            table["Siemens star"] = {s: star_halves(home, s, star) for s in ("single", "half")}
    ratios = {
        f"{label}: {key}": figures["half"][key] / figures["single"][key]
        for label, figures in table.items()
        if isinstance(figures, dict)
        for key in figures["single"]
    }
    table["half / single"] = ratios
    table["largest difference"] = max(abs(ratio - 1) for ratio in ratios.values())
    print(json.dumps(table, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
