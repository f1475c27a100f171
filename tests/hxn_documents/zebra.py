"""Scans as HXN's Zebra, SRX-style flyer emits them (flavour C): an event a row; for tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .parts import (
    FakeScan,
    Named,
    baseline,
    begin,
    datum,
    describe,
    end,
    event,
    external,
    raster,
    resource,
    write_frames,
)


def make_zebra_scan(
    folder: Path,
    scan_id: int = 1,
    *,
    points: tuple[int, int] = (4, 5),
    frame: tuple[int, int] = (8, 6),
    dtype: str = "uint16",
    seed: int = 0,
    scan_type: str = "FIP_2D_FLY",
    snake: bool = True,
    rows_done: int | None = None,
    last_row: int | None = None,
    one_file: bool = False,
    spec: str = "MERLIN_FLY_STREAM_V2",
    assets: str = "stream",
    **md: Any,
) -> FakeScan:
    """Write a scan's files and return its documents.

    Parameters
    ----------
    points : (int, int)
        Rows (slow) and columns (fast).
    scan_type : str
        "FIP_2D_FLY" (scan_input: xcenter, xrange, xnum, ystart, ystop, ynum, dwell) or "XRF_FLY"
        (xstart, xstop, xnum, ystart, ystop, ynum, dwell).
    rows_done, last_row : int, optional
        Rows of a scan that was stopped, and points in its last row.
    one_file : bool
        Whether all rows are in one file a device (point_number = row), instead of a file a row.
    assets : str
        "stream" (in the documents) or "registry" (`FakeScan.assets`).
    """
    rng = np.random.default_rng(seed + scan_id)
    rows, columns = points
    fast, slow = raster(points, snake)
    done = rows if rows_done is None else rows_done
    lengths = [columns] * done
    if last_row is not None:
        lengths[-1] = last_row
    total = sum(lengths)
    enc1 = fast[:total] + rng.normal(scale=0.002, size=total)
    enc2 = slow[:total] + rng.normal(scale=0.002, size=total)
    ion_chamber = rng.normal(1000, 10, total)
    clock = np.arange(total) * 0.01
    frames = rng.integers(0, 50, (total, *frame)).astype(dtype)

    first_input = [0.0, 2.0] if scan_type == "FIP_2D_FLY" else [-1.0, 1.0]
    start = begin(
        scan_id,
        plan_name="scan_and_fly",
        scan={
            "type": scan_type,
            "scan_input": [*first_input, columns, -0.5, 0.5, rows, 0.01],
            "sample_name": "",
            "detectors": ["merlin1", "sclr1"],
            "detector_distance": 1.055,
            "dwell": 0.01,
            "fast_axis": {"motor_name": "zpssx", "units": "um"},
            "slow_axis": {"motor_name": "zpssy", "units": "um"},
            "delta": {"val": 0.1, "units": "um"},
            "snake": int(snake),
            "shape": [columns, rows],
        },
        motors=["zpssx", "zpssy"],
        motor1="zpssx",
        motor2="zpssy",
        **md,
    )
    keys = {
        **{key: external([columns]) for key in ("enc1", "enc2", "time_zebra", "sclr1_ch4")},
        "merlin1": external([columns, *frame]),
    }
    primary = describe(start, "primary", keys)
    documents: list[Named] = [("start", start), *baseline(start), ("descriptor", primary)]
    beside: list[Named] = []
    columns_of = {"enc1": enc1, "enc2": enc2, "time_zebra": clock, "sclr1_ch4": ion_chamber}
    files: dict[str, Path] = {}
    held: dict[str, Any] = {}
    begins = np.concatenate([[0], np.cumsum(lengths)])
    for row in range(done):
        here = slice(begins[row], begins[row + 1])
        new = not one_file or row == 0
        if new:
            part = slice(0, total) if one_file else here
            for device, device_spec, names in (
                ("zebra", "ZEBRA_HDF51_FLY_STREAM_V1", ("enc1", "enc2", "time_zebra")),
                ("sclr1", "SIS_HDF51_FLY_STREAM_V1", ("sclr1_ch4",)),
            ):
                path = folder / f"{device}_{scan_id}_{row}.h5"
                path.parent.mkdir(parents=True, exist_ok=True)
                with h5py.File(path, "w") as file:
                    for name in names:
                        file[name] = columns_of[name][part]
                files[f"{device}-{row}"] = path
                held[device] = resource(device_spec, path, frame_per_point=columns)
            path = folder / f"merlin1_{scan_id}_{row}.h5"
            files[f"merlin1-{row}"] = write_frames(path, frames[part])
            held["merlin1"] = resource(spec, path, frame_per_point=columns)
        number = row if one_file else 0
        datums = {
            "merlin1": datum(held["merlin1"], f"merlin1-{row}", point_number=number),
            **{
                key: datum(
                    held["sclr1" if key.startswith("sclr1") else "zebra"],
                    f"{key}-{row}",
                    column=key,
                    point_number=number,
                )
                for key in columns_of
            },
        }
        told: list[Named] = [
            *(("resource", each) for each in held.values() if new),
            *(("datum", each) for each in datums.values()),
        ]
        if assets == "stream":
            documents += told
        else:
            beside += told
        ids = {key: each["datum_id"] for key, each in datums.items()}
        documents.append(("event", event(primary, row + 1, ids, ids)))
    documents.append(end(start, baseline=1, primary=done))
    return FakeScan(
        start["uid"],
        scan_id,
        documents,
        frames,
        columns_of,
        files,
        {"enc1": enc1, "enc2": enc2},
        ion_chamber,
        beside,
    )
