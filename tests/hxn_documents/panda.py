"""Scans as HXN's PandA flyer emits them (flavour B), with real files; for tests only."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .parts import FRAMES, FakeScan

OVERSAMPLING = 10


def make_scan(
    folder: Path,
    scan_id: int = 1,
    *,
    points: tuple[int, int] = (3, 4),
    frame: tuple[int, int] = (8, 6),
    dtype: str = "uint16",
    seed: int = 0,
    declared: dict[str, Any] | None = None,
    **md: Any,
) -> FakeScan:
    """Write a scan's two files and return its documents.

    The documents have HXN's faults: the detector's data key says neither the number of frames nor
    their type, timestamps of external keys are datum ids, Resources do not say whose they are.
    """
    rng = np.random.default_rng(seed + scan_id)
    count = points[0] * points[1]
    folder.mkdir(parents=True, exist_ok=True)
    frames = rng.integers(0, 50, (count, *frame)).astype(dtype)
    encoders = {key: rng.normal(size=count * OVERSAMPLING) for key in ("inenc2_val", "inenc3_val")}
    merlin, panda = folder / f"merlin_{scan_id}.h5", folder / f"panda_{scan_id}.h5"
    with h5py.File(merlin, "w") as file:
        file.create_dataset(FRAMES, data=frames, chunks=(1, *frame))
    with h5py.File(panda, "w") as file:
        for key, values in encoders.items():
            file[key] = values

    uid, now = str(uuid.uuid4()), time.time()
    shape = [points[1], points[0]]
    start = {
        "uid": uid,
        "time": now,
        "scan_id": scan_id,
        "plan_name": "fly2dpd",
        "scan": {
            "type": "2D_FLY_PANDA",
            "scan_input": [-1, 1, shape[0], -1, 1, shape[1]],
            "detectors": ["merlin1"],
            "detector_distance": 2.05,
            "dwell": 0.01,
            "fast_axis": {"motor_name": "zpssx", "units": "um"},
            "slow_axis": {"motor_name": "zpssy", "units": "um"},
            "shape": shape,
        },
        "motors": ["zpssx", "zpssy"],
        **md,
    }
    base = {
        "uid": str(uuid.uuid4()),
        "run_start": uid,
        "time": now,
        "name": "baseline",
        "data_keys": {
            "dcm_th": {"dtype": "number", "shape": [], "source": "PV:dcm"},
            "zpsth": {"dtype": "number", "shape": [], "source": "PV:zpsth"},
            "note": {"dtype": "string", "shape": [], "source": "PV:note"},
        },
        "configuration": {},
        "object_keys": {},
        "hints": {},
    }
    values = {"dcm_th": 12.5, "zpsth": 0.25, "note": "ice"}
    external = {"external": "FILESTORE:", "dtype": "array", "source": "file"}
    primary = {
        "uid": str(uuid.uuid4()),
        "run_start": uid,
        "time": now,
        "name": "primary",
        "data_keys": {
            "merlin1": {**external, "shape": [1, *frame], **(declared or {})},
            **{key: {**external, "shape": [1]} for key in encoders},
        },
        "configuration": {},
        "object_keys": {},
        "hints": {},
    }
    resources = {
        "merlin": {
            "uid": str(uuid.uuid4()),
            "spec": "MERLIN_HDF5_BULK",
            "root": "/",
            "resource_path": str(merlin).lstrip("/"),
            "resource_kwargs": {"frame_per_point": count},
            "path_semantics": "posix",
        },
        "panda": {
            "uid": str(uuid.uuid4()),
            "spec": "PANDA",
            "root": "/",
            "resource_path": str(panda).lstrip("/"),
            "resource_kwargs": {},
            "path_semantics": "posix",
        },
    }
    datums = {
        "merlin1": ("merlin", {}),
        **{key: ("panda", {"field": key}) for key in encoders},
    }
    ids = {key: f"{resources[of]['uid']}/{i}" for i, (key, (of, _)) in enumerate(datums.items())}
    documents: list[tuple[str, dict[str, Any]]] = [
        ("start", start),
        ("descriptor", base),
        (
            "event",
            {
                "uid": str(uuid.uuid4()),
                "descriptor": base["uid"],
                "time": now,
                "seq_num": 1,
                "data": values,
                "timestamps": dict.fromkeys(values, now),
                "filled": {},
            },
        ),
        ("descriptor", primary),
        *(("resource", resource) for resource in resources.values()),
        *(
            (
                "datum",
                {
                    "datum_id": ids[key],
                    "resource": resources[of]["uid"],
                    "datum_kwargs": kwargs,
                },
            )
            for key, (of, kwargs) in datums.items()
        ),
        (
            "event",
            {
                "uid": str(uuid.uuid4()),
                "descriptor": primary["uid"],
                "time": now + 1,
                "seq_num": 1,
                "data": dict(ids),
                # HXN's timestamps of external values are their datum ids.
                "timestamps": dict(ids),
                "filled": dict.fromkeys(ids, False),
            },
        ),
        (
            "stop",
            {
                "uid": str(uuid.uuid4()),
                "run_start": uid,
                "time": now + 2,
                "exit_status": "success",
                "num_events": {"baseline": 1, "primary": 1},
            },
        ),
    ]
    return FakeScan(uid, scan_id, documents, frames, encoders, {"merlin": merlin, "panda": panda})
