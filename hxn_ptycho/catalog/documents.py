"""HXN's documents turned into those that a Tiled catalog stores.

Values of HXN's events are datum ids: legacy Resource and Datum documents that stand for whole
files, for a row of a scan, or for a frame. Here they become stream documents, an array a key over
all its files, whose shapes and types are those of the files, because a reader trusts them: Tiled
refuses an array of another type on file. Which frame of the array an event's is, is told by a
column ``<key>_frame``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import event_model

from ..specs import Resource
from .event_stream import EventStream, References
from .hdf5 import Dataset, Roots, chunk_length, file_uri, uri_path
from .referenced import ReferencedArray
from .registry import AssetRegistry, Assets

Document = dict[str, Any]
Named = tuple[str, Document]


class StreamDocuments:
    """Turns the documents of one run, in order, into ones that a Tiled catalog stores.

    Events pass at once as long as they refer to one file a key, in which a frame's number is known;
    others are held until the run stops, when all files' lengths are.

    Parameters
    ----------
    keep_unknown : bool
        Pass on Resource and Datum documents whose spec is none of HXN's but one that Bluesky's
        Tiled writer knows. Without, such values are left out of the run, and `notes` says so.
    registry : AssetRegistry, optional
        Where Resource and Datum documents are looked up that do not come.
    roots : sequence of (old, new)
        Prefixes of paths: where files that were moved are now.
    """

    def __init__(
        self,
        keep_unknown: bool = True,
        registry: AssetRegistry | None = None,
        roots: Roots = (),
    ) -> None:
        self.keep_unknown = keep_unknown
        self.roots = roots
        self.notes: list[str] = []
        #: What each stream resource's dataset is that was made here, by the resource's uid.
        self.datasets: dict[str, Dataset] = {}
        #: Those of them whose length must stay, as rows have numbers of frames after them.
        self.numbered: set[str] = set()
        self._assets = Assets(registry)
        self._streams: dict[str, EventStream] = {}
        #: How many events lack a key, and the first such value, by the key and why.
        self._lost: dict[tuple[str, str], tuple[int, Any]] = {}

    def __call__(self, name: str, document: Document) -> Iterator[Named]:
        """Yield what `document` becomes: nothing, one document, or several."""
        match name:
            case "descriptor":
                yield from self._describe(document)
            case "resource" | "datum" | "datum_page" | "bulk_datum":
                self._assets.add(name, document)
                uid = document["uid" if name == "resource" else "resource"]
                if self._is_for_tiled(self._assets.resource(uid)):
                    yield name, document
            case "event":
                yield from self._event(document)
            case "event_page":
                for event in event_model.unpack_event_page(cast(Any, document)):
                    yield from self._event(cast(Document, event))
            case "bulk_events":
                for events in document.values():
                    for event in events:
                        yield from self._event(event)
            case "stream_resource" if str(document.get("uri", "")).startswith("file:"):
                yield name, {**document, "uri": file_uri(uri_path(document["uri"]))}
            case "stream_datum":
                stream = self._streams[document["descriptor"]]
                if stream.announced:
                    yield name, document
                else:
                    stream.after.append((name, document))
            case "stop":
                for stream in {id(each): each for each in self._streams.values()}.values():
                    yield from self._finish(stream)
                self._note_what_was_lost()
                yield name, document
            case _:
                yield name, document

    def _describe(self, descriptor: Document) -> Iterator[Named]:
        # Kept until used: the files may show what its shapes and types truly are.
        descriptor = copy.deepcopy(descriptor)
        for stream in self._streams.values():
            if stream.is_continued_by(descriptor):
                descriptor["data_keys"] = stream.descriptor["data_keys"]
                self._streams[descriptor["uid"]] = stream
                if stream.announced:
                    yield "descriptor", descriptor
                else:
                    stream.after.append(("descriptor", descriptor))
                return
        self._streams[descriptor["uid"]] = EventStream(descriptor)

    def _event(self, event: Document) -> Iterator[Named]:
        stream = self._streams[event["descriptor"]]
        if not stream.held:
            references = self._find(stream, event)
            if references is not None and stream.is_live(references.places):
                self._refer(stream, event, references)
                yield from self._announce(stream)
                yield "event", stream.row(event, references)
                return
        # Its Datum may come later, or its frame's number be known later; rows stay in order.
        stream.held.append(event)

    def _find(self, stream: EventStream, event: Document, last: bool = False) -> References | None:
        """Return what the keys of an event refer to; None if a Datum is missing and may come."""
        references = References()
        filled = event.get("filled", {})
        for key in stream.external:
            value = event["data"].get(key)
            if value is None or filled.get(key) is True:
                continue
            if not isinstance(value, str):
                references.lost[key] = "hold no datum id"
                continue
            found = self._assets.find(value)
            if found is None and not last and self._assets.ask(value):
                found = self._assets.find(value)
            if found is None:
                if not last:
                    return None
                references.lost[key] = "refer to Datum documents that never came"
                continue
            resource, datum_kwargs = found
            if resource.spec is not None:
                try:
                    references.places[key] = resource.place(datum_kwargs)
                    references.resources[key] = resource
                except KeyError as error:
                    references.lost[key] = f"refer to Datum documents without {error}"
            elif not self._is_for_tiled(resource):
                references.lost[key] = f"refer to data of spec {resource.document.get('spec')!r}"
        return references

    def _refer(self, stream: EventStream, event: Document, references: References) -> None:
        """Take what an event refers to, and what of it is lost."""
        for key, place in references.places.items():
            if key not in stream.arrays:
                stream.arrays[key] = ReferencedArray(key)
            stream.arrays[key].add(references.resources[key], place)
        for key, why in references.lost.items():
            count, example = self._lost.get((key, why), (0, event["data"][key]))
            self._lost[key, why] = (count + 1, example)

    def _announce(self, stream: EventStream) -> Iterator[Named]:
        if not stream.announced:
            yield "descriptor", stream.open(self.roots)
            yield from stream.after
            stream.after.clear()

    def _finish(self, stream: EventStream) -> Iterator[Named]:
        """Yield what was held, and the stream documents of each array."""
        self._assets.ask_for_all(
            [
                event["data"][key]
                for event in stream.held
                for key in stream.external
                if isinstance(event["data"].get(key), str)
            ]
        )
        held = [
            (event, self._find(stream, event, last=True) or References()) for event in stream.held
        ]
        for event, references in held:
            self._refer(stream, event, references)
        self.notes += stream.settle([references for _, references in held], self.roots)
        yield from self._announce(stream)
        for event, references in held:
            yield "event", stream.row(event, references)
        stream.held.clear()
        for array in stream.arrays.values():
            yield from self._stream_documents(stream.descriptor, array)

    def _stream_documents(self, descriptor: Document, array: ReferencedArray) -> Iterator[Named]:
        for number, file in enumerate(array.files.values()):
            found = file.found
            assert found is not None
            uid = f"{file.resource.document['uid']}-{descriptor['uid']}-{array.key}-{number}"
            self.datasets[uid] = Dataset((file.length, *found.shape[1:]), found.dtype)
            if array.by_point:
                self.numbered.add(uid)
            begin, end = file.begin, file.begin + file.length
            yield (
                "stream_resource",
                {
                    "uid": uid,
                    "data_key": array.key,
                    "run_start": descriptor["run_start"],
                    "mimetype": "application/x-hdf5",
                    "uri": file_uri(Path(file.path)),
                    "parameters": {
                        "dataset": file.dataset,
                        "chunk_shape": [chunk_length(self.datasets[uid])],
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
                    "indices": {"start": begin, "stop": end},
                    "seq_nums": {"start": begin + 1, "stop": end + 1},
                },
            )

    def _note_what_was_lost(self) -> None:
        for (key, why), (count, example) in self._lost.items():
            events = "1 event" if count == 1 else f"{count} events"
            self.notes.append(
                f"{key}: the values of {events} {why} (the first: {example!r}); their data are not "
                "in the catalog"
            )
        if self._assets.failure:
            self.notes.append(f"the asset registry failed: {self._assets.failure}")

    def _is_for_tiled(self, resource: Resource | None) -> bool:
        """Whether Bluesky's own Tiled writer may make something of a Resource."""
        if not self.keep_unknown or resource is None or resource.spec is not None:
            return False
        from bluesky_tiled_plugins.writing.tiled_writer import MIMETYPE_LOOKUP

        return resource.name in MIMETYPE_LOOKUP


def translate(
    documents: Iterable[Named], keep_unknown: bool = True, **options: Any
) -> Iterator[Named]:
    """Yield a whole run's documents as a Tiled catalog stores them."""
    translator = StreamDocuments(keep_unknown, **options)
    for name, document in documents:
        yield from translator(name, document)
