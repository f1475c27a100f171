"""What every store of runs must do: one suite, on all kinds of them (`tests/stores`)."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog import (
    CatalogAway,
    CatalogError,
    Catalogs,
    asset_registry,
    baseline,
    describe,
    descriptors,
    find_run,
    insert,
    open_catalog,
    read,
    read_table,
    resolve,
    run_metadata,
    run_writer,
    search,
    start_document,
    stop_document,
    writer,
)
from hxn_ptycho.catalog.backend import backend_of
from hxn_ptycho.catalog.tiled_store import TiledStore
from hxn_ptycho.catalog.tiled_store import backend as tiled_backend
from hxn_ptycho.home import Stores

from ..hxn_documents import FORMS, FakeScan, make_scan
from ..stores.places import Place
from .frames import frames_in

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def catalogs(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    """Two catalogs of that kind, and a home, which this module has for itself."""
    return open_catalog(tmp_path_factory.mktemp("home"), place.fresh_stores())


def store(catalogs: Catalogs, scan_id: int, **options: Any) -> FakeScan:
    scan = make_scan(catalogs.home.data / f"S{scan_id}-{uuid.uuid4()}", scan_id, **options)
    insert(catalogs.raw, scan.documents)
    return scan


def check_frames(catalogs: Catalogs, scan: FakeScan) -> None:
    array = resolve(catalogs.raw, scan.uid, "merlin1")
    np.testing.assert_array_equal(frames_in(array), scan.frames)


@pytest.fixture
def no_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bluesky's own Tiled writer, which takes many times as long, is not used."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("this run went by Bluesky's own Tiled writer")

    monkeypatch.setattr(tiled_backend, "TiledWriter", refuse)


@pytest.mark.usefixtures("no_slow_way")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_scan_comes_back(
    catalogs: Catalogs, scan_ids: Iterator[int], form: str
) -> None:
    number = next(scan_ids)
    scan = FORMS[form](catalogs.home.data / str(number), number)
    registry = asset_registry(catalogs.home)
    scan.register(registry)
    insert(catalogs.raw, scan.documents, registry)

    array = resolve(catalogs.raw, scan.uid, "merlin1")
    assert (array.shape, array.dtype) == (scan.frames.shape, scan.frames.dtype)
    np.testing.assert_array_equal(frames_in(array), scan.frames)
    for key, values in scan.encoders.items():
        np.testing.assert_array_equal(read(catalogs.raw, scan.uid, key), values)
    table = read_table(catalogs.raw, scan.uid, "primary")
    for motor, values in scan.positions.items():
        if motor in table and motor not in scan.encoders:
            assert table[motor] == values.tolist()
    assert baseline(catalogs.raw, scan.uid) == {"dcm_th": 12.5, "zpsth": 0.25}
    assert read_table(catalogs.raw, scan.uid, "baseline")["note"] == ["ice"]
    assert start_document(catalogs.raw, scan.uid) == scan.start
    stop = stop_document(catalogs.raw, scan.uid)
    assert stop is not None
    assert "storage_notes" not in stop
    if isinstance(backend_of(catalogs.raw), TiledStore):
        # What other programs read of it, through Tiled.
        whole = np.asarray(catalogs.raw.v3[scan.uid]["primary"]["merlin1"].read())
        assert whole.shape[0] >= array.blocks[-1].count
        if "repeats" not in form and "sub-scans" not in form:
            np.testing.assert_array_equal(whole, scan.frames)


def test_a_run_as_its_documents_come(catalogs: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = make_scan(catalogs.home.data / "played", next(scan_ids))
    record = writer(catalogs.raw)
    for name, document in scan.documents:
        record(name, document)
    # When the stop document has been taken the run is there.
    assert stop_document(catalogs.raw, scan.uid) is not None
    np.testing.assert_array_equal(
        frames_in(resolve(catalogs.raw, scan.uid, "merlin1")), scan.frames
    )


def test_runs_are_found(catalogs: Catalogs, scan_ids: Iterator[int]) -> None:
    number, other = next(scan_ids), next(scan_ids)
    sample = {"name": f"star {number}", "grade": 3}
    first = store(catalogs, number, sample=sample)
    second = store(catalogs, other, sample={**sample, "grade": 4})
    again = store(catalogs, number, sample=sample)
    raw = catalogs.raw

    assert find_run(raw, first.uid) == first.uid
    assert find_run(raw, second.uid[:13]) == second.uid
    assert find_run(raw, number) == find_run(raw, str(number)) == again.uid, "the newest"
    newest_first = [again.uid, second.uid, first.uid]
    assert [find_run(raw, place) for place in (-1, "-2", -3)] == newest_first
    for nothing, message in (
        (number + 10_000, "scan id"),
        ("zzzz", "begins with"),
        (-5000, "-5000"),
    ):
        with pytest.raises(CatalogError, match=message):
            find_run(raw, nothing)

    assert search(raw, scan_id=number) == [first.uid, again.uid]
    assert search(raw, {"sample.name": sample["name"]}) == [first.uid, second.uid, again.uid]
    assert search(raw, {"sample.name": sample["name"], "sample.grade": 4}) == [second.uid]
    assert search(raw, {"sample.name": sample["name"]}, scan_id=number + 10_000) == []
    begun = [scan.start["time"] for scan in (first, second, again)]
    named = {"sample.name": sample["name"]}
    assert search(raw, named, since=begun[1]) == [second.uid, again.uid]
    assert search(raw, named, until=begun[1]) == [first.uid]
    assert search(raw, named, since=begun[1], until=begun[2]) == [second.uid]


def test_what_is_not_there(catalogs: Catalogs, scan_ids: Iterator[int]) -> None:
    scan, raw = store(catalogs, next(scan_ids)), catalogs.raw
    assert run_metadata(raw, str(uuid.uuid4())) is None
    for ask in (start_document, stop_document, descriptors, baseline):
        with pytest.raises(CatalogError, match="no run 'nothing'"):
            ask(raw, "nothing")
    with pytest.raises(CatalogError, match="no 'merlin2'"):
        resolve(raw, scan.uid, "merlin2")
    with pytest.raises(CatalogError, match="no stream 'dark'"):
        read_table(raw, scan.uid, "dark")
    with pytest.raises(CatalogError, match="kept in the catalog, not in a file"):
        resolve(raw, scan.uid, "dcm_th", "baseline")
    scan.files["merlin"].unlink()
    with pytest.raises(CatalogError, match="does not exist on this host"):
        resolve(raw, scan.uid, "merlin1")


def test_a_run_that_is_inserted_twice_is_there_once(
    catalogs: Catalogs, scan_ids: Iterator[int]
) -> None:
    scan = store(catalogs, next(scan_ids))
    insert(catalogs.raw, scan.documents)
    assert search(catalogs.raw, scan_id=scan.scan_id) == [scan.uid]
    assert read_table(catalogs.raw, scan.uid, "baseline")["note"] == ["ice"]


def test_an_unfinished_run_is_seen_and_replaced(
    catalogs: Catalogs, scan_ids: Iterator[int]
) -> None:
    scan = make_scan(catalogs.home.data / "unfinished", next(scan_ids))
    record = backend_of(catalogs.raw).document_writers(None, ())[0]()
    for name, document in scan.documents[:-1]:
        record(name, document)
    assert stop_document(catalogs.raw, scan.uid) is None
    assert start_document(catalogs.raw, scan.uid)["scan_id"] == scan.scan_id
    insert(catalogs.raw, scan.documents)
    assert search(catalogs.raw, scan_id=scan.scan_id) == [scan.uid]
    assert stop_document(catalogs.raw, scan.uid) is not None
    np.testing.assert_array_equal(
        frames_in(resolve(catalogs.raw, scan.uid, "merlin1")), scan.frames
    )


def test_a_run_that_is_removed(catalogs: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = store(catalogs, next(scan_ids))
    backend_of(catalogs.raw).remove(scan.uid)
    assert run_metadata(catalogs.raw, scan.uid) is None
    assert search(catalogs.raw, scan_id=scan.scan_id) == []
    assert all(path.exists() for path in scan.files.values()), "files are the detectors'"
    insert(catalogs.raw, scan.documents)
    assert resolve(catalogs.raw, scan.uid, "merlin1").shape == scan.frames.shape


NUMBERS = {
    "data_keys": {
        "iteration": {"dtype": "integer", "shape": [], "source": "solver"},
        "error": {"dtype": "number", "shape": [], "source": "solver"},
    }
}


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [
        {"time": float(n), "data": {"iteration": n, "error": 1 / n if n % 2 else None}}
        for n in numbers
    ]


def test_a_run_that_is_read_while_it_is_written(catalogs: Catalogs) -> None:
    broker, uid = catalogs.processed, str(uuid.uuid4())
    start = {"uid": uid, "time": 5.0, "scan_id": 5, "plan_name": "ptycho_recon"}
    path = catalogs.home.data / f"{uid}.h5"
    frames = np.arange(60, dtype="f4").reshape(3, 4, 5)
    with h5py.File(path, "w") as file:
        file["object"] = frames

    run = run_writer(broker, start)
    assert run.begin()
    run.describe("iterations", NUMBERS)
    assert read_table(broker, uid, "iterations")["iteration"] == []
    run.append("iterations", rows(1, 2))
    assert read_table(broker, uid, "iterations")["iteration"] == [1, 2]
    run.append("iterations", rows(3))
    table = read_table(broker, uid, "iterations")
    assert (table["seq_num"], table["iteration"]) == ([1, 2, 3], [1, 2, 3])
    assert (table["error"][0], table["error"][2]) == (1.0, 1 / 3)
    assert np.isnan(table["error"][1])
    assert stop_document(broker, uid) is None

    external = {"external": "FILESTORE:", "dtype": "array", "source": str(path), "shape": [3, 4, 5]}
    run.describe("result", {"data_keys": {"object": external}})
    run.attach("result", "object", path, "object", dims=("object_mode", "y", "x"))
    run.end({"exit_status": "success", "reason": ""})
    np.testing.assert_array_equal(frames_in(resolve(broker, uid, "object", "result")), frames)
    stop = stop_document(broker, uid)
    assert stop is not None
    assert (stop["exit_status"], stop["run_start"]) == ("success", uid)
    assert stop["num_events"]["iterations"] == 3

    assert not run_writer(broker, start).begin(), "a whole run stays"
    assert len(read_table(broker, uid, "iterations")["iteration"]) == 3
    other = run_writer(broker, {**start, "scan_id": 6})
    assert other.begin(replace=True)
    other.describe("iterations", NUMBERS)
    other.append("iterations", rows(4))
    other.end({"exit_status": "fail", "reason": "no beam"})
    assert read_table(broker, uid, "iterations")["iteration"] == [4]
    assert search(broker, {}, scan_id=5) == []
    assert search(broker, {}, scan_id=6) == [uid]


# Opens what it is told, reads a run that another process stored, and stores others.
ANOTHER = f"""
import sys
sys.path.insert(0, {ROOT!r})
from pathlib import Path
from hxn_ptycho.catalog import insert, open_catalog, resolve
from hxn_ptycho.home import Stores
from tests.hxn_documents import make_scan
home, stores, uid, *numbers = sys.argv[1:]
catalogs = open_catalog(home, Stores.model_validate_json(stores))
print(resolve(catalogs.raw, uid, "merlin1").shape, flush=True)
for number in map(int, numbers):
    insert(catalogs.raw, make_scan(Path(home, "data", "another"), number).documents)
