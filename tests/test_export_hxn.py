"""HXN's folders, read as tomviz and HXN's own scripts read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.export import ExportError, export

from . import tomviz
from .example_results import example_result
from .hxn_files import windows_of_its_solver


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("shape", [(40, 48), (41, 47)])
def test_tomviz_sees_the_scanned_part(tmp_path: Path, shape, modes, old):
    """All of it and no more: the 15 pixels that it cuts off are there to be cut off."""
    result = example_result(modes=modes, shape=shape)
    export(result, "hxn", tmp_path, label="t2", angle_deg=-12.5, detector_pixel_m=75e-6)
    root = tmp_path / "recon_result"
    assert tomviz.scans(root) == [(12, "t2")]
    seen = tomviz.read(root, 12, "t2", old=old)
    scanned = result.object[0, 8 : shape[0] - 8, 8 : shape[1] - 8]
    # It shows arrays as its makers are used to: mirrored. A row and column more make sides even.
    part = seen.amplitude[: scanned.shape[0], -scanned.shape[1] :]
    np.testing.assert_allclose(part, np.abs(scanned)[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(
        seen.phase[: scanned.shape[0], -scanned.shape[1] :], np.angle(scanned)[:, ::-1], rtol=1e-5
    )
    assert seen.amplitude.shape == tuple(side + side % 2 for side in scanned.shape)
    np.testing.assert_allclose(seen.probe, result.probe[0][:, ::-1])
    assert seen.angle == -12.5
    if not old:
        assert seen.pixel_nm == pytest.approx((5.0, 5.0), rel=1e-9)


def test_the_object_fits_the_views_of_ptycho_gui(tmp_path: Path):
    """Its windows, of points that a scan is exported with, cut out what ours do."""
    result = example_result(modes=1)
    pixel = 5e-9
    export(result, "hxn", tmp_path)
    folder = tmp_path / "recon_result/S12/t1/recon_data"
    obj = np.load(folder / "recon_12_t1_object.npy")
    probe = np.load(folder / "recon_12_t1_probe.npy")
    y, x = (result.positions * pixel * 1e6).T
    starts = windows_of_its_solver(np.stack([x, -y]), pixel, 16)
    for (a, b), (row, column) in zip(starts, result.positions, strict=True):
        ours = result.object[0, row : row + 16, column : column + 16]
        theirs = obj[a : a + 16, b : b + 16]
        np.testing.assert_array_equal(theirs, np.rot90(ours, axes=(1, 0)))
    np.testing.assert_array_equal(probe, np.rot90(result.probe[0], axes=(1, 0)))


@pytest.mark.parametrize("modes", [1, 3])
def test_files_are_those_its_scripts_open(tmp_path: Path, modes):
    result = example_result(modes=modes)
    export(result, "hxn", tmp_path)
    folder = tmp_path / "recon_result/S12/t1/recon_data"
    rotated = np.rot90(result.probe, axes=(2, 1))
    for ending in ("ave", "ave_rp"):
        np.testing.assert_array_equal(
            np.load(folder / f"recon_12_t1_probe_{ending}.npy"), rotated[0]
        )
    every = np.load(folder / "recon_12_t1_probe.npy")
    np.testing.assert_array_equal(every, rotated if modes > 1 else rotated[0])
    found = sorted(folder.glob("recon_12_t1_probe_mode_orth_ave_rp_mode_*.npy"))
    assert len(found) == (modes if modes > 1 else 0)
    for file, mode in zip(found, rotated, strict=False):
        np.testing.assert_array_equal(np.load(file), mode)
    assert np.load(folder / "recon_12_t1_object.npy").ndim == 2


def test_the_configuration_is_one_of_ptycho_gui(tmp_path: Path):
    result = example_result(modes=3)
    result.recipe["object_phase"] = [-1.0, 0.1]
    export(result, "hxn", tmp_path, label="a", angle_deg=3.25, detector_pixel_m=75e-6)
    (path,) = (tmp_path / "recon_result/S12/a/recon_data").glob("*.txt")
    assert path.match("12*.ptycho_*.txt")
    values = tomviz.parse_config(path)
    assert (values["scan_num"], values["sign"], values["angle"]) == ("12", "a", 3.25)
    assert (values["nx"], values["ny"], values["nz"]) == (16, 16, len(result.positions))
    assert (values["prb_mode_num"], values["mode_flag"]) == (3, True)
    assert (values["pha_min"], values["pha_max"]) == (-1.0, 0.1)
    assert values["dr_x"] == pytest.approx(0.02)
    # Its scripts turn objects round by these, which begin their lines.
    lines = path.read_text().splitlines()
    assert "x_direction = -1" in lines
    assert "y_direction = -1" in lines


def test_binned_pixels_count_as_one(tmp_path: Path):
    result = example_result()
    result.recipe["binning"] = 2
    export(result, "hxn", tmp_path, detector_pixel_m=55e-6)
    (path,) = (tmp_path / "recon_result/S12/t1/recon_data").glob("*.txt")
    values = tomviz.parse_config(path)
    assert values["ccd_pixel_um"] == pytest.approx(110)
    assert values["z_m"] == pytest.approx(5e-9 * 16 * 110e-6 / 1.4e-10)
    seen = tomviz.read(tmp_path / "recon_result", 12, "t1")
    assert seen.pixel_nm == pytest.approx((5.0, 5.0))


def test_pixels_that_are_no_squares_are_refused(tmp_path: Path):
    with pytest.raises(ExportError, match=r"4 x 5 nm \(y, x\); tools of HXN know one"):
        export(example_result(pixel_size=(4e-9, 5e-9)), "hxn", tmp_path)
    assert not list(tmp_path.iterdir())
