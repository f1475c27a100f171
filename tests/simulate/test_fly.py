"""The simulated fly scan: documents, files, and what happens when it does not go to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from hxn_ptycho.beamline import load_config
from hxn_ptycho.fly import plans
from hxn_ptycho.fly.panda import CHANNELS, ION_CHAMBER, SAMPLES
from hxn_ptycho.simulate.merlin import DATASET

from .station import Station, make_station


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return make_station(tmp_path / "data", pace=1)


def files(station: Station) -> tuple[Path, Path]:
    """Return the PandA's file and the Merlin's, as the documents name them."""
    panda, merlin = station.named("resource")
    assert (panda["spec"], merlin["spec"]) == ("PANDA", "MERLIN_HDF5_BULK")
    return tuple(Path(r["root"]) / r["resource_path"] for r in (panda, merlin))  # type: ignore


def test_documents_are_those_of_a_panda_scan_at_hxn(station: Station) -> None:
    station.fly(6, 5, md={"sample": {"name": "star"}, "ptycho": {"probe_modes": 2}})
    names = [name for name, _ in station.documents]
    middle = ["descriptor", "resource", *["datum"] * 5, "resource", "datum", "event_page"]
    assert names == ["start", "descriptor", "event", *middle, "event", "stop"]

    start = station.named("start")[0]
    assert start["plan_name"] == "fly2dpd"
    assert start["scan"] == {
        "type": "2D_FLY_PANDA",
        "scan_input": pytest.approx([-0.175, 0.175, 6, -0.14, 0.14, 5]),
        "detectors": ["merlin1"],
        "detector_distance": 0.5,
        "dwell": 0.004,
        "fast_axis": {"motor_name": "zpssx", "units": "um"},
        "slow_axis": {"motor_name": "zpssy", "units": "um"},
        "shape": [6, 5],
    }
    assert start["motors"] == ["zpssx", "zpssy"]
    assert (start["sample"], start["ptycho"]) == ({"name": "star"}, {"probe_modes": 2})
    assert "plan_args" not in start
    assert "detectors" not in start

    baseline, primary = station.named("descriptor")
    assert {"dcm_th", "zpsth", "zpssx", "zpssy"} <= set(baseline["data_keys"])
    keys = primary["data_keys"]
    assert set(keys) == {*CHANNELS, ION_CHAMBER, "merlin1"}
    assert all(key["external"] == "FILESTORE:" for key in keys.values())
    assert keys["merlin1"]["shape"] == [30, 32, 32]
    assert keys["inenc2_val"]["shape"] == [30 * SAMPLES]

    page = station.named("event_page")[0]
    assert len(page["seq_num"]) == 1
    ids = {document["datum_id"] for document in station.named("datum")}
    assert {values[0] for values in page["data"].values()} == ids
    # The scaler's timestamp is a datum id, as at HXN.
    assert page["timestamps"][ION_CHAMBER] == page["data"][ION_CHAMBER]
    assert isinstance(page["timestamps"]["merlin1"][0], float)


def test_files_hold_the_scan_frame_by_frame(station: Station) -> None:
    station.fly(6, 5)
    panda, merlin = files(station)
    with h5py.File(merlin) as file:
        frames = file[DATASET]
        assert (frames.shape, frames.dtype, frames.chunks) == ((30, 32, 32), "uint16", (1, 32, 32))
        np.testing.assert_array_equal(file["/entry/data/data"], frames)
        photons = frames[:].sum(axis=(1, 2))
    assert 0.4 < photons.mean() / (station.endstation.flux * 0.004) < 1.0

    encoders, (y, x) = load_config().motors, np.moveaxis(station.true_path_um, -1, 0)
    with h5py.File(panda) as file:
        for name, truth in (("zpssx", x), ("zpssy", y)):
            counts = file[encoders[name].encoder][:]
            assert counts.dtype.kind == "i"
            error = counts * encoders[name].scale_um - truth.ravel()
            assert 0.001 < error.std() < 0.005
        current = file[ION_CHAMBER][:]
    assert current.shape == (30,)
    np.testing.assert_allclose(x.mean(axis=1)[:6], np.linspace(-0.175, 0.175, 6), atol=0.04)
    # The beam moves by 4 of the 5 ms that a step of 70 nm takes.
    np.testing.assert_allclose(np.mean(x[:, -1] - x[:, 0]), 0.070 * 0.8 * 0.9, atol=0.004)


def test_the_ion_chamber_follows_the_light_on_the_sample(station: Station) -> None:
    station.endstation.sample = type(station.endstation.sample)(phase_depth=0, absorption=0)
    station.fly(12, 12)
    panda, merlin = files(station)
    with h5py.File(merlin) as file:
        photons = file[DATASET][:].sum(axis=(1, 2)).astype(float)
    with h5py.File(panda) as file:
        current = file[ION_CHAMBER][:]
    assert (photons / current).std() / (photons / current).mean() < 0.004
    assert photons.std() / photons.mean() > 0.004


def test_frames_can_be_read_while_the_scan_goes_on(station: Station) -> None:
    seen: list[int] = []

    def look() -> None:
        for path in station.merlin1.folder.rglob("*.h5"):
            with h5py.File(path, "r", libver="latest", swmr=True, locking=False) as file:
                if DATASET in file:
                    seen.append(len(file[DATASET]))

    station.while_flying(6, look)
    station.fly(6, 10)
    assert len(seen) == 1
    assert 6 <= seen[0] < 60


def test_the_slow_axis_may_be_x(station: Station) -> None:
    s = station
    plan = plans.fly2dpd(
        [s.merlin1], s.zpssy, -0.2, 0.2, 5, s.zpssx, 0, 0.1, 2, 0.004, flyer=s.panda1
    )
    s.RE(plan)
    y, x = s.true_path_um.mean(axis=1).T
    np.testing.assert_allclose(y, np.tile(np.linspace(-0.2, 0.2, 5), 2), atol=0.05)
    np.testing.assert_allclose(x, np.repeat([0, 0.1], 5), atol=0.05)
    assert s.named("start")[0]["motors"] == ["zpssy", "zpssx"]


def test_scans_are_relative_and_bring_the_motors_back(station: Station) -> None:
    station.zpssx.set(3.0).wait(timeout=10)
    station.fly(4, 3)
    assert station.true_path_um[..., 1].mean() == pytest.approx(3.0, abs=0.05)
    assert station.zpssx.position == 3.0
    assert station.zpssy.position == 0.0


def test_two_scans_in_a_row_have_files_of_their_own(station: Station) -> None:
    station.fly(4, 3)
    station.fly(5, 3)
    paths = [r["resource_path"] for r in station.named("resource")]
    assert len(set(paths)) == 4
    assert [d["data_keys"]["merlin1"]["shape"][0] for d in station.named("descriptor")[1::2]] == [
        12,
        15,
    ]


@pytest.mark.parametrize(
    ("end", "status"), [("stop", "success"), ("abort", "abort"), ("resume", "success")]
)
def test_an_interrupted_scan_keeps_the_frames_it_has(
    station: Station, end: str, status: str
) -> None:
    station.while_flying(10, station.RE.request_pause)
    with pytest.raises(RunEngineInterrupted):
        station.fly(10, 40)
    getattr(station.RE, end)()
    assert station.RE.state == "idle"
    assert station.named("stop")[0]["exit_status"] == status
    assert station.named("stop")[0]["num_events"]["primary"] == 1
    written = station.panda1.frames_written
    assert 10 <= written < 400
    panda, merlin = files(station)
    with h5py.File(merlin) as file:
        assert len(file[DATASET]) == written
    with h5py.File(panda) as file:
        assert len(file["inenc2_val"]) == written * SAMPLES
    assert station.named("descriptor")[-1]["data_keys"]["merlin1"]["shape"][0] == written
    assert (station.zpssx.position, station.zpssy.position) == (0, 0)
    # And the next scan runs.
    station.RE.waiting_hook = None
    station.fly(3, 2)
    assert station.panda1.frames_written == 6


def test_a_detector_that_fails_fails_the_scan_and_keeps_what_there_is(station: Station) -> None:
    station.while_flying(10, station.merlin1.disarm)  # as when the disk is full: no more writing
    with pytest.raises(FailedStatus):
        station.fly(10, 40)
    stop = station.named("stop")[0]
    assert stop["exit_status"] == "fail"
    assert stop["num_events"]["primary"] == 1
    assert station.panda1.frames_written >= 10


def call(station: Station, **changes: Any) -> Any:
    s = station
    arguments = {
        "dets": [s.merlin1],
        "m1": s.zpssx, "s1": -1, "e1": 1, "n1": 3,
        "m2": s.zpssy, "s2": -1, "e2": 1, "n2": 3,
        "exposure_time": 0.01,
    }  # fmt: skip
    return plans.fly2d(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dets": []}, "at least one detector"),
        ({"dets": ["merlin1"]}, "merlin1 cannot be triggered"),
        ({"n1": 0}, "0 frames along zpssx"),
        ({"n2": 2.5}, "2.5 frames along zpssy"),
        ({"e1": -1}, "zpssx would not move"),
        ({"exposure_time": 0}, "exposure_time=0"),
        ({"dead_time": -1}, "dead_time=-1"),
        ({"n1": 300, "n2": 300}, "90,000 frames, more than 64,000"),
        ({"max_points": 5}, "9 frames, more than 5"),
        ({"fly_type": "pyramid"}, "pyramid"),
        ({"e2": 40}, "limits"),
    ],
)
def test_a_scan_that_cannot_be_is_refused_before_it_begins(
    station: Station, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(plans, "_default_flyer", station.panda1)
    with pytest.raises(ValueError, match=message):
        station.RE(call(station, **changes))
    assert station.documents == []


def test_the_same_motor_twice_is_refused(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_default_flyer", station.panda1)
    with pytest.raises(ValueError, match="both are zpssx"):
        station.RE(call(station, m2=station.zpssx))


def test_fly2d_runs_the_default_flyer(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_default_flyer", None)
    with pytest.raises(RuntimeError, match="fly2d has no flyer"):
        station.RE(call(station))
    plans.set_default_flyer(station.panda1)
    station.RE(call(station, exposure_time=0.004))
    start = station.named("start")[0]
    assert (start["plan_name"], start["scan"]["type"]) == ("fly2d", "2D_FLY_PANDA")
    assert station.panda1.frames_written == 9
