"""What a scan's documents and files say, read as a stranger would: by databroker's own handlers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import event_model
import h5py
import numpy as np
from area_detector_handlers.handlers import AreaDetectorHDF5Handler, TimepixHDF5Handler

from hxn_ptycho.beamline import load_config

from .station import Station

CLASSIC_SCALE = 0.9542  # um of motion in x for a um that classic scans record


@dataclass(frozen=True)
class ReadBack:
    """Frames (N, h, w), positions (N, 2), (y, x) um, and ion chamber (N,) of a scan."""

    frames: np.ndarray
    positions_um: np.ndarray
    ion_chamber: np.ndarray


def read_back(station: Station, detector: str = "merlin1") -> ReadBack:
    """Read a station's last scan by its documents."""
    return {
        "panda": _panda,
        "classic": _classic,
        "zebra": _zebra,
        "streams": _streams,
        "step": _step,
    }[station.form](station, detector)


def validate(station: Station) -> None:
    """Validate all documents against event-model's schemas."""
    for name, document in station.documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(document)


def misfit(frames: np.ndarray, expected: np.ndarray) -> float:
    """Return chi square a count of frames (N, h, w), each scaled to its photons; 1: noise only."""
    photons = frames.sum(axis=(1, 2)) / expected.sum(axis=(1, 2))
    expected = expected * photons[:, None, None]
    return float(np.sum((frames - expected) ** 2) / np.sum(expected))


def path_of(resource: dict[str, Any]) -> Path:
    return Path(resource["root"]) / resource["resource_path"]


def frames_of(path: Path) -> np.ndarray:
    """Read the frames of a Merlin's file, or of an Eiger's master file."""
    with h5py.File(path) as file:
        if "entry/instrument/detector/data" in file:
            return file["entry/instrument/detector/data"][:]
        data = file["entry/data"]
        return np.concatenate([data[name][:] for name in sorted(data)])


def events(station: Station) -> list[dict[str, Any]]:
    """Return the events of the primary stream."""
    primary = {d["uid"] for d in station.named("descriptor") if d["name"] == "primary"}
    unpacked = [
        event
        for name, document in station.documents
        if name in ("event", "event_page")
        for event in ([document] if name == "event" else event_model.unpack_event_page(document))
    ]
    found = [event for event in unpacked if event["descriptor"] in primary]
    assert [event["seq_num"] for event in found] == list(range(1, len(found) + 1))
    return found


def _assets(station: Station) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    resources = {document["uid"]: document for document in station.named("resource")}
    return {d["datum_id"]: (resources[d["resource"]], d) for d in station.named("datum")}


def _panda(station: Station, detector: str) -> ReadBack:
    (event,) = events(station)
    assets = _assets(station)
    place = {key: path_of(assets[datum_id][0]) for key, datum_id in event["data"].items()}
    motors = load_config().motors
    with h5py.File(place["inenc2_val"]) as file:
        means = [
            file[motors[name].encoder][:].reshape(-1, 10).mean(axis=1) * motors[name].scale_um
            for name in ("zpssy", "zpssx")
        ]
        current = file["sclr1_ch4"][:]
    return ReadBack(frames_of(place[detector]), np.stack(means, axis=1), current)


def _classic(station: Station, detector: str) -> ReadBack:
    frames = []
    handlers: dict[str, Any] = {}
    told = events(station)
    for event in told:
        datum_id = event["data"][detector]
        resource = station.registry.resource_given_datum_id(datum_id)
        datum = next(
            d
            for d in station.registry.datum_gen_given_resource(resource["uid"])
            if d["datum_id"] == datum_id
        )
        path = path_of(resource)
        if resource["uid"] not in handlers:
            handlers[resource["uid"]] = (
                frames_of(path)
                if path.name.endswith("_master.h5")
                else TimepixHDF5Handler(str(path), **resource["resource_kwargs"])
            )
        known = handlers[resource["uid"]]
        number = datum["datum_kwargs"]["point_number"]
        frames.append(
            known[number] if isinstance(known, np.ndarray) else np.asarray(known(number))[0]
        )
    data = [event["data"] for event in told]
    places = [[d["zpssy"], d["zpssx"] * CLASSIC_SCALE] for d in data]
    return ReadBack(np.stack(frames), np.array(places), np.array([d["sclr1_ch4"] for d in data]))


def _zebra(station: Station, detector: str) -> ReadBack:
    assets = _assets(station)
    frames, places, current = [], [], []
    for event in events(station):

        def column(name: str, data: dict[str, Any] = event["data"]) -> np.ndarray:
            resource, datum = assets[data[name]]
            with h5py.File(path_of(resource)) as file:
                return file[datum["datum_kwargs"]["column"]][:]

        frames.append(frames_of(path_of(assets[event["data"][detector]][0])))
        places.append(np.stack([column("enc2"), column("enc1")], axis=1))
        current.append(column("i0"))
    return ReadBack(np.concatenate(frames), np.concatenate(places), np.concatenate(current))


def _streams(station: Station, detector: str) -> ReadBack:
    arrays = {}
    for resource in station.named("stream_resource"):
        path = Path(unquote(urlparse(resource["uri"]).path))
        told = [d for d in station.named("stream_datum") if d["stream_resource"] == resource["uid"]]
        ends = [(d["indices"]["start"], d["indices"]["stop"]) for d in told]
        assert [a for a, _ in ends] == [0, *(b for _, b in ends[:-1])]
        if resource["data_key"] == detector:
            arrays[detector] = frames_of(path)[: ends[-1][1]]
        else:
            with h5py.File(path) as file:
                arrays[resource["data_key"]] = file[resource["parameters"]["dataset"]][
                    : ends[-1][1]
                ]
    motors = load_config().motors
    places = [arrays[motors[n].encoder] * motors[n].scale_um for n in ("zpssy", "zpssx")]
    return ReadBack(arrays[detector], np.stack(places, axis=1), arrays["sclr1_ch4"])


def _step(station: Station, detector: str) -> ReadBack:
    assets, frames = _assets(station), []
    told = events(station)
    for event in told:
        resource, datum = assets[event["data"][detector]]
        path = path_of(resource)
        number = datum["datum_kwargs"]["point_number"]
        if path.name.endswith("_master.h5"):
            frames.append(frames_of(path)[number])
        else:
            handler = AreaDetectorHDF5Handler(str(path), **resource["resource_kwargs"])
            frames.append(np.asarray(handler(number))[0])
    data = [event["data"] for event in told]
    return ReadBack(
        np.stack(frames),
        np.array([[d["zpssy"], d["zpssx"]] for d in data]),
        np.array([d["sclr1_ch4"] for d in data]),
    )
