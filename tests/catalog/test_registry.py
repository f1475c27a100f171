"""Datum ids whose Resource and Datum documents only an asset registry has."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from databroker.assets import sqlite as databroker_sqlite

from hxn_ptycho.catalog import (
    Catalogs,
    asset_registry,
    insert,
    pending,
    read_table,
    recover,
    resolve,
    stop_document,
    writer,
)
from hxn_ptycho.catalog.documents import StreamDocuments
from hxn_ptycho.catalog.registry import PROBES, Assets, _spread
from hxn_ptycho.catalog.spool import Spool, destination_of, encode
from hxn_ptycho.home import Home

from ..hxn_documents import FakeScan, make_fly2d


class Counted:
    """A registry, and how often it was asked."""

    def __init__(self, registry: Any) -> None:
        self.registry = registry
        self.DatumNotFound = registry.DatumNotFound
        self.asked = 0

    def resource_given_datum_id(self, datum_id: str) -> dict[str, Any]:
        self.asked += 1
        return self.registry.resource_given_datum_id(datum_id)

    def datum_gen_given_resource(self, resource: Any) -> Iterable[dict[str, Any]]:
        self.asked += 1
        return self.registry.datum_gen_given_resource(resource)


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    return asset_registry(Home(tmp_path / "home"))


def frame_numbers(scan: FakeScan, registry: Any) -> tuple[list[Any], list[str]]:
    translator = StreamDocuments(registry=registry)
    out = [each for name, document in scan.documents for each in translator(name, document)]
    rows = [d["data"] for n, d in out if n == "event" and "zpssx" in d["data"]]
    return [row.get("merlin1_frame") for row in rows], translator.notes


@pytest.mark.parametrize("events", ["event", "event_page", "bulk_events"])
def test_a_registry_is_asked_once_a_file(tmp_path: Path, registry: Any, events: str) -> None:
    scan = make_fly2d(tmp_path, points=(30, 30), frame=(2, 2), sub_scans=3, events=events)
    scan.register(registry)
    counted = Counted(registry)
    assert frame_numbers(scan, counted) == (list(range(900)), [])
    assert counted.asked == 2 * 3, "for the resource, and for its datums, of each file"


def test_what_no_registry_knows_is_told_with_a_number(tmp_path: Path, registry: Any) -> None:
    scan = make_fly2d(tmp_path, points=(40, 50), frame=(2, 2))
    counted = Counted(registry)
    numbers, notes = frame_numbers(scan, counted)
    assert numbers == [None] * 2000
    assert len(notes) == 1
    assert notes[0].startswith("merlin1: the values of 2000 events refer to Datum documents")
    assert scan.assets[1][1]["datum_id"] in notes[0]
    assert counted.asked <= PROBES + 1, "not 2000 times"


def test_a_file_that_the_registry_lacks_costs_its_frames_only(
    tmp_path: Path, registry: Any
) -> None:
    scan = make_fly2d(tmp_path, points=(40, 50), frame=(2, 2), sub_scans=4)
    lost = scan.assets[0][1]["uid"]
    scan.assets = [
        (n, d) for n, d in scan.assets if d.get("uid") != lost and d.get("resource") != lost
    ]
    scan.register(registry)
    numbers, notes = frame_numbers(scan, registry)
    assert numbers == [None] * 500 + list(range(1500))
    assert "the values of 500 events" in notes[0]


def test_every_datum_is_tried_in_places_spread_over_the_run() -> None:
    for count in (0, 1, 2, 3, 1000, 1024, 1025):
        places = list(_spread(count))
        assert sorted(places) == list(range(count))
    first = np.sort(list(_spread(67_200))[:PROBES])
    assert np.diff(first).max() <= 2 * 67_200 / PROBES


def test_files_that_many_scans_share_a_registry_with(tmp_path: Path, registry: Any) -> None:
    scans = [make_fly2d(tmp_path / str(n), n, frame=(2, 2)) for n in (1, 2)]
    for scan in scans:
        scan.register(registry)
    for scan in scans:
        assets = Assets(registry)
        assert assets.ask(scan.assets[1][1]["datum_id"])
        assert len(assets._datums) == 20
        found = assets.find(scan.assets[5][1]["datum_id"])
        assert found is not None
        assert found[0].path == str(scan.files["merlin1-0"])
        assert found[1] == scan.assets[5][1]["datum_kwargs"]


def test_a_registry_that_fails_is_told_of(tmp_path: Path) -> None:
    class Broken:
        def resource_given_datum_id(self, datum_id: str) -> dict[str, Any]:
            raise TimeoutError("execute call timed out")

        def datum_gen_given_resource(self, resource: Any) -> Iterable[dict[str, Any]]:
            return ()

    scan = make_fly2d(tmp_path)
    numbers, notes = frame_numbers(scan, Broken())
    assert numbers == [None] * 20
    assert notes[-1] == "the asset registry failed: TimeoutError: execute call timed out"


def test_databrokers_own_registry_reads_the_file_that_ours_wrote(
    tmp_path: Path, registry: Any
) -> None:
    scan = make_fly2d(tmp_path, frame=(2, 2))
    scan.register(registry)
    own = databroker_sqlite.Registry({"dbpath": str(tmp_path / "home/catalogs/raw/assets.db")})
    assert frame_numbers(scan, own) == (list(range(20)), [])
    other = make_fly2d(tmp_path / "other", 2, frame=(2, 2))
    other.register(own)
    assert frame_numbers(other, registry) == (list(range(20)), [])
    own.disconnect()


def test_a_registry_of_many_datums_in_any_thread(tmp_path: Path, registry: Any) -> None:
    """databroker's gives up a query after a tenth of a second, in a thread of its own."""
    scan = make_fly2d(tmp_path, points=(200, 200), frame=(1, 1))
    scan.register(registry)
    found: list[Any] = []

    def look() -> None:
        found.append(frame_numbers(scan, registry))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(list(range(40_000)), [])]


