"""What reaches the solver, in job.json and input.h5, of what a recipe asks for."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.optics import object_pixel
from hxn_ptycho.prepare import make_plan, prepare
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import Scan, ScanError
from hxn_ptycho.solver.job import Inputs, Job

from ..jobs import make_scan
from .frames import scan_of


@pytest.fixture
def scan(home: Home) -> Scan:
    return make_scan(home.data)


def prepared(scan: Scan, home: Home, **keys) -> tuple[Job, Inputs]:
    folder = home.jobs / "job"
    prepare(scan, Recipe.make(**keys), folder, job_uid="j", derived_uid="d", home=home)
    return Job.read(folder), Inputs.read(folder)


def test_positions_are_those_across_the_beam(scan: Scan, home: Home) -> None:
    turned = replace(scan, projection=(1.0, 0.5))
    _, inputs = prepared(turned, home)
    np.testing.assert_allclose(inputs.positions_m, scan.positions_m * [1, 0.5])
    _, inputs = prepared(turned, home, angle_correction=False)
    np.testing.assert_array_equal(inputs.positions_m, scan.positions_m)


def test_the_ion_chamber_may_be_left_out(scan: Scan, home: Home) -> None:
    values = np.linspace(0.8, 1.2, scan.number_of_frames)
    job, inputs = prepared(replace(scan, normalisation=values), home)
    np.testing.assert_array_equal(inputs.normalisation, values)
    job, inputs = prepared(replace(scan, normalisation=values), home, normalise=False)
    assert (inputs.normalisation == 1).all()
    assert job.recipe["normalise"] is False
    broken = replace(scan, normalisation=np.zeros(scan.number_of_frames))
    with pytest.raises(ScanError, match="normalisation of frame 0 is 0"):
        prepared(broken, home)
    prepared(broken, home, normalise=False)  # what helps against it


def test_the_orientation_is_the_recipes_else_the_runs(scan: Scan, home: Home) -> None:
    assert prepared(scan, home)[0].recipe["orientation"] == "identity"
    turned = replace(scan, orientation="rot90")
    assert prepared(turned, home)[0].recipe["orientation"] == "rot90"
    job, _ = prepared(turned, home, orientation="flip_x")
    assert job.recipe["orientation"] == "flip_x"


@pytest.mark.parametrize(
    ("orientation", "turned"), [("identity", (55e-6, 75e-6)), ("rot270", (75e-6, 55e-6))]
)
def test_pixels_that_are_not_square_are_turned(scan, home, orientation, turned) -> None:
    oblong = replace(scan, detector_pixel_m=(55e-6, 75e-6))
    job, _ = prepared(oblong, home, orientation=orientation)
    assert job.detector_pixel_m == (55e-6, 75e-6)
    assert job.object_pixel_m == pytest.approx(
        object_pixel(scan.wavelength_m, scan.distance_m, 32, turned)
    )


@pytest.mark.parametrize(("binning", "crop", "fft_window"), [(1, 30, 30), (2, 28, 16), (3, 30, 10)])
def test_a_binned_window_is_a_multiple(scan, home, binning, crop, fft_window) -> None:
    job, _ = prepared(scan, home, centre=(15, 16), binning=binning)
    assert job.crop == (15 - crop // 2, 16 - crop // 2, crop)
    assert job.fft_window == fft_window
    # The same detector gives a view of the same resolution, in fewer and no other pixels.
    assert job.object_pixel_m[0] == pytest.approx(
        scan.wavelength_m * scan.distance_m / (fft_window * binning * 55e-6)
    )
    assert (job.recipe["binning"], job.recipe["window"]) == (binning, crop)


def test_a_binned_window_too_small_is_refused(scan: Scan, home: Home) -> None:
    with pytest.raises(ScanError, match=r"window of 32 pixels binned by 8 .* needs at least 64"):
        prepared(scan, home, binning=8)
    with pytest.raises(ScanError, match=r"24 pixels binned by 4 around .* 32 x 32 .* least 32"):
        prepared(scan, home, binning=4, window=24)


def test_dark_flat_and_mask_are_handed_on(scan: Scan, home: Home, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark, flat = rng.random((32, 32)), rng.random((32, 32)) + 0.5
    bad = np.zeros((32, 32), bool)
    bad[4, 5] = True
    for name, image in (("dark", dark), ("flat", flat), ("bad", bad)):
        np.save(tmp_path / f"{name}.npy", image)
    job, inputs = prepared(
        scan, home, dark=str(tmp_path / "dark.npy"), flat=str(tmp_path / "flat.npy"),
        bad_pixels=str(tmp_path / "bad.npy"),
    )  # fmt: skip
    np.testing.assert_allclose(inputs.dark, dark, rtol=1e-6)
    np.testing.assert_allclose(inputs.flat, flat / flat[~bad].mean(), rtol=1e-6)
    np.testing.assert_array_equal(inputs.mask, ~bad)
    assert job.recipe["dark"] == str(tmp_path / "dark.npy")


def test_a_missing_file_is_refused_before_any_work(scan: Scan, home: Home) -> None:
    with pytest.raises(RecipeError, match=r"flat = '/nowhere/flat.npy': there is no file"):
        prepared(scan, home, flat="/nowhere/flat.npy")
    assert not (home.jobs / "job").exists()


def test_hot_pixels_are_masked_for_the_solver(home: Home, tmp_path: Path) -> None:
    good = make_scan(home.data)
    import h5py

    with h5py.File(good.frames[0].file, "r+") as file:
        frames = file[good.frames[0].dataset]
        frames[:, 1, 2] = 60000
        frames[:, 30, 3] = 65535
    _, inputs = prepared(good, home)
    assert np.argwhere(~inputs.mask).tolist() == [[1, 2], [30, 3]]
    _, inputs = prepared(good, home, hot_pixels=None)
    assert np.argwhere(~inputs.mask).tolist() == [[30, 3]]


def test_a_zeroed_region_has_to_be_on_the_detector(scan: Scan, home: Home) -> None:
    job, inputs = prepared(scan, home, zero_regions=[(0, 0, 4, 32)])
    assert job.recipe["zero_regions"] == [[0, 0, 4, 32]]
    assert inputs.mask.all()  # zero is a measurement
    with pytest.raises(RecipeError, match=r"\(0, 30, 4, 5\).* ends at \(4, 35\), .* 32 x 32"):
        prepared(scan, home, zero_regions=[(0, 30, 4, 5)])


def test_light_in_a_zeroed_region_does_not_draw_the_centre(tmp_path: Path) -> None:
    from .frames import annulus

    rng = np.random.default_rng(0)
    light = 20 * annulus((96, 96), (40, 48), 12, 5)
    frames = rng.poisson(light, (32, 96, 96)).astype(np.uint16)
    frames[:, 60:96, 60:96] += rng.poisson(
        200 * annulus((36, 36), (18, 18), 9, 4), (32, 36, 36)
    ).astype(np.uint16)
    scan = scan_of(frames, tmp_path / "f.h5")
    assert make_plan(scan, Recipe()).centre.y > 50  # between the two
    plan = make_plan(scan, Recipe(zero_regions=((60, 60, 36, 36),)))
    assert (plan.centre.y, plan.centre.x) == (40, 48)


def test_the_resolved_recipe_gives_the_same_again(home: Home, tmp_path: Path) -> None:
    from hxn_ptycho.simulate import dataset

    data = dataset(n=64, grid=(4, 4), probe_modes=1)
    frames = np.roll(data.frames, (7, -5), axis=(1, 2))
    scan = scan_of(
        frames, tmp_path / "f.h5", positions_m=data.positions_m, wavelength_m=data.wavelength_m,
        projection=(1.0, 0.9), orientation="transpose", detector_pixel_m=(55e-6, 50e-6),
    )  # fmt: skip
    first, inputs = prepared(scan, home, binning=2)
    assert first.recipe["centre"] == [39, 27]
    again, same = prepared(scan, home, **first.recipe)
    assert again == first
    np.testing.assert_array_equal(same.positions_m, inputs.positions_m)


def test_the_log_says_what_was_chosen(scan: Scan, home: Home, caplog) -> None:
    with caplog.at_level(logging.INFO):
        prepared(scan, home, binning=2, orientation="rot90")
    assert "direct beam of scan 7: found at (16." in caplog.text
    assert "25 views of 32 pixels binned by 2, turned by rot90, in a window of 16" in caplog.text
