"""Documents into a `databroker.v0` broker as they come, pages unpacked, streams as Resources."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import event_model

from ..backend import Document
from ..errors import CatalogError, Unsupported
from ..hdf5 import Roots
from ..registry import Assets
from ..streamed import ArrayFiles, StreamedArray
from .assets import insert_datums, insert_resource, known_datums
from .runs import Part, V0Run, plain

if TYPE_CHECKING:
    from ..registry import AssetRegistry
    from .backend import V0Store

FLUSH_SECONDS = 0.5
FLUSH_ROWS = 10_000


class V0Writer:
    """Writes one run as its documents come.

    Events and Datums are stored some at a time. Such a broker knows no stream documents: what they
    tell of becomes Resources and Datums of our spec when the run stops, in an event for each file,
    or in the events that the stream has.

    Parameters
    ----------
    store : V0Store
    registry : AssetRegistry, optional
        Where devices put Resources and Datums that are not among the documents; they are copied
        into the broker's own.
    roots
        As of `insert`.
    """

    def __init__(
        self, store: V0Store, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        self.store = store
        self.roots = roots
        self.skip = False
        other = registry if registry is not store.broker.reg else None
        self._assets = Assets(other)
        self._run: V0Run | None = None
        self._streams: dict[str, str] = {}
        self._external: dict[str, list[str]] = {}
        self._keys: dict[str, Document] = {}
        self._datums: dict[str, list[tuple[str, Document]]] = {}
        self._known: dict[str, set[str]] = {}
        self._rows: dict[str, list[Document]] = {}
        self._strays: list[str] = []
        self._resources: dict[str, Document] = {}
        self._arrays: dict[str, dict[str, StreamedArray]] = {}
        self._left_out: dict[str, str] = {}
        self._flushed = time.monotonic()

    def __call__(self, name: str, document: Document) -> None:
        """Store one document."""
        if self.skip:
            return
        document = plain(name, document)
        if name == "start":
            self._run = V0Run(self.store, document)
            self.skip = not self._run.begin()
            return
        run = self._run
        if run is None:
            raise CatalogError(f"a {name} document came before the run's start document")
        match name:
            case "descriptor":
                self._describe(run, document)
            case "event":
                self._take_event(document)
            case "event_page":
                for event in event_model.unpack_event_page(cast(Any, document)):
                    self._take_event(cast(Document, event))
            case "bulk_events":
                for events in document.values():
                    for event in events:
                        self._take_event(event)
            case "resource":
                self._assets.add(name, document)
                document.setdefault("run_start", run.uid)
                insert_resource(self.store.broker, document)
            case "datum" | "datum_page" | "bulk_datum":
                self._take_datums(name, document)
            case "stream_resource":
                self._resources[document["uid"]] = document
            case "stream_datum":
                self._take_stream_datum(document)
            case "stop":
                self._stop(run, document)
        if sum(map(len, self._rows.values())) >= FLUSH_ROWS:
            self._flush()

    def idle(self) -> None:
        """Store what waits, if the last was stored some time ago."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _describe(self, run: V0Run, descriptor: Document) -> None:
        stream = descriptor.setdefault("name", "primary")
        self._streams[descriptor["uid"]] = stream
        keys = self._keys.setdefault(stream, {})
        keys.update(descriptor["data_keys"])
        self._external[descriptor["uid"]] = [
            key for key, data_key in descriptor["data_keys"].items() if "external" in data_key
        ]
        run.add_descriptor(descriptor)

    def _take_event(self, event: Document) -> None:
        filled = event.pop("filled", {})
        for key in self._external[event["descriptor"]]:
            # databroker stores what "filled" has instead of the value: true, for one.
            if isinstance(filled.get(key), str):
                event["data"][key] = filled[key]
            value = event["data"].get(key)
            if isinstance(value, str) and self._assets.find(value) is None:
                self._strays.append(value)
        self._rows.setdefault(self._streams[event["descriptor"]], []).append(event)

    def _take_datums(self, name: str, document: Document) -> None:
        self._assets.add(name, document)
        some = self._datums.setdefault(document["resource"], [])
        match name:
            case "datum":
                some.append((document["datum_id"], document["datum_kwargs"]))
            case "datum_page":
                for datum in event_model.unpack_datum_page(cast(Any, document)):
                    some.append((datum["datum_id"], dict(datum["datum_kwargs"])))
            case "bulk_datum":
                pairs = zip(document["datum_ids"], document["datum_kwarg_list"], strict=True)
                some.extend(pairs)

    def _take_stream_datum(self, datum: Document) -> None:
        resource = self._resources[datum["stream_resource"]]
        stream, key = self._streams[datum["descriptor"]], resource["data_key"]
        arrays = self._arrays.setdefault(stream, {})
        array = arrays.setdefault(key, StreamedArray(key, self._keys[stream].get(key, {})))
        try:
            array.add(resource, datum)
        except Unsupported as reason:
            self._left_out[key] = str(reason)

    def _stop(self, run: V0Run, stop: Document) -> None:
        self._copy_strays(run)
        notes: list[str] = []
        for stream, arrays in self._arrays.items():
            parts: dict[str, list[Part]] = {}
            for key, array in arrays.items():
                try:
                    if key in self._left_out:
                        raise Unsupported(self._left_out[key])
                    files = array.files({}, (), self.roots)
                except Unsupported as reason:
                    notes.append(f"{key}: was left out of the catalog, as it is {reason}")
                    continue
                notes += files.notes
                parts[key] = _parts(files)
            notes += self._refer(run, stream, parts)
        self._flush(all_streams=True)
        run.add_stop({**stop, **({"storage_notes": notes} if notes else {})})

    def _refer(self, run: V0Run, stream: str, parts: dict[str, list[Part]]) -> list[str]:
        """Let the events of a stream refer to its arrays; return what must be noted."""
        notes: list[str] = []
        rows = self._rows.setdefault(stream, [])
        if not rows:
            (descriptor, *_) = (uid for uid, name in self._streams.items() if name == stream)
            rows += [
                {
                    "uid": f"{descriptor}-{number}",
                    "descriptor": descriptor,
                    "seq_num": number,
                    "time": time.time(),
                    "data": {},
                    "timestamps": {},
                }
                for number in range(1, 1 + max(map(len, parts.values()), default=0))
            ]
        else:
            for key, of_key in list(parts.items()):
                split = _split(of_key, len(rows))
                if split is None:
                    del parts[key]
                    total = sum(count or 0 for *_, count in of_key)
                    notes.append(
                        f"{key}: was left out of the catalog, as {total} frames cannot be divided "
                        f"among {len(rows)} events"
                    )
                else:
                    parts[key] = split
        for row, data in zip(rows, run.refer(parts), strict=False):
            row["data"].update(data)
            row["timestamps"].update(dict.fromkeys(data, row["time"]))
        return notes

    def _copy_strays(self, run: V0Run) -> None:
        """Copy what only another registry has, and events refer to."""
        self._assets.ask_for_all(self._strays)
        found: dict[str, tuple[Document, list[tuple[str, Document]]]] = {}
        for datum_id in self._strays if self._assets.registry is not None else ():
            if (known := self._assets.find(datum_id)) is not None:
                resource, kwargs = known
                of = found.setdefault(resource.document["uid"], (resource.document, []))
                of[1].append((datum_id, dict(kwargs)))
        for uid, (document, datums) in found.items():
            insert_resource(self.store.broker, {"run_start": run.uid, **document})
            self._datums.setdefault(uid, []).extend(datums)

    def _flush(self, all_streams: bool = False) -> None:
        self._flushed = time.monotonic()
        for resource, datums in self._datums.items():
            with self.store.writing():
                if resource not in self._known:
                    self._known[resource] = known_datums(self.store.broker, resource)
                insert_datums(self.store.broker, resource, datums, self._known[resource])
        self._datums.clear()
        for stream, rows in self._rows.items():
            # Rows of a stream with stream documents wait: their data are told of at the end.
            if rows and self._run is not None and (all_streams or not self._is_streamed(stream)):
                self._run.add_events(stream, rows)
                self._rows[stream] = []

    def _is_streamed(self, stream: str) -> bool:
        return stream in self._arrays or any(
            str(data_key.get("external", "")).startswith("STREAM")
            for data_key in self._keys[stream].values()
        )


def _parts(files: ArrayFiles) -> list[Part]:
    spans: Sequence[tuple[int, int | None]] = files.frames or [(0, None)] * len(files.paths)
    return [
        (path, files.dataset, first, count)
        for path, (first, count) in zip(files.paths, spans, strict=True)
    ]


def _split(parts: list[Part], events: int) -> list[Part] | None:
    """Return the same frames, as many for each event; None if they cannot be divided so."""
    total = sum(count or 0 for *_, count in parts)
    each, rest = divmod(total, events)
    if rest or not each:
        return None
    split: list[Part] = []
    for path, dataset, first, count in parts:
        if count is None or count % each:
            return None
        split += [(path, dataset, first + k, each) for k in range(0, count, each)]
    return split
