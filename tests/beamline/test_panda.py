"""PandA scans: a simulated one against the truth, and documents with faults."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.beamline.checks import check_ended
from hxn_ptycho.catalog import Catalogs, insert, writer
from hxn_ptycho.optics import energy_from_wavelength
from hxn_ptycho.scan import ScanError

from ..hxn_documents import FRAMES, FakeScan, make_scan
from ..simulate.station import Station, make_station
from ..waiting import until

scan_ids = itertools.count(100)


@pytest.fixture(scope="module")
def measured(catalogs: Catalogs) -> tuple[Station, str]:
    """A simulated scan in the catalog: its beamline and its uid."""
    station = make_station(catalogs.home.data)
    station.RE.subscribe(writer(catalogs.raw))
    return station, station.fly(8, 6, exposure=0.01)


@pytest.fixture
def made(catalogs: Catalogs) -> Callable[..., FakeScan]:
    """Make a scan and store it, its documents changed by `edit` before."""

    def make(edit: Callable[[FakeScan], None] = lambda scan: None, **more: Any) -> FakeScan:
        number = next(scan_ids)
        scan = make_scan(catalogs.home.data / f"made-{number}", number, **more)
        edit(scan)
        insert(catalogs.raw, scan.documents)
        return scan

    return make


def test_a_simulated_scan_is_read_back_as_it_was(
    catalogs: Catalogs, measured: tuple[Station, str]
) -> None:
    station, uid = measured
    scan = read_scan(catalogs.raw, uid)
    assert scan.number_of_frames == 48
    assert (scan.uid, scan.frame_shape, scan.frame_dtype, scan.dc) == (
        uid, (32, 32), "uint16", "centre",
    )  # fmt: skip
    assert energy_from_wavelength(scan.wavelength_m) == pytest.approx(12, abs=1e-3)
    assert scan.distance_m == 0.5
    assert scan.detector_pixel_m == pytest.approx((55e-6, 55e-6))
    assert scan.saturation == 65535
    truth = station.endstation.places_m(station.true_path_um).mean(axis=1)
    assert np.abs(scan.positions_m - truth).max() < 5e-9
    assert (scan.positions_m - truth).std() < 1.5e-9

    # The frames fit the sample at these positions; nothing is turned or exchanged.
    with h5py.File(scan.frames[0].file) as file:
        counts = file[scan.frames[0].dataset][:].astype(float)
    within = station.true_path_um - station.true_path_um.mean(axis=1, keepdims=True)
    path = scan.positions_m[:, None] * 1e6 + within
    photons = station.endstation.flux * 0.01 / scan.normalisation
    expected = station.endstation.expose(station.merlin1.geometry, path, photons)
    scale = counts.sum() / expected.sum()
    assert scale == pytest.approx(1, abs=0.05)
    chi2 = np.sum((counts - scale * expected) ** 2) / np.sum(scale * expected)
    assert chi2 < 8  # positions a nanometre off, ten thousands of counts in a pixel
    frames = counts.sum(axis=(1, 2)) / expected.sum(axis=(1, 2)) / scale
    assert frames.std() < 0.006


def test_its_documents_say_that_it_is_ptychography(measured: tuple[Station, str]) -> None:
    station, _ = measured
    start, descriptors = station.named("start")[0], station.named("descriptor")
    assert is_ptychography(start, descriptors)
    assert expected_frames(start) == 48
    assert not is_ptychography(start, descriptors[:1])  # the baseline only
    assert not is_ptychography({**start, "analysis_stage": "reconstruction"}, descriptors)
    assert not is_ptychography({**start, "motors": ["zpssx", "ssz"]}, descriptors)
    assert not is_ptychography({**start, "scan": {"type": "2D_STEP"}}, descriptors)
    assert not is_ptychography({"plan_name": "count"}, descriptors)
    assert not is_ptychography({"plan_name": "x", "scan": "2D_FLY_PANDA"}, descriptors)


def test_positions_are_encoder_times_scale_times_direction(
    catalogs: Catalogs, made: Callable[..., FakeScan]
) -> None:
    scan = made()
    override = catalogs.home.root / "hxn.toml"
    override.write_text("[motors.zpssy]\ndirection = -1\n")
    try:
        got = read_scan(catalogs.raw, scan.uid).positions_m
    finally:
        override.unlink()
    x = scan.encoders["inenc2_val"].reshape(12, 10).mean(axis=1) * -0.9542e-10
    y = scan.encoders["inenc3_val"].reshape(12, 10).mean(axis=1) * -1.03297e-10
    # zpsth was at 0.25 degrees.
    np.testing.assert_allclose(got, np.stack([-y, x * np.cos(np.deg2rad(0.25))], axis=1))


def test_distance_is_the_tables_unless_the_table_trusts_the_documents(
    catalogs: Catalogs, made: Callable[..., FakeScan]
) -> None:
    scan = made()
    assert read_scan(catalogs.raw, scan.uid).distance_m == 2.05  # as the documents say
    override = catalogs.home.root / "hxn.toml"
    override.write_text("[detectors.merlin1]\ndistance_from_documents = false\n")
    try:
        assert read_scan(catalogs.raw, scan.uid).distance_m == 0.5
    finally:
        override.unlink()


def test_without_an_ion_chamber_frames_are_as_they_are(
    catalogs: Catalogs, made: Callable[..., FakeScan], caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(read_scan(catalogs.raw, made().uid).normalisation, np.ones(12))
    assert "has no sclr1_ch4" in caplog.text


def change(file: str, name: str, value: Any) -> Callable[[FakeScan], None]:
    """Return an edit that replaces a dataset: by `value`, or by what it makes of the old one."""

    def edit(scan: FakeScan) -> None:
        with h5py.File(scan.files[file], "r+") as target:
            old = target[name][()]
            del target[name]
            target[name] = value(old) if callable(value) else value

    return edit


def set_start(**keys: Any) -> Callable[[FakeScan], None]:
    def edit(scan: FakeScan) -> None:
        for key, value in keys.items():
            if key == "scan":
                scan.start["scan"] = {**scan.start["scan"], **value}
            else:
                scan.start[key] = value

    return edit


def without_baseline(key: str) -> Callable[[FakeScan], None]:
    def edit(scan: FakeScan) -> None:
        for name, document in scan.documents:
            if name == "descriptor":
                document["data_keys"].pop(key, None)
            if name == "event":
                for part in ("data", "timestamps"):
                    document[part].pop(key, None)

    return edit


def stopped_as(status: str, reason: str) -> Callable[[FakeScan], None]:
    return lambda scan: scan.documents[-1][1].update(exit_status=status, reason=reason)


def analysed(scan: FakeScan) -> None:
    del scan.start["scan"]
    scan.start["analysis_stage"] = "reconstruction"


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
            "1 of 12 positions are NaN or infinite, the first at frame 5",
        ),
        (change("merlin", FRAMES, np.zeros((12, 8), "u2")), r"merlin1 has the shape \(12, 8\)"),
        (set_start(scan={"shape": [4, 9]}), "has 12 of 36 frames: it was stopped before its end"),
        (set_start(scan={"shape": [2, 3]}), "has 12 of 6 frames: its files hold more"),
        (set_start(motors=["zpssx", "samx"]), "moved samx, which hxn.toml does not know"),
        (set_start(motors=["zpssx", "dssx"]), "one motor along x and one along y"),
        (set_start(scan={"type": "XRF_FLY"}), "a Zebra fly scan, which this version cannot read"),
        (set_start(scan={"type": "2D_STEP"}), "its type is '2D_STEP'"),
        (analysed, "is the result of an analysis"),
        (stopped_as("abort", "beam dump"), r"exit status 'abort' \(beam dump\)"),
        (stopped_as("fail", ""), "exit status 'fail'; measure it again"),
        (without_baseline("dcm_th"), "has no dcm_th in its baseline"),
        (without_baseline("zpsth"), "has no zpsth in its baseline"),
    ],
)
def test_faults_are_refused_with_their_numbers(
    catalogs: Catalogs,
    made: Callable[..., FakeScan],
    edit: Callable[[FakeScan], None],
    message: str,
) -> None:
    scan = made(edit)
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


def test_all_positions_equal_are_refused(catalogs: Catalogs, made: Callable[..., FakeScan]) -> None:
    def dead(scan: FakeScan) -> None:
        for name in ("inenc2_val", "inenc3_val"):
            change("panda", name, np.full(120, 5000))(scan)

    with pytest.raises(ScanError, match=r"all 12 positions are the same .*encoders connected"):
        read_scan(catalogs.raw, made(dead).uid)


def test_a_plan_of_another_kind_is_named(catalogs: Catalogs, made: Callable[..., FakeScan]) -> None:
    def classic(scan: FakeScan) -> None:
        del scan.start["scan"]
        scan.start["plan_name"] = "FlyPlan2D"

    def counted(scan: FakeScan) -> None:
        del scan.start["scan"]
        scan.start["plan_name"] = "count"

    with pytest.raises(ScanError, match=r"\(plan FlyPlan2D\) is a classic fly scan"):
        read_scan(catalogs.raw, made(classic).uid)
    with pytest.raises(ScanError, match=r"\(plan count\) is not a ptychography scan"):
        read_scan(catalogs.raw, made(counted).uid)


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
    catalogs: Catalogs, made: Callable[..., FakeScan], damage: Callable[[Path], None], file: str
) -> None:
    scan = made()
    damage(scan.files[file])
    with pytest.raises(ScanError, match=scan.files[file].name):
        read_scan(catalogs.raw, scan.uid)


def test_an_unknown_run_is_refused(catalogs: Catalogs) -> None:
    with pytest.raises(ScanError, match="no run"):
        read_scan(catalogs.raw, "11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize("status", ["success", "abort"])
def test_a_partial_scan_is_taken_when_asked_for(
    catalogs: Catalogs, made: Callable[..., FakeScan], status: str
) -> None:
    def partial(scan: FakeScan) -> None:
        set_start(scan={"shape": [4, 9]})(scan)
        stopped_as(status, "")(scan)

    scan = made(partial)
    with pytest.raises(ScanError):
        read_scan(catalogs.raw, scan.uid)
    assert read_scan(catalogs.raw, scan.uid, allow_partial=True).number_of_frames == 12
