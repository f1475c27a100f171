"""Frames of raw runs for other programs: read as those read them, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho import export_scan as module
from hxn_ptycho.export import ExportError, write_scan
from hxn_ptycho.export_scan import prepared_scan
from hxn_ptycho.importers.cxi import read_cxi
from hxn_ptycho.importers.given import Given
from hxn_ptycho.importers.measured import Measured
from hxn_ptycho.importers.ptycho_gui import read_ptycho_gui
from hxn_ptycho.prepare import make_plan
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan
from hxn_ptycho.simulate import Dataset, dataset
from hxn_ptycho.solver.job import JobError
from hxn_ptycho.solver.orientation import ORIENTATIONS

from .hxn_files import prepared_by_ptycho_gui, windows_of_its_solver

READERS = {"ptycho_gui": read_ptycho_gui, "cxi_frames": read_cxi, "pynx": read_cxi}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(32, (5, 6), photons=2e4, probe_modes=1)


@pytest.fixture
def scan(data: Dataset, tmp_path: Path) -> Scan:
    return data.scan(tmp_path / "frames.h5", uid="raw", scan_id=34784)


def exported(scan: Scan, format: str, folder: Path, angle: float | None = None, **keys: Any):
    recipe = Recipe(**{"fft_window": "exact", "centre": "middle", "hot_pixels": None, **keys})
    (path,) = write_scan(prepared_scan(make_plan(scan, recipe), angle), format, folder)
    return path


def counts_of(measured: Measured) -> np.ndarray:
    """Frames as imported, DC in the middle."""
    frames = np.concatenate(list(measured.frames.batches()))
    return np.fft.fftshift(frames, axes=(1, 2)) if measured.dc == "corner" else frames


def test_ptycho_gui_finds_what_it_would_have_written(data, scan, tmp_path):
    path = exported(scan, "ptycho_gui", tmp_path / "out")
    assert path.name == "scan_34784.h5"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            file["diffamp"], prepared_by_ptycho_gui(data.frames, threshold=0)
        )
        assert file["diffamp"].dtype == np.float64
        points = file["points"][()]
        assert float(file["lambda_nm"][()]) == pytest.approx(data.wavelength_m * 1e9)
        assert (float(file["z_m"][()]), float(file["ccd_pixel_um"][()])) == (0.5, 55.0)
        assert float(file["x_pixel_m"][()]) == pytest.approx(data.pixel_size[1])
        assert float(file["x_range"][()]) == pytest.approx(np.ptp(data.positions_m[:, 1]) * 1e6)
        assert float(file["angle"][()]) == 0
        np.testing.assert_array_equal(file["ic"], np.ones(30))
        assert "measured" not in file
    starts = windows_of_its_solver(points, data.pixel_size[0], 32)
    # Axis 0 is x, axis 1 is y upwards.
    x, up = (starts - starts.min(axis=0)).T
    y, x_expected = (data.corners - data.corners.min(axis=0)).T
    np.testing.assert_array_equal(x, x_expected)
    np.testing.assert_array_equal(up, y.max() - y)


@pytest.mark.parametrize("angle", [0.0, 30.0, -45.0, 70.0, -80.0])
def test_its_correction_for_the_rotation_gives_the_places_again(data, scan, tmp_path, angle):
    share = abs(np.sin(np.deg2rad(angle)) if abs(angle) > 45 else np.cos(np.deg2rad(angle)))
    turned = replace(
        scan, positions_m=data.positions_m / [1, share], projection=(1.0, float(share))
    )
    path = exported(turned, "ptycho_gui", tmp_path / "out", angle)
    with h5py.File(path) as file:
        points, written = file["points"][()], float(file["angle"][()])
    starts = windows_of_its_solver(points, data.pixel_size[0], 32, angle=written)
    corners = data.corners - data.corners.min(axis=0)
    np.testing.assert_array_equal(starts[:, 0] - starts[:, 0].min(), corners[:, 1])
    back = read_ptycho_gui(path, Given())
    assert back.angle_deg == angle
    used = back.positions_m * back.projection
    np.testing.assert_allclose(used, data.positions_m, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("format", READERS)
def test_out_and_in_again_is_the_same(data, scan, tmp_path, format):
    measured = READERS[format](exported(scan, format, tmp_path / "out"), Given())
    np.testing.assert_allclose(counts_of(measured), data.frames, rtol=1e-6)
    np.testing.assert_allclose(measured.positions_m, data.positions_m, rtol=1e-6, atol=1e-14)
    assert measured.scan_id == 34784
    assert measured.geometry.energy_kev == pytest.approx(12.0, rel=1e-6)
    assert measured.geometry.distance_m == pytest.approx(0.5)
    assert measured.geometry.detector_pixel_m == pytest.approx((55e-6, 55e-6))
    assert measured.recipe == {}


@pytest.mark.parametrize("format", READERS)
def test_it_is_prepared_as_a_reconstruction_would_have_it(data, tmp_path, format):
    """Cropped around a beam off the middle, turned, masked, normalised; a frame without counts."""
    rng = np.random.default_rng(2)
    whole = rng.poisson(0.2, (30, 48, 52)).astype(np.uint16)
    whole[:, 6:38, 12:44] = data.frames
    whole[7] = 0
    mask = np.ones((48, 52), bool)
    mask[10, 20] = False
    whole[:, 10, 20] = 60000
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry/data/data"] = whole[:, ::-1]
    scan = data.scan(tmp_path / "other.h5", uid="raw", scan_id=7)
    scan = replace(
        scan,
        frames=(replace(scan.frames[0], file=str(tmp_path / "frames.h5")),),
        frame_shape=(48, 52),
        mask=mask[::-1],
        orientation="flip_y",
        normalisation=rng.uniform(0.9, 1.1, 30),
    )
    path = exported(scan, format, tmp_path / "out", window=24, centre=(47 - 22, 28), threshold=0.0)
    measured = READERS[format](path, Given())
    expected = data.frames[:, 4:28, 4:28] * scan.normalisation[:, None, None]
    good = mask[10:34, 16:40]
    kept = np.arange(30) != 7
    found = counts_of(measured)
    np.testing.assert_allclose(found[:, good], expected[kept][:, good], rtol=1e-6)
    np.testing.assert_allclose(measured.positions_m, data.positions_m[kept], rtol=1e-6, atol=1e-14)
    assert measured.mask is not None
    middle = np.fft.fftshift(measured.mask) if measured.dc == "corner" else measured.mask
    np.testing.assert_array_equal(middle, good)


def test_bad_pixels_look_like_those_around(data, scan, tmp_path):
    """As ptycho_gui makes them itself: it has no mask."""
    mask = np.ones((32, 32), bool)
    mask[15, 17] = False
    path = exported(replace(scan, mask=mask), "ptycho_gui", tmp_path / "out")
    found = counts_of(read_ptycho_gui(path, Given()))
    around = data.frames[:, 14:17, 16:19].reshape(30, 9)[:, np.arange(9) != 4]
    np.testing.assert_array_equal(found[:, 15, 17], np.rint(np.median(around, axis=1)))


def test_a_saturated_pixel_of_one_frame_is_filled(data, tmp_path):
    frames = data.frames.copy()
    frames[3, 15, 17] = 65535
    scan = replace(data, frames=frames).scan(tmp_path / "frames.h5", uid="raw", scan_id=1)
    path = exported(replace(scan, saturation=65535), "cxi_frames", tmp_path / "out")
    found = counts_of(read_cxi(path, Given()))
    around = data.frames[3, 14:17, 16:19].ravel()[np.arange(9) != 4]
    assert found[3, 15, 17] == np.rint(np.median(around))
    rest = np.ones(frames.shape, bool)
    rest[3, 15, 17] = False
    np.testing.assert_array_equal(found[rest], data.frames[rest])


@pytest.mark.parametrize("format", ["ptycho_gui", "cxi_frames"])
def test_frames_are_read_by_batches(data, scan, tmp_path, monkeypatch, format):
    monkeypatch.setattr(module, "BATCH_BYTES", 7 * 32 * 32 * 8)
    seen = []
    prepare_some = module.prepare_some
    monkeypatch.setattr(
        module, "prepare_some", lambda *a: seen.append(len(a[3])) or prepare_some(*a)
    )
    measured = READERS[format](exported(scan, format, tmp_path / "out"), Given())
    np.testing.assert_allclose(counts_of(measured), data.frames, rtol=1e-6)
    assert max(seen) == 7


def test_cxi_is_read_as_cdtools_and_sharp_read_it(data, scan, tmp_path):
    path = exported(scan, "cxi_frames", tmp_path / "out")
    assert path.name == "scan_34784_frames.cxi"
    with h5py.File(path) as file:
        detector = file["entry_1/instrument_1/detector_1"]
        frames = file["entry_1/data_1/data"][()]
        axes = file["entry_1/data_1/data"].attrs["axes"].decode().split(":")
        assert axes == ["translation", "y", "x"]
        # cdtools: sample positions negated are the beam's, then along the steps of the detector.
        beam = -file["entry_1/data_1/translation"][()]
        basis = detector["basis_vectors"][()]
        steps = basis / np.linalg.norm(basis, axis=1, keepdims=True)
        rows_columns = beam @ steps.T
        assert float(detector["distance"][()]) == 0.5
        mask = detector["mask"][()]
        good = (mask == 0) | (mask == 0x1000)
        wavelength = 1.9864459e-25 / float(file["entry_1/instrument_1/source_1/energy"][()])
        # SHARP: the corner is half a detector away from the beam.
        corner = detector["corner_position"][()]
        beam_pixel = corner[:2] / [detector["x_pixel_size"][()], detector["y_pixel_size"][()]]
    np.testing.assert_array_equal(frames, data.frames)
    assert frames.dtype == np.uint16
    np.testing.assert_allclose(rows_columns, data.positions_m, atol=1e-15)
    assert good.all()
    assert wavelength == pytest.approx(data.wavelength_m, rel=1e-6)
    np.testing.assert_array_equal(np.floor(beam_pixel), [16, 16])


def test_pynx_reads_two_rows(data, scan, tmp_path):
    path = exported(scan, "pynx", tmp_path / "out")
    with h5py.File(path) as file:
        x, y = file["/entry_1/sample_1/geometry_1/translation"][0:2]
        assert file["/entry_1/instrument_1/name"][()]
        energy = file["/entry_1/instrument_1/source_1/energy"][()] / 1.60218e-16
        assert energy == pytest.approx(12.0, rel=1e-5)
        assert file["/entry_1/instrument_1/detector_1/x_pixel_size"][()] == 55e-6
        assert int(file["/entry_1/data_1/process_1/configuration/scan"][()]) == 34784
        masked = file["/entry_1/instrument_1/detector_1/mask"][()] != 0
    assert not masked.any()
    np.testing.assert_allclose([y, x], data.positions_m.T)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_frames_come_out_as_seen_along_the_beam(data, tmp_path, orientation):
    from hxn_ptycho.importers.turning import turn_about_beam
    from hxn_ptycho.solver.orientation import inverse

    on_file = turn_about_beam(data.frames, inverse(orientation), "centre")
    scan = replace(data, frames=np.ascontiguousarray(on_file)).scan(tmp_path / "frames.h5")
    path = exported(replace(scan, orientation=orientation), "cxi_frames", tmp_path / "out")
    measured = read_cxi(path, Given())
    # The edge that has no partner across the beam: turned out of the window, not measured.
    good = np.ones((32, 32), bool) if measured.mask is None else measured.mask
    np.testing.assert_array_equal(counts_of(measured)[:, good], data.frames[:, good])
    assert good[1:, 1:].all()


def test_what_cannot_be_exported_is_told(data, scan, tmp_path):
    with pytest.raises(ExportError, match="choose one of ptycho_gui, cxi_frames, pynx"):
        exported(scan, "tiff", tmp_path)
    flat = replace(scan, detector_pixel_m=(55e-6, 75e-6))
    with pytest.raises(ExportError, match=r"55 x 75 um \(y, x\); ptycho_gui knows squares only"):
        exported(flat, "ptycho_gui", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    exported(scan, "ptycho_gui", tmp_path / "out")
    with pytest.raises(ExportError, match="is there already"):
        exported(scan, "ptycho_gui", tmp_path / "out")


def test_bad_frames_are_refused_or_left_out(data, tmp_path):
    frames = data.frames.astype(np.float32)
    frames[4, 3, 3] = np.nan
    scan = replace(data, frames=frames).scan(tmp_path / "frames.h5", scan_id=3)
    with pytest.raises(JobError, match="1 of 30 frames cannot be used"):
        exported(scan, "cxi_frames", tmp_path / "out")
    path = exported(scan, "cxi_frames", tmp_path / "out", bad_frames="drop")
    with h5py.File(path) as file:
        assert file["entry_1/data_1/data"].shape == (29, 32, 32)
        assert file["entry_1/data_1/translation"].shape == (29, 3)
