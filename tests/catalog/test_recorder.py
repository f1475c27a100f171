"""The callback that stores runs: a RunEngine's, HXN's, and when the catalog cannot."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.plans import count
from ophyd.sim import det
from ophyd.status import Status

from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    RunRecorder,
    asset_registry,
    baseline,
    event_writer,
    find_run,
    insert,
    open_catalog,
    pending,
    read,
    read_table,
    recover,
    resolve,
    run_metadata,
    search,
    start_document,
    stop_document,
    writer,
)
from hxn_ptycho.catalog.spool import Spool, decode, destination_of, encode
from hxn_ptycho.catalog.tiled_store import TiledStore
from hxn_ptycho.catalog.tiled_store.growing import GrowingRun

from ..hxn_documents import FakeScan, make_fly2d, make_scan, make_step_scan
from ..waiting import until


def play(recorder: RunRecorder, scan: FakeScan) -> None:
    for name, document in scan.documents:
        recorder(name, document)


def spooled(catalogs: Catalogs) -> list[Path]:
    return sorted((catalogs.home.root / "spool").glob("*.jsonl"))


class PandA:
    """The least that bluesky flies: it emits HXN's documents and writes nothing itself."""

    name = "panda"
    parent = None

    def __init__(self, scan: FakeScan) -> None:
        self.scan = scan

    def kickoff(self) -> Status:
        return self._done()

    def complete(self) -> Status:
        return self._done()

    def describe_collect(self) -> dict[str, Any]:
        return {"primary": self._documents("descriptor")[-1]["data_keys"]}

    def collect(self) -> Iterator[dict[str, Any]]:
        primary = self._documents("descriptor")[-1]["uid"]
        for event in self._documents("event"):
            if event["descriptor"] == primary:
                kept = ("time", "data", "timestamps", "filled")
                yield {key: event[key] for key in kept}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, document in self.scan.documents:
            if name in ("resource", "datum"):
                yield name, document

    def _documents(self, name: str) -> list[dict[str, Any]]:
        return [document for each, document in self.scan.documents if each == name]

    @staticmethod
    def _done() -> Status:
        status = Status()
        status.set_finished()
        return status


