"""What many tests share: a home of their own, and servers that are started once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hxn_ptycho.home import HOME_VARIABLE, Home, find_home

from .stores.closing import close_catalogs
from .stores.databroker_v0 import V0OnMongo, V0OnSQLite, why_no_mongo
from .stores.places import PLACES, Place
from .stores.postgresql import PostgreSQL, running_postgresql, why_no_postgresql
from .stores.tiled_server import TiledServer, running_tiled

# EPICS' library reads these once, when ophyd is first imported, which is before any fixture: the
# tests in tests/epics start an IOC on this port. Nothing is looked for outside this machine.
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as _udp:
    _udp.bind(("127.0.0.1", 0))
    os.environ |= {
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(_udp.getsockname()[1]),
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A fresh home folder, in force for this process and those it starts."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    home = find_home().make()
    yield home
    close_catalogs(home)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL, started once."""
    if reason := why_no_postgresql():
        pytest.skip(reason)
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def tiled_server(
    postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TiledServer]:
    """A Tiled server on it, started once; reads the files of all tests."""
    folder = tmp_path_factory.mktemp("tiled")
    with running_tiled(folder, postgresql, [tmp_path_factory.getbasetemp()]) as server:
        yield server


@pytest.fixture(scope="session")
def v0_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> V0OnSQLite:
    """Brokers of databroker.v0 on SQLite."""
    return V0OnSQLite(tmp_path_factory.mktemp("v0"))


@pytest.fixture(scope="session")
def v0_on_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V0OnMongo]:
    """Brokers of databroker.v0 on a MongoDB server, started once."""
    if reason := why_no_mongo():
        pytest.skip(reason)
    server = V0OnMongo(tmp_path_factory.mktemp("mongo") / "server")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session", params=list(PLACES))
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind of store in turn; what fits one fits all."""
    return PLACES[request.param](request)
