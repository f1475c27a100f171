"""Scans of stream documents, as ophyd-async's detectors and PandA emit them; for tests only."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .parts import (
    AREA_DETECTOR_FRAMES,
    Document,
    FakeScan,
    Named,
    baseline,
    begin,
    describe,
    end,
    event,
    new_uid,
    number,
    raster,
    write_frames,
)


def make_stream_scan(
    folder: Path,
    scan_id: int = 1,
    *,
    points: tuple[int, int] = (4, 5),
    frame: tuple[int, int] = (8, 6),
    dtype: str = "uint16",
    seed: int = 0,
    step: bool = False,
    datums: int = 3,
    frames_per_event: int = 1,
    extra_frames: int = 0,
    **md: Any,
) -> FakeScan:
    """Write a scan's files and return its documents.

    Parameters
    ----------
    step : bool
        A step scan: events with the motors, the detector's frames by stream_datum. Otherwise a fly
        scan without events: the encoders are streams of the PandA, ten readings a frame.
    datums : int
        How many stream_datums a resource has.
    frames_per_event : int
        Exposures of each reading of the detector.
    extra_frames : int
        On file, beyond those that stream_datums tell of.
    """
    rng = np.random.default_rng(seed + scan_id)
    rows, columns = points
    count = rows * columns
    fast, slow = raster(points, False)
    fast = fast + rng.normal(scale=0.002, size=count)
    slow = slow + rng.normal(scale=0.002, size=count)
    ion_chamber = rng.normal(1000, 10, count)
    on_file = rng.integers(0, 50, (count * frames_per_event + extra_frames, *frame)).astype(dtype)
    files = {
        "merlin1": write_frames(folder / f"merlin1_{scan_id}.h5", on_file, AREA_DETECTOR_FRAMES)
    }
    shape = [columns, rows]
    about = {
        "plan_name": "fly2dpd",
        "scan": {
            "type": "2D_FLY_PANDA",
            "scan_input": [-1, 1, columns, -0.5, 0.5, rows],
            "detectors": ["merlin1"],
            "detector_distance": 2.05,
            "dwell": 0.01,
            "fast_axis": {"motor_name": "zpssx", "units": "um"},
            "slow_axis": {"motor_name": "zpssy", "units": "um"},
            "shape": shape,
        },
        "motors": ["zpssx", "zpssy"],
    }
    if step:
        about = {
            "plan_name": "grid_scan",
            "detectors": ["merlin1"],
            "motors": ["zpssy", "zpssx"],
            "shape": [rows, columns],
            "num_points": count,
        }
    start = begin(scan_id, **{**about, **md})
    keys: dict[str, Document] = {
        "merlin1": {
            "source": "ca://merlin1",
            "dtype": "array",
            "shape": [frames_per_event, *frame],
            "dtype_numpy": np.dtype(dtype).str,
            "external": "STREAM:",
        }
    }
    encoders: dict[str, np.ndarray] = {}
    if step:
        keys |= {key: number() for key in ("zpssx", "zpssy", "sclr1_ch4")}
    else:
        # Counts of the encoders of hxn.toml, ten readings a frame whose mean is the position.
        jitter = rng.normal(scale=10, size=(count, 10))
        jitter -= jitter.mean(1, keepdims=True)
        for key, values in (
            ("inenc2_val", (fast / (-1e-4 * 0.9542))[:, None] + jitter),
            ("inenc3_val", (slow / -1.03297e-4)[:, None] + jitter),
            ("sclr1_ch4", ion_chamber[:, None]),
        ):
            encoders[key] = values.ravel()
        files["panda"] = folder / f"panda_{scan_id}.h5"
        with h5py.File(files["panda"], "w") as file:
            for key, values in encoders.items():
                file[key.upper()] = values
        keys |= {
            key: {
                "source": "ca://panda",
                "dtype": "number" if len(values) == count else "array",
                "shape": [len(values) // count],
                "dtype_numpy": "<f8",
                "external": "STREAM:",
            }
            for key, values in encoders.items()
        }
    primary = describe(start, "primary", keys)
    documents: list[Named] = [("start", start), *baseline(start), ("descriptor", primary)]
    places = {
        "merlin1": _place(start, "merlin1", files["merlin1"], AREA_DETECTOR_FRAMES, [1, *frame]),
        **{key: _place(start, key, files["panda"], key.upper(), [1024]) for key in encoders},
    }
    documents += [("stream_resource", place) for place in places.values()]
    bounds = np.linspace(0, count, datums + 1).astype(int)
    for first, last in itertools.pairwise(bounds):
        for place in places.values():
            documents.append(
                (
                    "stream_datum",
                    {
                        "uid": f"{place['uid']}/{first}",
                        "stream_resource": place["uid"],
                        "descriptor": primary["uid"],
                        "indices": {"start": int(first), "stop": int(last)},
                        # Devices leave them unset.
                        "seq_nums": {"start": 0, "stop": 0},
                    },
                )
            )
        for point in range(first, last) if step else ():
            data = {
                "zpssx": float(fast[point]),
                "zpssy": float(slow[point]),
                "sclr1_ch4": float(ion_chamber[point]),
            }
            documents.append(("event", event(primary, point + 1, data)))
    documents.append(end(start, baseline=1, primary=count))
    return FakeScan(
        start["uid"],
        scan_id,
        documents,
        on_file[: count * frames_per_event],
        encoders,
        files,
        {"zpssx": fast, "zpssy": slow},
        ion_chamber,
    )


def _place(start: Document, key: str, path: Path, dataset: str, chunk: list[int]) -> Document:
    return {
        "uid": new_uid(),
        "run_start": start["uid"],
        "data_key": key,
        "mimetype": "application/x-hdf5",
        "uri": f"file://localhost{path}",
        "parameters": {"dataset": dataset, "chunk_shape": chunk},
    }
