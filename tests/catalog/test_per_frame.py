"""Events that each refer to a frame, a row, or a file: what the catalog is given; no catalog."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.catalog import asset_registry
from hxn_ptycho.catalog.documents import StreamDocuments
from hxn_ptycho.catalog.hdf5 import uri_path
from hxn_ptycho.home import Home

from ..hxn_documents import (
    AREA_DETECTOR_FRAMES,
    FakeScan,
    make_fly2d,
    make_scan,
    make_step_scan,
    make_stream_scan,
    make_zebra_scan,
)

Named = tuple[str, dict[str, Any]]


def translate(documents: list[Named], **options: Any) -> tuple[list[Named], list[str]]:
    translator = StreamDocuments(**options)
    out = [each for name, document in documents for each in translator(name, document)]
    for name, document in out:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(document)
    return out, translator.notes


def rows(documents: list[Named]) -> list[dict[str, Any]]:
    """The data of the primary stream's events."""
    uids = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary"}
    return [d["data"] for n, d in documents if n == "event" and d["descriptor"] in uids]


def on_file(documents: list[Named], key: str) -> np.ndarray:
    """What the files of a key hold, one after the other."""
    parts = []
    for name, document in documents:
        if name == "stream_resource" and document["data_key"] == key:
            with h5py.File(uri_path(document["uri"])) as file:
                parts.append(file[document["parameters"]["dataset"]][()])
    return np.concatenate(parts)


def frames_of(documents: list[Named], key: str = "merlin1") -> np.ndarray:
    """The frames of the events, by the columns that tell them."""
    data = on_file(documents, key)
    told = rows(documents)
    if not any(f"{key}_frame" in row for row in told):
        return data
    return np.concatenate(
        [
            data[row[f"{key}_frame"] :][: row.get(f"{key}_frames", 1)]
            for row in told
            if f"{key}_frame" in row
        ]
    )


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=10),
    sub_scans=st.integers(1, 3),
    extra_frames=st.integers(0, 2),
    events=st.sampled_from(["event", "event_page", "bulk_events"]),
    assets=st.sampled_from(["stream", "late", "datum_page", "bulk_datum", "registry"]),
    second_descriptor=st.booleans(),
    fly_type=st.sampled_from(["soft", "pyramid"]),
)
def test_frames_of_any_numbers_in_any_form_of_documents(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], **options: Any
) -> None:
    """Gaps, repeats and disorder in point_number; several files; Datum before and after events."""
    folder = tmp_path_factory.mktemp("fly2d")
    scan = make_fly2d(folder, points=(3, 4), frame=(2, 3), numbers=numbers, **options)
    registry = asset_registry(Home(folder / "home"))
    scan.register(registry)
    out, notes = translate(scan.documents, registry=registry)
    assert notes == []
    np.testing.assert_array_equal(frames_of(out), scan.frames)
    for motor, values in scan.positions.items():
        assert [row[motor] for row in rows(out)] == values.tolist()
    assert [row["sclr1_ch4"] for row in rows(out)] == scan.normalisation.tolist()
    assert not any("merlin1" in row for row in rows(out))
    descriptor = next(d for n, d in out if n == "descriptor" and d["name"] == "primary")
    keys = descriptor["data_keys"]
    assert keys["merlin1_frame"]["dtype"] == "integer"
    assert (keys["merlin1"]["shape"], keys["merlin1"]["dtype_numpy"]) == ([2, 3], "<u2")


def test_datum_ids_as_timestamps_become_times(tmp_path: Path) -> None:
    scan = make_fly2d(tmp_path, events="event", assets="stream")
    assert any(
        isinstance(time, str)
        for event in scan.named("event")
        for time in event["timestamps"].values()
    )
    out, _ = translate(scan.documents)
    for name, event in out:
        if name == "event":
            assert all(isinstance(time, float) for time in event["timestamps"].values())


def test_a_step_scans_events_pass_at_once(tmp_path: Path) -> None:
    scan = make_step_scan(tmp_path)
    translator = StreamDocuments()
    for name, document in scan.documents:
        out = [each for each, _ in translator(name, document)]
        if name == "event":
            assert out[-1] == "event", "rows are there while the scan goes on"


@pytest.mark.parametrize("assets", ["late", "stream"])
def test_the_order_of_events_is_kept_when_some_must_wait(tmp_path: Path, assets: str) -> None:
    scan = make_fly2d(tmp_path, sub_scans=2, events="event", assets=assets)
    out, _ = translate(scan.documents)
    uids = [event["uid"] for event in scan.named("event")]
    assert [document["uid"] for name, document in out if name == "event"] == uids


