"""HXN's documents as a Tiled catalog stores them; no catalog needed."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.catalog.documents import StreamDocuments
from hxn_ptycho.catalog.errors import Unsupported
from hxn_ptycho.catalog.hdf5 import CHUNK_BYTES, Dataset, chunk_length, file_uri, uri_path
from hxn_ptycho.catalog.tiled_store.tables import make_schema, make_table

from ..hxn_documents import FRAMES, FakeScan, make_scan

Named = tuple[str, dict[str, Any]]


def translate(documents: list[Named], **options: bool) -> tuple[list[Named], list[str]]:
    translator = StreamDocuments(**options)
    out = [each for name, document in documents for each in translator(name, document)]
    return out, translator.notes


def named(documents: list[Named], name: str) -> list[dict[str, Any]]:
    return [document for each, document in documents if each == name]


def primary(documents: list[Named]) -> dict[str, Any]:
    return next(d for d in named(documents, "descriptor") if d["name"] == "primary")


def test_shapes_and_types_are_those_of_the_files(tmp_path: Path) -> None:
    scan = make_scan(tmp_path, dtype="uint32", frame=(8, 6))
    out, notes = translate(scan.documents)
    keys = primary(out)["data_keys"]
    assert (keys["merlin1"]["shape"], keys["merlin1"]["dtype_numpy"]) == ([8, 6], "<u4")
    assert (keys["inenc2_val"]["shape"], keys["inenc2_val"]["dtype_numpy"]) == ([], "<f8")
    places = {d["data_key"]: d for d in named(out, "stream_resource")}
    assert places["merlin1"]["parameters"]["dataset"] == "/entry/instrument/detector/data"
    assert uri_path(places["merlin1"]["uri"]) == scan.files["merlin"]
    assert places["inenc3_val"]["parameters"]["dataset"] == "inenc3_val"
    counts = {d["stream_resource"]: d["indices"] for d in named(out, "stream_datum")}
    assert counts[places["merlin1"]["uid"]] == {"start": 0, "stop": 12}
    assert counts[places["inenc2_val"]["uid"]] == {"start": 0, "stop": 120}
    assert notes == []


def test_what_comes_out_is_valid_and_in_order(tmp_path: Path) -> None:
    out, _ = translate(make_scan(tmp_path).documents)
    described: set[str] = set()
    announced: set[str] = set()
    for name, document in out:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(document)
        match name:
            case "descriptor":
                described.add(document["uid"])
            case "stream_resource":
                announced.add(document["uid"])
            case "event":
                assert document["descriptor"] in described
                assert all(isinstance(t, float) for t in document["timestamps"].values())
            case "stream_datum":
                assert document["descriptor"] in described
                assert document["stream_resource"] in announced
    assert [name for name, _ in out][-1] == "stop"
    assert not {"resource", "datum"} & {name for name, _ in out}


def test_the_documents_given_are_not_changed(tmp_path: Path) -> None:
    scan = make_scan(tmp_path)
    before = copy.deepcopy(scan.documents)
    translate(scan.documents)
    assert scan.documents == before


def paged(scan: FakeScan) -> list[Named]:
    """The same scan, events in pages and datums in a page after the event."""
    events = [(n, event_model.pack_event_page(d)) for n, d in scan.documents if n == "event"]
    datums: dict[str, list[dict[str, Any]]] = {}
    for datum in named(scan.documents, "datum"):
        datums.setdefault(datum["resource"], []).append(datum)
    pages = [("datum_page", event_model.pack_datum_page(*some)) for some in datums.values()]
    rest = [(n, d) for n, d in scan.documents if n not in ("event", "datum", "stop")]
    return [*rest, *(("event_page", d) for _, d in events), *pages, scan.documents[-1]]


def test_pages_and_datums_that_come_after_the_event(tmp_path: Path) -> None:
    scan = make_scan(tmp_path)
    straight, _ = translate(scan.documents)
    late, notes = translate(paged(scan))
    assert notes == []
    for name in ("stream_resource", "stream_datum"):
        key = "uid"
        assert sorted(named(late, name), key=lambda d: d[key]) == sorted(
            named(straight, name), key=lambda d: d[key]
        )


def test_a_datum_that_never_comes_costs_its_key_only(tmp_path: Path) -> None:
    scan = make_scan(tmp_path)
    lost = next(d for d in named(scan.documents, "datum") if not d["datum_kwargs"])
    out, notes = translate([(n, d) for n, d in scan.documents if d is not lost])
    assert {d["data_key"] for d in named(out, "stream_resource")} == {"inenc2_val", "inenc3_val"}
    assert len(notes) == 1
    assert notes[0].startswith("merlin1: the values of 1 event refer to Datum documents that never")


def test_a_file_that_is_not_there_yet_is_taken_as_declared(tmp_path: Path) -> None:
    scan = make_scan(tmp_path, declared={"dtype_numpy": "<u2"})
    scan.files["merlin"].unlink()
    out, notes = translate(scan.documents)
    assert primary(out)["data_keys"]["merlin1"]["dtype_numpy"] == "<u2"
    place = next(d for d in named(out, "stream_resource") if d["data_key"] == "merlin1")
    datum = next(d for d in named(out, "stream_datum") if d["stream_resource"] == place["uid"])
    assert datum["indices"] == {"start": 0, "stop": 12}, "frame_per_point of the Resource"
    assert "could not be opened" in notes[0]


def test_two_files_of_one_key_are_counted_on(tmp_path: Path) -> None:
    first, second = make_scan(tmp_path / "a"), make_scan(tmp_path / "b", points=(2, 2))
    descriptor = primary(first.documents)
    resources = named(second.documents, "resource")
    datums = named(second.documents, "datum")
    event = copy.deepcopy(named(first.documents, "event")[-1])
    event.update(seq_num=2, data=dict.fromkeys(event["data"], ""))
    for key, datum in zip(("merlin1", "inenc2_val", "inenc3_val"), datums, strict=True):
        event["data"][key] = datum["datum_id"]
    more = [*(("resource", r) for r in resources), *(("datum", d) for d in datums)]
    out, _ = translate([*first.documents[:-1], *more, ("event", event), first.documents[-1]])
    merlin = [d for d in named(out, "stream_resource") if d["data_key"] == "merlin1"]
    assert len(merlin) == 2
    spans = [
        d["indices"]
        for d in named(out, "stream_datum")
        if d["stream_resource"] in {place["uid"] for place in merlin}
    ]
    assert spans == [{"start": 0, "stop": 12}, {"start": 12, "stop": 16}]
    assert sum(d["name"] == descriptor["name"] for d in named(out, "descriptor")) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_a_spec_that_is_not_known(tmp_path: Path, keep: bool) -> None:
    scan = make_scan(tmp_path)
    for resource in named(scan.documents, "resource"):
        if resource["spec"] == "MERLIN_HDF5_BULK":
            resource["spec"] = "AD_TIFF"
    out, notes = translate(scan.documents, keep_unknown=keep)
    assert len(named(out, "resource")) == len(named(out, "datum")) == int(keep)
    assert ("merlin1" in named(out, "event")[-1]["data"]) is keep
    assert bool(notes) is not keep


@given(
    shape=st.lists(st.integers(0, 3000), min_size=1, max_size=3),
    dtype=st.sampled_from(["<u2", "<f8", "|u1"]),
)
def test_a_chunk_is_some_frames_and_some_megabytes(shape: list[int], dtype: str) -> None:
    length = chunk_length(Dataset(tuple(shape), dtype))
    frame = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    assert 1 <= length <= max(1, shape[0])
    assert length == 1 or length * frame <= CHUNK_BYTES


@pytest.mark.parametrize("name", ["a.h5", "with space.h5", "per%20cent.h5", "umläut.h5"])
def test_addresses_of_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert uri_path(file_uri(path)) == path
    assert uri_path(path.as_uri()) == path


def test_a_file_that_a_detector_still_writes(tmp_path: Path) -> None:
    scan = make_scan(tmp_path)
    code = (
        "import sys, h5py, numpy\n"
        "file = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "file.create_dataset(sys.argv[2], data=numpy.zeros((5, 8, 6), 'u4'), chunks=(1, 8, 6),"
        " maxshape=(None, 8, 6))\n"
        "file.swmr_mode = True\n"
        "print('writing', flush=True)\n"
        "sys.stdin.read()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(scan.files["merlin"]), FRAMES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        out, notes = translate(scan.documents)
    assert notes == []
    assert primary(out)["data_keys"]["merlin1"]["dtype_numpy"] == "<u4"


NUMBER = {"dtype": "number", "shape": [], "source": "x"}


def test_rows_become_columns_of_their_declared_types() -> None:
    schema = make_schema(
        {
            "a": NUMBER,
            "n": {**NUMBER, "dtype": "integer"},
            "flag": {**NUMBER, "dtype": "boolean"},
            "text": {**NUMBER, "dtype": "string"},
            "frames": {**NUMBER, "dtype": "array", "external": ""},
        }
    )
    rows = [
        {"time": 1.0, "data": {"a": 1, "n": 2, "flag": True, "text": "x"}, "timestamps": {"a": 5}},
        {"time": 2.0, "data": {"a": None}},
    ]
    table = make_table(schema, rows, 3).to_pydict()
    assert table == {
        "seq_num": [3, 4],
        "time": [1.0, 2.0],
        "a": [1.0, None],
        "n": [2, None],
        "flag": [True, None],
        "text": ["x", None],
        "ts_a": [5.0, 2.0],
        "ts_n": [1.0, 2.0],
        "ts_flag": [1.0, 2.0],
        "ts_text": [1.0, 2.0],
    }


@pytest.mark.parametrize(
    "keys",
    [
        {"spectrum": {**NUMBER, "dtype": "array", "shape": [4]}},
        {"A": NUMBER, "a": NUMBER},
        {"time": NUMBER},
        {"x" * 70: NUMBER},
        {'quo"te': NUMBER},
    ],
    ids=["list", "case", "reserved", "long", "quote"],
)
def test_columns_that_sql_does_not_take(keys: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        make_schema(keys)
    left = make_schema({**keys, "good": NUMBER}, lenient=True)
    assert "good" in left.names
    assert not set(list(keys)[-1:]) & set(left.names[2:])


def test_a_value_of_another_type() -> None:
    schema = make_schema({"n": {**NUMBER, "dtype": "integer"}})
    rows = [{"time": 1.0, "data": {"n": "three"}}]
    with pytest.raises(Unsupported, match="n: "):
        make_table(schema, rows, 1)
    assert make_table(schema, rows, 1, lenient=True).to_pydict()["n"] == [None]
