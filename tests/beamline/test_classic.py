"""Classic fly scans: an event for each frame, files known to a registry only, sub-scans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan, ScanError

from ..hxn_documents import FakeScan, make_fly2d
from .conftest import Store, Tables
from .edits import all_of, read_frames, rename, set_column, set_start

SCALE = 0.9542  # of zpssx in classic scans; in PandA scans it is in the encoder's


def check(got: Scan, scan: FakeScan) -> None:
    """Check that frames, positions and normalisation are those of the events, in their order."""
    np.testing.assert_array_equal(read_frames(got), scan.frames)
    x, y = scan.positions["zpssx"] * SCALE, scan.positions["zpssy"]
    np.testing.assert_allclose(got.positions_m, 1e-6 * np.stack([y, x], axis=1), rtol=1e-12)
    assert scan.normalisation is not None
    np.testing.assert_allclose(got.normalisation, scan.normalisation[0] / scan.normalisation)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"fly_type": "pyramid", "sub_scans": 2, "second_descriptor": True},
        {"events": "event_page", "assets": "datum_page", "spec": "TPX_HDF5"},
        {"numbers": [0, 1, 2, 5, 4, *range(6, 20), 3], "extra_frames": 3},
    ],
    ids=["soft", "pyramid in parts", "pages", "out of order"],
)
def test_each_event_has_its_frame_and_its_place(
    catalogs: Catalogs, store: Store, how: dict[str, Any]
) -> None:
    scan = store(make_fly2d, **how)
    assert is_ptychography(scan.start, scan.named("descriptor"))
    assert expected_frames(scan.start) == 20
    check(read_scan(catalogs.raw, scan.uid), scan)


def test_its_scale_is_not_the_encoders(catalogs: Catalogs, store: Store, tables: Tables) -> None:
    scan = store(make_fly2d, set_start(plan_name="called otherwise"))
    with tables("[motors.zpssx]\nscale_um = -1\nposition_scale = 2.0\n"):
        got = read_scan(catalogs.raw, scan.uid).positions_m
    np.testing.assert_allclose(got[:, 1], 2e-6 * scan.positions["zpssx"])
    with tables("[classic]\nscale_positions = false\n"):
        got = read_scan(catalogs.raw, scan.uid).positions_m
    np.testing.assert_allclose(got[:, 1], 1e-6 * scan.positions["zpssx"])


def test_the_scaler_drops_readings(
    catalogs: Catalogs, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    scan = store(
        make_fly2d, set_column("sclr1_ch4", lambda row, old: 0.0 if row in (0, 7) else old)
    )
    readings = scan.normalisation
    assert readings is not None
    readings[0], readings[7] = readings[1], readings[6]
    got = read_scan(catalogs.raw, scan.uid).normalisation
    np.testing.assert_allclose(got, readings[0] / readings)
    assert "2 of 20 readings of the ion chamber dropped out" in caplog.text


def test_a_dead_scaler_is_refused_unless_it_is_not_wanted(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_fly2d, set_column("sclr1_ch4", lambda row, old: 0.0))
    with pytest.raises(ScanError, match=r"none of the 20 readings .* normalise = false"):
        read_scan(catalogs.raw, scan.uid)
    got = read_scan(catalogs.raw, scan.uid, recipe=Recipe(normalise=False))
    np.testing.assert_array_equal(got.normalisation, np.ones(20))


def without_last_datum(scan: FakeScan) -> None:
    scan.assets.pop()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            set_column("zpssx", lambda row, old: float("nan") if row == 13 else old),
            "1 of 20 positions of zpssx are NaN or infinite, the first at frame 13",
        ),
        (
            set_column("zpssy", lambda row, old: 0.25),
            r"zpssy read 0.2500 um in 20 of 20 frames in a row, from frame 0 on",
        ),
        (
            set_column("zpssx", lambda row, old: 0.25 if row > 12 else old),
            r"zpssx read 0.2386 um in 7 of 20 frames in a row, from frame 13 on",
        ),
        (without_last_datum, "19 frames but 20 positions of zpssx .* the detector missed triggers"),
        (set_start(shape=[5, 5]), "has 20 of 25 frames: it was stopped before its end"),
    ],
)
def test_faults_are_refused_with_their_numbers(
    catalogs: Catalogs, store: Store, edit: Any, message: str
) -> None:
    scan = store(make_fly2d, edit)
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


def test_what_is_not_ptychography(store: Store) -> None:
    """By documents alone; nothing is stored."""

    def start_and_descriptors(*edits: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            scan = make_fly2d(Path(folder))
        all_of(*edits)(scan)
        return scan.start, scan.named("descriptor")

    assert is_ptychography(*start_and_descriptors())
    assert not is_ptychography(*start_and_descriptors(rename(merlin1="xspress3")))
    assert not is_ptychography(*start_and_descriptors(rename(zpssx=None)))
    assert not is_ptychography(*start_and_descriptors(set_start(motors=["zpssx"])))  # FlyPlan1D
