"""PandA scans with faults: refused, with the numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.beamline import read_scan
from hxn_ptycho.beamline.checks import check_ended
from hxn_ptycho.catalog import Catalogs, writer
from hxn_ptycho.scan import ScanError

from ..hxn_documents import FRAMES, FakeScan, make_scan
from ..waiting import until
from .conftest import Store, scan_ids
from .edits import Edit, all_of, change, set_baseline, set_start


def stopped_as(status: str, reason: str) -> Edit:
    return lambda scan: scan.documents[-1][1].update(exit_status=status, reason=reason)


analysed = set_start(scan=None, analysis_stage="reconstruction")


def some_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size) == 57, np.nan, values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            change("panda", "inenc3_val", lambda old: old[:70]),
            r"12 frames but 70 readings of inenc3_val \(zpssy\): 7 positions",
        ),
        (
            change("merlin", FRAMES, lambda old: old[:9]),
            r"9 frames but 120 readings of inenc2_val \(zpssx\): 12 positions|"
            r"9 frames but 120 readings of inenc3_val",
        ),
        (
            change("panda", "inenc2_val", some_nan),
            r"1 of 12 positions of inenc2_val \(zpssx\) are NaN or infinite, the first at frame 5",
        ),
        (change("merlin", FRAMES, np.zeros((12, 8), "u2")), r"merlin1 has the shape \(12, 8\)"),
        (set_start(scan={"shape": [4, 9]}), "has 12 of 36 frames: it was stopped before its end"),
        (set_start(scan={"shape": [2, 3]}), "has 12 of 6 frames: its files hold more"),
        (set_start(motors=["zpssx", "samx"]), "moved samx, which hxn.toml does not know"),
        (set_start(motors=["zpssx", "dssx"]), "one motor along x and one along y"),
        (
            set_start(scan={"type": "2D_STEP"}),
            "its type is '2D_STEP', not one of 2D_FLY_PANDA, FIP_2D_FLY, XRF_FLY",
        ),
        (analysed, "is the result of an analysis"),
        (stopped_as("abort", "beam dump"), r"exit status 'abort' \(beam dump\)"),
        (stopped_as("fail", ""), "exit status 'fail'; measure it again"),
        (set_baseline(dcm_th=-3.0), "dcm_th = -3 degrees gives no photon energy"),
    ],
)
def test_faults_are_refused_with_their_numbers(
    catalogs: Catalogs,
    store: Store,
    edit: Callable[[FakeScan], None],
    message: str,
) -> None:
    scan = store(make_scan, edit)
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inenc2_val", np.full(120, 5000), r"inenc2_val \(zpssx\) read -0.4771 um in 12 of 12"),
        ("inenc3_val", np.full(120, 5000), r"inenc3_val \(zpssy\) read -0.5165 um in 12 of 12"),
        # From the sixth frame on: more than a line.
        (
            "inenc2_val",
            np.minimum(np.arange(120), 50.0),
            r"inenc2_val \(zpssx\) read -0.0048 um in 7 of 12 frames in a row, from frame 5 on",
        ),
    ],
)
def test_frozen_encoders_are_refused(
    catalogs: Catalogs, store: Store, name: str, value: np.ndarray, message: str
) -> None:
    scan = store(make_scan, change("panda", name, value))
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


def test_a_plan_of_another_kind_is_named(catalogs: Catalogs, store: Store) -> None:
    counted = store(make_scan, set_start(scan=None, motors=None, plan_name="count"))
    with pytest.raises(ScanError, match=r"\(plan count\) is not a ptychography scan: it has no"):
        read_scan(catalogs.raw, counted.uid)


def test_a_run_that_has_not_ended_is_refused(catalogs: Catalogs) -> None:
    scan = make_scan(catalogs.home.data / "running", next(scan_ids))
    with pytest.raises(ScanError, match="has no stop document"):
        check_ended(scan.start, None)
    record = writer(catalogs.raw)
    for name, document in scan.documents[:-1]:
        record(name, document)

    def refused() -> bool:
        with pytest.raises(ScanError) as caught:
            read_scan(catalogs.raw, scan.uid)
        return "has no stop document" in str(caught.value)

    until(refused, "the start document in the catalog")
    record(*scan.documents[-1])
    assert read_scan(catalogs.raw, scan.uid).number_of_frames == 12


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [lose, cut])
@pytest.mark.parametrize("file", ["merlin", "panda"])
def test_missing_and_truncated_files_are_named(
    catalogs: Catalogs, store: Store, damage: Callable[[Path], None], file: str
) -> None:
    scan = store(make_scan)
    damage(scan.files[file])
    with pytest.raises(ScanError, match=scan.files[file].name):
        read_scan(catalogs.raw, scan.uid)


def test_an_unknown_run_is_refused(catalogs: Catalogs) -> None:
    with pytest.raises(ScanError, match="no run"):
        read_scan(catalogs.raw, "11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize("status", ["success", "abort"])
def test_a_partial_scan_is_taken_when_asked_for(
    catalogs: Catalogs, store: Store, status: str
) -> None:
    partial = all_of(set_start(scan={"shape": [4, 9]}), stopped_as(status, ""))
    scan = store(make_scan, partial)
    with pytest.raises(ScanError):
        read_scan(catalogs.raw, scan.uid)
    assert read_scan(catalogs.raw, scan.uid, allow_partial=True).number_of_frames == 12
