from __future__ import annotations

import logging
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.home import Config, Home
from hxn_ptycho.launch import LocalEngine
from hxn_ptycho.optics import object_pixel
from hxn_ptycho.prepare import absolute_files, override, prepare, resolve
from hxn_ptycho.prepare.resources import available_memory, check_memory, needed_memory
from hxn_ptycho.prepare.window import choose_window
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import Scan, ScanError
from hxn_ptycho.solver.job import FrameBlock, Inputs, Job

from ..jobs import make_scan, with_nan


@pytest.fixture
def scan(home: Home) -> Scan:
    return make_scan(home.data)


def run(scan: Scan, home: Home, **keys: object) -> Job:
    return prepare(
        scan, Recipe.make(**keys), home.jobs / "job", job_uid="job", derived_uid="d", home=home
    )


def test_the_folder_has_all_the_solver_needs(scan: Scan, home: Home) -> None:
    job = run(scan, home, ranks=3, iterations=7)
    folder = home.jobs / "job"
    assert Job.read(folder) == job
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    inputs = Inputs.read(folder)
    assert np.array_equal(inputs.positions_m, scan.positions_m)
    assert inputs.mask.shape == scan.frame_shape
    assert inputs.mask.all()
    assert (job.job_uid, job.derived_uid, job.raw_uid, job.scan_id) == ("job", "d", "raw", 7)
    assert job.crop == (0, 0, 32)
    assert job.object_pixel_m == pytest.approx(
        object_pixel(scan.wavelength_m, scan.distance_m, 32, scan.detector_pixel_m)
    )
    assert job.start == {"probe": None, "object": None}


def test_every_key_of_the_recipe_is_resolved(scan: Scan, home: Home) -> None:
    recipe = run(scan, home).recipe
    assert recipe["device"] == "cpu"
    assert 1 <= recipe["ranks"] <= scan.number_of_frames
    assert (recipe["window"], recipe["probe"]) == (32, "data")
    assert recipe["distance_m"] == scan.distance_m
    assert recipe["energy_kev"] == pytest.approx(12.0)
    again = run(scan, home, **recipe)  # it can be given back as it is
    assert again.recipe == recipe


def test_the_recipe_goes_before_the_run(scan: Scan, home: Home) -> None:
    job = run(scan, home, distance_m=1.0, energy_kev=6.0)
    assert job.distance_m == 1.0
    assert job.object_pixel_m[0] == pytest.approx(
        object_pixel(2 * scan.wavelength_m, 2 * scan.distance_m, 32, scan.detector_pixel_m)[0] / 1
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda s: {"positions_m": s.positions_m[:-1]}, "25 frames but 24 positions"),
        (lambda s: {"normalisation": np.ones(26)}, "25 frames but 26 values of the normalisation"),
        (lambda s: {"positions_m": with_nan(s.positions_m, 3)}, "1 of 25 positions .* at frame 3"),
        (lambda s: {"positions_m": s.positions_m + np.inf}, "25 of 25 positions are NaN or inf"),
        (lambda s: {"positions_m": s.positions_m * 0}, "all 25 positions of scan 7 are equal"),
        (lambda s: {"positions_m": s.positions_m * 1e-6}, "less than one object pixel"),
        (lambda s: {"positions_m": s.positions_m * 1e3}, "do not overlap: .* apart, the window"),
        (lambda s: {"normalisation": s.normalisation * 0}, "normalisation of frame 0 is 0"),
        (lambda s: {"mask": np.ones((3, 3), bool)}, r"mask is \(3, 3\) for frames of \(32, 32\)"),
        (lambda s: {"distance_m": 0.0}, "distance to the detector is 0 m"),
        (lambda s: {"wavelength_m": float("nan")}, "wavelength is nan m"),
        (lambda s: {"frames": ()}, "has no frames"),
    ],
)
def test_a_scan_that_cannot_be_is_refused_with_numbers(
    scan: Scan, home: Home, changes: object, message: str
) -> None:
    assert callable(changes)
    with pytest.raises(ScanError, match=message):
        run(replace(scan, **changes(scan)), home)
    assert not (home.jobs / "job").exists()  # before any work


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            lambda b: replace(b, file=b.file + ".gone"),
            "scan 7: .*gone is missing: it does not exist",
        ),
        (lambda b: replace(b, dataset="/nothing"), "has no dataset /nothing"),
        (lambda b: replace(b, start=1), "holds 25 frames where 26 are needed: it is truncated"),
    ],
)
def test_frames_that_are_not_there_are_refused(
    scan: Scan, home: Home, block: object, message: str
) -> None:
    assert callable(block)
    with pytest.raises(ScanError, match=message):
        run(replace(scan, frames=(block(scan.frames[0]),)), home)


