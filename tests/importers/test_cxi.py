"""CXI files as other programs write them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.beamline import read_scan
from hxn_ptycho.catalog import read, start_document
from hxn_ptycho.importers import ImportFileError, import_file
from hxn_ptycho.importers.cxi import read_cxi
from hxn_ptycho.importers.given import Given
from hxn_ptycho.prepare import make_plan, override
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import Dataset, dataset

E, I, D = "entry_1", "entry_1/instrument_1", "entry_1/instrument_1/detector_1"
JOULE = 12.0 * 1.602176634e-16
PIXEL = 55e-6


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(32, (4, 5), photons=1e4, probe_modes=1)


def sample_translations(data: Dataset) -> np.ndarray:
    """Where a sample is, x to the left and y up, m, so that the beam meets it where it does.

    The beam stands still: it is at -T on the sample; rows go down and columns to the right.
    """
    down, right = data.positions_m.T
    beam_on_sample = np.stack([-right, -down, 0 * down], axis=1)
    return -beam_on_sample


def content(data: Dataset, /, **changes: Any) -> dict[str, Any]:
    """What a file needs, laid out as the format describes; None leaves out."""
    values = {
        "cxi_version": 150,
        f"{I}/source_1/energy": JOULE,
        f"{D}/data": data.frames,
        f"{D}/distance": 0.5,
        f"{D}/x_pixel_size": PIXEL,
        f"{D}/y_pixel_size": PIXEL,
        f"{E}/sample_1/geometry_1/translation": sample_translations(data),
    }
    names = {"translation": f"{E}/sample_1/geometry_1/translation", "version": "cxi_version"}
    for key, value in changes.items():
        values[names.get(key) or (f"{I}/source_1/{key}" if key in SOURCE else f"{D}/{key}")] = value
    return values


SOURCE = ("energy", "wavelength", "illumination")


def write(path: Path, values: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if value is not None:
                file[name] = value
    return path


def imported(catalogs, path: Path, **given: Any):
    uid = import_file(path, catalogs=catalogs, **given)
    return read_scan(catalogs.raw, uid), read(catalogs.raw, uid, "frames")


def same_scan(data: Dataset, scan, frames) -> None:
    np.testing.assert_array_equal(frames, data.frames)
    np.testing.assert_allclose(scan.positions_m, data.positions_m, rtol=1e-6, atol=1e-14)
    assert scan.dc == "centre"
    assert scan.wavelength_m == pytest.approx(data.wavelength_m, rel=1e-6)
    assert scan.distance_m == pytest.approx(0.5)
    assert scan.detector_pixel_m == pytest.approx((PIXEL, PIXEL))


def test_as_the_format_describes_it(catalogs, data, tmp_path):
    scan, frames = imported(catalogs, write(tmp_path / "a.cxi", content(data)))
    same_scan(data, scan, frames)
    assert scan.mask is None
    assert scan.start["scan"]["format"] == "cxi"


def test_as_cdtools_writes_it(catalogs, data, tmp_path):
    """Positions of the beam are negated, basis vectors are columns, a mask is 1 where bad."""
    down, right = data.positions_m.T
    beam = np.stack([-right, -down, 0 * down], axis=1)  # x to the left, y up
    basis = np.array([[0, -PIXEL, 0], [-PIXEL, 0, 0]]).T
    mask = np.zeros((32, 32), np.uint32)
    mask[5, 8], mask[6, 9] = 1, 0x1000  # the second one: has signal
    wavelength = np.float32(data.wavelength_m)
    path = write(
        tmp_path / "a.cxi",
        {
            **content(data, x_pixel_size=None, y_pixel_size=None, energy=None),
            f"{I}/source_1/wavelength": wavelength,
            f"{I}/source_1/energy": np.float32(1.9864459e-25 / wavelength),
            f"{D}/basis_vectors": basis,
            f"{D}/distance": np.float32(0.5),
            f"{D}/corner_position": [15.5 * PIXEL, 15.5 * PIXEL, 0.5],
            f"{D}/mask": mask,
            f"{E}/sample_1/geometry_1/translation": -beam,
        },
    )
    with h5py.File(path, "a") as file:
        file[f"{E}/data_1/data"] = h5py.SoftLink(f"/{D}/data")
        file[f"{E}/data_1/translation"] = h5py.SoftLink(f"/{E}/sample_1/geometry_1/translation")
        file[f"{D}/data"].attrs["axes"] = np.bytes_("translation:y:x")
    scan, frames = imported(catalogs, path)
    assert np.argwhere(~scan.mask).tolist() == [[5, 8]]
    expected = np.where(mask == 1, 0, data.frames)
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_allclose(scan.positions_m, data.positions_m, rtol=1e-6, atol=1e-14)
    assert scan.wavelength_m == pytest.approx(data.wavelength_m, rel=1e-6)
    assert "ptycho" not in scan.start  # its corner is the middle's: the beam is where it should be


def test_as_pynx_writes_it(catalogs, data, tmp_path):
    """Positions are (3, N); energy by its own constants."""
    basis = np.zeros((2, 3), np.float32)
    basis[0, 1] = basis[1, 0] = -PIXEL
    translation = sample_translations(data).T.astype(np.float32)
    path = write(
        tmp_path / "a.cxi",
        content(
            data, translation=translation, version=140, basis_vectors=basis,
            energy=12384e-10 / (data.wavelength_m * 1e10) * 1e10 * 1.60218e-19,
        ),
    )  # fmt: skip
    scan, frames = imported(catalogs, path, energy_kev=12.0)
    same_scan(data, scan, frames)
    own, _ = imported(catalogs, path)
    assert own.wavelength_m == pytest.approx(data.wavelength_m, rel=2e-3)


def test_as_sharp_takes_it(catalogs, data, tmp_path):
    """No basis vectors, one pixel size; a corner that is half the detector away."""
    path = write(
        tmp_path / "a.cxi",
        content(data, y_pixel_size=None, corner_position=[16 * PIXEL, 16 * PIXEL, 0.5]),
    )
    with h5py.File(path, "a") as file:
        file[f"{D}/data"].attrs["axes"] = "translation:y:x"
    scan, frames = imported(catalogs, path)
    same_scan(data, scan, frames)


STEPS = [
    (slow, fast)
    for slow, fast in product([(0, 1), (0, -1), (1, 0), (-1, 0)], repeat=2)
    if np.dot(slow, fast) == 0
]


def on_detector(frames: np.ndarray, slow: Any, fast: Any, dc: str) -> np.ndarray:
    """What a detector with these steps (x to the left, y up) has on file of frames seen so."""
    n = frames.shape[1]
    begin = n // 2 if dc == "centre" else 0
    a, b = np.mgrid[:n, :n] - begin
    left = a * slow[0] + b * fast[0]
    up = a * slow[1] + b * fast[1]
    return frames[:, (n // 2 - up) % n, (n // 2 - left) % n]


@pytest.mark.parametrize("dc", ["centre", "corner"])
@pytest.mark.parametrize(("slow", "fast"), STEPS)
def test_frames_are_turned_as_the_detector_lies(data, tmp_path, slow, fast, dc):
    basis = np.array([[*slow, 0], [*fast, 0]]) * PIXEL
    mask = np.zeros((1, 32, 32), int)
    mask[0, 20, 7] = 1
    values = content(
        data, data=on_detector(data.frames, slow, fast, dc), basis_vectors=basis,
        mask=on_detector(mask, slow, fast, dc)[0], is_fft_shifted=int(dc == "corner"),
    )  # fmt: skip
    measured = read_cxi(write(tmp_path / "a.cxi", values), Given())
    expected = np.where(mask == 1, 0, data.frames)
    if dc == "corner":
        expected, mask = (np.fft.ifftshift(a, axes=(1, 2)) for a in (expected, mask))
    assert measured.dc == dc
    np.testing.assert_array_equal(next(measured.frames.batches()), expected)
    np.testing.assert_array_equal(measured.mask, mask[0] == 0)
    np.testing.assert_allclose(measured.positions_m, data.positions_m, rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize(("slow", "fast"), STEPS)
def test_a_beam_off_the_middle_is_found_by_the_corner(data, tmp_path, slow, fast):
    """Of frames that are no squares, with pixels that are none."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 5, (20, 30, 40)).astype(np.uint8)
    seen[:, 9, 25] = 200  # the direct beam
    turn = {
        ((0, -1), (-1, 0)): lambda a: a,
        ((0, 1), (-1, 0)): lambda a: a[:, ::-1],
        ((0, -1), (1, 0)): lambda a: a[:, :, ::-1],
        ((0, 1), (1, 0)): lambda a: a[:, ::-1, ::-1],
    }
    if slow[0] == 0:
        on_file = turn[slow, fast](seen)
    else:
        on_file = turn[fast, slow](seen).swapaxes(1, 2)
    beam = np.argwhere(on_file[0] == 200)[0]
    sizes = np.where(np.array(slow)[1] != 0, [40e-6, 50e-6], [50e-6, 40e-6])  # y 40, x 50
    basis = np.array([[*slow, 0], [*fast, 0]]) * sizes[:, None]
    corner = -(beam[0] * basis[0] + beam[1] * basis[1]) + [0, 0, 0.5]
    values = content(data, data=on_file, basis_vectors=basis, corner_position=corner)
    measured = read_cxi(write(tmp_path / "a.cxi", values), Given())
    np.testing.assert_array_equal(next(measured.frames.batches()), seen)
    assert measured.recipe == {"centre": [9.0, 25.0]}
    assert measured.geometry.detector_pixel_m == pytest.approx((40e-6, 50e-6))


