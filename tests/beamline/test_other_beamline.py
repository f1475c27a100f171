"""Another beamline: its own hxn.toml alone, and none of HXN's entries."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.beamline import is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs
from hxn_ptycho.optics import energy_from_wavelength
from hxn_ptycho.scan import ScanError

from ..hxn_documents import make_scan, make_step_scan
from .conftest import Store, Tables
from .edits import all_of, rename, set_baseline, set_start

TABLES = """
extends = false

[energy]
energy_key = "mono_energy"
unit_kev = 0.001                 # eV

[step]
columns = ["{motor}_rbv"]
ion_chamber = ["i400"]

[detectors.pilatus]
pixel_um = 172
distance_m = 4.2
data_keys = ["pil1M_image"]
orientation = "flip_y"

[motors.hexapod_x]
axis = "x"
direction = -1
unit = "mm"
angle_key = "hexapod_ry"
projection = "cos"

[motors.hexapod_y]
axis = "y"
direction = 1
unit = "mm"
"""


def test_its_scans_are_read_by_its_own_tables(
    catalogs: Catalogs, store: Store, tables: Tables
) -> None:
    scan = store(
        make_step_scan,
        all_of(
            rename(
                merlin1="pil1M_image",
                hexapod_x="hexapod_x_rbv",
                hexapod_y="hexapod_y_rbv",
                sclr1_ch4="i400",
            ),
            set_start(detectors=["pilatus", "i400"]),
            set_baseline(dcm_th=None, zpsth=None, mono_energy=8000.0, hexapod_ry=60.0),
        ),
        motors=("hexapod_x", "hexapod_y"),
    )
    hxns = store(make_scan)
    assert not is_ptychography(scan.start, scan.named("descriptor"))  # to HXN
    with tables(TABLES):
        assert is_ptychography(scan.start, scan.named("descriptor"))
        got = read_scan(catalogs.raw, scan.uid)
        assert not is_ptychography(hxns.start, hxns.named("descriptor"))
        with pytest.raises(ScanError, match="its type is '2D_FLY_PANDA'"):
            read_scan(catalogs.raw, hxns.uid)
    yx = np.stack([scan.positions["hexapod_y"], -scan.positions["hexapod_x"]], axis=1)
    np.testing.assert_allclose(got.positions_m, 1e-3 * yx)
    assert energy_from_wavelength(got.wavelength_m) == pytest.approx(8)
    assert (got.distance_m, got.orientation, got.saturation) == (4.2, "flip_y", None)
    assert got.detector_pixel_m == pytest.approx((172e-6, 172e-6))
    assert got.projection == (1.0, pytest.approx(0.5))
    assert scan.normalisation is not None
    np.testing.assert_allclose(got.normalisation, scan.normalisation[0] / scan.normalisation)
