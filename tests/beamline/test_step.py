"""Step scans: positions from the motors' readbacks, whatever the points' pattern."""

from __future__ import annotations

import bluesky.plans as bp
import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs, writer
from hxn_ptycho.scan import ScanError

from ..hxn_documents import FakeScan, make_step_scan
from ..simulate.station import Station, make_station
from .conftest import Store, Tables
from .edits import Edit, all_of, read_frames, rename, set_column, set_start

# A spiral's points are in no lines.
as_spiral = set_start(
    plan_name="rel_spiral_fermat", shape=None, extents=[[-1, 1], [-2, 2]], snaking=None
)


def test_a_grid_is_read_whichever_motor_is_the_fast_one(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_step_scan)
    assert scan.start["motors"] == ["zpssy", "zpssx"]  # Bluesky's last one is the fast one
    assert is_ptychography(scan.start, scan.named("descriptor"))
    assert expected_frames(scan.start) == 20
    got = read_scan(catalogs.raw, scan.uid)
    np.testing.assert_array_equal(read_frames(got), scan.frames)
    yx = np.stack([scan.positions["zpssy"], scan.positions["zpssx"]], axis=1)
    np.testing.assert_allclose(got.positions_m, 1e-6 * yx)
    assert scan.normalisation is not None
    np.testing.assert_allclose(got.normalisation, scan.normalisation[0] / scan.normalisation)


def units(**of: str) -> Edit:
    def edit(scan: FakeScan) -> None:
        for key, unit in of.items():
            scan.named("descriptor")[1]["data_keys"][key]["units"] = unit

    return edit


def test_readbacks_have_other_names_and_units(
    catalogs: Catalogs, store: Store, tables: Tables
) -> None:
    def with_setpoint(scan: FakeScan) -> None:
        for part in ("data_keys",):
            keys = scan.named("descriptor")[1][part]
            keys["zpssx_setpoint"] = dict(keys["zpssy"])
        for event in scan.named("event")[1:]:
            event["data"]["zpssx_setpoint"] = 77.0
            event["timestamps"]["zpssx_setpoint"] = event["time"]

    scan = store(
        make_step_scan,
        all_of(rename(zpssx="zpssx_readback"), with_setpoint, units(zpssx_readback="mm")),
    )
    assert is_ptychography(scan.start, scan.named("descriptor"))
    x = scan.positions["zpssx"]
    got = read_scan(catalogs.raw, scan.uid).positions_m[:, 1]
    np.testing.assert_allclose(got, 1e-3 * x)
    with tables("[motors.zpssx]\nunit = 'nm'\n"):  # the control system is wrong
        got = read_scan(catalogs.raw, scan.uid).positions_m[:, 1]
    np.testing.assert_allclose(got, 1e-9 * x)
    with tables("[step]\ncolumns = ['{motor}']\n"):
        assert not is_ptychography(scan.start, scan.named("descriptor"))
        with pytest.raises(ScanError, match="no positions of zpssx: none of zpssx is among"):
            read_scan(catalogs.raw, scan.uid)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (units(zpssy="deg"), r"positions of zpssy are in 'deg', which is none of m, mm"),
        (
            set_column("zpssy", lambda row, old: -0.5),
            r"zpssy read -0.5000 um in 20 of 20 frames in a row",
        ),
        (
            all_of(as_spiral, set_column("zpssx", lambda row, old: -0.5)),
            r"zpssx read -0.5000 um in 20 of 20 frames in a row",
        ),
        (set_start(num_points=21), "has 20 of 21 frames"),
        (set_start(motors=["zpssx", "zpssy", "zpssz"]), "one motor along x and one along y"),
    ],
)
def test_faults_are_refused_with_their_numbers(
    catalogs: Catalogs, store: Store, edit: Edit, message: str
) -> None:
    scan = store(make_step_scan, edit)
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)


def test_several_frames_at_a_point_are_refused(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_step_scan, frame_per_point=3)
    with pytest.raises(ScanError, match=r"60 frames but 20 positions .* 3 frames at a position"):
        read_scan(catalogs.raw, scan.uid)


def test_a_list_along_one_line_is_told(
    catalogs: Catalogs, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a list of points nobody says whether both motors were to move."""
    along = all_of(
        set_start(plan_name="list_scan", shape=None, extents=None),
        set_column("zpssy", lambda row, old: 2.0),
    )
    scan = store(make_step_scan, along)
    assert read_scan(catalogs.raw, scan.uid).number_of_frames == 20
    assert "zpssy read the same, 2.0000 um, in all frames" in caplog.text


def test_the_scan_of_an_earlier_plan_does_not_decide(catalogs: Catalogs, store: Store) -> None:
    """HXN's fly plans write into the md that they are given, and the next plan is given it too."""

    def leftover(scan: FakeScan) -> None:
        scan.start["scan"] = {
            "type": "2D_FLY_PANDA",
            "scan_input": [-1, 1, 30, -1, 1, 30],
            "shape": [30, 30],
            "detectors": ["merlin1", "panda1"],
        }

    scan = store(make_step_scan, leftover)
    assert is_ptychography(scan.start, scan.named("descriptor"))
    got = read_scan(catalogs.raw, scan.uid)
    np.testing.assert_allclose(got.positions_m[:, 1], 1e-6 * scan.positions["zpssx"])
    assert got.start["scan"]["shape"] == [30, 30]


@pytest.fixture(scope="module")
def station(catalogs: Catalogs) -> Station:
    station = make_station(catalogs.home.data / "steps", form="step")
    station.RE.subscribe(writer(catalogs.raw))
    return station


def test_a_spiral_by_a_real_run_engine(catalogs: Catalogs, station: Station) -> None:
    station.zpssx.set(3.0).wait(10)
    plan = bp.rel_spiral_fermat(
        [station.merlin1, station.sclr1], station.zpssx, station.zpssy, 0.5, 0.5, 0.1, 1
    )
    (uid,) = station.RE(plan)
    start = next(start for start in station.named("start") if start["uid"] == uid)
    own = [each for each in station.named("descriptor") if each["run_start"] == uid]
    assert is_ptychography(start, own)
    scan = read_scan(catalogs.raw, uid)
    assert scan.number_of_frames == expected_frames(start) > 5
    truth = station.endstation.places_m(station.truth_um)
    assert np.abs(scan.positions_m - truth).max() < 20e-9
    assert scan.positions_m[:, 1].mean() == pytest.approx(3e-6, abs=0.3e-6)


def test_what_is_not_ptychography(station: Station) -> None:
    def judge(plan: object) -> bool:
        first = len(station.documents)
        station.RE(plan)
        new = station.documents[first:]
        start = next(document for name, document in new if name == "start")
        return is_ptychography(start, [doc for name, doc in new if name == "descriptor"])

    x, y, merlin, scaler = station.zpssx, station.zpssy, station.merlin1, station.sclr1
    assert judge(bp.list_scan([merlin, scaler], x, [0, 0.1], y, [0, 0.1]))
    assert not judge(bp.list_scan([scaler], x, [0, 0.1], y, [0, 0.1]))  # alignment
    assert not judge(bp.scan([merlin], x, 0, 0.1, 2))
    assert not judge(bp.count([merlin, x, y]))
