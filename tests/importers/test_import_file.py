from __future__ import annotations

import bz2
import io
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog import (
    Catalogs,
    find_run,
    read,
    resolve,
    search,
    start_document,
    stop_document,
)
from hxn_ptycho.importers import ImportFileError, import_file

STAR = Path(__file__).parents[2] / "../shared/data/siemens-star/siemens-star-small.npz.bz2"
GEOMETRY = {"energy_kev": 8.8, "distance_m": 2.0, "detector_pixel_um": 75.0}
# 8.8 keV: wavelength 1.40891 A
PIXEL = 12.398419843e-10 / 8.8 * 2.0 / 75e-6


def kept_files(catalogs: Catalogs) -> set[Path]:
    return {file for file in catalogs.home.data.rglob("*") if file.is_file()}


def arrays(number: int = 5, rows: int = 8, columns: int = 12, modes: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "data": rng.integers(0, 900, (1, number, rows, columns)).astype(np.float32),
        "scan": rng.uniform(-20, 20, (1, number, 2)).astype(np.float32),
        "probe": rng.normal(size=(1, 1, modes, rows, columns)).astype(np.complex64),
    }


def archive(path: Path, **content: Any) -> Path:
    memory = io.BytesIO()
    np.savez(memory, **content)
    data = memory.getvalue()
    path.write_bytes(bz2.compress(data) if path.suffix == ".bz2" else data)
    return path


@pytest.mark.parametrize("name", ["scan.npz", "scan.npz.bz2"])
def test_a_file_becomes_a_run_that_reads_back(catalogs, tmp_path: Path, name: str):
    content = arrays(modes=2)
    uid = import_file(
        archive(tmp_path / name, **content),
        catalogs=catalogs,
        md={"sample": {"name": "star"}},
        **GEOMETRY,
    )
    start = start_document(catalogs.raw, uid)
    scan = start["scan"]
    assert scan["type"] == "PTYCHO_IMPORT"
    assert scan["dc"] == "corner"
    assert scan["energy_kev"] == 8.8
    assert scan["detector_pixel_m"] == pytest.approx([75e-6, 75e-6])
    assert start["sample"] == {"name": "star"}
    assert stop_document(catalogs.raw, uid)["exit_status"] == "success"

    frames = resolve(catalogs.raw, uid, "frames")
    assert frames.shape == (5, 8, 12)
    assert frames.dtype == np.uint16
    assert "float32" in scan["stored"]
    (block,) = frames.blocks
    with h5py.File(block.file) as file:
        np.testing.assert_array_equal(file[block.dataset][()], content["data"][0])
        assert file[block.dataset].chunks == (1, 8, 12)
        np.testing.assert_array_equal(file[scan["probe"]["dataset"]][()], content["probe"][0, 0])
    np.testing.assert_array_equal(read(catalogs.raw, uid, "frames"), content["data"][0])


def test_positions_are_the_middles_of_the_windows_in_metres(catalogs, tmp_path: Path):
    content = arrays()
    uid = import_file(archive(tmp_path / "scan.npz", **content), catalogs=catalogs, **GEOMETRY)
    positions = read(catalogs.raw, uid, "positions")
    # Object pixel = wavelength x distance / (size of the frame x detector pixel), each axis.
    expected = (content["scan"][0] + [4, 6]) * [PIXEL / 8, PIXEL / 12]
    np.testing.assert_allclose(positions, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.float32([0, 65535]), "uint16"),
        (np.float32([0, 65536]), "float32"),
        (np.float64([0.5, 2]), "float64"),
        (np.uint8([1, 2]), "uint8"),
        (np.int32([1, 70000]), "int32"),
    ],
)
def test_counts_are_kept_without_loss(catalogs, tmp_path: Path, values, dtype: str):
    content = arrays()
    content["data"] = np.resize(values, content["data"].shape)
    uid = import_file(archive(tmp_path / "scan.npz", **content), catalogs=catalogs, **GEOMETRY)
    frames = resolve(catalogs.raw, uid, "frames")
    assert frames.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read(catalogs.raw, uid, "frames"), content["data"][0])


def test_a_probe_is_not_needed_and_scans_are_counted(catalogs, tmp_path: Path):
    content = arrays()
    del content["probe"]
    file = archive(tmp_path / "scan.npz", **content)
    uids = [import_file(file, catalogs=catalogs, **GEOMETRY) for _ in range(2)]
    starts = [start_document(catalogs.raw, uid) for uid in uids]
    assert starts[1]["scan_id"] == starts[0]["scan_id"] + 1
    assert "probe" not in starts[0]["scan"]
    assert find_run(catalogs.raw, -1) == uids[1]


