"""Events of databroker.v0 on SQLite: its files, with a connection of its own for each call.

databroker's collection knows the runs that were there when it was made, has a thread for all calls,
and takes no lists, no names with a hyphen.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SECONDS = 30.0


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
