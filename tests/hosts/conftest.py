"""One queue server, with a home of its own, for all tests that want it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hxn_ptycho.home import find_home
from hxn_ptycho.queue import Queue

from ..waiting import until
from .programs import running
from .queue_server import QueueServer


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    """Redis and the manager, with the beamline's profile opened in it."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    folder: Path = tmp_path_factory.mktemp("queue_server")
    home = find_home(folder / "home").make()
    home.config_file.write_text("idle_seconds = 0.5\n")
    with running() as programs:
        server = QueueServer(programs, folder, home)
        server.open()
        yield server
        server.ask("environment_close")
        until(lambda: not server.status["worker_environment_exists"], "the environment's end")
    until(lambda: not Queue(home).has_worker(), "the idle worker to end", 120)
