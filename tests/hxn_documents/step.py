"""Step scans with an area detector: an event a point, Resource and Datum; for tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .parts import (
    AREA_DETECTOR_FRAMES,
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


def make_step_scan(
    folder: Path,
    scan_id: int = 1,
    *,
    points: tuple[int, int] = (4, 5),
    frame: tuple[int, int] = (8, 6),
    dtype: str = "uint16",
    seed: int = 0,
    spec: str = "AD_HDF5",
    dataset: str = AREA_DETECTOR_FRAMES,
    frame_per_point: int = 1,
    motors: tuple[str, str] = ("zpssx", "zpssy"),
    **md: Any,
) -> FakeScan:
    """Write a ``grid_scan``'s file and return its documents.

    `FakeScan.frames` are (N x frame_per_point, h, w), `positions` (N,), of the points.
    """
    rng = np.random.default_rng(seed + scan_id)
    rows, columns = points
    count = rows * columns
    fast, slow = raster(points, False)
    fast = fast + rng.normal(scale=0.002, size=count)
    slow = slow + rng.normal(scale=0.002, size=count)
    ion_chamber = rng.normal(1000, 10, count)
    frames = rng.integers(0, 50, (count * frame_per_point, *frame)).astype(dtype)
    path = write_frames(folder / f"merlin1_{scan_id}.h5", frames, dataset)

    start = begin(
        scan_id,
        plan_name="grid_scan",
        plan_type="generator",
        detectors=["merlin1", "sclr1"],
        # bluesky's motors are slow first.
        motors=[motors[1], motors[0]],
        num_points=count,
        shape=[rows, columns],
        extents=[[-0.5, 0.5], [-1.0, 1.0]],
        snaking=[False, False],
        hints={"dimensions": [[[motors[1]], "primary"], [[motors[0]], "primary"]]},
        **md,
    )
    keys = {
        "merlin1": external([frame_per_point, *frame], dtype_str=np.dtype(dtype).str),
        **{motor: number(f"PV:{motor}") for motor in motors},
        "sclr1_ch4": number("PV:sclr1"),
    }
    primary = describe(start, "primary", keys)
    held = resource(spec, path, frame_per_point=frame_per_point)
    held["run_start"] = start["uid"]
    documents: list[Named] = [
        ("start", start),
        *baseline(start),
        ("descriptor", primary),
        ("resource", held),
    ]
    for point in range(count):
        each = datum(held, point, point_number=point)
        data = {
            "merlin1": each["datum_id"],
            motors[0]: float(fast[point]),
            motors[1]: float(slow[point]),
            "sclr1_ch4": float(ion_chamber[point]),
        }
        told = event(primary, point + 1, data, ["merlin1"])
        told["timestamps"]["merlin1"] = told["time"]
        documents += [("datum", each), ("event", told)]
    documents.append(end(start, baseline=1, primary=count))
    return FakeScan(
        start["uid"],
        scan_id,
        documents,
        frames,
        {},
        {"merlin1": path},
        {motors[0]: fast, motors[1]: slow},
        ion_chamber,
    )
