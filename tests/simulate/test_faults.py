"""Detectors' and ion chambers' faults, against what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.simulate.faults import (
    Faults,
    IonChamber,
    placed,
    some_dark,
    some_flat,
    some_pixels,
)
from hxn_ptycho.solver.orientation import ORIENTATIONS, matrix, turn

from .read_back import frames_of, misfit, path_of, read_back
from .station import Form, make_station

SHAPE = (32, 32)


def test_without_faults_frames_are_the_light(tmp_path: Path) -> None:
    light = np.random.default_rng(0).uniform(0, 50, (3, 8, 8))
    assert Faults().expected(light, (8, 8)) is not None
    np.testing.assert_array_equal(Faults().expected(light, (8, 8)), light)


@given(
    offset=st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
    shape=st.tuples(st.integers(10, 20), st.integers(10, 20)),
    orientation=st.sampled_from(ORIENTATIONS),
)
@settings(max_examples=60, deadline=None)
def test_the_beam_is_where_the_faults_say(
    offset: tuple[int, int], shape: tuple[int, int], orientation: str
) -> None:
    faults = Faults(beam_offset=offset, orientation=orientation)  # type: ignore[arg-type]
    light = np.zeros((1, 12, 12))
    light[0, 6, 6], light[0, 6, 7] = 100, 7  # the direct beam, and what is one column beside it
    frame = faults.expected(light, shape)[0]
    row, column = faults.beam_pixel(shape)
    assert frame[row, column] == 100
    # As `solver.orientation` has it: (dy, dx) as seen along the beam is matrix @ (dy, dx) on file.
    dy, dx = matrix(orientation) @ (0, 1)  # type: ignore[arg-type]
    if 0 <= row + dy < frame.shape[0] and 0 <= column + dx < frame.shape[1]:
        assert frame[row + dy, column + dx] == 7
    turned = turn(frame, orientation)  # type: ignore[arg-type]
    assert turned.shape == shape
    assert turned[shape[0] // 2 + offset[0], shape[1] // 2 + offset[1]] == 100


def test_light_beside_the_detector_is_lost() -> None:
    light = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal(placed(light, (4, 4), (1, -2))[0, 1:, :2], light[0, :3, 2:])
    assert placed(light, (4, 4), (1, -2)).sum() == light[0, :3, 2:].sum()
    np.testing.assert_array_equal(placed(light, (8, 6))[0, 2:6, 1:5], light[0])
    with pytest.raises(ValueError, match="nothing of 4 falls on 4"):
        placed(light, (4, 4), (5, 0))


def test_dark_counts_are_there_without_beam(tmp_path: Path) -> None:
    dark = some_dark(SHAPE, 4.0, seed=1)
    station = make_station(tmp_path, faults=Faults(dark=dark))
    station.endstation.flux = 0.0
    station.measure(15, 15)
    frames = read_back(station).frames
    assert frames.mean() == pytest.approx(dark.mean(), rel=0.02)
    error = frames.mean(axis=0) - dark
    chi2 = np.mean(error**2 / (dark / len(frames)))
    assert chi2 == pytest.approx(1, abs=0.15)
    assert dark[-1].mean() > 2 * dark[0].mean()


def test_a_flat_field_is_what_pixels_make_of_the_same_light(tmp_path: Path) -> None:
    flat = some_flat(SHAPE, 0.1, seed=2)
    assert flat.mean() == pytest.approx(1)
    assert flat.std() > 0.1
    station = make_station(tmp_path, faults=Faults(flat=flat))
    station.measure()
    frames = read_back(station).frames
    assert misfit(frames, station.light() * flat) == pytest.approx(1, abs=0.05)
    assert misfit(frames, station.light()) > 2


def test_hot_dead_and_saturated_pixels(tmp_path: Path) -> None:
    hot, dead = some_pixels(SHAPE, 3, 1, avoid={(16, 16): 13}), ((16, 13), (12, 16))
    station = make_station(
        tmp_path, faults=Faults(hot=hot, hot_counts=900, dead=dead, saturation=1200)
    )
    station.measure()
    frames = read_back(station).frames
    assert frames.max() == 1200
    assert np.sum(frames == 1200) > 20
    for row, column in hot:
        assert np.hypot(row - 16, column - 16) > 13
        usual = station.light()[:, row, column].mean() * station.endstation.flux * 0.004
        assert frames[:, row, column].mean() == pytest.approx(900 + usual, rel=0.05)
    for row, column in dead:
        assert frames[:, row, column].max() == 0
        assert station.light()[:, row, column].mean() * station.endstation.flux * 0.004 > 10


@pytest.mark.parametrize("form", ["panda", "classic", "zebra", "streams", "step"])
def test_empty_frames_and_the_ion_chamber_fail_where_they_are_told(
    tmp_path: Path, form: Form
) -> None:
    # The numbers are those of the scan, whichever file the frame is in.
    station = make_station(
        tmp_path, form=form, faults=Faults(empty_frames=(0, 17, 99)), max_sub_scan_points=8
    )
    station.endstation.ion_chamber.faults = {5: 0.0, 18: 0.04}
    station.measure(6, 5)
    found = read_back(station)
    assert np.flatnonzero(found.frames.sum(axis=(1, 2)) == 0).tolist() == [0, 17]
    usual = np.median(found.ion_chamber)
    assert np.flatnonzero(found.ion_chamber < 0.5 * usual).tolist() == [5, 18]
    assert found.ion_chamber[5] == 0
    assert found.ion_chamber[18] == pytest.approx(0.04 * usual, rel=0.2)


@pytest.mark.parametrize("orientation", ["rot90", "transpose", "flip_y"])
def test_a_detector_mounted_turned_stores_frames_turned(tmp_path: Path, orientation: str) -> None:
    faults = Faults(orientation=orientation, beam_offset=(2, -3))  # type: ignore[arg-type]
    station = make_station(tmp_path, faults=faults)
    station.measure()
    stored = read_back(station).frames
    seen = np.zeros((30, *SHAPE))
    seen[:, 2:, :-3] = station.light()[:, :-2, 3:]
    assert misfit(turn(stored, orientation), seen) == pytest.approx(1, abs=0.05)  # type: ignore[arg-type]
    assert misfit(stored, seen + 1e-9) > 2


def test_maps_of_the_wrong_size_are_refused(tmp_path: Path) -> None:
    station = make_station(tmp_path, faults=Faults(dark=np.zeros((4, 5))))
    with pytest.raises(ValueError, match="dark has 4 x 5 pixels, frames on file 32 x 32"):
        station.measure(2, 2)
    with pytest.raises(ValueError, match="flat has 3 x 4 pixels, frames on file 4 x 3"):
        Faults(flat=np.ones((3, 4)), orientation="rot90").check((3, 4))


def test_the_ion_chamber_counts_what_it_should() -> None:
    chamber = IonChamber(rate=1e6, faults={3: 0.0})
    counts = chamber.count(np.full(2000, 1.1), 0.01, np.random.default_rng(0), first=2)
    assert counts[1] == 0
    assert counts.mean() == pytest.approx(1.1e4, rel=0.01)
    assert counts[2:].std() == pytest.approx(np.sqrt(1.1e4), rel=0.1)


def test_an_eiger_writes_a_master_and_data_files(tmp_path: Path) -> None:
    station = make_station(tmp_path)
    eiger = station.eiger1
    eiger.faults = Faults(beam_offset=(1, -2), saturation=50_000)
    station.measure(6, 5, detector=eiger)
    (master,) = (path_of(r) for r in station.named("resource") if "master" in r["resource_path"])
    assert len(list(master.parent.glob(master.name.replace("master", "data_*")))) == 4  # of 8 each
    with h5py.File(master) as file:
        link = file["entry/data"].get("data_000002", getlink=True)
        assert isinstance(link, h5py.ExternalLink)
        assert "/" not in link.filename  # beside it, wherever both are moved
        dataset = file["entry/data/data_000004"]
        assert (dataset.shape, dataset.dtype, dataset.chunks) == (
            (6, 32, 32),
            "uint32",
            (1, 32, 32),
        )
        assert "32008" in dataset._filters  # bitshuffle
        detector = file["entry/instrument/detector"]
        assert (detector["x_pixel_size"][()], detector["beam_center_y"][()]) == (75e-6, 17)
        assert detector["beam_center_x"][()] == 14
        mask = detector["detectorSpecific/pixel_mask"][:]
        wavelength = file["entry/instrument/beam/incident_wavelength"][()]
    assert wavelength == pytest.approx(1.033, abs=0.001)
    frames = frames_of(master)
    assert frames.shape == (30, 32, 32)
    assert np.argwhere(mask).tolist() == sorted(list(p) for p in eiger.bad_pixels)
    assert np.all(frames[:, mask > 0] == np.iinfo(np.uint32).max)
    assert frames[:, mask == 0].max() <= 50_000


def test_an_eiger_triggered_by_steps_does_not_know_how_many_come(tmp_path: Path) -> None:
    station = make_station(tmp_path, form="step")
    station.measure(5, 4, detector=station.eiger1)
    (resource,) = station.named("resource")
    assert len(frames_of(path_of(resource))) == 20