def test_registered_before_the_stop_only(
    shared: Catalogs, scan_ids: Iterator[int], caplog: pytest.LogCaptureFixture
) -> None:
    """HXN's flyer may put them in after its events."""
    registry = asset_registry(shared.home)
    scan = make_fly2d(shared.home.data / "late", next(scan_ids), sub_scans=2, events="event")
    record = writer(shared.raw, registry=registry)
    with caplog.at_level(logging.WARNING):
        for name, document in scan.documents[:-1]:
            record(name, document)
        scan.register(registry)
        record(*scan.documents[-1])
    assert caplog.text == ""
    array = resolve(shared.raw, scan.uid, "merlin1")
    assert array.shape == scan.frames.shape
    assert read_table(shared.raw, scan.uid, "primary")["merlin1_frame"] == list(range(20))
    stop = stop_document(shared.raw, scan.uid)
    assert stop is not None
    assert "storage_notes" not in stop


def test_a_run_that_waited_on_disk_is_looked_up_when_it_is_stored(catalogs: Catalogs) -> None:
    scan = make_fly2d(catalogs.home.data)
    scan.register(asset_registry(catalogs.home))
    spool = Spool(catalogs.home.root / "spool", scan.uid, destination_of(catalogs.raw))
    for name, document in scan.documents:
        spool.append(encode(name, document))
    spool.keep()
    assert recover(catalogs) == [scan.uid]
    assert pending(catalogs.home) == []
    (block,) = resolve(catalogs.raw, scan.uid, "merlin1").blocks
    with h5py.File(block.file) as file:
        np.testing.assert_array_equal(file[block.dataset][()], scan.frames)


def test_without_a_registry_the_rest_of_the_run_is_stored(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    scan = make_fly2d(shared.home.data / "none", next(scan_ids))
    insert(shared.raw, scan.documents)
    table = read_table(shared.raw, scan.uid, "primary")
    assert table["zpssx"] == scan.positions["zpssx"].tolist()
    assert "merlin1_frame" not in table
    stop = stop_document(shared.raw, scan.uid)
    assert stop is not None
    assert len(stop["storage_notes"]) == 1
