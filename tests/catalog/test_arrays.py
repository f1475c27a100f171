"""Arrays of a run by reference, in the order of its events; small ones and columns read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    baseline,
    read,
    read_table,
    resolve,
    run_writer,
)
from hxn_ptycho.catalog.documents import Dataset
from hxn_ptycho.catalog.external import ExternalArray
from hxn_ptycho.catalog.tiled_store import TiledStore
from hxn_ptycho.solver.job import FrameBlock

from ..detector_writers import FRAMES, make_frames, write_eiger
from .test_detector_files import read as read_frames

NUMBER = {"dtype": "number", "shape": [], "source": "x"}
INTEGER, TEXT = {**NUMBER, "dtype": "integer"}, {**NUMBER, "dtype": "string"}
EXTERNAL = {"dtype": "array", "shape": [6, 7], "source": "x", "external": "FILESTORE:"}


def store(
    catalogs: Catalogs,
    columns: dict[str, Sequence[Any]],
    arrays: dict[str, tuple[list[Path], str]],
    types: dict[str, dict[str, Any]] | None = None,
    stream: str = "primary",
) -> str:
    """Store a run of one stream, as the catalog's writer does a scan of per-frame documents."""
    run = run_writer(catalogs.raw, {"uid": str(uuid.uuid4()), "time": time.time(), "scan_id": 5})
    run.begin()
    keys = {key: (types or {}).get(key, NUMBER) for key in columns}
    run.describe(stream, {"data_keys": {**keys, **dict.fromkeys(arrays, EXTERNAL)}})
    rows = zip(*columns.values(), strict=True)
    run.append(
        stream,
        [{"time": float(j), "data": dict(zip(columns, row, strict=True))}
         for j, row in enumerate(rows)],
    )  # fmt: skip
    for key, (files, dataset) in arrays.items():
        attach(catalogs, run.uid, stream, key, files, dataset)
    run.end({"exit_status": "success"})
    return run.uid


def attach(
    catalogs: Catalogs, uid: str, stream: str, key: str, files: list[Path], dataset: str
) -> None:
    """Register several files as one array."""
    from tiled.structures.array import ArrayStructure, BuiltinDtype
    from tiled.structures.core import StructureFamily
    from tiled.structures.data_source import Asset, DataSource, Management

    found = Dataset((1, 6, 7), "<u4")
    node = TiledStore(catalogs.raw).runs[uid].base[stream]
    getattr(node, "base", node).new(
        structure_family=StructureFamily.array,
        data_sources=[
            DataSource(
                mimetype="application/x-hdf5",
                structure_family=StructureFamily.array,
                structure=ArrayStructure(
                    data_type=BuiltinDtype.from_numpy_dtype(np.dtype(found.dtype)),
                    shape=found.shape,
                    chunks=tuple((size,) for size in found.shape),
                ),
                parameters={"dataset": dataset},
                management=Management.external,
                # Registered out of order: `num` says which comes first.
                assets=[
                    Asset(data_uri=f"file://localhost{path}", is_directory=False,
                          parameter="data_uris", num=num)
                    for num, path in reversed(list(enumerate(files)))
                ],
            )
        ],
        key=key,
        metadata={},
        specs=[],
    )  # fmt: skip