def test_two_descriptors_of_one_stream_make_one_array(tmp_path: Path) -> None:
    scan = make_fly2d(tmp_path, sub_scans=3, second_descriptor=True, assets="stream")
    out, _ = translate(scan.documents)
    described = {d["uid"] for n, d in out if n == "descriptor"}
    assert described == {d["uid"] for d in scan.named("descriptor")}
    assert [row["merlin1_frame"] for row in rows(out)] == list(range(20))


@pytest.mark.parametrize("one_file", [False, True])
@pytest.mark.parametrize("assets", ["stream", "registry"])
def test_rows_are_one_array(tmp_path: Path, one_file: bool, assets: str) -> None:
    scan = make_zebra_scan(tmp_path, one_file=one_file, assets=assets)
    registry = asset_registry(Home(tmp_path / "home"))
    scan.register(registry)
    out, notes = translate(scan.documents, registry=registry)
    assert notes == []
    np.testing.assert_array_equal(on_file(out, "merlin1"), scan.frames)
    for key, values in scan.encoders.items():
        np.testing.assert_array_equal(on_file(out, key), values)
    assert rows(out) == [{}] * 4, "frames in the order of the files need no column"


def test_a_stopped_scans_last_row_is_shorter(tmp_path: Path) -> None:
    scan = make_zebra_scan(tmp_path, rows_done=3, last_row=2)
    out, notes = translate(scan.documents)
    assert notes == []
    assert len(scan.frames) == 12
    assert rows(out) == [{}] * 3, "still in the order of the files"
    np.testing.assert_array_equal(frames_of(out), scan.frames)
    np.testing.assert_array_equal(frames_of(out, "enc1"), scan.positions["enc1"])


def test_readings_that_no_event_refers_to_are_told(tmp_path: Path) -> None:
    scan = make_zebra_scan(tmp_path)
    with h5py.File(scan.files["sclr1-1"], "r+") as file:
        readings = file["sclr1_ch4"][()]
        del file["sclr1_ch4"]
        file["sclr1_ch4"] = np.append(readings, 1000.0)
    out, (note,) = translate(scan.documents)
    assert "sclr1_ch4: " in note
    assert "6 frames or readings, and events refer to the first 5" in note
    np.testing.assert_array_equal(frames_of(out, "sclr1_ch4"), scan.encoders["sclr1_ch4"])


def test_a_row_without_an_event_is_not_taken(tmp_path: Path) -> None:
    scan = make_zebra_scan(tmp_path, one_file=True)
    second = scan.named("event")[2]  # baseline, first row, second row
    out, _ = translate([each for each in scan.documents if each[1] is not second])
    left = [*range(5), *range(10, 20)]
    np.testing.assert_array_equal(frames_of(out), scan.frames[left])
    np.testing.assert_array_equal(frames_of(out, "enc1"), scan.encoders["enc1"][left])


def test_several_frames_a_point(tmp_path: Path) -> None:
    scan = make_step_scan(tmp_path, frame_per_point=3)
    out, _ = translate(scan.documents)
    np.testing.assert_array_equal(frames_of(out), scan.frames)
    assert not any("merlin1_frame" in row for row in rows(out))
    skipped = scan.named("event")[4]
    out, _ = translate([each for each in scan.documents if each[1] is not skipped])
    np.testing.assert_array_equal(frames_of(out), np.delete(scan.frames, np.s_[9:12], axis=0))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    scan = make_fly2d(tmp_path, assets="stream", sub_scans=2)
    scan.files["merlin1-0"].unlink()
    out, notes = translate(scan.documents)
    assert len(notes) == 1
    assert notes[0].startswith(f"merlin1: {scan.files['merlin1-0']} could not be opened")
    assert [row["merlin1_frame"] for row in rows(out)] == list(range(20))
    spans = [d["indices"] for n, d in out if n == "stream_datum"]
    assert spans == [{"start": 0, "stop": 10}, {"start": 10, "stop": 20}], "as events tell"


def test_a_file_that_was_moved(tmp_path: Path) -> None:
    scan = make_fly2d(tmp_path / "data", assets="stream", dtype="uint32")
    (tmp_path / "data").rename(tmp_path / "legacy")
    _, notes = translate(scan.documents)
    assert "could not be opened" in notes[0]
    roots = [("/elsewhere", "/nowhere"), (str(tmp_path / "data"), str(tmp_path / "legacy"))]
    out, notes = translate(scan.documents, roots=roots)
    assert notes == []
    descriptor = next(d for n, d in out if n == "descriptor" and d["name"] == "primary")
    assert descriptor["data_keys"]["merlin1"]["dtype_numpy"] == "<u4"


