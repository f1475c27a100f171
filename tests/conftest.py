"""What many tests share: a home of their own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hxn_ptycho.home import HOME_VARIABLE, Home, find_home

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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A fresh home folder, in force for this process and those it starts."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return find_home().make()