def write(folder: Path, frames: np.ndarray, *lengths: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths, begin = [], 0
    for number, length in enumerate(lengths):
        paths.append(folder / f"merlin_{number}.h5")
        with h5py.File(paths[-1], "w") as file:
            file[FRAMES] = frames[begin : begin + length]
        begin += length
    return paths


# Frames in the order of the events


def test_frames_come_in_the_order_of_the_events(shared: Catalogs) -> None:
    frames = make_frames(10)
    files = write(shared.home.data / "order", frames, 6, 4)
    order = [0, 1, 2, 7, 8, 3, 4, 5, 6, 9]
    uid = store(
        shared, {"m_frame": order, "x": order}, {"m": (files, FRAMES)}, {"m_frame": INTEGER}
    )
    array = resolve(shared.raw, uid, "m")
    assert [(Path(b.file).name, b.start, b.count) for b in array.blocks] == [
        ("merlin_0.h5", 0, 3),
        ("merlin_1.h5", 1, 2),
        ("merlin_0.h5", 3, 3),
        ("merlin_1.h5", 0, 1),
        ("merlin_1.h5", 3, 1),
    ]
    np.testing.assert_array_equal(read_frames(array), frames[order])
    np.testing.assert_array_equal(read(shared.raw, uid, "m"), frames[order])


def test_without_such_a_column_frames_come_as_the_files_have_them(shared: Catalogs) -> None:
    frames = make_frames(9)
    files = write(shared.home.data / "several", frames, 4, 3, 2)
    uid = store(shared, {"x": [1.0]}, {"m": (files, FRAMES)})
    array = resolve(shared.raw, uid, "m")
    assert [block.file for block in array.blocks] == [str(path) for path in files]
    np.testing.assert_array_equal(read_frames(array), frames)


def test_an_event_without_a_frame_is_passed_over(shared: Catalogs) -> None:
    frames = make_frames(4)
    files = write(shared.home.data / "without", frames, 4)
    uid = store(shared, {"m_frame": [0, None, 2, 3]}, {"m": (files, FRAMES)}, {"m_frame": INTEGER})
    np.testing.assert_array_equal(read_frames(resolve(shared.raw, uid, "m")), frames[[0, 2, 3]])


def test_an_event_that_names_a_frame_which_no_file_has(shared: Catalogs) -> None:
    files = write(shared.home.data / "short", make_frames(4), 2, 2)
    uid = store(shared, {"m_frame": [0, 1, 9]}, {"m": (files, FRAMES)}, {"m_frame": INTEGER})
    with pytest.raises(CatalogError, match=f"m of run {uid[:8]}: event 3 names frame 9 of 4"):
        resolve(shared.raw, uid, "m")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_is_taken_is_what_numpy_takes(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    starts = [data.draw(st.integers(0, 3)) for _ in counts]
    blocks = tuple(
        FrameBlock(str(k), "d", start, count)
        for k, (start, count) in enumerate(zip(starts, counts, strict=True))
    )
    # Each frame by its file and its place there.
    truth = [(b.file, b.start + j) for b in blocks for j in range(b.count)]
    order = data.draw(st.lists(st.integers(0, len(truth) - 1), max_size=30))
    array = ExternalArray(blocks, (len(truth), 2, 2), np.dtype("u2"))
    taken = array.take(np.array(order, int))
    found = [(b.file, b.start + j) for b in taken.blocks for j in range(b.count)]
    assert found == [truth[j] for j in order]
    assert taken.shape == (len(order), 2, 2)
    # As few as can be: the next block never goes on where one ends.
    for one, following in zip(taken.blocks, taken.blocks[1:], strict=False):
        assert (one.file, one.start + one.count) != (following.file, following.start)


def test_a_large_scan_in_order_is_one_block() -> None:
    array = ExternalArray((FrameBlock("f", "d", 0, 67_200),), (67_200, 44, 44), np.dtype("u2"))
    assert array.take(np.arange(67_200)).blocks == array.blocks


def test_files_that_differ_are_told(shared: Catalogs) -> None:
    folder = shared.home.data / "differ"
    files = write(folder, make_frames(4), 2, 2)
    with h5py.File(files[1], "w") as file:
        file[FRAMES] = make_frames(2, (6, 8))
    uid = store(shared, {"x": [1.0]}, {"m": (files, FRAMES)})
    with pytest.raises(CatalogError, match=r"its files differ: .*\(2, 6, 7\).*\(2, 6, 8\)"):
        resolve(shared.raw, uid, "m")


# Eiger masters, moved files


def test_an_eiger_in_the_catalog(shared: Catalogs) -> None:
    frames, bad = make_frames(10), np.zeros((6, 7), "uint32")
    bad[1, 2] = 1
    master = write_eiger(shared.home.data / "eiger", frames, virtual=True, mask=bad, cutoff=999)
    order = [9, *range(9)]
    uid = store(
        shared, {"e_frame": order}, {"e": ([master], "/entry/data/data")}, {"e_frame": INTEGER}
    )
    array = resolve(shared.raw, uid, "e")
    np.testing.assert_array_equal(read_frames(array), frames[order])
    assert array.mask is not None
    assert np.argwhere(~array.mask).tolist() == [[1, 2]]
    assert array.saturation == 999


def test_files_moved_under_another_root(shared: Catalogs) -> None:
    frames = make_frames(5)
    folder = shared.home.data / "moved"
    files = write(folder, frames, 3, 2)
    uid = store(shared, {"x": [1.0]}, {"m": (files, FRAMES)})
    folder.rename(shared.home.data / "here")
    roots = ((str(folder), str(shared.home.data / "here")),)
    array = resolve(shared.raw, uid, "m", roots=roots)
    assert array.blocks[1].file == str(shared.home.data / "here" / "merlin_1.h5")
    np.testing.assert_array_equal(read(shared.raw, uid, "m", roots=roots), frames)
    with pytest.raises(CatalogError) as caught:
        resolve(shared.raw, uid, "m", roots=((str(folder), "/nowhere"),))
    for place in (files[0], "/nowhere/merlin_0.h5"):
        assert str(place) in str(caught.value)
    with pytest.raises(CatalogError, match=r"merlin_0\.h5 is missing"):
        read(shared.raw, uid, "m")


# Columns


def test_columns_have_their_own_types(shared: Catalogs) -> None:
    columns = {
        "real": [1.5, None, -2.0],
        "whole": [3, 4, 2**40],
        "flag": [True, False, True],
        "text": ["a", "bc", ""],
    }
    types = {"whole": INTEGER, "flag": {**NUMBER, "dtype": "boolean"}, "text": TEXT}
    uid = store(shared, columns, {}, types)
    np.testing.assert_array_equal(read(shared.raw, uid, "real"), [1.5, np.nan, -2.0])
    for key, kind in (("whole", "i"), ("flag", "b"), ("text", "U")):
        values = read(shared.raw, uid, key)
        assert values.dtype.kind == kind
        assert values.tolist() == columns[key]
    table = read_table(shared.raw, uid, "primary")
    assert table["seq_num"] == [1, 2, 3]
    assert table["whole"] == columns["whole"]
    assert set(table) == {"seq_num", "time", *columns}


def test_the_baseline_is_the_first_reading(shared: Catalogs) -> None:
    columns = {"dcm_th": [12.5, 13.0], "note": ["a", "b"], "none": [None, 1.0]}
    uid = store(shared, columns, {}, {"note": TEXT}, stream="baseline")
    assert baseline(shared.raw, uid) == {"dcm_th": 12.5}
    other = store(shared, {"x": [1.0]}, {})
    assert baseline(shared.raw, other) == {}


def test_rows_are_in_the_order_of_their_numbers(
    shared: Catalogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PostgreSQL returns rows as it likes; SQLite is made to, here.
    from tiled.adapters.sql import SQLAdapter

    uid = store(shared, {"x": [1.0, 2.0, 3.0, 4.0]}, {})
    straight = SQLAdapter.read
    monkeypatch.setattr(SQLAdapter, "read", lambda self, fields=None: straight(self, fields)[::-1])
    assert read(shared.raw, uid, "x").tolist() == [1, 2, 3, 4]
    assert read_table(shared.raw, uid, "primary")["x"] == [1, 2, 3, 4]


@pytest.mark.parametrize(("action", "key", "requests"), [
    (resolve, "m", 2),
    (resolve, "bulk", 1),
    (read, "bulk", 1),
    (read, "x", 2),
])  # fmt: skip
def test_few_requests(
    shared: Catalogs, monkeypatch: pytest.MonkeyPatch, action: Any, key: str, requests: int
) -> None:
    files = write(shared.home.data / f"few{requests}{key}", make_frames(3), 3)
    uid = store(
        shared,
        {"m_frame": [0, 1, 2], "x": [1.0, 2.0, 3.0]},
        {"m": (files, FRAMES), "bulk": (files, FRAMES)},
        {"m_frame": INTEGER},
    )
    asked: list[str] = []
    send = httpx.Client.send
    monkeypatch.setattr(
        httpx.Client, "send", lambda self, request, **options: (
            asked.append(request.url.path), send(self, request, **options))[1],
    )  # fmt: skip
    action(shared.raw, uid, key)
    assert len(asked) == requests, asked
