"""What the documents of all scans are made of; for tests only."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Document = dict[str, Any]
Named = tuple[str, Document]

FRAMES = "/entry/instrument/detector/data"
AREA_DETECTOR_FRAMES = "/entry/data/data"
BASELINE = {"dcm_th": 12.5, "zpsth": 0.25, "note": "ice"}


@dataclass
class FakeScan:
    """One scan: its documents in order, its files, and the truth in them.

    Attributes
    ----------
    uid, scan_id
    documents : list of (name, document)
    frames : ndarray, (N, h, w)
        In the order of the events, as the scan's positions are.
    encoders : dict of ndarray
        What external keys other than the detector hold.
    files : dict of Path
    positions : dict of ndarray, (N,)
        Micrometres, by the name of the motor or encoder, a value a frame.
    normalisation : ndarray or None, (N,)
    assets : list of (name, document)
        Resource and Datum documents that are in no document of the run, only in a registry.
    """

    uid: str
    scan_id: int
    documents: list[Named]
    frames: np.ndarray
    encoders: dict[str, np.ndarray]
    files: dict[str, Path] = field(default_factory=dict)
    positions: dict[str, np.ndarray] = field(default_factory=dict)
    normalisation: np.ndarray | None = None
    assets: list[Named] = field(default_factory=list)

    @property
    def start(self) -> Document:
        return self.documents[0][1]

    def named(self, name: str) -> list[Document]:
        """Return the documents of one kind."""
        return [document for each, document in self.documents if each == name]

    def register(self, registry: Any) -> None:
        """Put `assets` into an asset registry of databroker, as HXN's devices do."""
        of: dict[str, list[Document]] = {}
        for name, document in self.assets:
            if name == "resource":
                registry.insert_resource(
                    document["spec"],
                    document["resource_path"],
                    document["resource_kwargs"],
                    root=document["root"],
                    uid=document["uid"],
                )
            else:
                of.setdefault(document["resource"], []).append(document)
        for resource, datums in of.items():
            registry.bulk_insert_datum(
                resource,
                [datum["datum_id"] for datum in datums],
                [datum["datum_kwargs"] for datum in datums],
            )


def new_uid() -> str:
    return str(uuid.uuid4())


def begin(scan_id: int, **md: Any) -> Document:
    return {"uid": new_uid(), "time": time.time(), "scan_id": scan_id, **md}


def end(start: Document, **num_events: int) -> Named:
    return (
        "stop",
        {
            "uid": new_uid(),
            "run_start": start["uid"],
            "time": start["time"] + 2,
            "exit_status": "success",
            "num_events": num_events,
        },
    )


def describe(start: Document, name: str, data_keys: dict[str, Document]) -> Document:
    return {
        "uid": new_uid(),
        "run_start": start["uid"],
        "time": start["time"],
        "name": name,
        "data_keys": data_keys,
        "configuration": {},
        "object_keys": {},
        "hints": {},
    }


def number(source: str = "PV") -> Document:
    return {"dtype": "number", "shape": [], "source": source}


def external(shape: Iterable[int], **more: Any) -> Document:
    return {
        "external": "FILESTORE:",
        "dtype": "array",
        "source": "file",
        "shape": list(shape),
        **more,
    }


def event(
    descriptor: Document,
    seq_num: int,
    data: Document,
    datum_ids: Iterable[str] = (),
    odd_timestamps: Iterable[str] = (),
) -> Document:
    """Return an event; timestamps of `datum_ids` and `odd_timestamps` are no numbers."""
    ids = list(datum_ids)
    now = descriptor["time"] + 0.001 * seq_num
    timestamps: Document = dict.fromkeys(data, now)
    # HXN's timestamps of external values are their datum ids.
    timestamps |= {key: data[key] for key in ids}
    timestamps |= {key: f"{new_uid()}" for key in odd_timestamps}
    return {
        "uid": new_uid(),
        "descriptor": descriptor["uid"],
        "time": now,
        "seq_num": seq_num,
        "data": data,
        "timestamps": timestamps,
        "filled": dict.fromkeys(ids, False),
    }


def baseline(start: Document) -> list[Named]:
    """Return the baseline stream: angles and a note."""
    keys = {
        "dcm_th": number("PV:dcm"),
        "zpsth": number("PV:zpsth"),
        "note": {"dtype": "string", "shape": [], "source": "PV:note"},
    }
    descriptor = describe(start, "baseline", keys)
    return [("descriptor", descriptor), ("event", event(descriptor, 1, dict(BASELINE)))]


def resource(spec: str, path: Path, **kwargs: Any) -> Document:
    """Return a Resource as HXN's: it does not say whose it is."""
    return {
        "uid": new_uid(),
        "spec": spec,
        "root": "/",
        "resource_path": str(path).lstrip("/"),
        "resource_kwargs": kwargs,
        "path_semantics": "posix",
    }


def datum(of: Document, name: object, **kwargs: Any) -> Document:
    return {"datum_id": f"{of['uid']}/{name}", "resource": of["uid"], "datum_kwargs": kwargs}


def write_frames(path: Path, frames: np.ndarray, dataset: str = FRAMES) -> Path:
    """Write a detector's file; an area detector's has a soft link too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        chunks = (1, *frames.shape[1:]) if len(frames) < 1000 else True
        file.create_dataset(dataset, data=frames, chunks=chunks)
        if dataset == FRAMES:
            file[AREA_DETECTOR_FRAMES] = h5py.SoftLink(FRAMES)
    return path


def raster(points: tuple[int, int], pyramid: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the nominal fast and slow positions (N,) of `points` = (rows, columns), in um."""
    rows, columns = points
    fast = np.tile(np.linspace(-1, 1, columns), (rows, 1))
    if pyramid:
        fast[1::2] = fast[1::2, ::-1]
    return fast.ravel(), np.repeat(np.linspace(-0.5, 0.5, rows), columns)