def test_a_file_with_fewer_frames_than_events(tmp_path: Path) -> None:
    """Its detector may still write them: the next file's frames must not take their numbers."""
    scan = make_fly2d(tmp_path, assets="stream", sub_scans=2)
    with h5py.File(scan.files["merlin1-0"], "r+") as file:
        frames = file["/entry/instrument/detector/data"][:7]
        del file["/entry/instrument/detector/data"]
        file["/entry/instrument/detector/data"] = frames
    out, notes = translate(scan.documents)
    assert notes == [
        f"merlin1: {scan.files['merlin1-0']} had 7 frames when the scan was stored, and events "
        "refer to 10"
    ]
    assert [row["merlin1_frame"] for row in rows(out)] == list(range(20))


@pytest.mark.parametrize("spec", ["MERLIN_FLY_STREAM_V2", "TPX_HDF5"])
def test_frames_at_the_other_place(tmp_path: Path, spec: str) -> None:
    """A file without NeXus' place, or the soft link to it."""
    scan = make_fly2d(tmp_path, assets="stream", spec=spec, dataset=AREA_DETECTOR_FRAMES)
    out, notes = translate(scan.documents)
    assert notes == []
    np.testing.assert_array_equal(frames_of(out), scan.frames)


def test_a_datum_without_its_arguments_costs_its_key_only(tmp_path: Path) -> None:
    scan = make_zebra_scan(tmp_path)
    for datum in scan.named("datum"):
        if datum["datum_kwargs"].get("column") == "enc2":
            del datum["datum_kwargs"]["column"]
    out, notes = translate(scan.documents)
    assert len(notes) == 1
    assert notes[0].startswith("enc2: the values of 4 events refer to Datum documents without")
    np.testing.assert_array_equal(on_file(out, "enc1"), scan.encoders["enc1"])


def test_regions_of_fluorescence_are_columns_of_a_file(tmp_path: Path) -> None:
    """ROI_HDF5_FLY must not send a run by the slow way."""
    scan = make_scan(tmp_path)
    for name, document in scan.documents:
        if name == "resource" and document["spec"] == "PANDA":
            document["spec"] = "ROI_HDF5_FLY"
        if name == "datum" and "field" in document["datum_kwargs"]:
            document["datum_kwargs"] = {"det_elem": document["datum_kwargs"]["field"]}
    out, notes = translate(scan.documents)
    assert notes == []
    np.testing.assert_array_equal(on_file(out, "inenc2_val"), scan.encoders["inenc2_val"])


def test_a_spec_that_nobody_knows_is_noted_with_a_number(tmp_path: Path) -> None:
    scan = make_fly2d(tmp_path, assets="stream", spec="NO_SUCH_SPEC")
    out, notes = translate(scan.documents)
    assert not {"resource", "datum"} & {name for name, _ in out}
    assert len(notes) == 1
    assert notes[0].startswith("merlin1: the values of 20 events refer to data of spec 'NO_SUCH")
    assert len(rows(out)) == 20


def test_stream_documents_and_datum_ids_in_one_stream(tmp_path: Path) -> None:
    """A stream_datum that comes first must not close the descriptor before columns are known."""
    stream, step = make_stream_scan(tmp_path / "a", step=True), make_step_scan(tmp_path / "b")
    primary = copy.deepcopy(step.named("descriptor")[1])
    eiger = stream.named("descriptor")[1]["data_keys"]["merlin1"]
    primary["data_keys"]["eiger1"] = eiger
    told: list[Named] = []
    for name, document in stream.documents:
        if name == "stream_resource":
            told.append((name, document | {"data_key": "eiger1", "run_start": step.uid}))
        if name == "stream_datum":
            told.append((name, document | {"descriptor": primary["uid"]}))
    documents = [
        (name, primary if document["uid"] == primary["uid"] else document)
        if name == "descriptor"
        else (name, document)
        for name, document in step.documents
    ]
    at = next(i for i, (name, _) in enumerate(documents) if name == "resource")
    out, notes = translate([*documents[:at], *told, *documents[at:]])
    assert notes == []
    descriptor = next(d for n, d in out if n == "descriptor" and d["name"] == "primary")
    assert "merlin1_frame" in descriptor["data_keys"]
    np.testing.assert_array_equal(frames_of(out), step.frames)
    np.testing.assert_array_equal(on_file(out, "eiger1"), stream.frames)
    names = [name for name, _ in out]
    assert names.index("stream_datum") > names.index("descriptor")


def test_the_documents_given_are_not_changed(tmp_path: Path) -> None:
    scans: list[FakeScan] = [
        make_fly2d(tmp_path / "a", assets="stream", sub_scans=2, second_descriptor=True),
        make_zebra_scan(tmp_path / "c"),
        make_stream_scan(tmp_path / "s", step=True),
    ]
    for scan in scans:
        before = copy.deepcopy(scan.documents)
        translate(scan.documents)
        assert scan.documents == before
