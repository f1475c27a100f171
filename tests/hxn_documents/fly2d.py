"""Scans as HXN's classic FlyPlan2D emits them (flavour A): an event a frame; for tests only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import event_model
import numpy as np

from .parts import (
    FRAMES,
    Document,
    FakeScan,
    Named,
    baseline,
    begin,
    datum,
    describe,
    end,
    event,
    external,
    number,
    raster,
    resource,
    write_frames,
)


def make_fly2d(
    folder: Path,
    scan_id: int = 1,
    *,
    points: tuple[int, int] = (4, 5),
    frame: tuple[int, int] = (8, 6),
    dtype: str = "uint16",
    seed: int = 0,
    motors: tuple[str, str] = ("zpssx", "zpssy"),
    spec: str = "MERLIN_FLY_STREAM_V2",
    dataset: str = FRAMES,
    fly_type: str = "soft",
    sub_scans: int = 1,
    numbers: Sequence[int] | None = None,
    extra_frames: int = 0,
    events: str = "bulk_events",
    assets: str = "registry",
    second_descriptor: bool = False,
    **md: Any,
) -> FakeScan:
    """Write a scan's files, one a sub-scan, and return its documents.

    Parameters
    ----------
    points : (int, int)
        Rows (slow) and columns (fast).
    spec, dataset : str
        Of the detector's Resource, and where its frames lie.
    fly_type : str
        "soft", or "pyramid": each second row runs backwards.
    sub_scans : int
        Parts of the scan, some rows each, with a file each; the events come after each.
    numbers : sequence of int, optional
        The point_number of each event of one sub-scan, for gaps and repeats. Default: 0, 1, 2...
    extra_frames : int
        At the end of each file, of which no event tells.
    events : str
        How they come: "event", "event_page" or "bulk_events".
    assets : str
        Where Resource and Datum are: "registry" (in no document: `FakeScan.assets`), "stream"
        (before the events), "late" (after them), "datum_page", "bulk_datum" (before the events).
    second_descriptor : bool
        Whether each sub-scan has a descriptor of its own, for the same stream.
    """
    rng = np.random.default_rng(seed + scan_id)
    rows, columns = points
    fast, slow = raster(points, fly_type == "pyramid")
    parts = [part for part in np.array_split(np.arange(rows), sub_scans) if len(part)]
    fast = fast + rng.normal(scale=0.002, size=fast.size)
    slow = slow + rng.normal(scale=0.002, size=slow.size)
    ion_chamber = rng.normal(1000, 10, fast.size)

    start = begin(
        scan_id,
        plan_name="FlyPlan2D",
        plan_type="FlyPlan2D",
        plan_args={
            "detectors": ["merlin1", "sclr1"],
            "motor1": motors[0],
            "scan_start1": -1,
            "scan_end1": 1,
            "num1": columns,
            "motor2": motors[1],
            "scan_start2": -0.5,
            "scan_end2": 0.5,
            "num2": rows,
            "exposure_time": 0.01,
        },
        motors=list(motors),
        axes=list(motors),
        shape=[columns, rows],
        scan_range=[[-1.0, 1.0], [-0.5, 0.5]],
        subscan_dims=[[columns, len(part)] for part in parts],
        fly_type=fly_type,
        exposure_time=0.01,
        detectors=["merlin1", "sclr1"],
        **md,
    )
    keys = {
        "merlin1": external([frame[1], frame[0], 0]),
        **{motor: number(f"PV:{motor}") for motor in motors},
        "sclr1_ch4": number("PV:sclr1"),
        "Det1_Pt": number("PV:roi"),
    }
    primary = describe(start, "primary", keys)
    documents: list[Named] = [("start", start), *baseline(start), ("descriptor", primary)]
    beside: list[Named] = []
    truth, which, files = [], [], {}
    seq_num = 0
    for number_of_part, part in enumerate(parts):
        first, count = int(part[0]) * columns, len(part) * columns
        asked = np.arange(count) if numbers is None else np.asarray(numbers)
        on_file = rng.integers(0, 50, (max(count, asked.max() + 1) + extra_frames, *frame))
        path = folder / f"merlin1_{scan_id}_{number_of_part}.h5"
        files[f"merlin1-{number_of_part}"] = write_frames(path, on_file.astype(dtype), dataset)
        held = resource(spec, path, frame_per_point=1)
        ids = [datum(held, number, point_number=int(number)) for number in range(asked.max() + 1)]
        if second_descriptor and number_of_part:
            primary = describe(start, "primary", keys)
            documents.append(("descriptor", primary))
        told: list[Document] = []
        for place, number_on_file in enumerate(asked):
            seq_num += 1
            told.append(
                event(
                    primary,
                    seq_num,
                    {
                        "merlin1": ids[number_on_file]["datum_id"],
                        motors[0]: float(fast[(first + place) % fast.size]),
                        motors[1]: float(slow[(first + place) % fast.size]),
                        "sclr1_ch4": float(ion_chamber[(first + place) % fast.size]),
                        "Det1_Pt": float(place),
                    },
                    ["merlin1"],
                    odd_timestamps=["sclr1_ch4", "Det1_Pt"],
                )
            )
        truth.append(on_file[asked].astype(dtype))
        which.append((first + np.arange(len(asked))) % fast.size)
        datums: list[Named] = [("datum", each) for each in ids]
        if assets == "datum_page":
            datums = [("datum_page", dict(event_model.pack_datum_page(*ids)))]
        if assets == "bulk_datum":
            datums = [("bulk_datum", _bulk_datum(held, ids))]
        if assets == "registry":
            beside += [("resource", held), *datums]
            documents += _packed(told, events)
        elif assets == "late":
            documents += [*_packed(told, events), ("resource", held), *datums]
        else:
            documents += [("resource", held), *datums, *_packed(told, events)]
    documents.append(end(start, baseline=1, primary=seq_num))
    where = np.concatenate(which)
    return FakeScan(
        start["uid"],
        scan_id,
        documents,
        np.concatenate(truth),
        {},
        files,
        {motors[0]: fast[where], motors[1]: slow[where]},
        ion_chamber[where],
        beside,
    )


def _packed(events: list[Document], form: str) -> list[Named]:
    if form == "event":
        return [("event", each) for each in events]
    if form == "event_page":
        return [("event_page", dict(event_model.pack_event_page(*events)))]
    return [("bulk_events", {events[0]["descriptor"]: events})]


def _bulk_datum(held: Document, datums: list[Document]) -> Document:
    return {
        "resource": held["uid"],
        "datum_ids": [each["datum_id"] for each in datums],
        "datum_kwarg_list": [each["datum_kwargs"] for each in datums],
    }
