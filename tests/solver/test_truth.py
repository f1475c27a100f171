"""Whole reconstructions of simulated data whose truth is known, launched as users launch them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe, ZonePlate
from hxn_ptycho.simulate import Dataset, dataset
from hxn_ptycho.solver.job import ResultData, read_progress
from hxn_ptycho.solver.metrics import object_error

from .program import run_solver


def reconstruct(data: Dataset, home: Home, name: str, frames=None, **keys) -> ResultData:
    """Reconstruct on two ranks; `frames`: instead of the data's own."""
    folder = home.jobs / name
    scan = data.scan(home.data / f"{name}.h5")
    if frames is not None:
        with h5py.File(home.data / f"{name}.h5", "a") as file:
            del file["entry/data/data"]
            file["entry/data/data"] = frames
    recipe = Recipe(ranks=2, **keys)
    prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
    done = run_solver(folder, 2)
    assert done.returncode == 0, done.stderr
    return ResultData.read(folder / "result.h5")


def error_against(data: Dataset, result: ResultData, shift: bool) -> float:
    """Error of the object in the scanned area, after scale and ramp (and translation)."""
    row, column = data.corners.min(axis=0)
    _, height, width = result.object.shape
    part = slice(row, row + height), slice(column, column + width)
    return object_error(data.object[part], result.object[0], data.scanned[part], shift=shift)


@pytest.mark.timeout(900)
def test_three_modes_and_a_million_photons_give_the_sample(tmp_path_factory, home):
    """900 views of 128 x 128 from the data alone: no optics, no first guess are given."""
    data = dataset(n=128, grid=(30, 30), probe_modes=3, photons=1e6, step_px=6)
    result = reconstruct(data, home, "three", probe_modes=3, iterations=100)
    assert error_against(data, result, shift=False) <= 0.10
    curve = result.error_fourier_curve[np.isfinite(result.error_fourier_curve)]
    # It falls, and having fallen stays: updates in the wrong order pass the first iterations only.
    assert curve[-1] < 0.5 * curve[0]
    assert curve[-4:].max() < 1.5 * curve.min()


def optics(data: Dataset) -> dict:
    """What a beamline knows of its beam: the zone plate, and the defocus to some 15 %."""
    n, pixel, outer_zone = data.frames.shape[-1], data.pixel_size[0], 4 * data.pixel_size[0]
    return {
        "probe": "zone-plate",
        "zone_plate": ZonePlate(
            diameter=200e-6, outer_zone_width=outer_zone, central_stop=60e-6,
            defocus=1.15 * 0.32 * n * pixel * outer_zone / data.wavelength_m,
        ),
    }  # fmt: skip


def test_the_powers_put_in_are_found(home):
    """By RAAR: the weak modes of DM wander on noisy data."""
    data = dataset(n=64, grid=(22, 22), probe_modes=3, photons=3e6, step_px=4)
    result = reconstruct(
        data, home, "powers", probe_modes=3, iterations=100, algorithm="RAAR", beta=0.75,
        **optics(data),
    )  # fmt: skip
    np.testing.assert_allclose(result.probe_power, data.powers, rtol=0.10)
    assert error_against(data, result, shift=True) < 0.03


def test_saturated_pixels_of_single_frames_cost_nothing(home):
    """Some 35 of each frame read 65535. Masked, the picture is that of the true counts."""
    data = dataset(n=64, grid=(14, 14), probe_modes=1, photons=3e6, step_px=4)
    keys = {"iterations": 60, "algorithm": "RAAR", "beta": 0.75, **optics(data)}
    over = data.frames >= 0.8 * np.median(data.frames.max(axis=(1, 2)))
    assert over.any(axis=(1, 2)).all()
    assert not over.all(axis=0).any()
    marked = np.where(over, 65535, data.frames).astype(np.uint16)
    errors = {}
    for name, frames in (
        ("true", data.frames),
        ("masked", marked),
        ("as counts", marked.astype(np.uint32)),  # a type of which 65535 is not the largest
    ):
        result = reconstruct(data, home, name, frames, **keys)
        errors[name] = error_against(data, result, shift=True)
    assert errors["masked"] < 1.1 * errors["true"]
    assert errors["as counts"] > 5 * errors["true"]
    said = {
        name: next(
            line for line in read_progress(home.jobs / name)[0] if line["event"] == "started"
        )
        for name in errors
    }
    assert said["masked"]["saturated_pixels"] == np.count_nonzero(over)
    assert said["as counts"]["saturated_pixels"] == 0


def test_a_beam_that_moves_needs_its_modes(home):
    """A fly scan: with enough modes the object is at least twice better than with one."""
    data = dataset(n=64, grid=(20, 20), photons=5e6, fly=True, step_px=8)
    assert data.powers[1] > 0.3
    errors = {}
    for modes in (1, 4):
        result = reconstruct(
            data, home, f"fly{modes}", probe_modes=modes, iterations=100, **optics(data)
        )
        errors[modes] = error_against(data, result, shift=True)
    assert errors[4] < 0.5 * errors[1]
