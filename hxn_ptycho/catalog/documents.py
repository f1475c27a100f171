"""HXN's documents turned into those that a Tiled catalog stores.

HXN's fly scans emit one event a run whose values are datum ids: legacy Resource and Datum
documents that stand for whole files. Here they become stream documents, whose shapes and types are
those of the files, because a reader trusts them: Tiled refuses an array of another type on file.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlparse

import event_model
import numpy as np

from ..solver.h5_files import open_h5
from ..solver.job import JobError, relocate

Document = dict[str, Any]
Named = tuple[str, Document]

FRAMES = "/entry/instrument/detector/data"
CHUNK_BYTES = 8 * 2**20

# What each Resource spec of a bulk scan means: the dataset in the file, from the datum's arguments.
BULK_SPECS: dict[str, Callable[[Document], str]] = {
    "MERLIN_HDF5_BULK": lambda datum_kwargs: FRAMES,
    "XSP3_BULK": lambda datum_kwargs: FRAMES,
    "PANDA": lambda datum_kwargs: str(datum_kwargs["field"]),
}


@dataclass(frozen=True)
class Dataset:
    """What a dataset on file is: its shape, first axis the frames or readings, and its type."""

    shape: tuple[int, ...]
    dtype: str


class StreamDocuments:
    """Turns the documents of one run, in order, into ones that a Tiled catalog stores.

    Parameters
    ----------
    keep_unknown : bool
        Pass on Resource and Datum documents whose spec is not a bulk one, for Tiled's writer to
        make of them what it can. Without, such values are left out of the run, and `notes` says so.
    """

    def __init__(self, keep_unknown: bool = True) -> None:
        self.keep_unknown = keep_unknown
        self.notes: list[str] = []
        #: What each bulk stream resource's dataset is, by the resource's uid.
        self.datasets: dict[str, Dataset] = {}
        self._descriptors: dict[str, Document] = {}
        self._announced: set[str] = set()
        self._resources: dict[str, Document] = {}
        self._datums: dict[str, Document] = {}
        self._waiting: list[Document] = []
        self._registered: set[tuple[str, str, str]] = set()
        self._lengths: dict[tuple[str, str], int] = {}

    def __call__(self, name: str, document: Document) -> Iterator[Named]:
        """Yield what `document` becomes: nothing, one document, or several."""
        match name:
            case "descriptor":
                # Kept until used: the files may show what its shapes and types truly are.
                self._descriptors[document["uid"]] = copy.deepcopy(document)
            case "resource":
                self._resources[document["uid"]] = document
                if not self._is_bulk(document) and self.keep_unknown:
                    yield name, document
            case "datum":
                self._datums[document["datum_id"]] = document
                if not self._is_bulk(self._resources.get(document["resource"])) and (
                    self.keep_unknown
                ):
                    yield name, document
            case "datum_page":
                for datum in event_model.unpack_datum_page(cast(Any, document)):
                    yield from self("datum", datum)
            case "event":
                yield from self._event(document)
            case "event_page":
                for event in event_model.unpack_event_page(cast(Any, document)):
                    yield from self._event(event)
            case "bulk_events":
                for events in document.values():
                    for event in events:
                        yield from self._event(event)
            case "stream_resource" if str(document.get("uri", "")).startswith("file:"):
                yield name, {**document, "uri": file_uri(uri_path(document["uri"]))}
            case "stream_datum":
                yield from self._announce(document["descriptor"])
                yield name, document
            case "stop":
                for event in self._waiting:
                    yield from self._event(event, last=True)
                for uid in self._descriptors:
                    yield from self._announce(uid)
                yield name, document
            case _:
                yield name, document

    def _event(self, event: Document, last: bool = False) -> Iterator[Named]:
        descriptor = self._descriptors[event["descriptor"]]
        filled = event.get("filled", {})
        external = {
            key: event["data"][key]
            for key, data_key in descriptor["data_keys"].items()
            if "external" in data_key and key in event["data"] and filled.get(key) is not True
        }
        unknown = [key for key, datum_id in external.items() if datum_id not in self._datums]
        if unknown and not last:
            # A Datum may come after the event that refers to it.
            self._waiting.append(event)
            return
        bulk: dict[str, tuple[Document, Document]] = {}
        left_out = set(unknown)
        for key in unknown:
            self.notes.append(
                f"{key}: no Datum {external[key]!r} came; its data are not in the catalog"
            )
        for key, datum_id in external.items():
            if key in left_out:
                continue
            datum = self._datums[datum_id]
            resource = self._resources.get(datum["resource"])
            if resource is not None and self._is_bulk(resource):
                bulk[key] = (resource, datum)
            elif resource is None or not self.keep_unknown:
                spec = "unknown" if resource is None else resource.get("spec")
                self.notes.append(f"{key}: data of spec {spec} were left out of the catalog")
                left_out.add(key)

        streams = list(self._register(descriptor, bulk))
        yield from self._announce(descriptor["uid"])
        yield "event", _without(event, left_out | set(bulk))
        yield from streams

    def _register(
        self, descriptor: Document, bulk: dict[str, tuple[Document, Document]]
    ) -> Iterator[Named]:
        """Yield the stream documents of bulk values; correct the descriptor by their files."""
        for key, (resource, datum) in bulk.items():
            reference = (descriptor["uid"], key, resource["uid"])
            if reference in self._registered:
                continue
            self._registered.add(reference)
            path = _path(resource)
            name = dataset_name(resource, datum)
            data_key = descriptor["data_keys"][key]
            found = look_up(path, name)
            if found is None:
                found = _declared(data_key, resource)
                self.notes.append(
                    f"{key}: {path} could not be opened when the scan was stored; shape "
                    f"{found.shape} and type {found.dtype} are as the scan declared them"
                )
            if descriptor["uid"] not in self._announced:
                data_key.update(shape=list(found.shape[1:]), dtype_numpy=found.dtype, dtype="array")
            start = self._lengths.get((descriptor["uid"], key), 0)
            stop = start + found.shape[0]
            self._lengths[descriptor["uid"], key] = stop
            uid = f"{resource['uid']}-{descriptor['uid']}-{key}"
            self.datasets[uid] = found
            yield (
                "stream_resource",
                {
                    "uid": uid,
                    "data_key": key,
                    "run_start": descriptor["run_start"],
                    "mimetype": "application/x-hdf5",
                    "uri": file_uri(path),
                    "parameters": {
                        "dataset": name,
                        "chunk_shape": [chunk_length(found)],
                        "swmr": False,
                    },
                },
            )
            yield (
                "stream_datum",
                {
                    "uid": f"{uid}-0",
                    "stream_resource": uid,
                    "descriptor": descriptor["uid"],
                    "indices": {"start": start, "stop": stop},
                    "seq_nums": {"start": start + 1, "stop": stop + 1},
                },
            )

    def _announce(self, uid: str) -> Iterator[Named]:
        if uid not in self._announced and uid in self._descriptors:
            self._announced.add(uid)
            yield "descriptor", self._descriptors[uid]

    @staticmethod
    def _is_bulk(resource: Document | None) -> bool:
        return resource is not None and str(resource.get("spec", "")).upper() in BULK_SPECS


def translate(documents: Iterable[Named], keep_unknown: bool = True) -> Iterator[Named]:
    """Yield a whole run's documents as a Tiled catalog stores them."""
    translator = StreamDocuments(keep_unknown)
    for name, document in documents:
        yield from translator(name, document)


