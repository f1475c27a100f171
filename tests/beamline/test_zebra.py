"""Zebra fly scans: an event for each line, and a scan_input that means two things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs, descriptors
from hxn_ptycho.scan import ScanError

from ..hxn_documents import make_scan, make_zebra_scan
from .conftest import Store
from .edits import Edit, all_of, change, read_frames, rename, set_start


@pytest.mark.parametrize(
    "how",
    [
        {"scan_type": "FIP_2D_FLY"},
        {"scan_type": "XRF_FLY", "one_file": True, "snake": False, "assets": "registry"},
    ],
)
def test_lines_are_put_together(catalogs: Catalogs, store: Store, how: dict[str, Any]) -> None:
    scan = store(make_zebra_scan, **how)
    assert is_ptychography(scan.start, scan.named("descriptor"))
    assert expected_frames(scan.start) == 20
    got = read_scan(catalogs.raw, scan.uid)
    np.testing.assert_array_equal(read_frames(got), scan.frames)
    # Positions in um: the scale of zpssx is that of its PandA encoder, or of classic scans.
    yx = np.stack([scan.positions["enc2"], scan.positions["enc1"]], axis=1)
    np.testing.assert_allclose(got.positions_m, 1e-6 * yx)
    assert scan.normalisation is not None
    np.testing.assert_allclose(got.normalisation, scan.normalisation[0] / scan.normalisation)
    assert got.distance_m == 1.055


def test_the_fast_motor_may_be_along_y(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_zebra_scan, set_start(motors=["zpssy", "zpssx"]))
    got = read_scan(catalogs.raw, scan.uid)
    yx = np.stack([scan.positions["enc1"], scan.positions["enc2"]], axis=1)
    np.testing.assert_allclose(got.positions_m, 1e-6 * yx)


@pytest.mark.parametrize(
    ("scan_type", "first"),
    [("FIP_2D_FLY", [5.0, 2.0]), ("XRF_FLY", [4.0, 6.0])],  # centre and range; start and stop
)
def test_coarse_stages_are_where_scan_input_says_in_its_own_way(
    catalogs: Catalogs, store: Store, scan_type: str, first: list[float]
) -> None:
    scan = store(
        make_zebra_scan,
        all_of(
            set_start(motors=["ssx", "ssy"], scan={"scan_input": [*first, 5, -0.5, 0.5, 4, 0.01]}),
            rename(enc1=None, enc2=None),
        ),
        scan_type=scan_type,
    )
    assert is_ptychography(scan.start, descriptors(catalogs.raw, scan.uid))
    got = read_scan(catalogs.raw, scan.uid).positions_m
    x = np.tile([4, 4.5, 5, 5.5, 6], (4, 1))
    x[1::2] = x[1::2, ::-1]  # snake
    y = np.repeat(np.linspace(-0.5, 0.5, 4), 5)
    np.testing.assert_allclose(got, 1e-6 * np.stack([y, x.ravel()], axis=1))


@pytest.mark.parametrize("scan_type", ["FIP_2D_FLY", "XRF_FLY"])
def test_a_range_is_compared_with_what_the_scan_type_means(
    catalogs: Catalogs, store: Store, caplog: pytest.LogCaptureFixture, scan_type: str
) -> None:
    shown = set_start(scan={"scan_input": [7.0, 2.0, 5, -0.5, 0.5, 4, 0.01]})
    scan = store(make_zebra_scan, shown, scan_type=scan_type)
    read_scan(catalogs.raw, scan.uid)  # enc1 went from -1 to 1
    assert ("and 5 um were announced" in caplog.text) == (scan_type == "XRF_FLY")


def test_such_a_scan_may_be_flown_by_a_panda(catalogs: Catalogs, store: Store) -> None:
    """HXN's later ones are: told by the data keys, the encoders' counts in place of um."""
    scan = store(
        make_scan,
        set_start(scan={"type": "FIP_2D_FLY", "scan_input": [0, 2, 4, -1, 1, 3, 0.01]}),
    )
    assert is_ptychography(scan.start, scan.named("descriptor"))
    got = read_scan(catalogs.raw, scan.uid).positions_m
    x = scan.encoders["inenc2_val"].reshape(12, 10).mean(axis=1) * -0.9542e-10
    np.testing.assert_allclose(got[:, 1], x)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            change("zebra-2", "enc1", lambda old: old[:4]),
            "20 frames but 19 positions of zpssx .enc1.; each frame needs one",
        ),
        (
            change("sclr1-1", "sclr1_ch4", lambda old: old[:4]),
            r"20 frames but 19 readings of the ion chamber \(sclr1_ch4\)",
        ),
        (
            change("zebra-3", "enc2", lambda old: np.full(5, np.nan)),
            r"5 of 20 positions of enc2 \(zpssy\) are NaN or infinite, the first at frame 15",
        ),
        (rename(merlin1="xspress3"), "no diffraction detector"),
    ],
)
def test_faults_are_refused_with_their_numbers(
    catalogs: Catalogs, store: Store, edit: Edit, message: str
) -> None:
    scan = store(make_zebra_scan, edit)
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


def test_a_stopped_scan_is_taken_when_asked_for(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_zebra_scan, rows_done=3)
    with pytest.raises(ScanError, match="has 15 of 20 frames"):
        read_scan(catalogs.raw, scan.uid)
    assert read_scan(catalogs.raw, scan.uid, allow_partial=True).number_of_frames == 15


def test_without_a_shape_its_scan_input_says_how_many_frames() -> None:
    scan = {"type": "XRF_FLY", "scan_input": [0, 1, 7, 0, 1, 3, 0.1], "detectors": ["merlin1"]}
    assert expected_frames({"scan": scan}) == 21
