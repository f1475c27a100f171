"""Changes to a scan's documents and files before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from hxn_ptycho.scan import Scan

from ..hxn_documents import FakeScan

Edit = Callable[[FakeScan], None]


def change(file: str, name: str, value: Any) -> Edit:
    """Replace a dataset: by `value`, or by what it makes of the old one."""

    def edit(scan: FakeScan) -> None:
        with h5py.File(scan.files[file], "r+") as target:
            old = target[name][()]
            del target[name]
            target[name] = value(old) if callable(value) else value

    return edit


def set_start(**keys: Any) -> Edit:
    """Set keys of the start document, those of `scan` one by one; None: take it away."""

    def edit(scan: FakeScan) -> None:
        for key, value in keys.items():
            if value is None:
                scan.start.pop(key, None)
            elif key == "scan":
                scan.start["scan"] = {**scan.start["scan"], **value}
            else:
                scan.start[key] = value

    return edit


def set_baseline(**values: float | None) -> Edit:
    """Set readings of the baseline; None: take the key away."""

    def edit(scan: FakeScan) -> None:
        descriptor = scan.named("descriptor")[0]
        assert descriptor["name"] == "baseline"
        event = next(e for e in scan.named("event") if e["descriptor"] == descriptor["uid"])
        for key, value in values.items():
            for part in (descriptor["data_keys"], event["data"], event["timestamps"]):
                part.pop(key, None)
            if value is not None:
                descriptor["data_keys"][key] = {"dtype": "number", "shape": [], "source": "PV"}
                event["data"][key] = value
                event["timestamps"][key] = event["time"]

    return edit


def rename(**keys: str | None) -> Edit:
    """Rename data keys of the primary stream; None: take the key away."""

    def edit(scan: FakeScan) -> None:
        for document in _parts(scan):
            for old, new in keys.items():
                if old in document:
                    value = document.pop(old)
                    if new is not None:
                        document[new] = value
        for each in scan.named("stream_resource"):
            if (new := keys.get(each["data_key"])) is not None:
                each["data_key"] = new

    return edit


def set_column(key: str, value: Callable[[int, float], Any]) -> Edit:
    """Set a column's values by their row and what they were."""

    def edit(scan: FakeScan) -> None:
        events = [event["data"] for event in _events(scan)]
        for row, data in enumerate(events):
            data[key] = value(row, data[key])

    return edit


def all_of(*edits: Edit) -> Edit:
    """Do one after the other."""

    def edit(scan: FakeScan) -> None:
        for each in edits:
            each(scan)

    return edit


def read_frames(scan: Scan) -> np.ndarray:
    """Return the frames that a scan refers to, in its order."""
    parts = []
    for block in scan.frames:
        with h5py.File(block.file) as file:
            parts.append(file[block.dataset][block.start : block.start + block.count])
    return np.concatenate(parts)


def _primary(scan: FakeScan) -> list[dict[str, Any]]:
    return [each for each in scan.named("descriptor") if each["name"] == "primary"]


def _events(scan: FakeScan) -> list[dict[str, Any]]:
    uids = {descriptor["uid"] for descriptor in _primary(scan)}
    events = list(scan.named("event"))
    for bulk in scan.named("bulk_events"):
        events += [event for several in bulk.values() for event in several]
    return [event for event in events if event["descriptor"] in uids]


def _parts(scan: FakeScan) -> list[dict[str, Any]]:
    """Return each mapping whose keys are data keys of the primary stream."""
    parts = [descriptor["data_keys"] for descriptor in _primary(scan)]
    for event in _events(scan):
        parts += [event["data"], event["timestamps"], event["filled"]]
    return parts