"""


def test_writers_in_threads_and_in_another_process(
    catalogs: Catalogs, scan_ids: Iterator[int]
) -> None:
    first = store(catalogs, next(scan_ids))
    numbers = [[next(scan_ids) for _ in range(3)] for _ in range(4)]
    stores = Stores(raw=describe(catalogs.raw), processed=describe(catalogs.processed))
    scans: list[FakeScan] = []
    failed: list[Exception] = []

    def work(mine: list[int]) -> None:
        try:
            scans.extend([store(catalogs, number) for number in mine])
        except Exception as error:  # noqa: BLE001, told below
            failed.append(error)

    command = [sys.executable, "-W", "ignore", "-c", ANOTHER, str(catalogs.home.root)]
    with subprocess.Popen(
        [*command, stores.model_dump_json(), first.uid, *map(str, numbers[0])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as another:
        assert another.stdout is not None
        assert another.stdout.readline() == f"{first.frames.shape}\n"
        threads = [threading.Thread(target=work, args=[mine]) for mine in numbers[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _, errors = another.communicate(timeout=200)
    assert another.returncode == 0, errors
    assert failed == []
    for scan in scans:
        assert search(catalogs.raw, scan_id=scan.scan_id) == [scan.uid]
        check_frames(catalogs, scan)
    for number in numbers[0]:
        (uid,) = search(catalogs.raw, scan_id=number)
        expected = make_scan(catalogs.home.data / "again", number).frames
        np.testing.assert_array_equal(frames_in(resolve(catalogs.raw, uid, "merlin1")), expected)


def test_a_catalog_that_goes_away_and_comes_back(
    place: Place, catalogs: Catalogs, scan_ids: Iterator[int]
) -> None:
    if not place.can_go_away:
        pytest.skip("it is in this process")
    raw = catalogs.raw
    before, while_away = store(catalogs, next(scan_ids)), next(scan_ids)
    scan = make_scan(catalogs.home.data / "away", while_away)
    run = run_writer(catalogs.processed, {"uid": str(uuid.uuid4()), "time": 1.0, "scan_id": 1})
    run.begin()
    run.describe("iterations", NUMBERS)
    run.append("iterations", rows(1, 2))

    place.stop()
    try:
        for ask in (
            lambda: find_run(raw, -1),
            lambda: search(raw, scan_id=before.scan_id),
            lambda: resolve(raw, before.uid, "merlin1"),
            lambda: read_table(raw, before.uid, "baseline"),
            lambda: insert(raw, scan.documents),
            lambda: run.append("iterations", rows(3)),
            lambda: open_catalog(catalogs.home.root / "other", place_of(catalogs)),
        ):
            with pytest.raises(CatalogAway):
                ask()
    finally:
        place.start()

    assert find_run(raw, -1) == before.uid, "the same broker goes on"
    insert(raw, scan.documents)
    assert search(raw, scan_id=while_away) == [scan.uid]
    check_frames(catalogs, scan)
    run.append("iterations", rows(3, 4))
    run.end({"exit_status": "success", "reason": ""})
    assert read_table(catalogs.processed, run.uid, "iterations")["iteration"] == [1, 2, 3, 4]


def place_of(catalogs: Catalogs) -> Stores:
    return Stores(raw=describe(catalogs.raw), processed=describe(catalogs.processed))