def test_a_run_engines_fly_scan_is_there_when_it_returns(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    scan = make_scan(shared.home.data / "fly", next(scan_ids))
    panda = PandA(scan)
    run_engine = RunEngine({}, call_returns_result=False)
    run_engine.subscribe(writer(shared.raw))

    @bpp.run_decorator(md={"plan_name": "fly2dpd", "scan_id": scan.scan_id})
    def fly() -> Any:
        yield from bps.kickoff(panda, wait=True)
        yield from bps.complete(panda, wait=True)
        yield from bps.collect(panda)

    (uid,) = run_engine(fly())
    assert find_run(shared.raw, -1) == uid
    assert resolve(shared.raw, uid, "merlin1").shape == scan.frames.shape
    np.testing.assert_array_equal(read(shared.raw, uid, "inenc2_val"), scan.encoders["inenc2_val"])
    assert spooled(shared) == []


def test_a_run_engines_classic_fly_scan(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    """An event a frame, Resource and Datum in a registry that the RunEngine never sees."""
    scan = make_fly2d(shared.home.data / "classic", next(scan_ids), events="event")
    flyer = PandA(scan)
    registry = asset_registry(shared.home)
    run_engine = RunEngine({}, call_returns_result=False)
    run_engine.subscribe(writer(shared.raw, registry=registry))

    @bpp.run_decorator(md={"plan_name": "FlyPlan2D"})
    def fly() -> Any:
        yield from bps.kickoff(flyer, wait=True)
        yield from bps.complete(flyer, wait=True)
        scan.register(registry)
        yield from bps.collect(flyer)

    (uid,) = run_engine(fly())
    assert resolve(shared.raw, uid, "merlin1").shape == scan.frames.shape
    table = read_table(shared.raw, uid, "primary")
    assert table["merlin1_frame"] == list(range(20))
    assert table["zpssx"] == scan.positions["zpssx"].tolist()


def test_documents_that_are_changed_after_they_came(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    """HXN's plans go on changing their md."""
    scan = make_fly2d(shared.home.data / "md", next(scan_ids), assets="stream")
    whole = scan.start["plan_args"]["num1"]
    recorder = writer(shared.raw)
    for name, document in scan.documents:
        recorder(name, document)
        if name == "start":
            document["plan_args"].clear()
    assert start_document(shared.raw, scan.uid)["plan_args"]["num1"] == whole


def test_bulk_events_of_two_runs_at_once(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scans = [
        make_fly2d(shared.home.data / "two", next(scan_ids), sub_scans=2, events="bulk_events")
        for _ in range(2)
    ]
    registry = asset_registry(shared.home)
    recorder = writer(shared.raw, registry=registry)
    for scan in scans:
        scan.register(registry)
    for pair in zip(*(scan.documents for scan in scans), strict=True):
        for name, document in pair:
            recorder(name, document)
    for scan in scans:
        table = read_table(shared.raw, scan.uid, "primary")
        assert table["zpssx"] == scan.positions["zpssx"].tolist()
        files = {block.file for block in resolve(shared.raw, scan.uid, "merlin1").blocks}
        assert files == {str(path) for path in scan.files.values()}


def test_a_step_scans_rows_are_there_while_it_goes_on(
    shared: Catalogs, scan_ids: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "FLUSH_ROWS", 5)
    scan = make_step_scan(shared.home.data / "step", next(scan_ids))
    write = event_writer.EventWriter(TiledStore(shared.raw).run_writer)
    for name, document in scan.documents[:-10]:
        write(name, document)
    assert read_table(shared.raw, scan.uid, "primary")["merlin1_frame"] == list(range(15))
    for name, document in scan.documents[-10:]:
        write(name, document)
    assert read_table(shared.raw, scan.uid, "primary")["merlin1_frame"] == list(range(20))


def test_a_run_engines_step_scan(shared: Catalogs) -> None:
    run_engine = RunEngine({}, call_returns_result=False)
    run_engine.subscribe(writer(shared.raw))
    (uid,) = run_engine(count([det], num=3))
    assert read_table(shared.raw, uid, "primary")["det"] == [1.0, 1.0, 1.0]
    stop = stop_document(shared.raw, uid)
    assert stop is not None
    assert stop["num_events"] == {"primary": 3}


def test_an_array_in_the_events_goes_by_blueskys_own_writer(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    scan = make_scan(shared.home.data / "array", next(scan_ids))
    for name, document in scan.documents:
        if name == "descriptor" and document["name"] == "baseline":
            document["data_keys"]["roi"] = {"dtype": "array", "shape": [4], "source": "PV:roi"}
        if name == "event" and "dcm_th" in document["data"]:
            document["data"]["roi"] = [1, 2, 3, 4]
            document["timestamps"]["roi"] = document["time"]
    play(writer(shared.raw), scan)
    assert np.ravel(read(shared.raw, scan.uid, "roi", "baseline")).tolist() == [1, 2, 3, 4]
    assert baseline(shared.raw, scan.uid)["dcm_th"] == 12.5
    assert resolve(shared.raw, scan.uid, "merlin1").shape == scan.frames.shape
    assert spooled(shared) == []


def test_what_no_writer_takes_costs_itself_only(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = make_scan(shared.home.data / "odd", next(scan_ids))
    for name, document in scan.documents:
        if name == "descriptor" and document["name"] == "baseline":
            # SQL takes no such name, by either writer.
            document["data_keys"]["x" * 70] = {"dtype": "number", "shape": [], "source": "PV"}
        if name == "event" and "dcm_th" in document["data"]:
            document["data"]["x" * 70] = 1.0
            document["timestamps"]["x" * 70] = document["time"]
    play(writer(shared.raw), scan)
    assert baseline(shared.raw, scan.uid) == {"dcm_th": 12.5, "zpsth": 0.25}
    assert resolve(shared.raw, scan.uid, "merlin1").shape == scan.frames.shape


def test_two_runs_at_once_and_documents_of_runs_that_began_before(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    first, second, earlier = (
        make_scan(shared.home.data / "mixed", next(scan_ids)) for _ in range(3)
    )
    recorder = writer(shared.raw)
    for scan in (first, second):
        # With two runs open at once, a Resource must say whose it is.
        for name, document in scan.documents:
            if name == "resource":
                document["run_start"] = scan.uid
    for one, two, late in zip(
        first.documents, second.documents, [*earlier.documents[1:], None], strict=True
    ):
        recorder(*one)
        recorder(*two)
        if late is not None and late[0] not in ("resource", "datum"):
            recorder(*late)
    for scan in (first, second):
        assert resolve(shared.raw, scan.uid, "merlin1").blocks[0].file == str(scan.files["merlin"])
    assert run_metadata(shared.raw, earlier.uid) is None


def test_the_same_run_twice_is_one_run(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = make_scan(shared.home.data / "twice", next(scan_ids))
    play(writer(shared.raw), scan)
    before = stop_document(shared.raw, scan.uid)
    play(writer(shared.raw), scan)
    insert(shared.raw, scan.documents)
    assert search(shared.raw, scan_id=scan.scan_id) == [scan.uid]
    assert stop_document(shared.raw, scan.uid) == before


def test_it_never_raises(
    shared: Catalogs, scan_ids: Iterator[int], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = writer(shared.raw)
    with caplog.at_level(logging.ERROR):
        recorder("start", {})
        recorder("event", {"no": "descriptor"})
        recorder("strange", {"uid": "1"})
    assert len(caplog.records) == 3
    scan = make_scan(shared.home.data / "after", next(scan_ids))
    play(recorder, scan)
    assert stop_document(shared.raw, scan.uid)


def test_metadata_of_any_type_is_kept(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = make_scan(
        shared.home.data / "md",
        next(scan_ids),
        numbers=np.arange(3),
        one=np.float32(0.5),
        where=Path("/x"),
        pair=(1, 2),
        strange=object,
    )
    play(writer(shared.raw), scan)
    start = start_document(shared.raw, scan.uid)
    assert (start["numbers"], start["one"], start["where"], start["pair"]) == (
        [0, 1, 2],
        0.5,
        "/x",
        [1, 2],
    )


def test_a_catalog_that_cannot_keeps_the_scan_on_disk_and_takes_it_later(
    shared: Catalogs,
    scan_ids: Iterator[int],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sqlalchemy.exc import OperationalError

    scan = make_scan(shared.home.data / "full", next(scan_ids))

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("tiled.client.container.Container.new", refuse)
        recorder = writer(shared.raw)
        play(recorder, scan)
        until(lambda: pending(shared.home) and pending(shared.home)[0].reason, "it to be tried")
        assert "disk is full" in caplog.text
        assert str(shared.home.root / "spool") in caplog.text
        (kept,) = pending(shared.home)
        assert (kept.uid, kept.scan_id) == (scan.uid, scan.scan_id)
        assert run_metadata(shared.raw, scan.uid) is None
    recorder.keeper.wake()
    until(lambda: not spooled(shared), "it to be stored")
    assert stop_document(shared.raw, scan.uid)
    assert resolve(shared.raw, scan.uid, "merlin1").shape == scan.frames.shape
    until(lambda: "is back: 1 run" in caplog.text, "that to be said")


def test_a_catalog_that_fails_once_half_way_is_tried_again(
    shared: Catalogs, scan_ids: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(shared.home.data / "once", next(scan_ids))
    real = GrowingRun.attach
    failures = iter([CatalogError("the disk was away for a moment")])

    def attach(self: Any, *arguments: Any, **keywords: Any) -> None:
        for failure in failures:
            raise failure
        real(self, *arguments, **keywords)

    monkeypatch.setattr(GrowingRun, "attach", attach)
    play(writer(shared.raw), scan)
    assert resolve(shared.raw, scan.uid, "merlin1").shape == scan.frames.shape
    assert search(shared.raw, scan_id=scan.scan_id) == [scan.uid]
    assert spooled(shared) == []


def test_a_killed_ipython_loses_nothing(catalogs: Catalogs) -> None:
    code = (
        "import sys, pathlib\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from hxn_ptycho.catalog import open_catalog, writer\n"
        "from tests.hxn_documents import make_scan\n"
        "catalogs = open_catalog()\n"
        "record = writer(catalogs.raw)\n"
        "scan = make_scan(catalogs.home.data, 8)\n"
        "for name, document in scan.documents[:-1]:\n"
        "    record(name, document)\n"
        "print(scan.uid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        uid = process.stdout.readline().strip()
        assert pending(catalogs.home) == [], "a living process still writes it"
        assert recover(catalogs) == []
        os.kill(process.pid, signal.SIGKILL)
    assert len(pending(catalogs.home)) == 1
    assert recover(catalogs) == [uid]
    stop = stop_document(catalogs.raw, uid)
    assert stop is not None
    assert stop["exit_status"] == "abort"
    assert "ended before the scan did" in stop["reason"]
    assert resolve(catalogs.raw, uid, "merlin1").shape == (12, 8, 6)
    assert open_catalog(catalogs.home) is catalogs


def test_a_home_that_cannot_hold_a_spool_stores_the_run_all_the_same(
    catalogs: Catalogs, caplog: pytest.LogCaptureFixture
) -> None:
    (catalogs.home.root / "spool").touch()
    scan = make_scan(catalogs.home.data, 9)
    with caplog.at_level(logging.WARNING):
        play(writer(catalogs.raw), scan)
    assert "is not kept on disk while it is stored" in caplog.text
    assert stop_document(catalogs.raw, scan.uid)


def test_spool_lines_hold_what_json_does_not(tmp_path: Path) -> None:
    document = {"nan": float("nan"), "inf": float("inf"), "text": "µ\n"}
    name, back = decode(encode("event", document))
    assert name == "event"
    assert np.isnan(back["nan"])
    assert back["inf"] == float("inf")
    assert back["text"] == "µ\n"
    assert "\n" not in encode("event", document)


def test_a_spool_whose_last_line_was_cut_off(catalogs: Catalogs) -> None:
    scan = make_scan(catalogs.home.data, 10)
    spool = Spool(catalogs.home.root / "spool", scan.uid, destination_of(catalogs.raw))
    for name, document in scan.documents[:-1]:
        spool.append(encode(name, document))
    spool.keep()
    with open(spool.path, "a") as file:
        file.write('["stop", {"uid": "x"')
    assert recover(catalogs) == [scan.uid]
    assert find_run(catalogs.raw, 10) == scan.uid


def test_a_spool_that_is_no_run_is_left_for_a_person(catalogs: Catalogs) -> None:
    folder = catalogs.home.root / "spool"
    folder.mkdir()
    path = folder / f"{uuid.uuid4()}.jsonl"
    path.write_text('["event", {}]\n')
    assert recover(catalogs) == []
    assert "holds no run (its first document is a event)" in pending(catalogs.home)[0].reason
    assert path.exists()
