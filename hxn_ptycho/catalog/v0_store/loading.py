"""A run of a `databroker.v0` broker in memory, as a Tiled catalog would have it.

The broker has Resource and Datum documents and events with datum ids. What these mean, the room
knows already: the documents go through the same `EventWriter` as into a Tiled catalog, into a
`LoadedRun` instead.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..backend import Contents, Document, Source
from ..event_writer import EventWriter
from ..hdf5 import Dataset

if TYPE_CHECKING:
    from ..registry import AssetRegistry

TABLE = "events"
# What a column's values are, by the dtype of its data key; others are arrays of their own.
_TYPES = {"number": "float64", "integer": "int64", "boolean": "bool_", "string": "string"}


@dataclass
class Stream:
    """One stream of a run.

    Attributes
    ----------
    descriptor : dict
        As the room has it: shapes and types those of the files, columns of frames' numbers.
    rows : list of dict
        Its events without what they refer to; ``data`` and ``timestamps`` by key.
    sources : dict of Source
        Arrays in files, by key.
    """

    descriptor: Document
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def contents(self) -> Contents:
        """What the stream has."""
        tables = {TABLE: set(self.columns)} if self.rows else {}
        return Contents(dict(self.sources), tables)

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Arrow arrays of numbers, truth values and texts, by name, in the order of the events."""
        import pyarrow  # type: ignore[import-untyped]

        columns = {
            "seq_num": pyarrow.array(range(1, len(self.rows) + 1), pyarrow.int64()),
            "time": pyarrow.array([row["time"] for row in self.rows], pyarrow.float64()),
        }
        for key, data_key in self.descriptor["data_keys"].items():
            kind = _TYPES.get(data_key.get("dtype", ""))
            if "external" in data_key or kind is None:
                continue
            columns[key] = _column([row["data"].get(key) for row in self.rows], kind)
            columns[f"ts_{key}"] = _column(
                [row.get("timestamps", {}).get(key, row["time"]) for row in self.rows], "float64"
            )
        return columns

    def array(self, key: str) -> NDArray[Any] | None:
        """Return what the events themselves hold of an array, (events, ...); None: nothing."""
        values = [row["data"][key] for row in self.rows if row["data"].get(key) is not None]
        return np.asarray(values) if values else None


class LoadedRun:
    """A run in memory; what an `EventWriter` fills.

    Attributes
    ----------
    streams : dict of Stream
        By name.
    stop : dict or None
    failure : Exception or None
        What the registry said, if it failed; arrays are missing then.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.streams: dict[str, Stream] = {}
        self.stop: Document | None = None

    def begin(self, replace: bool = False) -> bool:
        """Take the run, whatever there is of it."""
        return True

    def describe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Open a stream."""
        self.streams[stream] = Stream(dict(descriptor))

    def redescribe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Do nothing: a second descriptor of the same keys changes nothing that is asked for."""

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add events."""
        self.streams[stream].rows.extend(rows)

    def attach(
        self,
        stream: str,
        key: str,
        path: Path | Sequence[Path],
        dataset: str,
        *,
        found: Dataset | None = None,
        frames: Sequence[tuple[int, int]] | None = None,
        dims: Iterable[str] = (),
    ) -> None:
        """Take where an array lies."""
        files = (path,) if isinstance(path, Path) else tuple(path)
        spans = tuple((start, count) for start, count in frames) if frames is not None else None
        self.streams[stream].sources[key] = Source(files, dataset, frames=spans)

    def end(self, stop: Mapping[str, Any]) -> None:
        """Take the stop document."""
        self.stop = dict(stop)


def load(
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    registry: AssetRegistry,
    root_map: Mapping[str, str],
) -> LoadedRun:
    """Return a run in memory.

    Parameters
    ----------
    documents : iterable of (name, document)
        Start, descriptors, and events that are not filled, in any order; a stop, if there is one.
    registry : AssetRegistry
        Where what the events refer to is looked up.
    root_map : mapping
        Of the registry: what roots of Resources are now.
    """
    registry = _Rerooted(registry, root_map)
    by_name: dict[str, list[Document]] = {}
    for name, document in documents:
        by_name.setdefault(name, []).append(_plain(document))
    run = LoadedRun()
    # Whatever a broker took is read as far as it can be.
    write = EventWriter(lambda start: run, True, registry)
    (start,) = by_name["start"][:1]
    write("start", start)
    for descriptor in by_name.get("descriptor", ()):
        write("descriptor", {"name": "primary", **descriptor})
    # Brokers give events in the order of their times, and clocks are set.
    for event in sorted(by_name.get("event", ()), key=lambda event: event["seq_num"]):
        write("event", event)
    stops = [stop for stop in by_name.get("stop", ()) if stop]
    write("stop", {"run_start": start["uid"], **(stops[0] if stops else {})})
    run.failure = registry.failure
    return run


def unfilled(header: Any, **which: Any) -> Iterator[tuple[str, Document]]:
    """Yield a run's documents, its events not filled.

    databroker looks each datum up for that, and stops at the first that is missing; unless a broker
    is of a kind that does it otherwise, its sources of events are asked.

    Parameters
    ----------
    header : databroker.v0.Header
    **which
        ``stream_name``; default: all streams.
    """
    from databroker.v0 import BrokerES

    broker = header.db
    if type(broker).get_documents is not BrokerES.get_documents:
        yield from header.documents(fill=False, **which)
        return
    for source in broker.event_sources:
        yield from source.docs_given_header(header=header, **which)


class _Rerooted:
    """A registry whose Resources are where they are now, as its ``root_map`` says."""

    def __init__(self, registry: AssetRegistry, root_map: Mapping[str, str]) -> None:
        self._registry = registry
        self._root_map = dict(root_map)
        self.DatumNotFound = getattr(registry, "DatumNotFound", KeyError)
        self.failure: Exception | None = None

    def resource_given_datum_id(self, datum_id: str) -> Document:
        """As of `AssetRegistry`."""
        with self._noting():
            resource = _plain(self._resource_of(datum_id))
        root = resource.get("root") or ""
        return {**resource, "root": self._root_map.get(root, root)}

    def datum_gen_given_resource(self, resource: Any) -> Iterator[Document]:
        """As of `AssetRegistry`."""
        with self._noting():
            yield from self._registry.datum_gen_given_resource(resource)

    def _resource_of(self, datum_id: str) -> Mapping[str, Any]:
        from databroker.assets.base_registry import BaseRegistryRO

        registry: Any = self._registry
        if type(registry).resource_given_datum_id is BaseRegistryRO.resource_given_datum_id:
            # databroker's reads all datums of the resource first, which are asked for next.
            datum = registry._datum_col.find_one({"datum_id": datum_id})
            if datum is None:
                raise registry.DatumNotFound(datum_id=datum_id)
            resource: Mapping[str, Any] = registry._resource_cache[datum["resource"]]
            return resource
        return self._registry.resource_given_datum_id(datum_id)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except (self.DatumNotFound, KeyError):
            raise
        except Exception as error:
            self.failure = error
            raise


def _plain(document: Mapping[str, Any]) -> Document:
    """Return a plain dict: databroker's own hide a key, and cannot be changed."""
    return dict(document.items())


def _column(values: list[Any], kind: str) -> Any:
    """Return an Arrow array; of another type, or of texts, if the values are not what was said."""
    import pyarrow

    try:
        return pyarrow.array(values, getattr(pyarrow, kind)())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
        pass
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
        texts = [None if value is None else json.dumps(value, default=str) for value in values]
        return pyarrow.array(texts)
