"""The whole way: the profile in IPython with HXN_PTYCHO_EPICS=1; what it says without an IOC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho import reconstruct
from hxn_ptycho.catalog import open_catalog, writer
from hxn_ptycho.cli import demo
from hxn_ptycho.fly.plans import fly2d
from hxn_ptycho.home import Home, find_home
from hxn_ptycho.results import Result, results
from hxn_ptycho.simulate import Sample
from hxn_ptycho.simulate.ioc.server import Ioc as SimulatedIoc
from hxn_ptycho.simulate.ioc.server import PortError, serve

from ..simulate.station import make_station
from ..truth import error_of
from .ioc import PIXELS, Ioc

PROFILE = Path(__file__).parents[2] / "profile_collection"
AFTER = ("00", "20", "50", "60")
POINTS, EXPOSURE, DEAD, ENDS = 12, 0.02, 0.001, 0.385
RECIPE = {
    "algorithm": "RAAR", "iterations": 30, "probe_modes": 2, "ranks": 1, "probe": "zone-plate",
    "zone_plate": {
        "diameter": 160e-6, "outer_zone_width": 40e-9, "central_stop": 60e-6, "defocus": 116e-6
    },
}  # fmt: skip
SCAN = (
    f"RE(fly2d([merlin1], zpssx, -{ENDS}, {ENDS}, {POINTS}, zpssy, -{ENDS}, {ENDS}, {POINTS}, "
    f"{EXPOSURE}, dead_time={DEAD}, md={{'ptycho': {RECIPE}}}))"
)


def simulated(home: Home) -> Result:
    """Return what the same scan gives at the simulated devices."""
    catalogs = open_catalog(home)
    station = make_station(home.data, PIXELS, seed=1)
    station.RE.subscribe(writer(catalogs.raw))
    x, y, at = station.zpssx, station.zpssy, (-ENDS, ENDS, POINTS)
    plan = fly2d(
        [station.merlin1], x, *at, y, *at, EXPOSURE, dead_time=DEAD, flyer=station.panda1,
        md={"ptycho": RECIPE},
    )  # fmt: skip
    (uid,) = station.RE(plan)
    return reconstruct(uid, catalogs=catalogs)


def test_a_scan_of_epics_devices_is_reconstructed_as_a_simulated_one(
    ioc: Ioc,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    homes = []
    for _ in range(2):
        monkeypatch.setenv("HXN_PTYCHO_HOME", str(tmp_path_factory.mktemp("home")))
        homes.append(find_home().make())
    at_epics, at_simulated = homes
    at_epics.config_file.write_text("idle_seconds = 1\n")
    with monkeypatch.context() as patch:
        patch.setenv("HXN_PTYCHO_EPICS", "1")
        status = demo.run_session(at_epics, SCAN)
    out, err = capfd.readouterr()
    assert status == 0, out + err
    (result,) = results(scan_id=1, home=at_epics)
    assert result.exit_status == "success"
    assert result.uid in out
    assert result.raw.start["plan_name"] == "fly2d"

    other = simulated(at_simulated)
    errors = error_of(result.data, Sample()), error_of(other.data, Sample())
    fourier = result.error_fourier, other.error_fourier
    print(f"object {errors[0]:.4f} and {errors[1]:.4f}, Fourier {fourier[0]:.4f}, {fourier[1]:.4f}")
    assert errors[1] < 0.15
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    assert fourier[0] == pytest.approx(fourier[1], rel=0.05)


def test_without_an_ioc_the_profile_says_what_it_misses(tmp_path: Path) -> None:
    # Its first file that needs the IOC, alone.
    profile = tmp_path / "profile"
    shutil.copytree(
        PROFILE, profile, ignore=lambda folder, names: {n for n in names if n[:2] in AFTER}
    )
    environment = {**os.environ, "HXN_PTYCHO_EPICS": "1", "EPICS_CA_SERVER_PORT": "9"}
    command = [
        sys.executable, "-m", "IPython", f"--profile-dir={profile}", "-c", "1"
    ]  # fmt: skip
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    said = " ".join((ran.stdout + ran.stderr).split())
    assert "PVs do not answer within 5 s: XF:03IDC-ES{ZpSS:1-Ax:X}Mtr" in said
    assert "EPICS_CA_ADDR_LIST=127.0.0.1" in said
    assert "EPICS_CA_SERVER_PORT=9" in said
    assert "hxn-ptycho ioc" in said


def test_without_pyepics_it_says_so() -> None:
    # ophyd then takes its own dummy, as here.
    check = "from hxn_ptycho.epics.connect import check_control_layer as c; c()"
    ran = subprocess.run(
        [sys.executable, "-c", check], env={**os.environ, "OPHYD_CONTROL_LAYER": "dummy"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "pip install 'hxn_ptycho[epics]'" in ran.stderr


def test_a_second_ioc_on_the_same_port_is_refused(ioc: Ioc) -> None:
    with pytest.raises(PortError, match=f"port {ioc.port} cannot be had"):
        serve(SimulatedIoc(pixels=32), ioc.port, print)


def test_an_ioc_ends_when_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Ioc(tmp_path / "log")
    other.port = 0  # a free one, which it tells
    monkeypatch.delenv("EPICS_CA_SERVER_PORT")
    try:
        other.start()
        assert other.end() == 0
    finally:
        other.kill()
