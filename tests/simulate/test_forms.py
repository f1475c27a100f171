"""Every form of scan tells, in its own documents, of the same sample, stages and beam."""

from __future__ import annotations

from pathlib import Path

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from hxn_ptycho.fly import plans
from hxn_ptycho.simulate.faults import Faults
from hxn_ptycho.simulate.sample import Sample

from .read_back import events, frames_of, misfit, path_of, read_back, validate
from .station import FORMS, Form, Station, make_station

SNAKES: tuple[Form, ...] = ("classic", "zebra", "step")


def station_for(folder: Path, form: Form, **more: object) -> Station:
    return make_station(folder / "data", form=form, max_sub_scan_points=13, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("detector", ["merlin1", "eiger1"])
@pytest.mark.parametrize("form", FORMS)
def test_frames_positions_and_beam_are_the_truth(tmp_path: Path, form: Form, detector: str) -> None:
    station = station_for(tmp_path, form)
    station.measure(6, 5, detector=getattr(station, detector), snake=form in SNAKES)
    found = read_back(station, detector)

    assert found.positions_um.shape == (30, 2)
    error = found.positions_um - station.truth_um
    assert 0 < np.abs(error).max() < 0.006
    lines = found.positions_um.reshape(5, 6, 2)
    rising = np.sign(lines[:, -1, 1] - lines[:, 0, 1])
    assert rising.tolist() == ([1, -1, 1, -1, 1] if form in SNAKES else [1] * 5)
    np.testing.assert_allclose(lines[..., 0].mean(axis=1), np.linspace(-0.14, 0.14, 5), atol=0.02)

    good = np.ones(found.frames.shape[1:], bool)
    good[found.frames.max(axis=0) == np.iinfo(found.frames.dtype).max] = False
    light = station.light(detector) * good
    photons = np.sum(found.frames * good, axis=(1, 2)) / light.sum(axis=(1, 2))
    assert misfit(found.frames * good, light) == pytest.approx(1, abs=0.05)
    assert 0.5 < photons.mean() / (station.endstation.flux * 0.004) < 1.5


@pytest.mark.parametrize("form", FORMS)
def test_the_ion_chamber_follows_the_beam(tmp_path: Path, form: Form) -> None:
    station = station_for(tmp_path, form)
    station.endstation.sample = Sample(phase_depth=0, absorption=0)
    station.measure(6, 6)
    found = read_back(station)
    photons = found.frames.sum(axis=(1, 2)) / found.ion_chamber
    assert photons.std() / photons.mean() < 0.005
    assert found.ion_chamber.std() / found.ion_chamber.mean() > 0.006


@pytest.mark.parametrize("form", FORMS)
def test_the_seed_decides_everything(tmp_path: Path, form: Form) -> None:
    scans = []
    for place, seed in (("a", 3), ("b", 3), ("c", 4)):
        station = station_for(tmp_path / place, form, seed=seed)
        station.measure(3, 2)
        scans.append(read_back(station))
    np.testing.assert_array_equal(scans[0].frames, scans[1].frames)
    np.testing.assert_array_equal(scans[0].positions_um, scans[1].positions_um)
    assert not np.array_equal(scans[0].frames, scans[2].frames)


# The scaler's and the Zebra's timestamps are datum ids, as there: not valid, and meant so.
@pytest.mark.parametrize("form", ["classic", "streams", "step"])
def test_documents_are_valid(tmp_path: Path, form: Form) -> None:
    station = station_for(tmp_path, form)
    station.measure(4, 3)
    validate(station)


def test_classic_documents_know_datum_ids_only(tmp_path: Path) -> None:
    station = station_for(tmp_path, "classic")
    station.measure(6, 5, snake=True, md={"sample": {"name": "star"}})
    names = [name for name, _ in station.documents]
    assert names == ["start", "descriptor", "event", "descriptor", *["event_page"] * 3,
                     "event", "stop"]  # fmt: skip
    start = station.named("start")[0]
    assert (start["plan_name"], start["shape"], start["motors"]) == (
        "FlyPlan2D", [6, 5], ["zpssx", "zpssy"],
    )  # fmt: skip
    assert "scan" not in start
    assert start["fly_type"] == "pyramid"
    assert start["detectors"] == ["merlin1"]
    np.testing.assert_allclose(start["scan_range"], [[-0.175, 0.175], [-0.14, 0.14]])
    asked = start["plan_args"]
    assert (asked["num1"], asked["num2"], asked["max_points"]) == (6, 5, 13)
    assert "zpssx" in asked["motor1"]
    # Whole lines, at most 13 frames: two lines, two lines, one.
    assert [len(page["seq_num"]) for page in station.named("event_page")] == [12, 12, 6]
    told = events(station)
    uids = [event["data"]["merlin1"].partition("/")[0] for event in told]
    assert len(set(uids)) == 3
    assert len(list((tmp_path / "data").rglob("*.h5"))) == 3
    assert set(told[0]["data"]) == {"zpssx", "zpssy", "sclr1_ch4", "merlin1"}
    assert isinstance(told[0]["data"]["zpssx"], float)
    resource = station.registry.resource_given_datum_id(told[0]["data"]["merlin1"])
    assert (resource["spec"], resource["resource_kwargs"]) == ("TPX_HDF5", {"frame_per_point": 1})


def test_a_classic_scan_takes_other_sub_scans_and_no_line_in_two(tmp_path: Path) -> None:
    station = station_for(tmp_path, "classic")
    arguments = [station.merlin1], station.zpssx, -1, 1, 6, station.zpssy, -1, 1, 4, 0.004
    station.RE(plans.fly2d(*arguments, max_points=6, flyer=station.classic1))
    assert [len(page["seq_num"]) for page in station.named("event_page")] == [6] * 4
    with pytest.raises(ValueError, match="a line has 6 frames, more than the 5 of a sub-scan"):
        station.RE(plans.fly2d(*arguments, max_points=5, flyer=station.classic1))


def test_zebra_documents_are_those_of_rows(tmp_path: Path) -> None:
    station = station_for(tmp_path, "zebra")
    station.zpssx.set(1.0).wait(timeout=10)
    station.measure(6, 5, snake=True)
    start = station.named("start")[0]
    assert start["plan_name"] == "scan_and_fly"
    scan = start["scan"]
    assert scan["type"] == "XRF_FLY"
    np.testing.assert_allclose(scan["scan_input"], [-0.175, 0.175, 6, -0.14, 0.14, 5, 0.004 / 0.9])
    assert (scan["snake"], scan["shape"]) == (True, [6, 5])
    assert scan["delta"] == {"val": pytest.approx(0.14), "units": "um"}
    assert station.zpssx.position == 1.0  # back where it was

    pages = station.named("event_page")
    assert [len(page["seq_num"]) for page in pages] == [1] * 5
    resources = station.named("resource")
    assert [r["spec"] for r in resources[:3]] == [
        "ZEBRA_HDF51_FLY_STREAM_V1", "SIS_HDF51_FLY_STREAM_V1", "MERLIN_FLY_STREAM_V2",
    ]  # fmt: skip
    assert len({path_of(r) for r in resources}) == 15
    assert all(r["resource_kwargs"] == {"frame_per_point": 6} for r in resources)
    event = events(station)[0]
    assert set(event["data"]) == {"time", "enc1", "enc2", "i0", "im", "it", "merlin1"}
    assert event["timestamps"]["enc1"] == event["data"]["time"]
    with h5py.File(path_of(resources[0])) as file:
        np.testing.assert_allclose(np.diff(file["time"][:]), 0.004 / 0.9)


@pytest.mark.parametrize("form", ["classic", "zebra", "streams"])
def test_the_fast_axis_may_be_y(tmp_path: Path, form: Form) -> None:
    station = station_for(tmp_path, form)
    lines = station.zpssy, -0.2, 0.2, 5, station.zpssx, 0, 0.1, 2
    station.RE(plans.fly2d([station.merlin1], *lines, 0.004, flyer=station.flyer))
    found = read_back(station)
    places = found.positions_um
    if form == "zebra":  # enc1 follows the fast stage, whichever that is
        places = places[:, ::-1]
    np.testing.assert_allclose(places, station.truth_um, atol=0.006)
    np.testing.assert_allclose(station.truth_um[:5, 0], np.linspace(-0.2, 0.2, 5), atol=0.05)
    assert misfit(found.frames, station.light()) == pytest.approx(1, abs=0.05)
    assert station.named("start")[0]["motors"] == ["zpssy", "zpssx"]


def test_a_zebra_scan_may_be_told_by_its_centre(tmp_path: Path) -> None:
    station = station_for(tmp_path, "zebra")
    station.zebra1.scan_type = "FIP_2D_FLY"
    station.zpssx.set(2.0).wait(timeout=10)
    lines = station.zpssx, -0.1, 0.3, 5, station.zpssy, -0.1, 0.1, 2
    station.RE(plans.fly2d([station.merlin1], *lines, 0.004, flyer=station.zebra1))
    scan = station.named("start")[0]["scan"]
    assert scan["type"] == "FIP_2D_FLY"
    # Relative for the plan, absolute in the document: centre and range.
    np.testing.assert_allclose(scan["scan_input"], [2.1, 0.4, 5, -0.1, 0.1, 2, 0.008])
    np.testing.assert_allclose(station.truth_um[:5, 1], np.linspace(1.9, 2.3, 5), atol=0.05)


def test_stream_documents_come_while_it_flies(tmp_path: Path) -> None:
    station = station_for(tmp_path, "streams", pace=1)
    station.measure(10, 10, 0.006)
    validate(station)
    assert station.named("event_page") == []
    assert len(station.named("event")) == 2  # of the baseline
    for resource in station.named("stream_resource"):
        told = [d for d in station.named("stream_datum") if d["stream_resource"] == resource["uid"]]
        assert len(told) > 1
        assert told[-1]["indices"]["stop"] == 100
        for datum in told:
            start, stop = datum["indices"]["start"], datum["indices"]["stop"]
            assert datum["seq_nums"] == {"start": start + 1, "stop": stop + 1}
    primary = station.named("descriptor")[1]["data_keys"]
    assert primary["merlin1"]["external"] == "STREAM:"
    assert primary["merlin1"]["shape"] == [1, 32, 32]
    assert station.named("stop")[0]["num_events"]["primary"] == 100


def test_any_plan_triggers_detector_and_scaler(tmp_path: Path) -> None:
    station = station_for(tmp_path, "step")
    dets, x, y = [station.merlin1, station.sclr1], station.zpssx, station.zpssy
    for plan in (
        bp.rel_spiral_fermat(dets, x, y, 0.4, 0.4, 0.08, 1),
        bp.list_scan(dets, y, [0, 0.1, -0.05], x, [0.2, 0.1, 0]),
        bp.count(dets, 2),
    ):
        station.documents.clear()
        station.RE(plan)
        number = station.named("stop")[0]["num_events"]["primary"]
        assert len(station.named("resource")) == 1
        (resource,) = station.named("resource")
        assert (resource["spec"], resource["resource_kwargs"]) == (
            "AD_HDF5", {"frame_per_point": 1},
        )  # fmt: skip
        assert len(frames_of(path_of(resource))) == number
        if "zpssx" in events(station)[0]["data"]:
            found = read_back(station)
            np.testing.assert_allclose(found.positions_um, station.truth_um, atol=0.006)
            assert len(found.frames) == number
    validate(station)


def test_a_detector_without_an_exposure_says_so(tmp_path: Path) -> None:
    station = station_for(tmp_path, "step")
    with pytest.raises(ValueError, match="merlin1 cannot expose for 0"):
        station.measure(2, 2, exposure=0.0)


@pytest.mark.parametrize("end", ["stop", "abort", "resume"])
@pytest.mark.parametrize("form", ["classic", "zebra", "streams"])
def test_an_interrupted_scan_keeps_what_there_is(tmp_path: Path, form: Form, end: str) -> None:
    station = station_for(tmp_path, form, pace=1)
    station.while_flying(15, station.RE.request_pause)
    with pytest.raises(RunEngineInterrupted):
        station.measure(6, 60)
    getattr(station.RE, end)()
    assert station.RE.state == "idle"
    stop = station.named("stop")[0]
    assert stop["exit_status"] == {"abort": "abort"}.get(end, "success")
    written = station.flyer.frames_written
    assert 12 <= written < 360
    found = read_back(station)
    assert len(found.frames) == len(found.positions_um) == len(found.ion_chamber) == written
    np.testing.assert_allclose(found.positions_um, station.truth_um[:written], atol=0.006)
    assert (station.zpssx.position, station.zpssy.position) == (0, 0)
    # And the next scan runs.
    station.RE.waiting_hook = None
    station.documents.clear()
    station.measure(4, 3)
    assert len(read_back(station).frames) == 12


@pytest.mark.parametrize("form", ["classic", "zebra", "streams"])
def test_a_detector_that_fails_fails_the_scan_and_keeps_what_there_is(
    tmp_path: Path, form: Form
) -> None:
    station = station_for(tmp_path, form)

    def fail() -> None:
        station.merlin1.disarm()  # as when the disk is full: no more writing
        station.merlin1.faults = Faults(dark=np.zeros((1, 1)))  # and no file for the next row

    station.while_flying(15, fail)
    with pytest.raises((FailedStatus, ValueError)):
        station.measure(6, 60)
    assert station.named("stop")[0]["exit_status"] == "fail"
    written = station.flyer.frames_written
    assert 12 <= written < 60
    assert len(read_back(station).frames) == written
    assert (station.zpssx.position, station.zpssy.position) == (0, 0)


@pytest.mark.parametrize("form", ["classic", "zebra", "streams"])
def test_a_scan_stopped_between_two_parts_ends_there(tmp_path: Path, form: Form) -> None:
    station = station_for(tmp_path, form)

    def at_the_second(name: str, document: dict[str, object]) -> None:
        if name == "event_page" and len(station.named("event_page")) == 1:
            station.flyer.stop()

    station.RE.subscribe(at_the_second)
    station.measure(6, 5)
    expected = {"classic": 12, "zebra": 6, "streams": 30}[form]
    assert len(read_back(station).frames) == expected
    assert station.named("stop")[0]["exit_status"] == "success"
