from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hxn_ptycho.home import Home
from hxn_ptycho.optics import zone_plate_probe
from hxn_ptycho.prepare import choose_window
from hxn_ptycho.prepare.starts import object_start, probe_start, recentre, rescale
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import Scan, ScanError

from ..jobs import make_scan


def blob(n: int, width: float, shift: float = 0.0) -> NDArray[np.complex128]:
    """Return a smooth complex spot in the middle of n x n pixels."""
    axis = np.arange(n) - n // 2 - shift
    return np.exp(-np.add.outer(axis**2, axis**2) / width**2 / 2) * np.exp(
        0.3j * np.add.outer(axis, -axis) / width
    )


@pytest.fixture
def scan(home: Home) -> Scan:
    return make_scan(home.data)


def start(scan: Scan, home: Home, **keys: object) -> NDArray | None:
    recipe = Recipe.make(**keys)
    found = probe_start(scan, recipe, choose_window(scan, recipe), home)
    return None if found is None else found.array


@pytest.mark.parametrize("probe", ["auto", "data", "random"])
def test_what_the_solver_makes_itself_is_left_to_it(scan: Scan, home: Home, probe: str) -> None:
    assert start(scan, home, probe=probe) is None


def test_a_zone_plate_probe_is_computed_on_the_windows_pixel(scan: Scan, home: Home) -> None:
    plate = {"diameter": 200e-6, "outer_zone_width": 120e-9, "defocus": 50e-6}
    window = choose_window(scan, Recipe())
    expected = zone_plate_probe(
        32,
        window.object_pixel_m,
        window.wavelength_m,
        diameter_m=200e-6,
        outer_zone_width_m=120e-9,
        defocus_m=50e-6,
    )
    found = start(scan, home, probe="zone-plate", zone_plate=plate)
    assert found is not None
    assert np.allclose(found, expected[None], atol=0)
    with pytest.raises(RecipeError, match=r'probe = "zone-plate": .* wide, more than the window'):
        start(scan, home, probe="zone-plate", zone_plate={**plate, "defocus": 5e-3})


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_a_probe_from_a_file_is_taken_unchanged_on_the_same_pixel(
    scan: Scan, home: Home, tmp_path: Path, suffix: str
) -> None:
    probe = np.stack([blob(32, 4), blob(32, 6, 1.0)])
    path = tmp_path / f"probe{suffix}"
    if suffix == ".npy":
        np.save(path, probe)
    elif suffix == ".npz":
        np.savez(path, probe=probe, other=np.ones(3))
    else:
        with h5py.File(path, "w") as file:
            file["probe"] = probe
    assert np.array_equal(start(scan, home, probe=str(path), probe_modes=2), probe)
    assert np.array_equal(start(scan, home, probe=str(path), probe_modes=1), probe[:1])


def test_a_probe_with_another_pixel_is_resampled_to_the_same_wave(
    scan: Scan, home: Home, tmp_path: Path
) -> None:
    window = choose_window(scan, Recipe())
    path = tmp_path / "probe.h5"
    with h5py.File(path, "w") as file:  # as a result has it: half the pixel, twice the width
        file["probe"] = blob(48, 8.0)[None]
        file.attrs["pixel_size"] = np.array(window.object_pixel_m) / 2
    found = start(scan, home, probe=str(path))
    assert found is not None
    inside = slice(6, 26)  # what 48 half pixels reach
    assert np.abs(found[0] - blob(32, 4.0))[inside, inside].max() < 1e-3
    assert np.abs(found[0, :3]).max() == 0  # beyond what was given


def test_a_probe_without_a_pixel_is_meant_for_a_window_of_its_size(
    scan: Scan, home: Home, tmp_path: Path
) -> None:
    # 40 pixels of the same wave at the same detector: a finer pixel, by 32 / 40.
    path = tmp_path / "probe.npy"
    np.save(path, blob(40, 5.0))
    found = start(scan, home, probe=str(path))
    assert found is not None
    assert found.shape == (1, 32, 32)
    assert np.abs(found[0] - blob(32, 4.0)).max() < 2e-3


def test_the_probe_that_came_with_the_run_is_the_default(
    scan: Scan, home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["entry/probe"] = blob(32, 4)
    bringing = replace(scan, start_probe=(str(path), "/entry/probe"))
    assert np.array_equal(start(bringing, home), blob(32, 4)[None])
    assert start(bringing, home, probe="data") is None
    path.unlink()
    with pytest.raises(ScanError, match=r"came with scan 7.*cannot be used"):
        start(bringing, home)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((8, 8), np.nan), "NaN or infinite"),
        (np.zeros((8, 8)), "zero everywhere"),
        (np.ones(8), r"shape \(8,\) is not"),
        (np.full((2, 2), "x"), "is no number"),
    ],
)
def test_a_file_of_no_use_is_refused(
    scan: Scan, home: Home, tmp_path: Path, array: NDArray, message: str
) -> None:
    np.save(tmp_path / "probe.npy", array)
    with pytest.raises(RecipeError, match=message):
        start(scan, home, probe=str(tmp_path / "probe.npy"))


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("/none/probe.npy", "there is no such file"),
        ("zoneplate", "is none of auto, data, zone-plate, random, nor a file"),
        ("bade", "hxn-ptycho results lists them"),
    ],
)
def test_a_start_that_is_not_there_is_named(
    scan: Scan, home: Home, probe: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        start(scan, home, probe=probe)


def test_a_file_without_the_array_says_what_it_has(scan: Scan, home: Home, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", other=np.ones((8, 8)))
    with pytest.raises(RecipeError, match="no array 'probe', only other"):
        start(scan, home, probe=str(tmp_path / "a.npz"))
    (tmp_path / "b.h5").write_bytes(b"nonsense")
    with pytest.raises(RecipeError, match=r"b\.h5' cannot be used"):
        start(scan, home, probe=str(tmp_path / "b.h5"))


def test_an_object_keeps_its_place_on_the_stage(scan: Scan, home: Home, tmp_path: Path) -> None:
    window = choose_window(scan, Recipe())
    path = tmp_path / "result.h5"
    obj = np.exp(1j * blob(50, 10).real)[None]
    with h5py.File(path, "w") as file:
        file["object"] = obj
        file.attrs["pixel_size"] = np.array(window.object_pixel_m) * 2
        file.attrs["origin_m"] = (-1e-6, 2e-6)
    found = object_start(Recipe(object=str(path)), window, home)
    assert found is not None
    assert found.origin_m == (-1e-6, 2e-6)
    assert found.array.shape == (1, 99, 99)  # from the first pixel's centre to the last one's
    assert np.allclose(found.array[0, ::2, ::2], obj[0], atol=1e-6)
    assert object_start(Recipe(object="random"), window, home) is None


def test_resampling_there_and_back_changes_nothing_much() -> None:
    wave = blob(64, 8)[None]
    finer = recentre(wave, (2.0, 2.0), 128, (1.0, 1.0))
    assert np.abs(recentre(finer, (1.0, 1.0), 64, (2.0, 2.0)) - wave).max() < 1e-3
    assert rescale(wave, (1.0, 1.0), (1.0 + 1e-9, 1.0)) is not wave
    assert np.array_equal(rescale(wave, (1.0, 1.0), (1.0 + 1e-9, 1.0)), wave)
