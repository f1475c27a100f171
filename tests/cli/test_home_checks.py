"""What doctor says of a home that hosts or accounts share, and of the worker that serves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hxn_ptycho.cli import home_checks as checks
from hxn_ptycho.home import Home
from hxn_ptycho.host import Mount
from hxn_ptycho.queue import Queue

SERVER = '[catalogs]\nraw = {v0 = "hxn"}\nprocessed = {tiled = "https://tiled.example.org"}\n'


def lie_on(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    mount = Mount("nfs4", "server:/ptycho", frozenset(options))
    monkeypatch.setattr(checks, "mount_of", lambda folder: mount)


def test_a_home_on_a_network_file_system(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.sharing(home) is None  # a disk of this machine
    lie_on(monkeypatch)
    finding = checks.sharing(home)
    assert finding is not None
    assert finding.state == "optional"
    assert "nfs4, server:/ptycho; its catalogs can be open on one host" in finding.found
    assert f"[catalogs] of {home.config_file}" in finding.advice
    home.config_file.write_text(SERVER)
    finding = checks.sharing(home)
    assert finding is not None
    assert (finding.state, finding.advice) == ("good", "")
    lie_on(monkeypatch, "rw", "local_lock=flock")
    finding = checks.sharing(home)
    assert finding is not None
    assert finding.state == "optional"
    assert "locks do not reach other hosts (local_lock=flock)" in finding.found


def test_a_worker_elsewhere_and_one_of_another_version(home: Home) -> None:
    queue = Queue(home)
    assert checks.worker(home).found == "0 queued, no worker runs"
    with queue.worker_lock():
        queue.serve()
        here = checks.worker(home)
        assert here.state == "good"
        assert "a worker runs (process " in here.found
        file: Path = home.root / "worker.json"
        said = json.loads(file.read_text())
        file.write_text(json.dumps({**said, "host": "gpu-host", "boot": "another"}))
        there = checks.worker(home)
        assert there.state == "missing"
        assert "on gpu-host, process" in there.found
        assert "or end the worker on gpu-host" in there.advice
        home.config_file.write_text(SERVER)
        assert checks.worker(home).state == "good"
        file.write_text(json.dumps({**said, "version": "0.0.1"}))
        old = checks.worker(home)
        assert old.state == "optional"
        assert "version 0.0.1" in old.found
        assert "end that worker" in old.advice
        file.write_text(json.dumps({"of": "another version"}))
        assert checks.worker(home).found == "0 queued, a worker runs"
