"""Scans of every flavour through the catalog and back, against the truth in their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    asset_registry,
    insert,
    read,
    read_table,
    resolve,
    stop_document,
)
from hxn_ptycho.catalog.tiled_store import backend as tiled_backend

from ..hxn_documents import FORMS, make_fly2d, make_step_scan, make_stream_scan
from .frames import frames_in


@pytest.fixture
def no_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bluesky's own Tiled writer, which takes many times as long, is not used."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("this run went by Bluesky's own Tiled writer")

    monkeypatch.setattr(tiled_backend, "TiledWriter", refuse)


@pytest.mark.parametrize("flavour", ["fly2d, sub-scans", "zebra", "stream", "stream, step"])
def test_what_goes_by_blueskys_own_writer_comes_back_too(
    shared: Catalogs, scan_ids: Iterator[int], flavour: str
) -> None:
    """A list among the baseline's values, for example, sends a run that way."""
    number = next(scan_ids)
    scan = FORMS[flavour](shared.home.data / str(number), number)
    for name, document in scan.documents:
        if name == "descriptor" and document["name"] == "baseline":
            document["data_keys"]["roi"] = {"dtype": "array", "shape": [4], "source": "PV:roi"}
        if name == "event" and "dcm_th" in document["data"]:
            document["data"]["roi"] = [1, 2, 3, 4]
            document["timestamps"]["roi"] = document["time"]
    registry = asset_registry(shared.home)
    scan.register(registry)
    insert(shared.raw, scan.documents, registry)
    assert np.ravel(read(shared.raw, scan.uid, "roi", "baseline")).tolist() == [1, 2, 3, 4]
    array = resolve(shared.raw, scan.uid, "merlin1")
    assert array.shape == scan.frames.shape
    np.testing.assert_array_equal(frames_in(array), scan.frames)
    for key, values in scan.encoders.items():
        np.testing.assert_array_equal(read(shared.raw, scan.uid, key), values)


