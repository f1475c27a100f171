from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs, descriptors, start_document
from hxn_ptycho.importers import import_file
from hxn_ptycho.scan import ScanError
from hxn_ptycho.simulate import Dataset, dataset


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(32, (4, 5), photons=1e4)


@pytest.fixture
def uid(catalogs: Catalogs, data: Dataset, tmp_path: Path) -> str:
    """The run of a file in which others might keep this data set."""
    file = tmp_path / "star.npz"
    np.savez(
        file,
        data=np.fft.ifftshift(data.frames, axes=(1, 2))[None],
        scan=data.corners[None].astype("f4"),
        probe=data.probe,
    )
    return import_file(file, energy_kev=12, distance_m=0.5, detector_pixel_um=55, catalogs=catalogs)


def test_an_imported_scan_is_read_as_it_was_measured(
    catalogs: Catalogs, data: Dataset, uid: str
) -> None:
    scan = read_scan(catalogs.raw, uid)
    assert (scan.dc, scan.number_of_frames, scan.frame_shape) == ("corner", 20, (32, 32))
    assert scan.wavelength_m == pytest.approx(data.wavelength_m)
    assert (scan.distance_m, scan.detector_pixel_m) == (0.5, pytest.approx((55e-6, 55e-6)))
    steps = scan.positions_m - scan.positions_m[0]
    np.testing.assert_allclose(steps, data.positions_m - data.positions_m[0], atol=1e-12)
    np.testing.assert_array_equal(scan.normalisation, np.ones(20))
    assert scan.saturation is None
    assert scan.start_probe is not None
    file, name = scan.start_probe
    with h5py.File(file) as source:
        np.testing.assert_allclose(source[name], data.probe)


def test_its_documents_say_that_it_is_ptychography(catalogs: Catalogs, uid: str) -> None:
    start = start_document(catalogs.raw, uid)
    assert is_ptychography(start, descriptors(catalogs.raw, uid))
    assert not is_ptychography(start, [])
    assert expected_frames(start) == 20


def test_damage_to_its_file_is_told_with_the_numbers(catalogs: Catalogs, uid: str) -> None:
    file = read_scan(catalogs.raw, uid).frames[0].file
    with h5py.File(file, "r+") as target:
        positions = target["positions"][()]
        del target["positions"]
        target["positions"] = positions[:7]
    with pytest.raises(ScanError, match="the file has 7: it is cut off"):
        read_scan(catalogs.raw, uid)
    with h5py.File(file, "r+") as target:
        del target["positions"]
        target["positions"] = np.where(np.arange(40).reshape(20, 2) == 9, np.inf, positions)
    with pytest.raises(ScanError, match=r"1 of 20 positions are NaN or infinite.* frame 4"):
        read_scan(catalogs.raw, uid)
