"""Documents into a Tiled catalog as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..backend import Document
from ..documents import StreamDocuments
from ..errors import CatalogError, Unsupported
from ..hdf5 import Roots
from ..streamed import StreamedArray
from .growing import GrowingRun
from .permissions import refusals

if TYPE_CHECKING:
    from ..registry import AssetRegistry
    from .backend import TiledStore

FLUSH_SECONDS = 0.5
FLUSH_ROWS = 10_000


class EventWriter:
    """Writes one run into a catalog as its documents come.

    Parameters
    ----------
    store : TiledStore
    lenient : bool
        Leave out what does not fit; otherwise `Unsupported` is raised by runs that only
        `TiledWriter` stores.
    registry, roots
        As of `insert`.
    """

    def __init__(
        self,
        store: TiledStore,
        lenient: bool = False,
        registry: AssetRegistry | None = None,
        roots: Roots = (),
    ) -> None:
        self.store = store
        self.lenient = lenient
        self.roots = roots
        self.skip = False
        self._translate = StreamDocuments(not lenient, registry, roots)
        self._run: GrowingRun | None = None
        self._streams: dict[str, str] = {}
        self._keys: dict[str, Document] = {}
        self._resources: dict[str, Document] = {}
        self._arrays: dict[tuple[str, str], StreamedArray] = {}
        self._rows: dict[str, list[Document]] = {}
        self._flushed = time.monotonic()

    def __call__(self, name: str, document: Document) -> None:
        """Store one document."""
        if self.skip:
            return
        for each, translated in self._translate(name, document):
            self._store(each, translated)

    def idle(self) -> None:
        """Store the events that wait, if the last ones were stored some time ago."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _store(self, name: str, document: Document) -> None:
        if name == "start":
            self._run = GrowingRun(self.store, document, self.lenient)
            self.skip = not self._run.begin()
            return
        run = self._run
        if run is None:
            raise CatalogError(f"a {name} document came before the run's start document")
        match name:
            case "descriptor":
                stream = document["name"]
                self._streams[document["uid"]] = stream
                if stream not in self._keys:
                    self._keys[stream] = document["data_keys"]
                    run.describe(stream, document)
                elif self._keys[stream].keys() == document["data_keys"].keys():
                    run.redescribe(stream, document)
                elif not self.lenient:
                    raise Unsupported("a stream has a second descriptor, of other keys")
            case "event":
                if document["data"]:
                    rows = self._rows.setdefault(self._streams[document["descriptor"]], [])
                    rows.append(document)
                    if len(rows) >= FLUSH_ROWS:
                        self._flush()
            case "stream_resource":
                self._resources[document["uid"]] = document
            case "stream_datum":
                self._take(document)
            case "stop":
                self._flush()
                notes = self._attach(run)
                run.end({**document, **({"storage_notes": notes} if notes else {})})
            case _:
                if not self.lenient:
                    raise Unsupported(f"{name} documents")

    def _take(self, datum: Document) -> None:
        """Take what a part of an array is in; all of it is registered when the run stops."""
        resource = self._resources[datum["stream_resource"]]
        stream, key = self._streams[datum["descriptor"]], resource["data_key"]
        data_key = self._keys[stream].get(key, {})
        array = self._arrays.setdefault((stream, key), StreamedArray(key, data_key))
        array.add(resource, datum)

    def _attach(self, run: GrowingRun) -> list[str]:
        """Register the arrays; return all that must be noted about the run."""
        notes = list(self._translate.notes)
        for (stream, key), array in self._arrays.items():
            try:
                files = array.files(self._translate.datasets, self._translate.numbered, self.roots)
            except Unsupported as reason:
                if not self.lenient:
                    raise
                notes.append(f"{key}: was left out of the catalog, as it is {reason}")
                continue
            notes += files.notes
            run.attach(
                stream, key, files.paths, files.dataset, found=files.found, frames=files.frames
            )
        return notes

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        for stream, rows in self._rows.items():
            if rows and self._run is not None:
                self._run.append(stream, rows)
                self._rows[stream] = []


class TiledWriter:
    """Writes one run by Bluesky's own Tiled writer: any document, at 25 requests a scan."""

    def __init__(
        self, store: TiledStore, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        import bluesky_tiled_plugins

        self.store = store
        self._translate = StreamDocuments(registry=registry, roots=roots)
        self._writer: Callable[[str, Document], None] = bluesky_tiled_plugins.TiledWriter(
            # SQLite holds no lists: every array is stored as one.
            store.runs,
            max_array_size=0,
        )

    def __call__(self, name: str, document: Document) -> None:
        """Store one document."""
        with self.store.writing(), refusals(self.store):
            for each, translated in self._translate(name, document):
                if each == "stop" and self._translate.notes:
                    translated = {**translated, "storage_notes": self._translate.notes}
                self._writer(each, translated)

    def idle(self) -> None:
        """Do nothing: Bluesky's writer stores what waits when the run stops."""
