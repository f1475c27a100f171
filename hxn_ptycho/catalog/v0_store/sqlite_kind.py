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
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..registry import make_patient
from ..writing import exclusively

Document = dict[str, Any]

LOCK = ".hxn_ptycho.lock"
SECONDS = 30.0


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


class Events:
    """Events in SQLite files, one a run, a table a descriptor.

    Parameters
    ----------
    folder : Path
    find_descriptor : callable
        Returns a descriptor by its uid.
    """

    def __init__(
        self, folder: Path, find_descriptor: Callable[[str], Mapping[str, Any] | None]
    ) -> None:
        self._folder = folder
        self._find_descriptor = find_descriptor
        #: databroker's own, which cannot be collected: its thread waits for itself then.
        self.replaced: Any = None
        self._descriptors: dict[str, Mapping[str, Any]] = {}

    def new_runstart(self, document: Document) -> None:
        """Make the file of a run."""
        self._path(document["uid"]).touch()

    def new_descriptor(self, document: Document) -> None:
        """Make the table of a descriptor."""
        with self._open(document["run_start"]) as database:
            columns = ", ".join(map(_quote, _columns(document["data_keys"])))
            database.execute(f"CREATE TABLE {_table(document['uid'])} ({columns})")
        self._descriptors[document["uid"]] = document

    def find(self, query: Mapping[str, Any], sort: Any = None) -> Iterator[Document]:
        """Yield the events of a descriptor."""
        uid = query["descriptor"]
        descriptor = self._descriptor(uid)
        kinds = {
            key: ("text" if "external" in data_key else data_key.get("dtype"))
            for key, data_key in descriptor["data_keys"].items()
        }
        with self._open(descriptor["run_start"]) as database:
            rows = database.execute(f"SELECT * FROM {_table(uid)} ORDER BY seq_num")
            names = [column[0] for column in rows.description]
            data = [(k, name[5:]) for k, name in enumerate(names) if name.startswith("data_")]
            times = [(k, name[11:]) for k, name in enumerate(names) if name.startswith("timest")]
            place = {name: k for k, name in enumerate(names)}
            for row in rows.fetchall():
                # A key that an event lacks has neither a value nor a time.
                lacking = {key for k, key in times if row[k] is None} if None in row else ()
                yield {
                    "uid": row[place["uid"]],
                    "seq_num": row[place["seq_num"]],
                    "time": row[place["time"]],
                    "data": {
                        key: _value(row[k], kinds.get(key))
                        for k, key in data
                        if row[k] is not None or key not in lacking
                    },
                    "timestamps": {
                        key: row[k]
                        for k, key in times
                        if row[k] is not None or row[place[f"data_{key}"]] is not None
                    },
                }

    def insert_one(self, document: Document) -> None:
        """Store an event."""
        self.insert_many([document])

    def insert_many(self, documents: Iterable[Document]) -> None:
        """Store events."""
        by_descriptor: dict[str, list[Document]] = {}
        for document in documents:
            by_descriptor.setdefault(document["descriptor"], []).append(document)
        for uid, events in by_descriptor.items():
            keys = sorted({key for event in events for key in event["data"]})
            columns = ", ".join(map(_quote, _columns(keys)))
            marks = ", ".join("?" * (3 + 2 * len(keys)))
            with self._open(self._descriptor(uid)["run_start"]) as database:
                database.executemany(
                    f"INSERT INTO {_table(uid)} ({columns}) VALUES ({marks})",
                    (
                        (
                            *(event[key] for key in ("uid", "seq_num", "time")),
                            *(_cell(event["data"].get(key)) for key in keys),
                            *(event["timestamps"].get(key) for key in keys),
                        )
                        for event in events
                    ),
                )

    insert = insert_many

    def delete_many(self, query: Mapping[str, Any]) -> None:
        """Take out the events of a descriptor with these uids."""
        uids = query["uid"]["$in"]
        with self._open(self._descriptor(query["descriptor"])["run_start"]) as database:
            database.executemany(
                f"DELETE FROM {_table(query['descriptor'])} WHERE uid = ?", ((uid,) for uid in uids)
            )

    def remove_run(self, uid: str) -> None:
        """Remove the file of a run."""
        self._path(uid).unlink(missing_ok=True)
        self._descriptors = {
            each: descriptor
            for each, descriptor in self._descriptors.items()
            if descriptor["run_start"] != uid
        }

    def reconnect(self) -> None:
        """Do nothing: each call has a connection of its own."""

    def _descriptor(self, uid: str) -> Mapping[str, Any]:
        if uid not in self._descriptors:
            self._descriptors[uid] = self._find_descriptor(uid) or {}
        return self._descriptors[uid]

    def _path(self, run: str) -> Path:
        return self._folder / f"{run}.sqlite"

    @contextlib.contextmanager
    def _open(self, run: str) -> Iterator[sqlite3.Connection]:
        # A file that is not there must not be made: its folder may be away for a moment.
        address = f"{self._path(run).as_uri()}?mode=rw"
        database = sqlite3.connect(address, timeout=SECONDS, uri=True)
        with contextlib.closing(database), database:
            yield database


def _columns(keys: Iterable[str]) -> list[str]:
    names = sorted(keys)
    return [
        *("uid", "seq_num", "time"),
        *(f"data_{key}" for key in names),
        *(f"timestamps_{key}" for key in names),
    ]


def _quote(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _table(uid: str) -> str:
    return _quote(f"desc_{uid.replace('-', '_')}")


def _cell(value: Any) -> Any:
    """Return what a cell holds: SQLite has no lists, which databroker refuses."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _value(cell: Any, dtype: str | None) -> Any:
    if dtype == "array" and isinstance(cell, str):
        return json.loads(cell)
    return bool(cell) if dtype == "boolean" and cell is not None else cell