@pytest.mark.usefixtures("no_slow_way")
def test_a_file_written_on_after_the_run_was_stored(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    """Frames' numbers in later files must not shift with an earlier file's length."""
    number = next(scan_ids)
    scan = make_fly2d(shared.home.data / str(number), number, sub_scans=2, assets="stream")
    insert(shared.raw, scan.documents)
    path, dataset = scan.files["merlin1-0"], "/entry/instrument/detector/data"
    with h5py.File(path, "r+") as file:
        frames = file[dataset][()]
        del file[dataset]
        file[dataset] = np.concatenate([frames, frames[:3]])
    np.testing.assert_array_equal(frames_in(resolve(shared.raw, scan.uid, "merlin1")), scan.frames)
    with h5py.File(path, "r+") as file:
        del file[dataset]
        file[dataset] = frames[:5]
    with pytest.raises(CatalogError, match="frame 5 of its file number 1 is needed"):
        resolve(shared.raw, scan.uid, "merlin1")


@pytest.mark.usefixtures("no_slow_way")
def test_files_that_came_and_moved_after_the_run_was_stored(
    shared: Catalogs, scan_ids: Iterator[int]
) -> None:
    number = next(scan_ids)
    old, new = shared.home.data / str(number), shared.home.data / f"{number}-now"
    scan = make_fly2d(old, number, sub_scans=2, assets="stream")
    old.rename(new)
    insert(shared.raw, scan.documents)
    stop = stop_document(shared.raw, scan.uid)
    assert stop is not None
    assert "could not be opened when the scan was stored" in stop["storage_notes"][0]
    array = resolve(shared.raw, scan.uid, "merlin1", roots=[(str(old), str(new))])
    np.testing.assert_array_equal(frames_in(array), scan.frames)

    again = make_fly2d(old, number + 1000, sub_scans=2, assets="stream")
    for path in again.files.values():
        path.rename(new / path.name)
    insert(shared.raw, again.documents, roots=[(str(old), str(new))])
    stop = stop_document(shared.raw, again.uid)
    assert stop is not None
    assert "storage_notes" not in stop


def test_a_stream_that_begins_late_in_its_file(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    """A detector's file goes on from a stream of dark frames to the next."""
    number = next(scan_ids)
    scan = make_stream_scan(shared.home.data / str(number), number, step=True, datums=4)
    datums = scan.named("stream_datum")
    dark = dict(scan.named("descriptor")[1], uid="dark", name="dark")
    datums[0]["descriptor"] = "dark"
    at = next(i for i, (name, _) in enumerate(scan.documents) if name == "stream_resource")
    scan.documents.insert(at, ("descriptor", dark))
    insert(shared.raw, scan.documents)
    np.testing.assert_array_equal(
        frames_in(resolve(shared.raw, scan.uid, "merlin1", "dark")), scan.frames[:5]
    )
    np.testing.assert_array_equal(
        frames_in(resolve(shared.raw, scan.uid, "merlin1")), scan.frames[5:]
    )
    whole = np.asarray(shared.raw.v2.v3[scan.uid]["primary"]["merlin1"].read())
    np.testing.assert_array_equal(whole, scan.frames[5:])


@pytest.mark.usefixtures("no_slow_way")
def test_a_scan_over_65536_points(shared: Catalogs, scan_ids: Iterator[int]) -> None:
    number = next(scan_ids)
    scan = make_fly2d(
        shared.home.data / str(number), number, points=(300, 224), frame=(1, 2), sub_scans=2
    )
    registry = asset_registry(shared.home)
    scan.register(registry)
    insert(shared.raw, scan.documents, registry)
    array = resolve(shared.raw, scan.uid, "merlin1")
    assert (len(scan.frames), len(array.blocks)) == (67_200, 2)
    np.testing.assert_array_equal(frames_in(array), scan.frames)
    table = read_table(shared.raw, scan.uid, "primary")
    assert table["merlin1_frame"] == list(range(67_200))
    assert table["zpssy"] == scan.positions["zpssy"].tolist()


@pytest.mark.usefixtures("no_slow_way")
@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_eigers_series_whose_frames_are_in_files_of_their_own(
    shared: Catalogs, scan_ids: Iterator[int], one_by_one: bool
) -> None:
    number = next(scan_ids)
    folder = shared.home.data / str(number)
    scan = make_step_scan(folder, number, points=(2, 3), spec="AD_EIGER2")
    prefix = folder / "eiger"
    for series in (0, 1):
        with h5py.File(f"{prefix}_{series}_master.h5", "w", libver="latest") as master:
            for part, size in ((1, 2), (2, 1)):
                name = f"eiger_{series}_data_{part:06d}.h5"
                first = 3 * series + 2 * (part - 1)
                with h5py.File(folder / name, "w") as file:
                    file["entry/data/data"] = scan.frames[first : first + size]
                master[f"entry/data/data_{part:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
    held = scan.named("resource")[0]
    held.update(resource_path=str(prefix).lstrip("/"), resource_kwargs={"images_per_file": 2})
    documents = list(scan.documents)
    for point, datum in enumerate(scan.named("datum")):
        datum["datum_kwargs"] = {"seq_id": point // 3, "frame_num": point % 3}
    if not one_by_one:
        # An event a series: the first two points'.
        scan.named("datum")[0]["datum_kwargs"] = {"seq_id": 0}
        scan.named("datum")[1]["datum_kwargs"] = {"seq_id": 1}
        gone = [d["uid"] for d in scan.named("event")[3:]]
        documents = [each for each in documents if each[1].get("uid") not in gone]
    insert(shared.raw, documents)
    array = resolve(shared.raw, scan.uid, "merlin1")
    assert array.shape == scan.frames.shape
    np.testing.assert_array_equal(frames_in(array), scan.frames)
