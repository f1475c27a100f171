"""Fly scans with the PandA's PVs: documents, positions, and scans that do not come to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from hxn_ptycho.beamline import load_config, read_scan
from hxn_ptycho.catalog import open_catalog, writer
from hxn_ptycho.fly.panda import CHANNELS, ION_CHAMBER, SAMPLES
from hxn_ptycho.fly.plans import fly2d
from hxn_ptycho.home import Home

from ..simulate.station import STEP_UM, Documents, make_station
from ..waiting import until
from .beamline import Beamline
from .ioc import PIXELS, Ioc

FRAMES = "/entry/instrument/detector/data"


def form(value: Any) -> Any:
    """Return what a document is like: its keys, and the types of what they hold."""
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [form(each) for each in value[:1]]
    return type(value).__name__


def of_scan(documents: Documents) -> list[tuple[str, Any]]:
    """Return the documents of a scan without its baseline, whose motors are ophyd's own."""
    baseline = [d["uid"] for n, d in documents if n == "descriptor" and d.get("name") == "baseline"]
    return [
        (name, document)
        for name, document in documents
        if document.get("uid") not in baseline and document.get("descriptor") not in baseline
    ]


def files(beamline: Beamline) -> list[Path]:
    """Return the PandA's file and the Merlin's, as the documents name them."""
    resources = beamline.named("resource")
    assert [r["spec"] for r in resources] == ["PANDA", "MERLIN_HDF5_BULK"]
    return [Path(r["root"]) / r["resource_path"] for r in resources]


def test_documents_are_those_of_the_simulated_panda(beamline: Beamline, tmp_path: Path) -> None:
    station = make_station(tmp_path, PIXELS)
    station.RE(station.plan(6, 5, md={"sample": {"name": "star"}}))
    beamline.RE(beamline.plan(6, 5, md={"sample": {"name": "star"}}))
    ours, simulated = of_scan(beamline.documents), of_scan(station.documents)
    assert [name for name, _ in ours] == [name for name, _ in simulated]
    for (name, document), (_, other) in zip(ours, simulated, strict=True):
        if name == "stop":
            continue  # of the baseline it counts the events, too
        if name == "descriptor":
            document["configuration"] = other["configuration"]  # PVs and none
        assert form(document) == form(other), name
    specs = [d["spec"] for n, d in ours if n == "resource"]
    assert specs == [d["spec"] for n, d in simulated if n == "resource"]
    starts, descriptors = (
        [next(d for n, d in each if n == kind) for each in (ours, simulated)]
        for kind in ("start", "descriptor")
    )
    assert starts[0]["scan"] == starts[1]["scan"]
    for key, described in descriptors[0]["data_keys"].items():
        other = dict(descriptors[1]["data_keys"][key])
        prefix = "XF:03IDC-ES{" + ("Merlin:1}" if key == "merlin1" else "PANDA:1}")
        other["source"] = other["source"].replace("SIM:", prefix)
        assert described == other


def test_frames_and_positions_are_where_the_plan_said(beamline: Beamline, home: Home) -> None:
    raw = open_catalog(home).raw
    beamline.RE.subscribe(writer(raw))
    beamline.zpssx.set(3.0).wait(timeout=10)  # scans are relative, and bring the motors back
    (uid,) = beamline.RE(beamline.plan(7, 4))
    assert beamline.zpssx.position == pytest.approx(3.0)
    beamline.zpssx.set(0.0).wait(timeout=10)
    scan = read_scan(raw, uid, home=home)
    assert scan.number_of_frames == 28
    x, y = STEP_UM * (np.arange(7) - 3), STEP_UM * (np.arange(4) - 1.5)
    expected = np.stack(np.meshgrid(y, x + 3.0, indexing="ij"), axis=-1).reshape(-1, 2)
    places = scan.positions_m * 1e6
    # Stages tremble by 8 nm.
    assert np.abs(places - expected).max() < 0.04
    assert np.abs((places - expected).mean(axis=0)).max() < 0.006
    assert 0 < np.std(scan.normalisation) < 0.1

    panda, merlin = files(beamline)
    with h5py.File(merlin) as file:
        assert file[FRAMES].shape == (28, PIXELS, PIXELS)
        assert file[FRAMES][:].sum(axis=(1, 2)).min() > 1e5
    motor = load_config().motors["zpssx"]
    with h5py.File(panda) as file:
        assert set(file) == {*CHANNELS, ION_CHAMBER}
        counts = file[str(motor.encoder)][:].reshape(28, SAMPLES)
    # While a frame is exposed the beam moves by 4 of the 5 ms that a step takes.
    moved = np.diff(counts * motor.scale_um, axis=1).mean() * SAMPLES
    assert moved == pytest.approx(STEP_UM * 0.8, abs=0.006)


