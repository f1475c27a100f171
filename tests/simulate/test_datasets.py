from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.simulate import Sample, dataset
from hxn_ptycho.simulate.diffraction import SaturationError, count, windows
from hxn_ptycho.simulate.faults import Faults, some_flat


def small(**changes: object):  # type: ignore[no-untyped-def]
    return dataset(**{"n": 32, "grid": (5, 6), "photons": 1e5, **changes})  # type: ignore[arg-type]


def test_shapes_and_geometry_belong_together() -> None:
    data = small()
    assert data.frames.shape == (30, 32, 32)
    assert data.frames.dtype == np.uint16
    assert data.positions_m.shape == (30, 2)
    assert data.probe.shape == (3, 32, 32)
    pixel = data.wavelength_m * data.distance_m / (32 * np.array(data.detector_pixel_m))
    np.testing.assert_allclose(data.pixel_size, pixel)
    # Every window lies in the object, and the outermost touch its edges.
    assert data.corners.min(axis=0).tolist() == [0, 0]
    assert (data.corners.max(axis=0) + 32).tolist() == list(data.object.shape)


@pytest.mark.parametrize("fly", [False, True])
def test_frames_are_what_the_truth_gives_but_for_photon_noise(fly: bool) -> None:
    data = small(fly=fly)
    expected = data.expected()
    chi2 = np.sum((data.frames - expected) ** 2) / np.sum(expected)
    assert chi2 == pytest.approx(1, abs=0.05)
    assert data.frames.sum(axis=(1, 2)).mean() == pytest.approx(1e5, rel=0.01)


def test_modes_have_the_powers_asked_for() -> None:
    data = small(probe_modes=2, powers=[3, 1])
    np.testing.assert_allclose(data.powers, [0.75, 0.25])
    with pytest.raises(ValueError, match="2 powers for 3 probe modes"):
        small(powers=[3, 1])


def test_a_fly_scan_needs_several_modes() -> None:
    data = small(fly=True)
    assert len(data.probe) > 3
    assert data.powers[0] < 0.95
    assert small().powers[0] == pytest.approx(0.7)
    assert np.all(np.diff(data.powers) < 0)


def test_the_seed_decides_everything() -> None:
    first, again, other = small(seed=4), small(seed=4), small(seed=5)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.object, again.object)
    assert not np.array_equal(first.positions_m, other.positions_m)
    assert not np.array_equal(first.object, other.object)


def test_the_beam_is_brightest_where_the_detector_is_not_covered() -> None:
    frame = small().expected().mean(axis=0)
    # The zone plate's cone is a quarter of the detector wide, DC in the middle.
    middle = frame[16 - 5 : 16 + 6, 16 - 5 : 16 + 6]
    assert middle.sum() > 0.8 * frame.sum()


def test_the_scanned_area_is_the_middle_of_the_object() -> None:
    data = small()
    rows, columns = data.object.shape
    assert data.scanned[rows // 2, columns // 2]
    assert not data.scanned[0, 0]
    assert 0.2 < data.scanned.mean() < 0.95


def test_too_many_photons_are_refused() -> None:
    with pytest.raises(SaturationError, match="65535"):
        small(photons=5e7)


def test_counts_that_just_fit_are_kept() -> None:
    generator = np.random.default_rng(0)
    counts = count(np.full((4, 4), 60_000.0), generator)
    assert counts.dtype == np.uint16
    assert abs(counts.mean() - 60_000) < 1000


def test_scan_has_the_frames_on_file(tmp_path: Path) -> None:
    data = small()
    scan = data.scan(tmp_path / "scan.h5", scan_id=7)
    assert scan.number_of_frames == 30
    assert scan.scan_id == 7
    block = scan.frames[0]
    with h5py.File(block.file) as file:
        np.testing.assert_array_equal(file[block.dataset], data.frames)
        assert file[block.dataset].chunks == (1, 32, 32)
    assert scan.frame_shape == (32, 32)


def test_faults_are_in_the_frames_and_the_truth_is_kept(tmp_path: Path) -> None:
    flat = some_flat((32, 32), 0.1, seed=3)
    faults = Faults(
        flat=flat, orientation="rot90", beam_offset=(2, -1), dead=((16, 16),), saturation=300
    )
    clean, data = small(), small(faults=faults)
    np.testing.assert_allclose(data.expected(), clean.expected())
    mean = faults.expected(data.expected(), (32, 32))
    assert np.argmax(mean[0]) != np.argmax(clean.expected()[0])
    good = mean < 200
    good[:, 16, 16] = False
    chi2 = np.sum((data.frames - mean)[good] ** 2) / np.sum(mean[good])
    assert chi2 == pytest.approx(1, abs=0.05)
    assert data.frames.max() == 300
    assert data.frames[:, 16, 16].max() == 0
    scan = data.scan(tmp_path / "scan.h5")
    assert (scan.orientation, scan.saturation) == ("rot90", 300)
    # rot90 turns a frame on file counter-clockwise; as seen along the beam, its beam is here:
    row, column = data.beam_pixel
    marked = np.zeros((32, 32))
    marked[row, column] = 1
    assert np.argwhere(np.rot90(marked)).tolist() == [[16 + 2, 16 - 1]]


def test_windows_leaving_the_picture_are_refused() -> None:
    picture = np.zeros((10, 12), complex)
    assert windows(picture, np.array([[2, 4]]), 8).shape == (1, 8, 8)
    for corner in ([3, 4], [2, 5], [-1, 0]):
        with pytest.raises(IndexError, match="leaves the picture"):
            windows(picture, np.array([corner]), 8)


@given(y=st.floats(-4e-6, 4e-6), x=st.floats(-4e-6, 4e-6), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_transmission_stays_in_the_range_of_x_rays(y: float, x: float, seed: int) -> None:
    sample = Sample(seed=seed, absorption=0.3, phase_depth=1.0)
    value = sample.transmission(y, x)
    assert 0.7 - 1e-9 <= abs(value) <= 1 + 1e-9
    assert -1 - 1e-9 <= np.angle(value) <= 1e-9


def test_the_same_sample_is_seen_with_any_pixel_and_origin() -> None:
    sample = Sample()
    whole = sample.render((60, 60), (10e-9, 10e-9), (-0.3e-6, -0.3e-6), subpixels=4)
    part = sample.render((10, 12), (10e-9, 10e-9), (-0.1e-6, 0.0), subpixels=4)
    np.testing.assert_allclose(part, whole[20:30, 30:42])
    coarse = sample.render((30, 30), (20e-9, 20e-9), (-0.295e-6, -0.295e-6), subpixels=8)
    np.testing.assert_allclose(coarse, whole.reshape(30, 2, 30, 2).mean(axis=(1, 3)), atol=1e-12)


def test_phase_and_amplitude_are_two_pictures() -> None:
    picture = Sample().render((160, 160), (12e-9, 12e-9), (-0.96e-6, -0.96e-6))
    phase, amplitude = np.angle(picture).ravel(), np.abs(picture).ravel()
    assert phase.std() > 0.2
    assert amplitude.std() > 0.03
    assert abs(np.corrcoef(phase, amplitude)[0, 1]) < 0.2