def bad(**changes: Any) -> dict[str, Any]:
    return {**arrays(), **changes}


NAN = arrays()["data"]
NAN[0, 3, 2, 1] = math.nan
ENDLESS = arrays()["scan"]
ENDLESS[0, 4, 1] = math.inf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": arrays()["data"]}, r"holds data; expected .*: scan is missing"),
        ({"frames": arrays()["data"]}, r"holds frames; expected .*: data and scan are missing"),
        (bad(scan=arrays(number=4)["scan"]), "5 frames but 4 positions"),
        (bad(scan=np.zeros((1, 5, 3))), r"scan has shape \(5, 3\)"),
        (bad(data=np.zeros((2, 5, 8, 12))), r"data has shape \(2, 5, 8, 12\)"),
        (bad(data=np.zeros((5, 96))), r"data has shape \(5, 96\)"),
        (bad(data=np.zeros((1, 5, 8, 12), complex)), "type complex128; expected counts"),
        (bad(data=-arrays()["data"]), "negative counts, down to -"),
        (bad(data=NAN), r"1 of 480 values of data are NaN or infinite, the first at \[3, 2, 1\]"),
        (bad(scan=ENDLESS), r"1 of 10 values of scan are NaN or infinite, the first at \[4, 1\]"),
        (bad(probe=np.zeros((1, 8, 8), complex)), "the probe has 8 x 8 pixels and a frame 8 x 12"),
        (bad(probe=np.zeros((3, 2, 8, 12), complex)), r"probe has shape \(3, 2, 8, 12\)"),
        (bad(data=np.zeros((1, 0, 8, 12)), scan=np.zeros((1, 0, 2))), "nothing in it"),
        (bad(data=np.array([{}], dtype=object)), "data cannot be read"),
    ],
)
def test_bad_contents_are_told_and_nothing_is_left(catalogs, tmp_path: Path, content, message):
    runs, files = search(catalogs.raw), kept_files(catalogs)
    with pytest.raises(ImportFileError, match=message):
        import_file(archive(tmp_path / "bad.npz", **content), catalogs=catalogs, **GEOMETRY)
    assert search(catalogs.raw) == runs
    assert kept_files(catalogs) == files


@pytest.mark.parametrize("name", ["cut.npz", "cut.npz.bz2"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_truncated_file_is_told(catalogs, tmp_path: Path, name: str, share: float):
    path = archive(tmp_path / name, **arrays())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImportFileError, match="truncated or damaged"):
        import_file(path, catalogs=catalogs, **GEOMETRY)


@pytest.mark.parametrize("content", [b"", b"just some text", b"\x93NUMPY\x01\x00"])
def test_a_file_of_another_kind_is_told(catalogs, tmp_path: Path, content: bytes):
    path = tmp_path / "scan.npz"
    path.write_bytes(content)
    with pytest.raises(ImportFileError, match="is not a NumPy archive"):
        import_file(path, catalogs=catalogs, **GEOMETRY)


def test_a_damaged_byte_is_told(catalogs, tmp_path: Path):
    path = archive(tmp_path / "scan.npz", **arrays())
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImportFileError, match="damaged"):
        import_file(path, catalogs=catalogs, **GEOMETRY)


def test_a_file_that_is_not_there(catalogs, tmp_path: Path):
    with pytest.raises(ImportFileError, match="cannot be read: No such file"):
        import_file(tmp_path / "none.npz", catalogs=catalogs, **GEOMETRY)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("energy_kev", 8800.0),
        ("energy_kev", math.nan),
        ("distance_m", 0.0),
        ("distance_m", 2000.0),
        ("detector_pixel_um", 75e-6),
        ("detector_pixel_um", -75.0),
    ],
)
def test_numbers_in_other_units_are_noticed(catalogs, tmp_path: Path, key: str, value: float):
    path = archive(tmp_path / "scan.npz", **arrays())
    with pytest.raises(ImportFileError, match=f"{value:g}.*out of range"):
        import_file(path, catalogs=catalogs, **{**GEOMETRY, key: value})


def test_the_measured_siemens_star(catalogs):
    if not STAR.exists():
        pytest.skip(f"the measured data are not there: {STAR}")
    uid = import_file(STAR, catalogs=catalogs, **GEOMETRY)
    frames = read(catalogs.raw, uid, "frames")
    assert frames.shape == (516, 128, 128)
    assert frames.max() == 963
    assert frames.sum() / len(frames) == pytest.approx(4.6e5, rel=0.01)
    positions = read(catalogs.raw, uid, "positions")
    assert np.ptp(positions, axis=0) == pytest.approx([332 * PIXEL / 128] * 2, rel=0.02)
