"""Scans in a row, on each kind of store, told of by each kind of host: every result, once.

Three scans, on each store and by each host once; twelve on every store by every host, if
HXN_TEST_EVERY is set.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from hxn_ptycho.catalog import find_run, open_catalog, read_table, search
from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import results

from .every import EVERY
from .hosts import page
from .hosts.programs import Program, Programs, free_ports, running
from .hosts.queue_server import QueueServer
from .stores.places import PLACES, configuration
from .waiting import until

SCANS = 12 if EVERY else 3
ITERATIONS = 5
MD = {"ptycho": {"iterations": ITERATIONS, "probe_modes": 1, "ranks": 1, "device": "cpu"}}

#: Makes the scans, one after the other, and returns their uids.
Measure = Callable[[Programs, Home, Path], list[str]]


def in_the_run_engine(programs: Programs, home: Home, folder: Path) -> list[str]:
    return _measure(_engine(programs, folder, "callback", 0, "store"))


def behind_0mq(programs: Programs, home: Home, folder: Path) -> list[str]:
    entrance, way_out = free_ports(2)
    proxy = programs.start(
        *page.command("bluesky-0MQ-proxy", port_5577=entrance, port_5578=way_out)
    )
    proxy.says("Receiving on address")
    engine = _engine(programs, folder, "0mq", entrance)
    listener = programs.start(*page.command("hxn-ptycho listen", "--store", port_5578=way_out))
    listener.says("connected to the proxy")
    # 0MQ does not tell whether what is published arrives yet.
    listener.says("left out", meanwhile=lambda: engine.told("nonsense"))
    uids = _measure(engine)
    for uid in uids:
        listener.says(f"run {uid}: job")
    return uids


def by_a_queue_server(programs: Programs, home: Home, folder: Path) -> list[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = QueueServer(programs, folder, home)
    server.open()
    for _ in range(SCANS):
        line = (-0.15, 0.15, 5)
        server.add("fly2d", ["merlin1"], "zpssx", *line, "zpssy", *line, 0.01, md=MD)
    server.typed("queue start")
    uids = [item["result"]["run_uids"][0] for item in server.history(SCANS)]
    server.ask("environment_close")
    until(lambda: not server.status["worker_environment_exists"], "the environment's end")
    return uids


def told_by_a_shell(programs: Programs, home: Home, folder: Path) -> list[str]:
    uids = _measure(_engine(programs, folder, "nobody", 0, "store"))
    for uid in uids:
        *words, _ = page.command("python -c")
        assert programs.start(sys.executable, *words[1:], uid).process.wait(120) == 0
    return uids


def _engine(programs: Programs, folder: Path, *words: object) -> Program:
    engine = programs.start(sys.executable, "-m", "tests.hosts.beamline", folder, *words)
    engine.says("ready")
    return engine


def _measure(engine: Program) -> list[str]:
    uids = []
    for number in range(1, SCANS + 1):
        engine.told(f"measure panda {json.dumps(MD)}")
        uids.append(engine.says("measured", number).split()[1])
    return uids


HOSTS: dict[str, Measure] = {
    "callback": in_the_run_engine,
    "0mq": behind_0mq,
    "queueserver": by_a_queue_server,
    "end_of_run": told_by_a_shell,
}
#: Each store and each host once; the home's own files with a callback are in many other tests.
FEW = [("tiled-postgresql", "0mq"), ("v0-sqlite", "queueserver"), ("v0-mongo", "end_of_run")]


@contextlib.contextmanager
def ended(home: Home) -> Iterator[Programs]:
    """Programs that are ended at the end, and the worker that they started."""
    with running() as programs:
        yield programs
    until(lambda: not Queue(home).has_worker(), "the idle worker to end", 120)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("store", "host"), list(product(PLACES, HOSTS)) if EVERY else FEW)
def test_every_scan_is_stored_once_and_reconstructed_once(
    request: pytest.FixtureRequest, home: Home, store: str, host: str
) -> None:
    stores = PLACES[store](request).fresh_stores()
    home.config_file.write_text(f"idle_seconds = 1\n{configuration(stores)}")
    with ended(home) as programs:
        uids = HOSTS[host](programs, home, home.data)
        queue = Queue(home)
        until(lambda: len(queue.jobs("done", "failed")) == SCANS, f"{SCANS} results", 600)
        assert not [job.reason for job in queue.jobs("failed")]
    catalogs = open_catalog(home)
    assert search(catalogs.raw) == uids  # in order, each once
    assert find_run(catalogs.raw, -1) == uids[-1]
    assert sorted(run.raw_uid for run in results(catalogs=catalogs)) == sorted(uids)
    for uid in uids:
        (result,) = results(raw_uid=uid, catalogs=catalogs)
        assert result.exit_status == "success"
        assert result.data.object.ndim == 3
        rows = read_table(catalogs.processed, result.uid, "iterations")
        assert list(rows["iteration"]) == list(range(1, ITERATIONS + 1))
