"""Files of others in, files for others out, through the commands alone."""

from __future__ import annotations

import uuid
from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog import insert, open_catalog
from hxn_ptycho.publish import Publisher
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset

from .. import tomviz
from ..hxn_documents import make_scan
from ..hxn_files import prepared_by_ptycho_gui, write_scan_h5
from ..result_files import write_result


@pytest.fixture(scope="module")
def data():
    return dataset(32, (5, 5), photons=1e4, probe_modes=1)


@pytest.fixture
def scan_h5(tmp_path: Path, data) -> Path:
    y, x = data.positions_m.T * 1e6
    points = np.stack([x, -y])
    diffamp = prepared_by_ptycho_gui(data.frames)
    return write_scan_h5(tmp_path / "scan_345.h5", diffamp, points, angle=20.0)


def test_a_file_that_says_all_needs_no_numbers(run, used_home, scan_h5):
    said = run("import", scan_h5)
    assert said.status == 0, said.err
    assert "Scan 345: 25 frames from scan_345.h5 (ptycho_gui)" in said.out
    assert "hxn-ptycho reconstruct 345" in said.out


def test_what_a_file_lacks_is_asked_for_by_name(run, used_home, scan_file, scan_h5):
    said = run("import", scan_file)
    assert said.status == 1
    assert (
        "give --energy-kev NUMBER --distance-m NUMBER --detector-pixel-um NUMBER"
        in said.err.replace("\n", " ")
    )
    with h5py.File(scan_h5, "a") as file:
        del file["z_m"]
    said = run("import", scan_h5)
    assert "scan_345.h5 does not say distance_m; give --distance-m NUMBER" in said.err
    (taken,) = run("import", scan_h5, "--distance-m", 0.5, "--x-direction", 1, "--json").json
    assert taken["format"] == "ptycho_gui"


def test_frames_go_out_as_they_came(run, used_home, data, tmp_path):
    said = run("export", 345, tmp_path / "out", "--format", "ptycho_gui", "--set", "window=32")
    assert said.status == 0, said.err
    written = tmp_path / "out" / "scan_345.h5"
    assert str(written) in said.out
    with h5py.File(written) as file:
        back = file["diffamp"][()] ** 2
        assert float(file["angle"][()]) == 20
    np.testing.assert_allclose(back, prepared_by_ptycho_gui(data.frames) ** 2, rtol=1e-6)
    said = run(
        "export", 345, tmp_path / "out", "--format", "cxi_frames", "--json",
        "--set", "window=24", "--set", "binning=2", "--set", 'centre="middle"',
    )  # fmt: skip
    (path,) = said.json
    with h5py.File(path) as file:
        assert file["entry_1/data_1/data"].shape == (25, 12, 12)
        pixel = file["entry_1/instrument_1/detector_1/x_pixel_size"][()]
        assert pixel == pytest.approx(110e-6)
    (taken,) = run("import", path, "--json").json
    assert taken["format"] == "cxi"


def test_a_recipe_that_does_not_fit_is_told(run, used_home, tmp_path):
    said = run("export", 345, tmp_path, "--format", "pynx", "--set", "window=64")
    assert said.status == 1
    assert "window = 64 is larger than the frames" in said.err.replace("\n", " ")
    said = run("export", 345, tmp_path, "--format", "pynx", "--set", "windw=16")
    assert said.status == 2
    said = run("export", "ffff", tmp_path, "--format", "pynx")
    assert said.status == 1
    assert "no run" in said.err


def test_tomviz_has_the_angle_of_the_raw_run(run, used_home, tmp_path):
    """By default: nobody has to type it for hundreds of projections."""
    catalogs = open_catalog(used_home)
    scan = make_scan(used_home.data / "turned", 77)
    insert(catalogs.raw, scan.documents)
    published = Publisher(
        catalogs, derived_uid=str(uuid.uuid4()), job_uid="job", raw_start=scan.start,
        recipe=Recipe(probe_modes=2, iterations=12), ranks=1, device="cpu",
    )  # fmt: skip
    published.open()
    published.succeed(write_result(used_home.jobs / "77", raw_uid=scan.uid, scan_id=77))
    said = run("export", 77, tmp_path / "out", "--format", "hxn", "--label", "dm")
    assert said.status == 0, said.err
    assert "recon_77_dm_object_ave.npy" in said.out
    seen = tomviz.read(tmp_path / "out" / "recon_result", 77, "dm")
    assert seen.angle == 0.25
    assert seen.pixel_nm == pytest.approx((5.0, 5.0))
    said = run(
        "export", 77, tmp_path / "out", "--format", "hxn", "--label", "dm", "--angle-deg=-3",
        "--overwrite",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert tomviz.read(tmp_path / "out" / "recon_result", 77, "dm").angle == -3


def test_the_formats_are_listed(run):
    words = " ".join(run("export", "--help").out.split())
    for format in ("npy", "tiff", "cxi", "hxn", "ptycho_gui", "cxi_frames", "pynx"):
        assert format in words
