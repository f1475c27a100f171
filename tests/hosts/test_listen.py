"""A RunEngine, Bluesky's 0MQ proxy and ``hxn-ptycho listen``, each a process of its own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator

import pytest

from hxn_ptycho.catalog import open_catalog, run_metadata
from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue, QueuedJob
from hxn_ptycho.results import results
from hxn_ptycho.worker import reconstruct

from ..waiting import until
from . import page
from .programs import Program, Programs, free_ports, running

QUICK = json.dumps({"ptycho": {"iterations": 2, "ranks": 1, "device": "cpu"}})


class Beamline:
    """Proxy, RunEngine and listener, and what one does with them."""

    def __init__(self, programs: Programs, home: Home) -> None:
        self.programs = programs
        self.home = home
        self.entrance, self.exit = free_ports(2)
        self.start_proxy()

    def start_proxy(self) -> None:
        self.proxy = self.programs.start(
            *page.command("bluesky-0MQ-proxy", port_5577=self.entrance, port_5578=self.exit)
        )
        self.proxy.says("Receiving on address")

    def start_engine(self, *options: str) -> None:
        self.engine = self.programs.start(
            *(sys.executable, "-m", "tests.hosts.beamline"),
            *(self.home.data / "beamline", "0mq", self.entrance, *options),
        )

    def start_listener(self, *options: str) -> Program:
        words = page.command("hxn-ptycho listen", options[0], port_5578=self.exit)
        listener = self.programs.start(*words, *options[1:])
        listener.says("connected to the proxy")
        self.listener = listener
        return listener

    def await_passage(self) -> None:
        """Wait until what the RunEngine publishes reaches the listener: 0MQ tells neither."""
        seen = sum("left out" in line for line in self.listener.lines)
        self.listener.says("left out", seen + 1, meanwhile=lambda: self.engine.told("nonsense"))

    def measure(self, form: str = "panda", md: str = QUICK) -> str:
        count = sum(line.startswith("measured") for line in self.engine.lines)
        self.engine.told(f"measure {form} {md}")
        return self.engine.says("measured", count + 1).split()[1]

    def jobs(self, uid: str) -> list[QueuedJob]:
        return Queue(self.home).of_run(uid)


@pytest.fixture
def beamline(home: Home) -> Iterator[Beamline]:
    home.config_file.write_text("idle_seconds = 0.5\n")
    with running() as programs:
        yield Beamline(programs, home)
    until(lambda: not Queue(home).has_worker(), "the idle worker to end", 120)


def test_scans_in_quick_succession_are_stored_and_reconstructed(
    home: Home, beamline: Beamline
) -> None:
    beamline.start_engine()
    listener = beamline.start_listener("--store")
    assert listener.says("listening to").endswith(
        f"listening to tcp://127.0.0.1:{beamline.exit}, documents with the prefix hxn; scans are "
        f"written into catalog raw of {home.root}; results go to {home.results}"
    )
    beamline.engine.says("ready")
    beamline.await_passage()
    for what in ("UnpicklingError", "not enough values", "UnicodeDecodeError", "KeyError: 'begin'"):
        listener.says(what)
    stranger = "00000000-0000-0000-0000-000000000000"
    beamline.engine.told(f"other {stranger}")
    uids = [beamline.measure(form) for form in ("panda", "classic", "streams")]
    for uid in uids:
        assert uid in listener.says(f"run {uid}: job")
        assert len(beamline.jobs(uid)) == 1
    assert listener.end(signal.SIGTERM) == 0
    assert listener.lines[-1] == "ptycho: asked to end"
    assert not [line for line in listener.lines if "Traceback" in line or "Task was" in line]
    catalogs = open_catalog(home)
    assert not run_metadata(catalogs.raw, stranger)
    for uid in uids:  # by the worker that the listener had started, and that outlives it
        job = until(
            lambda uid=uid: next((j for j in beamline.jobs(uid) if j.ended), None), "a job", 240
        )
        assert job.state == "done", job.reason
        (result,) = results(raw_uid=uid, catalogs=catalogs)
        assert result.exit_status == "success"


def test_what_ended_while_the_proxy_or_the_listener_was_away_is_caught_up_with(
    home: Home, beamline: Beamline
) -> None:
    beamline.start_engine("store")
    beamline.engine.says("ready")
    early, by_hand = beamline.measure(), beamline.measure()
    reconstruct(by_hand)
    listener = beamline.start_listener("--catch-up", "--no-worker")
    listener.says(f"run {early}: job")
    beamline.proxy.kill()
    listener.says("is gone")
    missed = beamline.measure()
    beamline.start_proxy()
    listener.says("connected to the proxy", 2)
    listener.says(f"run {missed}: job")
    beamline.await_passage()
    seen = beamline.measure()
    listener.says(f"run {seen}: job")
    # Its start was never seen, as where a listener is started during a scan.
    beamline.engine.told("silence")
    beamline.engine.says("silent")
    late = beamline.measure()
    beamline.engine.told(f"stop {late}")
    listener.says(f"run {late}: job")
    beamline.engine.told(f"stop {seen}")
    listener.says("was queued before")
    beamline.engine.told("stop nowhere")
    listener.says("run nowhere began before this listened")
    assert [len(beamline.jobs(uid)) for uid in (early, missed, seen, late)] == [1, 1, 1, 1]
    assert beamline.jobs(by_hand) == []
    assert not Queue(home).has_worker()
    assert listener.end(signal.SIGINT) == 0