def test_a_damaged_file_is_named(scan: Scan, home: Home) -> None:
    path = Path(scan.frames[0].file)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ScanError, match=r"scan 7: .*frames\.h5 cannot be read"):
        run(scan, home)


def test_frames_of_another_size_are_refused(scan: Scan, home: Home) -> None:
    with pytest.raises(ScanError, match="frames of 32 x 32 pixels where 32 x 33 are expected"):
        run(replace(scan, frame_shape=(32, 33)), home)


def test_frames_may_lie_in_several_files(home: Home, scan: Scan) -> None:
    block = scan.frames[0]
    parts = (replace(block, count=10), FrameBlock(block.file, block.dataset, 10, 15))
    assert run(replace(scan, frames=parts), home).number_of_frames == 25


def test_a_small_overlap_is_warned_of(
    scan: Scan, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    window = choose_window(scan, Recipe())
    grid = np.stack(np.meshgrid(range(5), range(5)), axis=-1).reshape(25, 2)
    with caplog.at_level(logging.WARNING):
        run(replace(scan, positions_m=grid * 0.2 * window.side_m[0]), home)
        assert not caplog.records
        run(replace(scan, positions_m=grid * 0.7 * window.side_m[0]), home)
    assert "overlap little" in caplog.text


def test_ranks_are_at_most_the_views() -> None:
    assert resolve(Recipe(device="cpu"), 1, LocalEngine(Config())).ranks == 1
    with pytest.raises(RecipeError, match="ranks = 26 is more than the scan's 25 views"):
        resolve(Recipe(device="cpu", ranks=26), 25, LocalEngine(Config()))


def test_what_does_not_fit_into_memory_is_refused(scan: Scan) -> None:
    recipe = Recipe(probe_modes=5)
    window = choose_window(scan, recipe)
    needed = needed_memory(scan, recipe, window, 1)
    waves = 25 * 5 * 32 * 32 * 8
    assert waves < needed < waves + 200e6
    assert needed_memory(scan, Recipe(probe_modes=5, precision="double"), window, 1) > needed
    assert 0 < available_memory() < 1e15
    check_memory(needed, needed, recipe)
    with pytest.raises(ScanError, match=r"needs 40 GB of memory and 1\.5 GB are available"):
        check_memory(40e9, 1.5e9, recipe)


def test_positions_in_wrong_units_are_refused_rather_than_computed(scan: Scan, home: Home) -> None:
    far = np.concatenate([scan.positions_m[:-1], [[1.0, 1.0]]])  # one encoder spike: a metre
    with pytest.raises(ScanError, match=r"needs .* GB of memory .* check the positions' units"):
        run(replace(scan, positions_m=far), home)


def test_a_plan_overrides_the_recipe_for_its_scan() -> None:
    assert override(Recipe(), {"scan_id": 1}) == Recipe()
    assert override(Recipe(beta=0.5), {"ptycho": {"iterations": 9}}) == Recipe(
        beta=0.5, iterations=9
    )
    with pytest.raises(RecipeError, match=r"md=.*unknown key .probe_mode.*did you mean"):
        override(Recipe(), {"ptycho": {"probe_mode": 3}})
    with pytest.raises(RecipeError, match="give a dict of recipe keys"):
        override(Recipe(), {"ptycho": "fast"})


def test_relative_files_are_taken_from_where_the_user_is(tmp_path: Path) -> None:
    recipe = absolute_files(Recipe(probe="probe.npy", object="a/o.h5"), tmp_path)
    assert (recipe.probe, recipe.object) == (
        str(tmp_path / "probe.npy"),
        str(tmp_path / "a/o.h5"),
    )
    words = Recipe(probe="zone-plate", zone_plate={"diameter": 1e-4, "outer_zone_width": 3e-8})
    assert absolute_files(words, tmp_path) == words
    assert absolute_files(Recipe(probe="0a1b2c3d"), tmp_path).probe == "0a1b2c3d"


def test_a_second_attempt_replaces_the_first(scan: Scan, home: Home) -> None:
    run(scan, home, probe="zone-plate", zone_plate=PLATE)
    job = run(scan, home)
    assert job.start["probe"] is None
    assert not (home.jobs / "job" / "start.h5").exists()


PLATE = {"diameter": 200e-6, "outer_zone_width": 120e-9, "defocus": 50e-6}
