"""Scans that ptycho_gui has written."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.beamline import read_scan
from hxn_ptycho.catalog import read, resolve, start_document
from hxn_ptycho.importers import ImportFileError, import_file
from hxn_ptycho.importers.given import Given
from hxn_ptycho.importers.ptycho_gui import frames_from_amplitudes, read_ptycho_gui
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import Dataset, dataset
from hxn_ptycho.solver.job import ResultData
from hxn_ptycho.solver.metrics import object_error

from ..hxn_files import (
    amplitudes_of_its_solver,
    prepared_by_ptycho_gui,
    windows_of_its_solver,
    write_scan_h5,
)
from ..solver.program import run_solver


def stage_um(positions_m: np.ndarray) -> np.ndarray:
    """Points that its solver, with its own directions, takes for these places of the beam."""
    y, x = positions_m.T * 1e6
    return np.stack([x, -y])  # its axis 1 is the detector's rows upwards


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(32, (4, 5), photons=1e4, probe_modes=1)


@pytest.fixture
def file(tmp_path: Path, data: Dataset) -> Path:
    return write_scan_h5(
        tmp_path / "scan_34784.h5", prepared_by_ptycho_gui(data.frames), stage_um(data.positions_m)
    )


def test_frames_and_positions_are_those_of_the_detector(catalogs, data, file):
    uid = import_file(file, catalogs=catalogs)
    scan = read_scan(catalogs.raw, uid)
    frames = read(catalogs.raw, uid, "frames")
    assert frames.dtype == np.uint16
    np.testing.assert_array_equal(frames, np.fft.ifftshift(data.frames, axes=(1, 2)))
    np.testing.assert_allclose(scan.positions_m, data.positions_m, rtol=1e-9, atol=1e-16)
    assert (scan.scan_id, scan.dc) == (34784, "corner")
    assert scan.wavelength_m == pytest.approx(data.wavelength_m, rel=1e-9)
    assert (scan.distance_m, scan.detector_pixel_m) == (0.5, pytest.approx((55e-6, 55e-6)))
    about = start_document(catalogs.raw, uid)["scan"]
    assert (about["format"], about["angle_deg"]) == ("ptycho_gui", 0.0)
    assert "square roots" in about["stored"]
    assert resolve(catalogs.raw, uid, "frames").blocks[0].count == 20


def test_a_known_sample_comes_out_as_it_is(catalogs, home, tmp_path):
    """Its picture: not turned, not flipped, not the twin."""
    truth = dataset(48, (16, 16), photons=1e6, probe_modes=1, step_px=3)
    path = write_scan_h5(
        tmp_path / "scan_5.h5", prepared_by_ptycho_gui(truth.frames), stage_um(truth.positions_m)
    )
    scan = read_scan(catalogs.raw, import_file(path, catalogs=catalogs))
    folder = home.jobs / "known"
    recipe = Recipe(ranks=2, iterations=60, algorithm="RAAR", fft_window="exact", centre="middle")
    prepare(scan, recipe, folder, job_uid="known", derived_uid="known", home=home)
    done = run_solver(folder, 2)
    assert done.returncode == 0, done.stderr
    found = ResultData.read(folder / "result.h5").object[0]
    row, column = truth.corners.min(axis=0)
    part = np.s_[row : row + found.shape[0], column : column + found.shape[1]]
    right, lit = truth.object[part], truth.scanned[part]
    error = object_error(right, found, lit, shift=True)
    others = (found[::-1], found[:, ::-1], found[::-1, ::-1].conj(), found.conj())
    assert error < 0.03
    assert min(object_error(right, other, lit, shift=True) for other in others) > 0.1


@pytest.mark.parametrize("directions", [(-1, -1), (1, -1), (-1, 1), (1, 1)])
@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0, -45.0, -60.0, 80.0])
def test_what_its_solver_finds_fits_what_is_imported(tmp_path, directions, angle):
    """Truth by the model of its own solver: an object and a probe on its axes."""
    rng = np.random.default_rng(4)
    n, pixel_m = 16, 1.2398419843e-9 / 12 * 0.5 / (16 * 55e-6)
    points = rng.uniform(-1, 1, (2, 9)) * 12 * pixel_m * 1e6
    signs = {"x_direction": directions[0], "y_direction": directions[1]}
    starts = windows_of_its_solver(points, pixel_m, n, angle=angle, **signs)
    obj = 1 + 0.3 * (rng.normal(size=(80, 80)) + 1j * rng.normal(size=(80, 80)))
    probe = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    amplitudes = amplitudes_of_its_solver(obj, probe, starts)
    path = write_scan_h5(tmp_path / "scan_1.h5", amplitudes, points, angle=angle)

    measured = read_ptycho_gui(path, Given(**signs))
    (frames,) = measured.frames.batches()
    # Its object turned back: axis 0 was x, axis 1 y upwards.
    ours, our_probe = (np.rot90(a, axes=(0, 1)) for a in (obj, probe))
    places = np.rint(measured.positions_m * measured.projection / pixel_m).astype(int)
    corners = places - places.min(axis=0)
    begin = np.array([len(ours) - (starts[:, 1].max() + n), starts[:, 0].min()])
    for frame, (y, x) in zip(frames, corners + begin, strict=True):
        wave = our_probe * ours[y : y + n, x : x + n]
        expected = np.abs(np.fft.fft2(wave, norm="ortho")) ** 2
        # Turning an even frame moved its middle by one row, here and there: a ramp of the probe.
        np.testing.assert_allclose(frame, np.roll(expected, -1, axis=0), rtol=1e-5, atol=1e-4)


def test_the_rotation_is_kept_and_applied_once(catalogs, data, tmp_path):
    path = write_scan_h5(
        tmp_path / "scan_2.h5", prepared_by_ptycho_gui(data.frames), stage_um(data.positions_m),
        angle=60.0,
    )  # fmt: skip
    uid = import_file(path, catalogs=catalogs)
    scan = read_scan(catalogs.raw, uid)
    assert scan.projection == pytest.approx((1.0, np.sin(np.deg2rad(60))))
    np.testing.assert_allclose(scan.positions_m, data.positions_m, rtol=1e-9, atol=1e-16)
    assert start_document(catalogs.raw, uid)["scan"]["angle_deg"] == 60.0


@given(
    kind=st.sampled_from(["f4", "f8"]),
    largest=st.sampled_from([3, 1000, 65535, 2**20]),
    seed=st.integers(0, 2**16),
)
def test_whole_counts_stay_whole(kind, largest, seed):
    """Square roots are rounded, more so in single precision."""
    counts = np.random.default_rng(seed).integers(2, largest + 1, (3, 8, 12))
    found = frames_from_amplitudes(prepared_by_ptycho_gui(counts).astype(kind))
    np.testing.assert_array_equal(found, np.fft.ifftshift(counts, axes=(1, 2)))


def test_normalised_counts_are_kept_as_they_are(catalogs, data, tmp_path):
    counts = data.frames * 1.037
    path = write_scan_h5(
        tmp_path / "scan_4.h5", prepared_by_ptycho_gui(counts), stage_um(data.positions_m)
    )
    frames = read(catalogs.raw, import_file(path, catalogs=catalogs), "frames")
    assert frames.dtype == np.float32
    expected = np.where(counts < 1, 0, counts)
    np.testing.assert_allclose(frames, np.fft.ifftshift(expected, axes=(1, 2)), rtol=1e-6)


def test_counts_that_are_whole_at_first_only(catalogs, data, tmp_path, monkeypatch):
    """The batch that tells comes last: writing begins anew, nothing is rounded."""
    monkeypatch.setattr("hxn_ptycho.importers.measured.BATCH_BYTES", 3 * 32 * 32 * 8)
    counts = data.frames.astype(float)
    counts[-1] *= 1.5
    path = write_scan_h5(
        tmp_path / "scan_6.h5", prepared_by_ptycho_gui(counts), stage_um(data.positions_m)
    )
    frames = read(catalogs.raw, import_file(path, catalogs=catalogs), "frames")
    expected = np.fft.ifftshift(np.where(counts < 1, 0, counts), axes=(1, 2))
    np.testing.assert_allclose(frames, expected, rtol=1e-6)


def test_frames_in_the_detectors_own_files(catalogs, data, tmp_path):
    """A newer file refers to them: by a relative path, cropped, neither turned nor squared."""
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 9, (20, 50, 60)).astype(np.uint32)
    whole[:, 10:42, 20:52] = data.frames
    for name, part in (("a.h5", whole[:12]), ("b.h5", whole[12:])):
        with h5py.File(tmp_path / name, "w") as file:
            file["entry/data/data"] = part
    path = write_scan_h5(
        tmp_path / "scan_7.h5", prepared_by_ptycho_gui(data.frames), stage_um(data.positions_m),
        diffamp=None,
        **{
            "raw_data/flag": True,
            "raw_data/filename": np.array(["a.h5", "b.h5"], h5py.string_dtype()),
            "raw_data/roi": [[10, 42], [20, 52]],
            "raw_data/badpixels": [[12, 3], [21, 3]],
        },
    )  # fmt: skip
    uid = import_file(path, catalogs=catalogs)
    scan = read_scan(catalogs.raw, uid)
    assert scan.dc == "centre"
    np.testing.assert_allclose(scan.positions_m, data.positions_m, rtol=1e-9, atol=1e-16)
    assert scan.mask is not None
    assert np.argwhere(~scan.mask).tolist() == [[2, 1]]
    expected = data.frames.copy()
    expected[:, 2, 1] = 0
    np.testing.assert_array_equal(read(catalogs.raw, uid, "frames"), expected)


def test_a_scan_that_is_there_already_gets_the_next_number(catalogs, file):
    path = file.rename(file.with_name("scan_88123.h5"))
    ids = [
        start_document(catalogs.raw, import_file(path, catalogs=catalogs))["scan_id"]
        for _ in range(2)
    ]
    assert ids == [88123, 88124]


def test_what_a_person_says_outweighs_the_file(catalogs, file):
    uid = import_file(file, catalogs=catalogs, energy_kev=8.0, detector_pixel_um=75.0)
    scan = read_scan(catalogs.raw, uid)
    assert scan.wavelength_m == pytest.approx(1.2398419843e-9 / 8)
    assert (scan.distance_m, scan.detector_pixel_m) == (0.5, pytest.approx((75e-6, 75e-6)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_m": None}, "does not say distance_m; give --distance-m NUMBER"),
        ({"z_m": 0.0}, "does not say distance_m"),
        (
            {"lambda_nm": None, "ccd_pixel_um": None},
            "does not say energy_kev and detector_pixel_um; give --energy-kev NUMBER "
            "--detector-pixel-um NUMBER",
        ),
        ({"points": None}, r"has no points \(2, N\)"),
        ({"points": np.zeros((3, 20))}, r"points has shape \(3, 20\)"),
        ({"points": np.zeros((2, 19))}, "20 frames but 19 positions"),
        ({"points": np.full((2, 20), np.nan)}, "40 of 40 values of points are NaN"),
        ({"angle": np.nan}, "angle is nan"),
        ({"diffamp": np.full((20, 8, 8), -1.0)}, r"negative counts, down to -1 at \[0, 0, 0\]"),
        ({"diffamp": np.full((20, 8, 8), np.inf)}, r"NaN or infinite: 1280 among frames 0 to 19"),
        ({"diffamp": np.zeros((20, 8))}, r"diffamp has shape \(20, 8\)"),
        ({"diffamp": np.zeros((20, 8, 8), "u2")}, "square roots of counts"),
        (
            {
                "diffamp": None,
                "raw_data/filename": np.array(["gone.h5"], h5py.string_dtype()),
                "raw_data/roi": [[0, 8], [0, 8]],
            },
            r"gone.h5 cannot be read: .*",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(catalogs, data, tmp_path, changes, message):
    diffamp = prepared_by_ptycho_gui(data.frames)
    path = write_scan_h5(tmp_path / "scan_9.h5", diffamp, stage_um(data.positions_m), **changes)
    before = sorted(catalogs.home.data.rglob("*"))
    with pytest.raises(ImportFileError, match=message):
        import_file(path, catalogs=catalogs)
    assert sorted(catalogs.home.data.rglob("*")) == before


def test_a_file_cut_off_is_told(catalogs, file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImportFileError, match="copy it again"):
        import_file(file, catalogs=catalogs)


def test_another_hdf5_file_is_told(catalogs, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["temperature"] = 3.0
    with pytest.raises(ImportFileError, match=r"kind that is not known.* it holds temperature"):
        import_file(tmp_path / "a.h5", catalogs=catalogs)


@pytest.mark.parametrize("name", ["x_direction", "y_direction"])
def test_directions_are_signs(catalogs, file, name):
    with pytest.raises(ImportFileError, match=f"{name} = 0.5: it is 1 or -1"):
        import_file(file, catalogs=catalogs, **{name: 0.5})
