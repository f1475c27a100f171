"""databroker.v0 on SQLite, made fit for several processes and busy machines.

As it ships, a process reads the run list once, two that write lose each other's runs (each writes
whole JSON files, in place), a run that another process began cannot be read, and a call on the
asset registry fails if it takes a tenth of a second. The files are the same here, and plain
databroker reads them; the broker's own collections are exchanged for these.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..registry import make_patient
from ..writing import exclusively
from .sqlite_events import Events

Document = dict[str, Any]

LOCK = ".hxn_ptycho.lock"


def is_sqlite(mds: Any) -> bool:
    """Whether a header source is databroker's on SQLite."""
    return any(
        (kind.__module__, kind.__name__) == ("databroker.headersource.sqlite", "_CollectionMixin")
        for kind in type(mds).__mro__
    )


def lock_file(mds: Any) -> Path:
    """Return the file by which processes take turns to write.

    Raises
    ------
    FileNotFoundError
        If the folder is not there now.
    """
    folder = Path(mds.config["directory"]).absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} is not there")
    return folder / LOCK


def make_safe(mds: Any, registry: Any) -> None:
    """Exchange the collections of a broker on SQLite for those of this module, once.

    Parameters
    ----------
    mds, registry
        The broker's; others than databroker's on SQLite are left as they are.
    """
    prefix = "_CollectionMixin__"  # of attributes that databroker makes when first asked for
    theirs = getattr(mds, f"{prefix}event_col", None)
    if is_sqlite(mds) and not isinstance(theirs, Events):
        folder = Path(mds.config["directory"]).absolute()
        descriptors = Documents(mds, folder / "event_descriptors.json")
        events = Events(folder, lambda uid: descriptors.find_one({"uid": uid}))
        events.replaced = theirs
        descriptors.before = events.new_descriptor
        starts = Documents(mds, folder / "run_starts.json", unique="uid")
        starts.before = events.new_runstart
        setattr(mds, f"{prefix}event_col", events)
        setattr(mds, f"{prefix}descriptor_col", descriptors)
        setattr(mds, f"{prefix}runstart_col", starts)
        setattr(mds, f"{prefix}runstop_col", Documents(mds, folder / "run_stops.json"))
    make_patient(registry)


class Documents:
    """A collection of documents in a JSON file that several processes write.

    Parameters
    ----------
    mds
        Whose it is.
    path : Path
    unique : str, optional
        Key of which no two documents may have the same value.

    Attributes
    ----------
    before : callable
        What is done with a document before it is stored.
    """

    def __init__(self, mds: Any, path: Path, unique: str = "") -> None:
        self._mds = mds
        self._path = path
        self._unique = unique
        self._state: tuple[int, ...] = ()
        self._docs: list[Document] = []
        self.before: Callable[[Document], None] = lambda document: None

    def find(
        self, query: Mapping[str, Any], sort: Iterable[tuple[str, int]] | None = None
    ) -> Iterator[Document]:
        """Yield documents that a MongoDB query matches, oldest of equals last if descending."""
        found = self._matching(query)
        for key, direction in sort or ():
            found.sort(key=lambda document: document[key], reverse=direction < 0)
        return (json.loads(json.dumps(document)) for document in found)

    def find_one(self, query: Mapping[str, Any]) -> Document | None:
        """Return the first document that matches, or None."""
        return next(iter(self.find(query)), None)

    def estimated_document_count(self) -> int:
        """Return how many documents there are."""
        self.refresh()
        return len(self._docs)

    def insert_one(self, document: Document) -> None:
        """Store a document.

        Raises
        ------
        RuntimeError
            If there is one of its kind, where there may be one only.
        """
        with self._locked():
            self.refresh()
            if self._unique and self._matching({self._unique: document[self._unique]}):
                raise RuntimeError(f"Duplicate {self._unique}: {document[self._unique]}")
            self.before(document)
            self._write([*self._docs, json.loads(json.dumps(document))])

    def delete_many(self, query: Mapping[str, Any]) -> None:
        """Take out the documents that match."""
        with self._locked():
            gone = {id(document) for document in self._matching(query)}
            if gone:
                self._write([document for document in self._docs if id(document) not in gone])

    def refresh(self) -> None:
        """Read the file if another process has written it.

        Raises
        ------
        FileNotFoundError
            If its folder is not there now.
        """
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            lock_file(self._mds)
            self._state, self._docs = (), []
            return
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state != self._state:
            self._docs = json.loads(self._path.read_text())
            self._state = state

    def _matching(self, query: Mapping[str, Any]) -> list[Document]:
        from mongoquery import Query  # type: ignore[import-untyped]

        self.refresh()
        if len(query) == 1:
            ((key, value),) = query.items()
            if isinstance(value, str) and not key.startswith("$") and "." not in key:
                return [document for document in self._docs if document.get(key) == value]
        match = Query(dict(query)).match
        return [document for document in self._docs if match(document)]

    def _write(self, documents: list[Document]) -> None:
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_text(json.dumps(documents))
        os.replace(partial, self._path)
        self.refresh()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with exclusively(lock_file(self._mds), self._path.parent.name):
            yield
