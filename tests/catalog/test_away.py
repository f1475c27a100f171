"""A store that is away while scans run: real servers, killed or hung, and a locked database."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.plans import count
from ophyd.sim import det

from hxn_ptycho.catalog import (
    Catalogs,
    RunRecorder,
    describe,
    descriptors,
    event_writer,
    insert,
    open_catalog,
    pending,
    read_table,
    recover,
    resolve,
    run_metadata,
    search,
    start_document,
    stop_document,
    storage,
    writer,
)
from hxn_ptycho.catalog import keeper as keeping
from hxn_ptycho.catalog import recorder as recording
from hxn_ptycho.home import HOME_VARIABLE, Stores

from ..every import if_every
from ..hxn_documents import make_scan
from ..stores.tiled_server import TiledServer
from ..waiting import until

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute at the beamline is looked at more often here."""
    monkeypatch.setattr(keeping, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(keeping, "MOST_PAUSE", 0.2)
    monkeypatch.setattr(recording, "STALL_SECONDS", 0.3)


@pytest.fixture
def remote(tiled_server: TiledServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogs:
    """Two empty catalogs on the server."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return open_catalog(tmp_path / "home", tiled_server.fresh_stores())


@contextmanager
def killed(server: TiledServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def hung(server: TiledServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def spooled(catalogs: Catalogs) -> list[Path]:
    return list((catalogs.home.root / "spool").glob("*.jsonl"))


def step_scan(number: int, between: Callable[[], object]) -> Any:
    """Three readings; something happens after the second."""

    @bpp.run_decorator(md={"scan_id": number, "plan_name": "by hand"})
    def plan() -> Any:
        yield from bps.trigger_and_read([det])
        yield from bps.trigger_and_read([det])
        between()
        yield from bps.trigger_and_read([det])

    return plan()


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("away", [pytest.param(killed, marks=if_every), hung])
def test_scans_go_on_and_are_there_in_order_once_when_it_is_back(
    remote: Catalogs,
    shared: Catalogs,
    tiled_server: TiledServer,
    away: Callable[[TiledServer], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(event_writer, "FLUSH_ROWS", 1)
    recorder = writer(remote.raw)
    runs: dict[str, list[tuple[str, Any]]] = {}
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(recorder)
    engine.subscribe(
        lambda name, document: (
            runs.update({document["uid"]: []}) if name == "start" else None,
            runs[next(reversed(runs))].append((name, document)),
        )
    )

    def go_away() -> None:
        uid = next(iter(runs))
        until(lambda: run_metadata(remote.raw, uid), "the first run's beginning to be stored")
        leaving.enter_context(away(tiled_server))

    with caplog.at_level(logging.WARNING), ExitStack() as leaving:
        uids = [*engine(step_scan(1, go_away))]
        uids += engine(count([det], num=2), scan_id=2)
        fly = make_scan(remote.home.data / "fly", 3)
        runs[fly.uid] = fly.documents
        for name, document in fly.documents:
            recorder(name, document)
        uids.append(fly.uid)
        assert recorder.keeper.away
        assert len(spooled(remote)) == 3
        leaving.close()
        until(lambda: not spooled(remote), "all to be stored")
        until(lambda: said(caplog, "is back"), "that to be said")

    assert search(remote.raw) == uids, "in order, each once"
    assert said(caplog, "takes no runs now") == said(caplog, "is back: 3 runs") == 1
    for uid in uids:
        insert(shared.raw, runs[uid])  # which was never away
        for ask in (start_document, stop_document, descriptors):
            assert plain(ask(remote.raw, uid)) == plain(ask(shared.raw, uid))
        assert read_table(remote.raw, uid, "primary") == read_table(shared.raw, uid, "primary")
    assert read_table(remote.raw, uids[0], "primary")["seq_num"] == [1, 2, 3]
    assert resolve(remote.raw, fly.uid, "merlin1") == resolve(shared.raw, fly.uid, "merlin1")


def plain(documents: Any) -> Any:
    """Return documents as all stores have them: what they say, in whatever order."""
    if isinstance(documents, list):
        return sorted((plain(each) for each in documents), key=lambda each: str(each["name"]))
    return documents


# Two scans of a session that is killed before it could store them.
SESSION = f"""
import sys
sys.path.insert(0, {ROOT!r})
from pathlib import Path
from hxn_ptycho.catalog import keeper, open_catalog, recorder, writer
from hxn_ptycho.home import Stores
from tests.hxn_documents import make_scan
recorder.STALL_SECONDS = 0.3
catalogs = open_catalog(None, Stores.model_validate_json(sys.argv[1]))
record = writer(catalogs.raw)
print("ready", flush=True)
sys.stdin.readline()
for number in (1, 2):
    scan = make_scan(catalogs.home.data / str(number), number)
    for name, document in scan.documents[: None if number == 1 else -1]:
        record(name, document)
    print(scan.uid, flush=True)
sys.stdin.readline()
"""


def test_a_killed_sessions_runs_are_stored_by_the_next(
    remote: Catalogs, tiled_server: TiledServer, tmp_path: Path
) -> None:
    stores = Stores(raw=describe(remote.raw), processed=describe(remote.processed))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SESSION, stores.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        assert session.stdout.readline() == "ready\n"
        with hung(tiled_server):
            session.stdin.write("go\n")
            session.stdin.flush()
            uids = [session.stdout.readline().strip() for _ in range(2)]
            os.kill(session.pid, signal.SIGKILL)
            session.wait()
    assert [run.uid for run in pending(remote.home)] == uids

    # Another store's session, of the same home, has nothing to do with them.
    embedded = open_catalog(remote.home, Stores())
    other = writer(embedded.raw)
    assert not other.keeper.must_wait()

    next_session = writer(remote.raw)
    until(lambda: not spooled(remote), "the runs to be stored")
    assert next_session.keeper.join(30)
    assert search(remote.raw) == uids
    assert search(embedded.raw) == []
    whole, cut = (stop_document(remote.raw, uid) for uid in uids)
    assert whole is not None
    assert whole["exit_status"] == "success"
    assert cut is not None
    assert cut["exit_status"] == "abort"


def test_a_run_goes_to_the_store_that_it_was_measured_for(
    remote: Catalogs, tiled_server: TiledServer
) -> None:
    """Also when config.toml names another one by the time that somebody asks the doctor."""
    record = writer(remote.raw)
    scan = make_scan(remote.home.data, 5)
    with hung(tiled_server):
        for name, document in scan.documents:
            record(name, document)
        embedded = open_catalog(remote.home, Stores())
        with still(record):
            until(lambda: pending(remote.home), "its last request to be given up")
            assert recover(embedded) == []
        (kept,) = pending(remote.home)
        assert "does not answer" in kept.reason
        assert str(kept.destination) == describe(remote.raw).tiled
    until(lambda: not spooled(remote), "it to be stored")
    assert search(remote.raw) == [scan.uid]
    assert search(embedded.raw) == []


@contextmanager
def still(recorder: RunRecorder) -> Iterator[None]:
    """Keep a recorder from storing meanwhile, as if its session were gone."""
    until(lambda: recorder.keeper.away, "it to be seen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder.keeper, "store", lambda: False)
        until(lambda: recorder.keeper.busy_since is None, "it to have ended")
        yield


def test_a_run_that_the_store_never_takes_lets_the_others_pass(
    remote: Catalogs, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL holds no text with a NUL: Tiled answers such a run with an error of its own."""
    record = writer(remote.raw)
    scans = [
        make_scan(remote.home.data, 1, note="\x00"),
        make_scan(remote.home.data, 2),
        make_scan(remote.home.data, 3),
    ]
    for scan in scans:
        for name, document in scan.documents:
            record(name, document)
    until(lambda: len(spooled(remote)) == 1, "the others to be stored")
    until(lambda: said(caplog, f"run {scans[0].uid[:8]} is not in the catalog"), "that to be said")
    assert search(remote.raw) == [scans[1].uid, scans[2].uid]
    (kept,) = pending(remote.home)
    assert kept.uid == scans[0].uid
    assert "500" in kept.reason


def test_without_room_for_the_spool_a_run_is_kept_in_memory(
    remote: Catalogs, tiled_server: TiledServer, caplog: pytest.LogCaptureFixture
) -> None:
    (remote.home.make().root / "spool").touch()
    record = writer(remote.raw)
    scans = [make_scan(remote.home.data, number) for number in (1, 2)]
    with hung(tiled_server):
        for scan in scans:
            for name, document in scan.documents:
                record(name, document)
        until(lambda: said(caplog, "neither in the catalog nor kept on disk") == 2, "that")
    until(lambda: said(caplog, "is back: 2 runs"), "both to be stored")
    assert search(remote.raw) == [scan.uid for scan in scans]


# Holds the database of runs until it is told otherwise.
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


def test_an_embedded_catalog_that_another_program_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storage, "BUSY_SECONDS", 1)
    catalogs = open_catalog(tmp_path / "home")
    record = writer(catalogs.raw)
    scans = [make_scan(catalogs.home.data, number) for number in (1, 2, 3)]
    path = storage.catalog_file(catalogs.home, "raw")
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(sqlite3.OperationalError, match="locked"),
            sqlite3.connect(path, timeout=0) as connection,
        ):
            connection.execute("CREATE TABLE held (x)")
        for scan in scans:
            for name, document in scan.documents:
                record(name, document)
        assert len(spooled(catalogs)) == 3
        other.stdin.write("enough\n")
        other.stdin.flush()
        until(lambda: not spooled(catalogs), "all to be stored")
        until(lambda: said(caplog, "is back: 3 runs"), "that to be said")
    assert search(catalogs.raw) == [scan.uid for scan in scans]
    for scan in scans:
        assert resolve(catalogs.raw, scan.uid, "merlin1").shape == np.shape(scan.frames)