def dataset_name(resource: Document, datum: Document) -> str:
    """Return the dataset that a bulk Datum stands for.

    Raises
    ------
    KeyError
        If the datum lacks the argument that names it.
    """
    kwargs = resource.get("resource_kwargs", {})
    given = kwargs.get("dataset") or kwargs.get("path")
    if given:
        return str(given)
    return BULK_SPECS[resource["spec"].upper()](datum.get("datum_kwargs", {}))


def look_up(path: Path, dataset: str) -> Dataset | None:
    """Return what `dataset` in `path` is, or None where it cannot be read from this host now."""
    try:
        with open_h5(relocate(str(path), path.parent)) as file:
            found = file[dataset]
            return Dataset(tuple(found.shape), found.dtype.str)
    except (OSError, KeyError, JobError):
        return None


def file_uri(path: Path) -> str:
    """Return the address of a file as Tiled takes it: it does not decode %20."""
    return f"file://localhost{path}"


def uri_path(uri: str) -> Path:
    """Return the path in a file's address, encoded or not."""
    path = urlparse(uri).path
    return Path(path) if os.path.exists(path) else Path(unquote(path))


def _path(resource: Document) -> Path:
    return Path(resource.get("root") or "/") / str(resource["resource_path"]).lstrip("/")


def _declared(data_key: Document, resource: Document) -> Dataset:
    """Return what the scan said of a dataset: (n, ...), or one reading's (1, ...) and a count."""
    shape = tuple(int(size) for size in data_key.get("shape") or (1,))
    count = resource.get("resource_kwargs", {}).get("frame_per_point")
    if count and shape[0] == 1:
        shape = (int(count), *shape[1:])
    return Dataset(shape, data_key.get("dtype_numpy") or data_key.get("dtype_str") or "<f8")


def chunk_length(dataset: Dataset) -> int:
    """Return how many frames a reader of the catalog fetches at once: some MB."""
    size = np.dtype(dataset.dtype).itemsize * int(np.prod(dataset.shape[1:]))
    return max(1, min(dataset.shape[0] or 1, CHUNK_BYTES // max(size, 1)))


def _without(event: Document, keys: set[str]) -> Document:
    """Return the event without `keys`, its timestamps numbers (HXN's may be datum ids)."""
    return {
        **event,
        "data": {key: value for key, value in event["data"].items() if key not in keys},
        "timestamps": {
            key: value if isinstance(value, int | float) else event["time"]
            for key, value in event["timestamps"].items()
            if key not in keys
        },
        "filled": {key: value for key, value in event.get("filled", {}).items() if key not in keys},
    }