def test_the_slow_axis_may_be_x_and_lines_may_go_down(beamline: Beamline) -> None:
    b = beamline
    plan = fly2d(
        [b.merlin1], b.zpssy, 0.14, -0.14, 5, b.zpssx, 0, 0.1, 2, 0.004, flyer=b.panda1
    )  # fmt: skip
    b.RE(plan)
    with h5py.File(files(b)[0]) as file:
        for name, expected in (
            ("zpssy", np.tile(np.linspace(0.14, -0.14, 5), 2)),
            ("zpssx", np.repeat([0, 0.1], 5)),
        ):
            motor = load_config().motors[name]
            read = file[str(motor.encoder)][:].reshape(10, SAMPLES).mean(axis=1) * motor.scale_um
            assert np.abs(read - expected).max() < 0.04


def test_an_eiger_flies_too(beamline: Beamline, home: Home) -> None:
    raw = open_catalog(home).raw
    beamline.RE.subscribe(writer(raw))
    (uid,) = beamline.RE(beamline.plan(4, 3, dets=[beamline.eiger1]))
    scan = read_scan(raw, uid, home=home)
    assert (scan.number_of_frames, scan.frame_dtype) == (12, "uint32")
    assert scan.frame_shape == (128, 128)
    with h5py.File(beamline.eiger1.hdf5.path) as file:
        assert (file[FRAMES][:].max(axis=(1, 2)) == 2**32 - 1).all()  # its bad pixels


@pytest.mark.parametrize(
    ("end", "status"), [("stop", "success"), ("abort", "abort"), ("resume", "success")]
)
def test_an_interrupted_scan_keeps_the_frames_it_has(
    beamline: Beamline, end: str, status: str
) -> None:
    beamline.while_flying(10, beamline.RE.request_pause)
    with pytest.raises(RunEngineInterrupted):
        beamline.RE(beamline.plan(10, 100))
    getattr(beamline.RE, end)()
    assert beamline.named("stop")[0]["exit_status"] == status
    written = beamline.panda1.frames_written
    assert 10 <= written < 1000
    panda, merlin = files(beamline)
    with h5py.File(merlin) as file:
        assert len(file[FRAMES]) == written
    with h5py.File(panda) as file:
        assert len(file["inenc2_val"]) == written * SAMPLES
    assert beamline.named("descriptor")[-1]["data_keys"]["merlin1"]["shape"][0] == written
    beamline.check_idle()
    beamline.RE.waiting_hook = None
    beamline.RE(beamline.plan(3, 2))
    assert beamline.panda1.frames_written == 6


def test_a_missed_trigger_is_told(beamline: Beamline) -> None:
    # Somebody stops the detector: its frames are fewer than the PandA's.
    beamline.while_flying(20, lambda: beamline.merlin1.cam.acquire.put(0))
    with pytest.raises(FailedStatus) as failure:
        beamline.RE(beamline.plan(10, 8))
    why = str(failure.value.__cause__)
    assert "panda1 captured 80 frames, merlin1 " in why
    assert "is its trigger connected" in why
    assert beamline.named("stop")[0]["exit_status"] == "fail"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n1": 1}, "zpssx does not move along a line of one frame"),
        ({"exposure": 1e-6, "dead": 1e-6}, "zpssx would fly at .* its fastest is 2000"),
        ({"fast": "zpsth"}, "zpsth has none, so it cannot be the fast axis"),
        ({"x0": -14.99}, "outside of range"),
    ],
)
def test_what_cannot_be_flown_is_refused(
    beamline: Beamline, arguments: dict[str, Any], message: str
) -> None:
    asked = {"n1": 5, "exposure": 0.004, "dead": 0.001, "fast": "zpssx", "x0": 0.0, **arguments}
    fast = getattr(beamline, asked["fast"])
    beamline.zpssx.set(asked["x0"]).wait(timeout=10)
    plan = fly2d(
        [beamline.merlin1], fast, 0, 0.2, asked["n1"], beamline.zpssy, 0, 0.1, 2,
        asked["exposure"], dead_time=asked["dead"], flyer=beamline.panda1,
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        beamline.RE(plan)
    beamline.zpssx.set(0.0).wait(timeout=10)


def test_after_an_ioc_that_died_in_mid_scan_the_next_scan_runs(
    beamline: Beamline, ioc: Ioc
) -> None:
    beamline.while_flying(10, ioc.kill)
    try:
        with pytest.raises(Exception, match=r".") as failure:
            beamline.RE(beamline.plan(10, 100))
        assert not isinstance(failure.value, AssertionError)
        assert beamline.RE.state == "idle"
    finally:
        ioc.kill()
        ioc.start()
    beamline.connect()
    until(
        lambda: (beamline.zpssx.position, beamline.zpssy.position) == (0, 0),
        "it is known where the new IOC's stages are",
    )
    beamline.renew()
    beamline.RE(beamline.plan(4, 3))
    assert beamline.panda1.frames_written == 12
    assert beamline.named("stop")[0]["exit_status"] == "success"
