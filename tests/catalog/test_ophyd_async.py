"""Scans with ophyd-async's own simulated detector: its stream documents, its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd_async.core import StaticFilenameProvider, StaticPathProvider, TriggerInfo, init_devices
from ophyd_async.sim import PatternGenerator, SimBlobDetector, SimMotor

from hxn_ptycho.catalog import (
    Catalogs,
    ExternalArray,
    read,
    read_table,
    resolve,
    stop_document,
    writer,
)

HEIGHT, WIDTH = 240, 320


@pytest.fixture(scope="module")
def run_engine(shared: Catalogs) -> Iterator[RunEngine]:
    engine = RunEngine({}, call_returns_result=False)
    engine.subscribe(writer(shared.raw))
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)


def make_detector(folder: Path, scan_id: int) -> SimBlobDetector:
    folder.mkdir(parents=True, exist_ok=True)
    places = StaticPathProvider(StaticFilenameProvider(f"blob_{scan_id}"), folder)

    async def no_sleep(seconds: float | None = None) -> None:
        """Exposures take no time."""

    with init_devices():
        blob = SimBlobDetector(places, PatternGenerator(sleep=no_sleep))
    return blob  # noqa: RET504, init_devices names it by its variable


def frames_in(array: ExternalArray) -> np.ndarray:
    parts = []
    for block in array.blocks:
        with h5py.File(block.file) as file:
            parts.append(file[block.dataset][block.start :][: block.count])
    return np.concatenate(parts)


def truth(shared: Catalogs, scan_id: int, dataset: str = "/entry/data/data") -> np.ndarray:
    with h5py.File(shared.home.data / "blobs" / f"blob_{scan_id}.h5") as file:
        return np.asarray(file[dataset][()])


def test_a_step_scan_of_frames_by_stream_and_motors_by_events(
    shared: Catalogs, run_engine: RunEngine, scan_ids: Iterator[int]
) -> None:
    number = next(scan_ids)
    blob = make_detector(shared.home.data / "blobs", number)
    with init_devices():
        x = SimMotor(instant=True)
    (uid,) = run_engine(bp.scan([blob], x, -1, 1, 5))
    array = resolve(shared.raw, uid, "blob")
    assert (array.shape, array.dtype) == ((5, HEIGHT, WIDTH), np.uint8)
    np.testing.assert_array_equal(frames_in(array), truth(shared, number))
    np.testing.assert_array_equal(
        read(shared.raw, uid, "blob-sum"), truth(shared, number, "/entry/sum")
    )
    assert read_table(shared.raw, uid, "primary")["x"] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert np.asarray(shared.raw.v2.v3[uid]["primary"]["blob"].read()).shape == array.shape


@pytest.mark.parametrize("each", [1, 3])
def test_a_fly_scan_without_events(
    shared: Catalogs, run_engine: RunEngine, scan_ids: Iterator[int], each: int
) -> None:
    number = next(scan_ids)
    blob = make_detector(shared.home.data / "blobs", number)
    seen: list[tuple[str, dict[str, Any]]] = []

    @bpp.stage_decorator([blob])
    @bpp.run_decorator(md={"plan_name": "fly"})
    def fly() -> Any:
        yield from bps.prepare(
            blob, TriggerInfo(number_of_events=4, collections_per_event=each), wait=True
        )
        yield from bps.declare_stream(blob, name="primary", collect=True)
        yield from bps.kickoff_all(blob, wait=True)
        yield from bps.complete_all(blob, wait=True)
        yield from bps.collect(blob, name="primary")

    token = run_engine.subscribe(lambda name, document: seen.append((name, document)))
    (uid,) = run_engine(fly())
    run_engine.unsubscribe(token)
    names = [name for name, _ in seen]
    assert "stream_datum" in names
    assert "event" not in names
    array = resolve(shared.raw, uid, "blob")
    assert array.shape == (4 * each, HEIGHT, WIDTH)
    np.testing.assert_array_equal(frames_in(array), truth(shared, number))
    stop = stop_document(shared.raw, uid)
    assert stop is not None
    assert stop["exit_status"] == "success"
