"""`V0Store`: what the rest of the room asks of a `databroker.v0.Broker`."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...home import Store, without_secrets
from ..backend import Contents, DocumentWriter
from ..errors import CatalogAway, CatalogError
from ..hdf5 import Roots
from ..writing import exclusively
from .describing import describe_v0, is_passing, place
from .filling import read_filled
from .loading import LoadedRun, load, unfilled
from .preparing import prepare
from .runs import V0Run
from .sqlite_kind import is_sqlite, lock_file
from .writers import V0Writer

if TYPE_CHECKING:
    from ..registry import AssetRegistry

_PREFIX_MATCHES = 20
# Runs in memory: a scan of 67,200 events with ten columns takes some 50 MB.
_MOST_RUNS = 8


class V0Store:
    """A store of runs, by its `databroker.v0.Broker` or what is derived from it.

    Runs are found and read by what such a broker offers to everybody (``db[...]``, ``db(...)``,
    headers, ``db.reg``), so that brokers that look into several databases do so here.

    Parameters
    ----------
    broker : databroker.v0.Broker
    """

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        prepare(broker)
        self.name = str(broker.name or place(broker))

    @property
    def address(self) -> str:
        """As of `Backend`: the folder, or the database and its host."""
        return place(self.broker)

    @property
    def home(self) -> Path | None:
        """As of `Backend`."""
        return None

    def description(self) -> Store:
        """As of `Backend`."""
        return describe_v0(self.broker)

    def metadata(self, uid: str) -> dict[str, Any] | None:
        """As of `Backend`."""
        header = self._header(uid)
        if header is None:
            return None
        metadata = _metadata(header)
        if stop := metadata.get("stop"):
            with _guard:
                run = _kept.setdefault(self.broker, OrderedDict()).get((uid, stop["uid"]))
            if run is not None and run.stop is not None and "storage_notes" in run.stop:
                stop["storage_notes"] = run.stop["storage_notes"]
        return metadata

    def __len__(self) -> int:
        with self.answering():
            return int(self.broker.mds._runstart_col.estimated_document_count())

    def last(self, number: int) -> str | None:
        """As of `Backend`; databroker.v0 orders runs by the times of their start documents."""
        with self.answering():
            try:
                return str(self.broker[-number].start["uid"])
            except IndexError:
                return None

    def newest_with_scan_id(self, scan_id: int) -> str | None:
        """As of `Backend`."""
        with self.answering():
            try:
                return str(self.broker[scan_id].start["uid"])
            except KeyError:
                return None

    def uids_that_begin_with(self, text: str) -> list[str]:
        """As of `Backend`."""
        with self.answering():
            try:
                found = [self.broker[text].start["uid"]]
            except KeyError:
                return []
            except ValueError:  # several
                pattern = {"$regex": f"^{text}"}
                starts = self.broker.hs.find_run_starts(uid=pattern)
                found = [start["uid"] for start in islice(starts, _PREFIX_MATCHES)]
        # In a pattern a full stop stands for any character.
        return [uid for uid in found if uid.startswith(text)]

    def search(
        self,
        equal: Mapping[str, Any],
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, dict[str, Any]]]:
        """As of `Backend`."""
        terms: list[dict[str, Any]] = [{key: value} for key, value in equal.items()]
        terms += [] if since is None else [{"time": {"$gte": since}}]
        terms += [] if until is None else [{"time": {"$lt": until}}]
        with self.answering():
            # As one term: as arguments, "since" and others would have another meaning.
            newest_first = self.broker(**{"$and": terms or [{}]})
            found = [_metadata(header) for header in islice(newest_first, limit)]
        found.reverse()
        return [
            (metadata["start"]["uid"], metadata)
            for metadata in sorted(found, key=lambda metadata: metadata["start"]["time"])
        ]

    def descriptors(self, uid: str) -> list[dict[str, Any]]:
        """As of `Backend`."""
        return [
            {**stream.descriptor, "name": name, "run_start": uid}
            for name, stream in self._require_run(uid).streams.items()
        ]

    def contents(self, uid: str, stream: str) -> Contents:
        """As of `Backend`."""
        run = self._run(uid)
        found = run.streams.get(stream) if run is not None else None
        return Contents() if found is None else found.contents

    def columns(
        self, uid: str, stream: str, known: Contents, keys: Sequence[str] = ()
    ) -> dict[str, Any]:
        """As of `Backend`."""
        found = self._require_run(uid).streams[stream].columns if known.tables else {}
        wanted = [key for key in keys if key in found]
        if not keys:
            return dict(found)
        return {key: found[key] for key in ("seq_num", *wanted)} if wanted else {}

    def require(self, uid: str, stream: str, key: str | None = None) -> None:
        """As of `Backend`."""
        streams = self._require_run(uid).streams
        if stream not in streams:
            raise CatalogError(f"run {uid[:8]} has no stream {stream!r}; it has {sorted(streams)}")
        keys = streams[stream].descriptor["data_keys"]
        if key is not None and key not in keys:
            raise CatalogError(
                f"stream {stream!r} of run {uid[:8]} has no {key!r}; it has {sorted(keys)}"
            )

    def read(self, uid: str, stream: str, key: str) -> NDArray[np.generic]:
        """As of `Backend`: arrays in the events, and whatever the broker has a handler for."""
        self.require(uid, stream, key)
        values = self._require_run(uid).streams[stream].array(key)
        if values is not None:
            return values
        header = self._header(uid)
        assert header is not None
        with self.answering():
            return read_filled(header, stream, key)

    def why_unreadable(self, uid: str, stream: str, key: str) -> str:
        """As of `Backend`: nobody reads files for such a broker but who asks."""
        return ""

    def writing(self) -> AbstractContextManager[None]:
        """As of `Backend`: one writer at a time on SQLite; MongoDB sees to its own."""
        mds = self.broker.mds
        if not is_sqlite(mds):
            return exclusively(None, self.name)
        with self.answering():
            return exclusively(lock_file(mds), self.name)

    def remove(self, uid: str) -> None:
        """As of `Backend`."""
        with self.answering():
            V0Run(self, {"uid": uid}).remove()

    def run_writer(self, start: Mapping[str, Any]) -> V0Run:
        """As of `Backend`."""
        return V0Run(self, start)

    def document_writers(
        self, registry: AssetRegistry | None, roots: Roots
    ) -> list[Callable[[], DocumentWriter]]:
        """As of `Backend`; what `registry` has, the broker's own has or needs not."""
        return [lambda: V0Writer(self, registry, roots)]

    def is_passing(self, error: BaseException) -> bool:
        """As of `Backend`."""
        return is_passing(error)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Say in the room's words that the broker does not answer, or refuses."""
        try:
            yield
        except CatalogError:
            raise
        except Exception as error:
            kind = CatalogAway if is_passing(error) else CatalogError
            what = "does not answer" if kind is CatalogAway else "refuses"
            raise kind(
                f"the catalog {self.name} {what}: "
                f"{type(error).__name__}: {without_secrets(str(error))}"
            ) from error

    def _header(self, uid: str) -> Any:
        """Return databroker's header of a run by its full uid, or None."""
        with self.answering():
            try:
                header = self.broker[uid]
            except (KeyError, ValueError):  # none; or several that begin so, and none that is so
                return None
        return header if header.start["uid"] == uid else None

    def _require_run(self, uid: str) -> LoadedRun:
        run = self._run(uid)
        if run is None:
            raise CatalogError(f"there is no run {uid!r} in the catalog {self.name}")
        return run

    def _run(self, uid: str) -> LoadedRun | None:
        """Return a run in memory; one that has ended is kept there for a while."""
        header = self._header(uid)
        if header is None:
            return None
        stop = header.stop or {}
        with _guard:
            kept = _kept.setdefault(self.broker, OrderedDict())
            if stop and (uid, stop["uid"]) in kept:
                kept.move_to_end((uid, stop["uid"]))
                return kept[uid, stop["uid"]]
        with self.answering():
            # The header's own broker: that of the database in which the run was found.
            registry = header.db.reg
            run = load(unfilled(header), registry, registry.root_map)
            if run.failure is not None and is_passing(run.failure):
                raise run.failure
        if stop:
            with _guard:
                kept[uid, stop["uid"]] = run
                while len(kept) > _MOST_RUNS:
                    kept.popitem(last=False)
        return run


_Kept = OrderedDict[tuple[str, str], LoadedRun]
_kept: weakref.WeakKeyDictionary[Any, _Kept] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def _metadata(header: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"start": dict(header.start.items())}
    if header.stop:
        metadata["stop"] = dict(header.stop.items())
    return metadata