def test_frames_whose_axes_are_named_the_other_way(catalogs, data, tmp_path):
    values = content(data, data=data.frames.swapaxes(1, 2))
    path = write(tmp_path / "a.cxi", values)
    with h5py.File(path, "a") as file:
        file[f"{D}/data"].attrs["axes"] = "translation:x:y"
    same_scan(data, *imported(catalogs, path))


def test_a_beam_at_the_corner_must_be_said(catalogs, data, tmp_path):
    shifted = np.fft.ifftshift(data.frames, axes=(1, 2))
    path = write(tmp_path / "a.cxi", content(data, data=shifted))
    with pytest.raises(ImportFileError, match=r"brighter at their corners.*--dc corner"):
        import_file(path, catalogs=catalogs)
    scan, frames = imported(catalogs, path, dc="corner")
    assert scan.dc == "corner"
    np.testing.assert_array_equal(frames, shifted)


def test_masked_pixels_may_hold_anything(catalogs, data, tmp_path):
    frames = data.frames.astype(np.float32)
    frames[:, 3, 4], frames[7, 10, 11] = -1, np.nan
    masks = np.zeros(frames.shape, np.uint32)
    masks[:, 3, 4], masks[7, 10, 11] = 2, 4  # of one frame only
    path = write(tmp_path / "a.cxi", content(data, data=frames, mask=masks))
    scan, read_frames = imported(catalogs, path)
    assert np.argwhere(~scan.mask).tolist() == [[3, 4], [10, 11]]
    assert read_frames.dtype == np.uint16
    np.testing.assert_array_equal(read_frames, np.where(scan.mask, data.frames, 0))


