"""ophyd's devices on the IOC's PVs: motors, detectors, the scaler."""

from __future__ import annotations

from pathlib import Path

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from ophyd.utils import LimitError

from hxn_ptycho.beamline import read_scan
from hxn_ptycho.catalog import open_catalog, writer
from hxn_ptycho.epics.detector import AreaDetector
from hxn_ptycho.home import Home

from ..waiting import until
from .beamline import Beamline
from .ioc import PIXELS


def test_motors_move_and_their_limits_refuse(beamline: Beamline) -> None:
    x = beamline.zpssx
    assert (x.limits, x.egu) == ((-15, 15), "um")
    assert beamline.dcm.th.position == pytest.approx(9.4831)
    seen: list[float] = []
    cid = x.subscribe(lambda value, **_: seen.append(value))
    x.set(-10.0).wait(timeout=10)
    x.unsubscribe(cid)
    assert x.position == -10.0
    assert any(-10 < value < 0 for value in seen)  # it took its time
    with pytest.raises(LimitError, match=r"zpssx.*outside of range"):
        x.set(20.0)
    # And if a client does not look, the record refuses, as it does on a beamline.
    x.user_setpoint.put(20.0, wait=True, force=True, timeout=10)
    assert (x.position, bool(x.moving)) == (-10.0, False)
    x.set(0.0).wait(timeout=10)


def test_a_motor_stops_and_turns_round(beamline: Beamline) -> None:
    theta = beamline.zpsth
    moving = theta.set(90.0)
    until(lambda: theta.position > 0, "zpsth moves")
    theta.stop()
    moving.wait(timeout=10)
    until(lambda: not theta.moving, "zpsth has stopped")
    assert 0 < theta.position < 90

    theta.user_setpoint.put(90.0)
    before = theta.position
    until(lambda: theta.position > before, "zpsth moves")
    theta.user_setpoint.put(0.0)  # while it moves
    until(lambda: theta.position == 0 and not theta.moving, "zpsth is back")


def test_a_detector_writes_the_frames_that_are_triggered(beamline: Beamline) -> None:
    merlin = beamline.merlin1
    merlin.acquire_time.set(0.005).wait(timeout=10)
    with pytest.raises(RuntimeError, match="merlin1 is not staged"):
        merlin.trigger()
    merlin.stage()
    assert merlin.cam.image_mode.get(as_string=True) == "Multiple"
    for _ in range(3):
        merlin.trigger().wait(timeout=10)
    description = merlin.describe()["merlin1_image"]
    reading = merlin.read()["merlin1_image"]["value"]
    assets = list(merlin.collect_asset_docs())
    merlin.unstage()

    assert (description["shape"], description["dtype_numpy"]) == ((1, PIXELS, PIXELS), "<u2")
    assert [name for name, _ in assets] == ["resource", "datum", "datum", "datum"]
    assert reading == assets[-1][1]["datum_id"]
    assert merlin.cam.image_mode.get(as_string=True) == "Single"  # as it was
    assert merlin.hdf5.full_file_name.get() == str(merlin.hdf5.path)
    with h5py.File(merlin.hdf5.path) as file:
        frames = file["/entry/data/data"][:]
    assert (frames.shape, frames.dtype) == ((3, PIXELS, PIXELS), "uint16")
    photons = frames.sum(axis=(1, 2), dtype=float)
    assert photons.std() / photons.mean() < 0.2
    assert photons.mean() > 1e5


def test_a_detector_that_is_not_allowed_to_write_says_where(
    beamline: Beamline, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file where there should be a folder")
    lost = AreaDetector(
        beamline.merlin1.prefix, name="merlin1", folder=tmp_path / "data", distance_m=0.5
    )
    lost.stage()
    with pytest.raises(OSError, match=r"merlin1: .*HDF1: does not capture into .*data/20.* folder"):
        lost.trigger()
    lost.unstage()


def test_a_step_scan_is_read_as_the_simulated_ones_are(beamline: Beamline, home: Home) -> None:
    b, raw = beamline, open_catalog(home).raw
    b.RE.subscribe(writer(raw))
    b.merlin1.acquire_time.set(0.004).wait(timeout=10)
    b.sclr1.preset_time.set(0.004).wait(timeout=10)
    dets = [b.merlin1, b.sclr1]
    (uid,) = b.RE(bp.rel_grid_scan(dets, b.zpssy, -0.1, 0.1, 3, b.zpssx, -0.15, 0.15, 4))
    scan = read_scan(raw, uid, home=home)
    assert (scan.number_of_frames, scan.frame_dtype) == (12, "uint16")
    y, x = np.meshgrid(np.linspace(-0.1, 0.1, 3), np.linspace(-0.15, 0.15, 4), indexing="ij")
    np.testing.assert_allclose(scan.positions_m * 1e6, np.c_[y.ravel(), x.ravel()], atol=1e-6)
    assert 0 < np.std(scan.normalisation) < 0.1


def test_the_scaler_and_the_detector_see_the_same_beam(beamline: Beamline) -> None:
    b = beamline
    b.merlin1.acquire_time.set(0.02).wait(timeout=10)
    b.sclr1.preset_time.set(0.02).wait(timeout=10)
    b.RE(bp.count([b.merlin1, b.sclr1], num=20))
    counts = np.array(
        [d["data"]["sclr1_ch4"] for d in b.named("event") if "sclr1_ch4" in d["data"]]
    )
    with h5py.File(b.merlin1.hdf5.path) as file:
        photons = file["/entry/data/data"][:].sum(axis=(1, 2), dtype=float)
    assert counts == pytest.approx(5e7 * 0.02, rel=0.2)
    ratio = photons / counts
    assert ratio.std() / ratio.mean() < 0.6 * photons.std() / photons.mean()
