"""One IOC for all tests here, and the devices that speak to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("caproto", reason="an IOC needs caproto: pip install '.[epics]'")
pytest.importorskip("epics", reason="ophyd's motors need pyepics: pip install '.[epics]'")

from hxn_ptycho.home import Home

from .beamline import Beamline
from .ioc import Ioc


@pytest.fixture(scope="session")
def ioc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ioc]:
    """The IOC that this process, and those that it starts, look for."""
    running = Ioc(tmp_path_factory.mktemp("ioc") / "log")
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def devices(ioc: Ioc, tmp_path_factory: pytest.TempPathFactory) -> Beamline:
    return Beamline.connected(tmp_path_factory.mktemp("data"))


@pytest.fixture
def home(home: Home, devices: Beamline) -> Home:
    """A fresh home folder, whose catalog may read what the detectors write."""
    (home.root / "config.toml").write_text(f'readable_storage = ["{devices.folder}"]\n')
    return home


@pytest.fixture
def beamline(devices: Beamline) -> Iterator[Beamline]:
    """Devices on the IOC's PVs, with a RunEngine of the test's own."""
    devices.renew()
    yield devices
    devices.check_idle()
