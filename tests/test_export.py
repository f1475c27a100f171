from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from hxn_ptycho.export import FORMATS, ExportError, export

from .example_results import example_result


def test_npy_holds_the_arrays_and_what_they_are(tmp_path: Path):
    result = example_result(modes=3)
    files = export(result, "npy", tmp_path / "out")
    assert {file.name for file in files} == {
        "scan_12_object.npy", "scan_12_probe.npy", "scan_12_positions.npy", "scan_12.json",
    }  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "out/scan_12_object.npy"), result.object)
    np.testing.assert_array_equal(np.load(tmp_path / "out/scan_12_probe.npy"), result.probe)
    about = json.loads((tmp_path / "out/scan_12.json").read_text())
    assert about["pixel_size_m"] == [5e-9, 5e-9]
    assert about["recipe"] == result.recipe


def test_tiff_has_units_and_resolution(tmp_path: Path):
    result = example_result(modes=3, pixel_size=(4e-9, 5e-9))
    export(result, "tiff", tmp_path)
    with tifffile.TiffFile(tmp_path / "scan_12_object_phase.tiff") as file:
        page = file.pages[0]
        np.testing.assert_allclose(page.asarray(), np.angle(result.object[0]), atol=1e-6)
        assert page.tags["ResolutionUnit"].value == 3  # centimetre
        for tag, pixel in (("XResolution", 5e-9), ("YResolution", 4e-9)):
            numerator, denominator = page.tags[tag].value
            assert numerator / denominator == pytest.approx(0.01 / pixel, rel=1e-6)
    probe = tifffile.imread(tmp_path / "scan_12_probe_amplitude.tiff")
    np.testing.assert_allclose(probe, np.abs(result.probe), rtol=1e-6)


def test_imagej_shows_micrometres(tmp_path: Path):
    """It takes pixels of at most 1 um (0.0001 cm) in centimetres for micrometres."""
    export(example_result(pixel_size=(4e-9, 5e-9)), "tiff", tmp_path)
    with tifffile.TiffFile(tmp_path / "scan_12_object_amplitude.tiff") as file:
        x, y = file.pages[0].get_resolution(unit="centimeter")
        assert file.pages[0].tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        x_um, y_um = file.pages[0].get_resolution(unit="micrometer")
    assert max(1 / x, 1 / y) <= 0.0001
    assert (1 / x_um, 1 / y_um) == pytest.approx((0.005, 0.004), rel=1e-6)


@pytest.mark.parametrize("modes", [1, 2])
def test_cxi_is_where_readers_look(tmp_path: Path, modes: int):
    result = example_result(modes=modes, pixel_size=(4e-9, 5e-9))
    (path,) = export(result, "cxi", tmp_path)
    with h5py.File(path) as file:
        assert file["cxi_version"][()] >= 150
        np.testing.assert_array_equal(file["entry_1/image_1/data"][()], result.object[0])
        assert file["entry_1/data_1/data"].shape == result.object.shape[1:]
        probe = file["entry_1/image_1/process_1/final_illumination"][()]
        np.testing.assert_array_equal(probe, result.probe if modes > 1 else result.probe[0])
        energy = file["entry_1/image_1/source_1/energy"][()]
        assert energy / 1.602176634e-16 == pytest.approx(12.39842 / 1.4, rel=1e-5)
        x, y, z = file["entry_1/sample_1/geometry_1/translation"][()].T
    # Where the beam's centre was on the stage.
    assert x[0] == pytest.approx(-2e-6 + (result.positions[0, 1] + 8) * 5e-9)
    assert y[-1] == pytest.approx(1e-6 + (result.positions[-1, 0] + 8) * 4e-9)
    assert not z.any()


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_unasked(tmp_path: Path, format: str):
    files = export(example_result(), format, tmp_path)
    before = {file: file.read_bytes() for file in files}
    other = example_result(phase=1.0)
    with pytest.raises(ExportError, match="is there already"):
        export(other, format, tmp_path)
    assert {file: file.read_bytes() for file in files} == before
    export(other, format, tmp_path, overwrite=True)
    assert {file: file.read_bytes() for file in files} != before
    assert not list(tmp_path.rglob(".*"))


def test_unknown_format_names_those_there_are(tmp_path: Path):
    with pytest.raises(ExportError, match="npy, tiff, cxi, hxn"):
        export(example_result(), "png", tmp_path)


def test_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export(example_result(), "npy", tmp_path / "file" / "below")


@pytest.mark.parametrize("label", ["", "../t1", ".hidden"])
def test_labels_name_one_folder(tmp_path: Path, label: str):
    with pytest.raises(ExportError, match="cannot be a label"):
        export(example_result(), "hxn", tmp_path, label=label)
