"""What a user sees of a scan's frames, against the frames and what the solver makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.prepare import prepare
from hxn_ptycho.prepare.looking import look
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import ScanError
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver.job import Inputs, Job

from .frames import scan_of


@pytest.fixture(scope="module")
def data():
    return dataset(n=64, grid=(6, 7), probe_modes=1, photons=1e5)


def scan_at(data, folder: Path, frames: np.ndarray | None = None, **changes):
    frames = data.frames if frames is None else frames
    return scan_of(
        frames, folder / "f.h5", positions_m=data.positions_m, wavelength_m=data.wavelength_m,
        **changes,
    )  # fmt: skip


def test_it_is_what_a_run_would_do(data, home, tmp_path: Path) -> None:
    frames = np.roll(data.frames, (8, -6), axis=(1, 2))
    frames[:, 3, 60] = 5000
    scan = scan_at(data, tmp_path, frames, orientation="rot90", projection=(1.0, 0.8))
    recipe = Recipe(binning=2, device="cpu", ranks=1)
    seen = look(scan, recipe, title="star")
    job = prepare(scan, recipe, home.jobs / "j", job_uid="j", derived_uid="d", home=home)
    inputs = Inputs.read(home.jobs / "j")
    assert seen.numbers["crop"] == job.crop == (16, 2, 48)
    assert seen.numbers["fft_window"] == job.fft_window
    assert seen.numbers["object_pixel_m"] == job.object_pixel_m
    assert seen.numbers["centre"] == (40, 26)
    assert seen.numbers["centre_found"] == pytest.approx((40, 26), abs=0.5)
    assert seen.numbers["orientation"] == job.recipe["orientation"] == "rot90"
    np.testing.assert_array_equal(seen.view.positions_m, inputs.positions_m)
    np.testing.assert_array_equal(seen.view.marked["hot"], ~inputs.mask)
    changed = {"device": "auto", "ranks": "auto", "probe": "auto"}
    assert {**job.recipe, **changed} == {**seen.numbers["recipe"], **changed}
    assert (seen.view.title, seen.view.scan_id) == ("star", 7)


def test_tiles_are_the_frames_cropped_turned_and_binned(data, tmp_path: Path) -> None:
    scan = scan_at(data, tmp_path, normalisation=np.linspace(0.9, 1.1, 42))
    seen = look(scan, Recipe(centre=(30, 33), window=32, binning=2, orientation="transpose"))
    assert seen.view.numbers.tolist() == [0, 14, 27, 41]
    for tile, number in zip(seen.view.tiles, seen.view.numbers, strict=True):
        crop = data.frames[number, 14:46, 17:49].T.astype(float)
        binned = crop.reshape(16, 2, 16, 2).sum(axis=(1, 3)) * scan.normalisation[number]
        np.testing.assert_allclose(tile, binned, rtol=1e-6)
        assert seen.view.photons[number] == pytest.approx(binned.sum())


def test_the_rim_and_masked_pixels_are_not_measured(data, tmp_path: Path) -> None:
    mask = np.ones((64, 64), bool)
    mask[20, 25] = False
    seen = look(scan_at(data, tmp_path, mask=mask), Recipe(window=62))
    tile = seen.view.tiles[0]
    assert tile.shape == (64, 64)
    measured = np.zeros((64, 64), bool)
    measured[1:63, 1:63] = True
    measured[20, 25] = False
    np.testing.assert_array_equal(~np.isnan(tile), measured)
    assert seen.numbers["masked_pixels"]["named"] == seen.numbers["masked_in_window"] == 1
    outside = look(scan_at(data, tmp_path, mask=mask), Recipe(window=16))
    assert outside.numbers["masked_in_window"] == 0


def test_empty_and_bad_frames_are_named(data, tmp_path: Path) -> None:
    frames = data.frames.astype(np.float32)
    frames[4] = frames[40] = 0
    frames[9, 30, 30] = np.nan
    seen = look(scan_at(data, tmp_path, frames), Recipe(bad_frames="drop"))
    assert seen.view.empty.tolist() == seen.numbers["empty"] == [4, 40]
    assert seen.view.bad.tolist() == [9]
    assert "not finite" in seen.numbers["bad_why"][0]
    assert set(seen.view.index.tolist()) == set(range(42)) - {4, 9, 40}
    assert "2 empty of 42 looked at, dropped" in seen.view.facts
    assert "1 bad of 42 looked at, dropped" in seen.view.facts
    refused = look(scan_at(data, tmp_path, frames), Recipe(empty_frames="refuse"))
    assert "2 empty of 42 looked at, refused" in refused.view.facts


def test_corner_frames_are_shown_with_the_beam_in_the_middle(data, tmp_path: Path) -> None:
    corner = np.fft.ifftshift(data.frames, axes=(1, 2))
    mask = np.ones((64, 64), bool)
    mask[0, 0] = False
    seen = look(scan_at(data, tmp_path, corner, dc="corner", mask=mask), Recipe(window=32))
    np.testing.assert_allclose(seen.view.mean, np.where(
        np.arange(64 * 64).reshape(64, 64) >= 0, data.frames.mean(axis=0), 0
    ))  # fmt: skip
    assert np.argwhere(seen.view.marked["named"]).tolist() == [[32, 32]]
    assert seen.view.crop == (16, 16, 32)
    assert seen.view.centre == (32, 32)
    assert seen.view.found is None
    assert np.isnan(seen.view.tiles[0][16, 16])


def test_what_is_said_has_the_numbers(data, tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.zeros((64, 64)))
    scan = scan_at(data, tmp_path, projection=(1.0, 0.5), detector_pixel_m=(55e-6, 110e-6))
    seen = look(scan, Recipe(dark=str(tmp_path / "dark.npy"), threshold=2, orientation="flip_y"))
    said = "; ".join(seen.view.facts)
    for part in (
        "12 keV", "distance 0.5 m", "detector pixel 55 × 110 µm", "window 64", "object pixel 14.68",
        "orientation flip_y (from the recipe)", "42 frames", "apart", "% of the window", "dark",
        "threshold 2", "x × 0.5", "0 pixels masked, 0 in the window", "photons a frame",
    ):  # fmt: skip
        assert part in said, part
    assert "not applied" not in said
    kept = look(scan, Recipe(angle_correction=False))
    assert "x × 0.5, not applied" in "; ".join(kept.view.facts)
    assert "orientation identity (from the detector)" in kept.view.facts


def test_only_some_frames_of_many_are_read(data, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hxn_ptycho.prepare.looking.MOST_FRAMES", 10)
    seen = look(scan_at(data, tmp_path), Recipe())
    assert seen.numbers["looked_at"] == 10
    assert seen.view.index.tolist() == np.linspace(0, 41, 10).round().astype(int).tolist()
    assert len(seen.view.positions_m) == 42


def test_a_single_frame_and_a_scan_in_the_dark(data, tmp_path: Path) -> None:
    one = look(scan_of(data.frames[:1], tmp_path / "one.h5"), Recipe())
    assert len(one.view.tiles) == 1
    dark = np.zeros_like(data.frames)
    with pytest.raises(ScanError, match="no light"):
        look(scan_at(data, tmp_path, dark), Recipe())
    seen = look(scan_at(data, tmp_path, dark), Recipe(centre="middle"))  # to see that it is dark
    assert len(seen.view.tiles) == len(seen.view.photons) == 0
    assert len(seen.view.empty) == 42


def test_nothing_is_written(data, home, tmp_path: Path) -> None:
    scan = scan_at(data, tmp_path)
    before = sorted(home.root.rglob("*"))
    look(scan, Recipe(), folder=home.root)
    assert sorted(home.root.rglob("*")) == before
    assert isinstance(look(scan, Recipe()).plan.job(), Job)