def test_dark_and_probe_come_along(catalogs, data, tmp_path):
    dark = np.stack([np.full((32, 32), 1.0), np.full((32, 32), 2.0)])
    path = write(
        tmp_path / "a.cxi",
        content(data, data_dark=dark, illumination=data.probe.astype(np.complex64)),
    )
    uid = import_file(path, catalogs=catalogs, md={"ptycho": {"iterations": 7}})
    start = start_document(catalogs.raw, uid)
    file, _, name = start["ptycho"].pop("dark").rpartition(":")
    assert start["ptycho"] == {"iterations": 7}
    with h5py.File(file) as kept:
        np.testing.assert_array_equal(kept[name], np.full((32, 32), 1.5))
    scan = read_scan(catalogs.raw, uid)
    plan = make_plan(scan, override(Recipe(), start_document(catalogs.raw, uid)))
    np.testing.assert_array_equal(plan.corrections.dark, np.full((32, 32), 1.5))
    assert scan.start_probe is not None
    with h5py.File(scan.start_probe[0]) as kept:
        np.testing.assert_array_equal(kept[scan.start_probe[1]], data.probe.astype("c8"))


def test_energy_in_other_units(catalogs, data, tmp_path):
    path = write(tmp_path / "a.cxi", content(data, energy=12000.0))
    with pytest.raises(ImportFileError, match=r"energy is 12000 j.*--energy-kev NUMBER"):
        import_file(path, catalogs=catalogs)
    with h5py.File(path, "a") as file:
        file[f"{I}/source_1/energy"].attrs["units"] = "eV"
    same_scan(data, *imported(catalogs, path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": None}, "does not say energy_kev; give --energy-kev NUMBER"),
        (
            {"distance": None, "x_pixel_size": None, "y_pixel_size": None},
            "--distance-m NUMBER --detector-pixel-um NUMBER",
        ),
        ({"data": None}, "holds no scan; expected frames"),
        ({"translation": None}, "holds no scan"),
        ({"data": np.zeros((20, 8, 8), complex)}, "holds a picture, no scan"),
        ({"data": np.zeros((4, 5, 8, 8))}, r"shape \(4, 5, 8, 8\).*expected counts, \(N, h, w\)"),
        ({"translation": np.zeros((19, 3))}, "20 frames but 19 positions"),
        ({"translation": np.zeros(20)}, r"shape \(20,\).*expected \(20, 3\)"),
        ({"translation": np.full((20, 3), np.nan)}, "NaN"),
        ({"mask": np.zeros((8, 8))}, r"a mask of \(8, 8\) for frames of \(32, 32\)"),
        ({"basis_vectors": [[0, -1, 0], [-1, 0.5, 0]]}, "not along x and y"),
        ({"basis_vectors": np.zeros((2, 2))}, r"expected \(2, 3\)"),
        ({"distance": 500.0}, "distance 500 m is out of range"),
        ({"data": -np.ones((20, 8, 8))}, "negative counts, down to -1"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(catalogs, data, tmp_path, changes, message):
    path = write(tmp_path / "a.cxi", content(data, **changes))
    before = sorted(catalogs.home.data.rglob("*"))
    with pytest.raises(ImportFileError, match=message):
        import_file(path, catalogs=catalogs)
    assert sorted(catalogs.home.data.rglob("*")) == before
