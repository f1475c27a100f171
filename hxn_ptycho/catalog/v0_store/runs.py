"""A run written into a `databroker.v0` broker piece by piece; and taken out again.

Arrays are Resource and Datum documents of a spec of ours (`OWN_SPEC`), a Resource for each file;
events refer to them, as such brokers know no stream documents.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...home import without_secrets
from ...specs import OWN_SPEC
from ..backend import Document, patiently
from ..errors import CatalogAway, CatalogError
from ..hdf5 import Dataset
from ..spool import decode, encode
from .assets import insert_datums, insert_resource, known_datums, remove_own
from .describing import is_lost
from .sqlite_kind import is_sqlite

if TYPE_CHECKING:
    from .backend import V0Store

T = TypeVar("T")

#: A part of an array: its file, dataset, first frame, and how many; None: all that it has.
Part = tuple[Path, str, int, int | None]


class V0Run:
    """Writes one run, readable while it is written.

    A stream has rows or arrays: events that name files come last, one for each file of an array.

    Parameters
    ----------
    store : V0Store
    start : dict
        Start document; its ``uid`` names the run.
    """

    def __init__(self, store: V0Store, start: Mapping[str, Any]) -> None:
        self.store = store
        self.start = plain("start", start)
        self.uid: str = self.start["uid"]
        self._descriptors: dict[str, Document] = {}
        self._events: dict[str, int] = {}
        self._parts: dict[str, dict[str, list[Part]]] = {}
        # What may be there or not, as its answer never came: taken out before anything is added.
        self._doubtful_events: dict[str, list[str]] = {}
        self._doubtful_streams: set[str] = set()

    def begin(self, replace: bool = False) -> bool:
        """As of `RunWriter`."""

        def act() -> bool:
            there = self.store.metadata(self.uid)
            if there is not None:
                if there.get("stop") and not replace:
                    return False
                self.remove()
            self.store.broker.insert("start", self.start)
            return True

        return self._do(act)

    def describe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """As of `RunWriter`; what is described already stays as it is."""
        if stream in self._descriptors:
            return
        document = {
            "uid": str(uuid.uuid4()),
            "time": time.time(),
            "configuration": {},
            "hints": {},
            "object_keys": {},
            **descriptor,
            "name": stream,
            "run_start": self.uid,
        }
        self.add_descriptor(plain("descriptor", document))

    def add_descriptor(self, descriptor: Document) -> None:
        """Store a whole event descriptor."""
        stream = descriptor["name"]

        def act() -> None:
            if stream in self._doubtful_streams:
                self.store.broker.mds._descriptor_col.delete_many(
                    {"run_start": self.uid, "name": stream}
                )
            if stream not in self._descriptors:
                self._doubtful_streams.add(stream)
            self.store.broker.insert("descriptor", descriptor)
            self._doubtful_streams.discard(stream)

        self._do(act)
        self._descriptors.setdefault(stream, descriptor)
        self._events.setdefault(stream, 0)

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """As of `RunWriter`; values that a row lacks are None."""
        keys = [
            key
            for key, data_key in self._descriptors[stream]["data_keys"].items()
            if "external" not in data_key
        ]
        numbers = itertools.count(self._events[stream] + 1)
        self.add_events(
            stream,
            [
                plain(
                    "event",
                    {
                        "uid": str(uuid.uuid4()),
                        "descriptor": self._descriptors[stream]["uid"],
                        "seq_num": next(numbers),
                        "time": row["time"],
                        "data": {**dict.fromkeys(keys), **row["data"]},
                        "timestamps": {
                            **dict.fromkeys([*keys, *row["data"]], row["time"]),
                            **row.get("timestamps", {}),
                        },
                    },
                )
                for row in rows
            ],
        )

    def add_events(self, stream: str, events: Sequence[Document]) -> None:
        """Store whole events of plain types, of whichever descriptors of a stream."""
        by_descriptor: dict[str, list[Document]] = {}
        for event in events:
            by_descriptor.setdefault(event["descriptor"], []).append(event)
        for uid, some in by_descriptor.items():
            self._add_events_of(uid, some)
            self._events[stream] += len(some)

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
        files = [path] if isinstance(path, Path) else list(path)
        spans: Sequence[tuple[int, int | None]] = frames or [(0, None)] * len(files)
        self._parts.setdefault(stream, {})[key] = [
            (file, dataset, first, count) for file, (first, count) in zip(files, spans, strict=True)
        ]

    def end(self, stop: Mapping[str, Any]) -> None:
        """As of `RunWriter`."""
        for stream in list(self._parts):
            data = self.refer(self._parts[stream])
            self.append(stream, [{"time": time.time(), "data": each} for each in data])
            del self._parts[stream]
        whole = {
            "uid": str(uuid.uuid4()),
            "run_start": self.uid,
            "time": time.time(),
            "num_events": {stream: count for stream, count in self._events.items() if count},
            **stop,
        }
        self.add_stop(plain("stop", whole))

    def add_stop(self, stop: Document) -> None:
        """Store the stop document, once."""

        def act() -> None:
            self._take_out_doubtful_events()
            if not (self.store.metadata(self.uid) or {}).get("stop"):
                self.store.broker.insert("stop", stop)

        self._do(act)

    def refer(self, parts: Mapping[str, Sequence[Part]]) -> list[Document]:
        """Store Resources and Datums of arrays; return what events must hold to refer to them.

        Parameters
        ----------
        parts : mapping
            Of each key, in order.

        Returns
        -------
        list of dict
            Datum ids by key; as many as the array with most parts has.
        """
        events: list[Document] = [{} for _ in range(max(map(len, parts.values()), default=0))]
        for key, of_key in parts.items():
            resources: dict[tuple[Path, str], tuple[str, list[tuple[str, Document]]]] = {}
            for event, (path, dataset, first, count) in zip(events, of_key, strict=False):
                name, datums = resources.setdefault((path, dataset), (str(uuid.uuid4()), []))
                event[key] = f"{name}/{len(datums)}"
                place = {} if count is None else {"first": first, "count": count}
                datums.append((event[key], place))
            for (path, dataset), (name, datums) in resources.items():
                resource = {
                    "uid": name,
                    "spec": OWN_SPEC,
                    "root": "/",
                    "resource_path": str(path.absolute()).lstrip("/"),
                    "resource_kwargs": {"dataset": dataset},
                    "path_semantics": "posix",
                    "run_start": self.uid,
                }
                self._do(lambda document=resource: insert_resource(self.store.broker, document))  # type: ignore[misc]
                self._do(
                    lambda name=name, some=datums: insert_datums(  # type: ignore[misc]
                        self.store.broker, name, some, known_datums(self.store.broker, name)
                    )
                )
        return events

    def remove(self) -> None:
        """Take the run out: its documents, and those Resources of it that were made here.

        databroker.v0 never deletes; this is done in the collections of its database, the stop
        document first, so that what is left of an interrupted removal is an unfinished run.

        Raises
        ------
        CatalogError
            If the broker's database is of a kind that this is not known of.
        """
        mds = self.store.broker.mds
        if not all(hasattr(mds._runstart_col, name) for name in ("find", "delete_many")):
            raise CatalogError(
                f"run {self.uid[:8]} is unfinished in the catalog {self.store.name}, and cannot be "
                f"taken out of a {type(mds).__module__} database: remove it by hand"
            )
        mds._runstop_col.delete_many({"run_start": self.uid})
        if is_sqlite(mds):
            mds._event_col.remove_run(self.uid)
        else:
            found = mds._descriptor_col.find({"run_start": self.uid})
            uids = [descriptor["uid"] for descriptor in found]
            mds._event_col.delete_many({"descriptor": {"$in": uids}})
        mds._descriptor_col.delete_many({"run_start": self.uid})
        remove_own(self.store.broker.reg, self.uid)
        mds._runstart_col.delete_many({"uid": self.uid})
        mds.clear_process_cache()

    def _add_events_of(self, descriptor: str, events: list[Document]) -> None:
        def act() -> None:
            self._take_out_doubtful_events()
            self._doubtful_events[descriptor] = [event["uid"] for event in events]
            self.store.broker.insert("bulk_events", {descriptor: events})
            self._doubtful_events.clear()

        self._do(act)

    def _take_out_doubtful_events(self) -> None:
        for descriptor, uids in self._doubtful_events.items():
            self.store.broker.mds._event_col.delete_many(
                {"descriptor": descriptor, "uid": {"$in": uids}}
            )
        self._doubtful_events.clear()

    def _do(self, action: Callable[[], T]) -> T:
        def locked() -> T:
            with self.store.writing():
                try:
                    return action()
                except Exception as error:
                    if not is_lost(error):
                        raise
                    raise CatalogAway(
                        f"the catalog {self.store.name} does not answer: {type(error).__name__}: "
                        f"{without_secrets(str(error))}"
                    ) from error

        return patiently(self.store, f"run {self.uid[:8]} cannot be stored", locked)


def plain(name: str, document: Mapping[str, Any]) -> Document:
    """Return a document of JSON's types only: numpy's are none for a database."""
    return decode(encode(name, dict(document)))[1]
