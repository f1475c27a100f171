"""A run's documents, as they come, in the layout of a Tiled catalog: streams, tables, arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .backend import Document
from .documents import StreamDocuments
from .errors import CatalogError, Unsupported
from .hdf5 import Dataset, Roots
from .streamed import StreamedArray

if TYPE_CHECKING:
    from .registry import AssetRegistry

FLUSH_SECONDS = 0.5
FLUSH_ROWS = 10_000


class Run(Protocol):
    """What an `EventWriter` fills: a `RunWriter` in which a stream may be described again."""

    def begin(self, replace: bool = False) -> bool:
        """As of `RunWriter`."""
        ...

    def describe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """As of `RunWriter`."""
        ...

    def redescribe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Note that a stream has a second descriptor, of the same keys."""
        ...

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """As of `RunWriter`."""
        ...

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
        """As of `RunWriter`."""
        ...

    def end(self, stop: Mapping[str, Any]) -> None:
        """As of `RunWriter`."""
        ...


class EventWriter:
    """Writes one run as its documents come.

    Parameters
    ----------
    make : callable
        Returns what a run is written into, from its start document.
    lenient : bool
        Leave out what does not fit; otherwise `Unsupported` is raised.
    registry, roots
        As of `insert`.
    """

    def __init__(
        self,
        make: Callable[[Document], Run],
        lenient: bool = False,
        registry: AssetRegistry | None = None,
        roots: Roots = (),
    ) -> None:
        self.make = make
        self.lenient = lenient
        self.roots = roots
        self.skip = False
        self._translate = StreamDocuments(not lenient, registry, roots)
        self._run: Run | None = None
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
            self._run = self.make(document)
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

    def _attach(self, run: Run) -> list[str]:
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
