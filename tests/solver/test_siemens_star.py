"""The measured Siemens star: two halves of the data, reconstructed apart, show the same star."""

from __future__ import annotations

import bz2
import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan
from hxn_ptycho.solver.job import FrameBlock, ResultData
from hxn_ptycho.solver.metrics import align, fourier_ring_correlation, illumination

from .program import run_solver

STAR = Path(__file__).parents[3] / "shared" / "data" / "siemens-star" / "siemens-star-small.npz.bz2"
PIXEL = 29.35e-9  # of the object, m: what 8.8 keV, 2 m and 75 um give; any other would do


@pytest.fixture(scope="module")
def star():
    """Frames, positions in pixels and first probe, read by numpy alone."""
    if not STAR.is_file():
        pytest.skip(f"the measured data are not there: {STAR}")
    return np.load(io.BytesIO(bz2.decompress(STAR.read_bytes())))


def half_scan(star, file: Path, part: slice) -> Scan:
    frames, positions = star["data"][0, part], star["scan"][0, part]
    with h5py.File(file, "w") as target:
        target["frames"], target["probe"] = frames, star["probe"][0, 0, 0]
    return Scan(
        uid="star", scan_id=1, frames=(FrameBlock(str(file), "frames", 0, len(frames)),),
        frame_shape=frames.shape[1:], frame_dtype=frames.dtype.name, dc="corner",
        positions_m=positions.astype(float) * PIXEL, wavelength_m=PIXEL * 128 * 75e-6 / 2.0,
        distance_m=2.0, detector_pixel_m=(75e-6, 75e-6), normalisation=np.ones(len(frames)),
        start_probe=(str(file), "probe"),
    )  # fmt: skip


def test_two_halves_of_the_data_show_the_same_star(star, home):
    pictures = []
    for name, part in (("even", slice(0, None, 2)), ("odd", slice(1, None, 2))):
        folder = home.jobs / name
        scan = half_scan(star, home.data / f"{name}.h5", part)
        recipe = Recipe(ranks=2, probe_modes=2, iterations=60)
        prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
        done = run_solver(folder, 2)
        assert done.returncode == 0, done.stderr
        result = ResultData.read(folder / "result.h5")
        assert result.error_fourier < 0.25
        corner = np.rint(np.array(result.origin_m) / PIXEL).astype(int)
        pictures.append((result.object[0], corner, result))
    # The middle 160 x 160 pixels of the scanned area, at the same place of the sample.
    middle = np.rint(star["scan"][0].astype(float).mean(axis=0)).astype(int)
    low = [middle - 80 - corner for _, corner, _ in pictures]
    a, b = (
        picture[y : y + 160, x : x + 160]
        for (picture, _, _), (y, x) in zip(pictures, low, strict=True)
    )
    light = illumination(pictures[0][2].probe, pictures[0][2].positions, pictures[0][0].shape)
    assert light[low[0][0], low[0][1]] > 0.05 * light.max()
    b, _ = align(a, b, shift=True)
    frequency, correlation = fourier_ring_correlation(a, b)
    # Below 0.1 of Nyquist the halves differ by slow phases, which probe and object share; above 0.3
    # half the photons are too few.
    band = (frequency > 0.12) & (frequency < 0.22)
    assert np.all(correlation[band] > 0.5)
    # Spokes shift the phase: strong and sharp, not a blur.
    assert np.std(np.angle(a)) > 0.3
