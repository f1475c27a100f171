"""Finding runs, and the arrays in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    baseline,
    descriptors,
    find_run,
    insert,
    read,
    read_table,
    resolve,
    run_metadata,
    search,
    start_document,
    stop_document,
)
from hxn_ptycho.solver.job import ROOTS_VARIABLE

from ..hxn_documents import FRAMES, FakeScan, make_scan


def store(catalogs: Catalogs, scan_id: int, **options: Any) -> FakeScan:
    scan = make_scan(catalogs.home.data / f"S{scan_id}", scan_id, **options)
    insert(catalogs.raw, scan.documents)
    return scan


@pytest.fixture(scope="module")
def stored(shared: Catalogs) -> FakeScan:
    return store(shared, 1, sample={"name": "star"})


def test_a_run_by_uid_by_its_beginning_by_scan_id_and_from_the_end(catalogs: Catalogs) -> None:
    first, second, again = (store(catalogs, scan_id) for scan_id in (4, 5, 4))
    raw = catalogs.raw
    assert find_run(raw, first.uid) == first.uid
    assert find_run(raw, second.uid[:8]) == second.uid
    assert find_run(raw, 4) == find_run(raw, "4") == again.uid, "the newest with this scan id"
    assert find_run(raw, 5) == second.uid
    assert find_run(raw, -1) == find_run(raw, " -1 ") == again.uid
    assert find_run(raw, "-3") == first.uid
    assert search(raw, scan_id=4) == [first.uid, again.uid]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (999, "no run in the catalog raw has scan id 999"),
        ("999", "begins with '999' or this scan id"),
        (-500, "there is no run -500 in the catalog raw: it has"),
        ("-0", "there is no run -0"),
        ("zzzz", "has a uid that begins with 'zzzz'"),
        ("%", "neither a uid nor a scan id"),
        ("", "neither a uid nor a scan id"),
        ("____", "has a uid that begins with '____'"),
        ("0" * 36, "has a uid that begins with"),
        ("9" * 30, "has a uid that begins with"),
    ],
)
def test_no_such_run(shared: Catalogs, stored: FakeScan, run: str | int, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        find_run(shared.raw, run)


def test_characters_that_several_uids_begin_with(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scans = [make_scan(shared.home.data / "same", next(scan_ids)) for _ in range(2)]
    for number, scan in enumerate(scans):
        uid = f"aaaa{number}{scan.uid[5:]}"
        documents = [
            (
                name,
                {
                    **document,
                    **({"uid": uid} if name == "start" else {}),
                    **({"run_start": uid} if "run_start" in document else {}),
                },
            )
            for name, document in scan.documents
        ]
        insert(shared.raw, documents)
    with pytest.raises(CatalogError, match=r"2 runs .* begin with 'aaaa': aaaa"):
        find_run(shared.raw, "aaaa")
    assert find_run(shared.raw, "aaaa1").startswith("aaaa1")


def test_the_documents_of_a_run(shared: Catalogs, stored: FakeScan) -> None:
    assert start_document(shared.raw, stored.uid) == stored.start
    stop = stop_document(shared.raw, stored.uid)
    assert stop is not None
    assert stop["exit_status"] == "success"
    found = {d["name"]: d for d in descriptors(shared.raw, stored.uid)}
    assert set(found) == {"baseline", "primary"}
    assert found["primary"]["data_keys"]["merlin1"]["shape"] == [8, 6]
    assert baseline(shared.raw, stored.uid) == {"dcm_th": 12.5, "zpsth": 0.25}
    assert read_table(shared.raw, stored.uid, "baseline")["note"] == ["ice"]
    assert stop_document(shared.raw, stored.uid)
    assert run_metadata(shared.raw, "nothing") is None


def test_the_classic_ways_of_databroker(shared: Catalogs, stored: FakeScan) -> None:
    header = shared.raw[stored.uid]
    assert header.start["scan_id"] == stored.scan_id
    table = header.table("baseline")
    assert table["dcm_th"].tolist() == [12.5]
    names = [name for name, _ in header.documents()]
    assert (names[0], names[-1]) == ("start", "stop")
    assert names.count("stream_resource") == 3
    assert [h.start["uid"] for h in shared.raw(scan_id=stored.scan_id)] == [stored.uid]


def test_search_by_what_the_start_document_says(shared: Catalogs, stored: FakeScan) -> None:
    assert search(shared.raw, {"sample.name": "star"}) == [stored.uid]
    assert search(shared.raw, {"scan.type": "2D_FLY_PANDA"}, scan_id=1) == [stored.uid]
    assert search(shared.raw, scan_id=1, plan_name="count") == []


def test_where_an_array_lies(shared: Catalogs, stored: FakeScan) -> None:
    array = resolve(shared.raw, stored.uid, "merlin1")
    (block,) = array.blocks
    assert (block.file, block.dataset) == (str(stored.files["merlin"]), FRAMES)
    assert (block.start, block.count) == (0, 12)
    assert (array.shape, array.dtype) == ((12, 8, 6), np.dtype("uint16"))
    np.testing.assert_array_equal(
        read(shared.raw, stored.uid, "inenc2_val"), stored.encoders["inenc2_val"]
    )
    np.testing.assert_array_equal(
        shared.raw.v3[stored.uid]["primary"]["merlin1"].read(), stored.frames
    )
    np.testing.assert_array_equal(read(shared.raw, stored.uid, "dcm_th", "baseline"), [12.5])


def test_no_such_array(shared: Catalogs, stored: FakeScan) -> None:
    with pytest.raises(CatalogError, match=r"has no 'merlin2'; it has \['inenc2_val'"):
        resolve(shared.raw, stored.uid, "merlin2")
    with pytest.raises(CatalogError, match=r"has no stream 'dark'; it has \['baseline'"):
        resolve(shared.raw, stored.uid, "merlin1", "dark")
    with pytest.raises(CatalogError, match="is kept in the catalog, not in a file"):
        resolve(shared.raw, stored.uid, "dcm_th", "baseline")
    for action in (start_document, baseline, descriptors):
        with pytest.raises(CatalogError, match="there is no run 'nothing'"):
            action(shared.raw, "nothing")


def test_files_that_are_not_as_they_were(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = store(shared, next(scan_ids))
    path = scan.files["merlin"]
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match="cannot be read, it may be cut off"):
        resolve(shared.raw, scan.uid, "merlin1")

    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(CatalogError, match=f"has no dataset {FRAMES}"):
        resolve(shared.raw, scan.uid, "merlin1")

    with h5py.File(path, "w") as file:
        file[FRAMES] = 1
    with pytest.raises(CatalogError, match="a single number, no array"):
        resolve(shared.raw, scan.uid, "merlin1")

    path.unlink()
    with pytest.raises(CatalogError, match=r"does not exist on this host.*HXN_PTYCHO_ROOTS"):
        resolve(shared.raw, scan.uid, "merlin1")


def test_the_shape_is_the_files_not_the_catalogs(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    scan = store(shared, next(scan_ids))
    with h5py.File(scan.files["merlin"], "w") as file:
        file[FRAMES] = np.zeros((5, 8, 6), "u2")
    assert resolve(shared.raw, scan.uid, "merlin1").shape == (5, 8, 6)


def test_data_that_were_moved(
    shared: Catalogs, scan_ids: Iterator[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = store(shared, next(scan_ids))
    folder = scan.files["merlin"].parent
    folder.rename(tmp_path / "moved")
    monkeypatch.setenv(ROOTS_VARIABLE, f"{folder}={tmp_path / 'moved'}")
    array = resolve(shared.raw, scan.uid, "merlin1")
    assert array.shape == (12, 8, 6)
    assert array.blocks[0].file == str(tmp_path / "moved" / scan.files["merlin"].name)
    np.testing.assert_array_equal(
        read(shared.raw, scan.uid, "inenc3_val"), scan.encoders["inenc3_val"]
    )


def test_a_catalog_that_is_none() -> None:
    with pytest.raises(CatalogError, match="is not a databroker 2 catalog"):
        find_run(object(), 1)  # type: ignore[arg-type]


def test_raw_and_derived_runs_of_one_catalog(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    """-1 and scan ids may be asked to be of either; a reconstruction has its scan's number."""
    first, second = next(scan_ids), next(scan_ids)
    made = {"analysis_stage": "reconstruction"}
    runs = [(first, {}), (second, {}), (first, made), (second, {}), (second, made)]
    uids = []
    for scan_id, md in runs:
        scan = make_scan(shared.home.data / "both", scan_id, **md)
        insert(shared.raw, scan.documents)
        uids.append(scan.uid)
    raw, derived = [uids[3], uids[1], uids[0]], [uids[4], uids[2]]
    broker = shared.raw
    assert [find_run(broker, -n, derived=False) for n in (1, 2, 3)] == raw
    assert [find_run(broker, -n, derived=True) for n in (1, 2)] == derived
    assert [find_run(broker, -n) for n in (1, 2, 3)] == [uids[4], uids[3], uids[2]]
    assert find_run(broker, first) == uids[2]
    assert find_run(broker, first, derived=False) == uids[0]
    assert find_run(broker, str(second), derived=False) == uids[3]
    assert find_run(broker, second, derived=True) == uids[4]
    with pytest.raises(CatalogError, match="ones included"):
        find_run(broker, -1000, derived=False)
