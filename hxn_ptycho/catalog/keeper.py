"""Runs that wait in the spool go into their catalog when it takes them: in order, each once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..home import Home, find_home
from . import spool
from .backend import DocumentWriter, backend_of
from .errors import CatalogAway, CatalogError, NotAllowed
from .hdf5 import Roots
from .registry import AssetRegistry, asset_registry
from .storage import registry_file
from .store import insert

if TYPE_CHECKING:
    from databroker import Broker

    from .documents import Named

logger = logging.getLogger(__name__)

#: Seconds between looks whether a catalog takes runs again: growing from the first to the most.
FIRST_PAUSE, MOST_PAUSE = 1.0, 60.0
#: Until a run that the catalog refused is tried again, growing likewise.
REFUSED_PAUSE, MOST_REFUSED_PAUSE = 60.0, 3600.0
#: So often a run may find the catalog away that answers everybody else.
MOST_FAILURES = 3
NO_RUN = "00000000-0000-0000-0000-000000000000"


@dataclass
class _Trouble:
    """What became of a run that is not stored."""

    failures: int = 0
    refused: bool = False
    reason: str = ""
    next_try: float = 0.0
    pause: float = REFUSED_PAUSE


class Keeper:
    """Stores what waits in a spool for one catalog, from a thread that lives while something does.

    While the catalog is away, it is asked again with growing pauses; that is said once, and once
    that it is back. A run that it refuses is kept, said, and tried again later: those after it go
    on. Several processes may keep the same spool; one stores at a time.

    Parameters
    ----------
    broker : databroker.Broker
    registry : AssetRegistry, optional
        As of `insert`.
    roots : sequence of (old, new)
        As of `insert`.
    """

    def __init__(
        self, broker: Broker, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        self.broker = broker
        self.registry = registry
        self.roots = roots
        self.folder = spool.spool_folder(broker)
        self.destination = spool.destination_of(broker)
        #: Whether the catalog did not take the last thing that it was given.
        self.away = False
        #: Since when a run is being stored by the thread; None: none is.
        self.busy_since: float | None = None
        self._state = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stored = 0
        self._before_us: set[str] = set()
        self._in_memory: dict[str, tuple[float, list[Named]]] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._waiters: dict[str, threading.Event] = {}

    def wake_if_waiting(self) -> None:
        """Look now, if anything waits: left by an earlier session, or since the catalog is away."""
        if self._runs():
            self.wake()

    def writers(self) -> list[Callable[[], DocumentWriter]]:
        """Return makers of writers of one run, in the order in which to try them."""
        return backend_of(self.broker).document_writers(self.registry, self.roots)

    def must_wait(self) -> bool:
        """Whether a new run must go by the spool: the catalog is away, or others come first."""
        return self.away or any(not self._trouble(run).refused for run in self._runs())

    def lost(self, error: BaseException | str) -> None:
        """Take note that the catalog is away; said once."""
        with self._state:
            if self.away:
                return
            self.away = True
            for waiter in self._waiters.values():
                waiter.set()
        logger.warning(
            "the catalog %s takes no runs now: %s. Scans go on; they are kept in %s and stored by "
            "themselves when it is back",
            self.destination.catalog,
            error,
            self.folder,
        )

    def begin(self, uid: str) -> None:
        """Take note that a run has ended which is being stored: those in the spool come later."""
        with self._state:
            self._before_us.add(uid)

    def end(self, uid: str, stored: bool) -> None:
        """Take note that it is stored now, or that `keep` or `refuse` has it."""
        with self._state:
            self._before_us.discard(uid)
            if stored:
                self._stored += 1
                if not self.away and not self._runs():
                    self._stored = 0  # as always: nothing to be said
                    return
        self.wake()

    def keep(self, uid: str, documents: list[Named] | None, done: threading.Event) -> None:
        """Store a run later.

        Parameters
        ----------
        uid : str
        documents : list of (name, document), or None
            None: they are in the spool.
        done : Event
            Set when the run is stored, or nobody is to wait for it any more.
        """
        with self._state:
            if documents is not None:
                self._in_memory[uid] = (float(documents[0][1].get("time", 0)), documents)
            if self.away:
                done.set()
            else:
                self._waiters[uid] = done
        self.wake()

    def refuse(self, uid: str, error: BaseException | str) -> None:
        """Take note that the catalog refuses a run that is in the spool; said once for a reason."""
        trouble, reason = self._troubles.setdefault(uid, _Trouble()), str(error)
        trouble.pause = (
            min(2 * trouble.pause, MOST_REFUSED_PAUSE) if trouble.refused else REFUSED_PAUSE
        )
        trouble.refused, trouble.next_try = True, time.monotonic() + trouble.pause
        path = self.folder / f"{uid}{spool.SUFFIX}"
        if reason != trouble.reason:
            trouble.reason = reason
            spool.note(path, reason)
            where = (
                "this program's memory only; it is tried again while that runs"
                if uid in self._in_memory
                else f"{path}; when the cause is gone, it is stored by itself, or at once by "
                "`hxn-ptycho doctor`"
            )
            logger.error(
                "run %s is not in the catalog: %s. Its documents are in %s", uid[:8], reason, where
            )
        self._set_free(uid)

    def wake(self) -> None:
        """Look now."""
        with self._state:
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name=f"spool of {self.destination.catalog}", daemon=True
                )
                self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits any more; return whether that is so."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def store(self) -> bool:
        """Store what can be stored now; return whether nothing waits that can be hoped for."""
        with self._state:
            if self._before_us:
                return False
        # By a question first: what a server is told to do while it is stopped, it does later.
        if self.away and self._runs() and not self._answers():
            return False
        try:
            spool.make(self.folder)
        except OSError:  # nothing can be kept there, nor be shared with others
            return self._store_all()
        with spool.hold(self.folder / ".storing.lock") as alone:
            return alone and self._store_all()

    def _store_all(self) -> bool:
        suspects: list[tuple[str, BaseException]] = []
        for run in self._runs():
            trouble = self._trouble(run)
            if trouble.refused and time.monotonic() < trouble.next_try:
                continue
            self.busy_since = time.monotonic()
            try:
                stored = self._store(run)
            except CatalogAway as error:
                # A locked database has nothing against this run, a server's own error may have.
                trouble.failures += bool(self.destination.address)
                if trouble.failures < MOST_FAILURES or not self._answers():
                    spool.note(run.path, str(error))
                    self.lost(error)
                    return False
                if trouble.refused:
                    self.refuse(run.uid, error)
                    continue
                suspects.append((run.uid, error))  # unless the next has the same to say
            except NotAllowed as error:  # nor may any other run
                spool.note(run.path, str(error))
                self.lost(error)
                return False
            except CatalogError as error:
                self.refuse(run.uid, error)
            except Exception as error:
                logger.debug("run %s", run.uid, exc_info=True)
                self.refuse(run.uid, f"{type(error).__name__}: {error}")
            else:
                for uid, reason in suspects:
                    self.refuse(uid, reason)
                suspects.clear()
                self._stored += stored
                self._troubles.pop(run.uid, None)
                self._set_free(run.uid)
            finally:
                self.busy_since = None
        if suspects:
            self.lost(suspects[0][1])
            return False
        self._back()
        left = self._runs()
        for uid in self._waiters.keys() - {run.uid for run in left}:  # another process was quicker
            self._set_free(uid)
        return all(self._trouble(run).refused for run in left)

    def _store(self, run: spool.Kept) -> int:
        """Store one run; return how many were stored: it may be another process's."""
        if run.uid in self._in_memory:
            documents = self._in_memory[run.uid][1]
            insert(self.broker, spool.whole(documents), self.registry, self.roots)
            del self._in_memory[run.uid]
            return 1
        with spool.hold(run.path) as held:
            if not held:
                return 0
            if run.fault:
                raise CatalogError(run.fault)
            registry = self._registry_for(run)
            insert(self.broker, spool.whole(spool.read(run.path)), registry, self.roots)
            run.remove()
        return 1

    def _registry_for(self, run: spool.Kept) -> AssetRegistry | None:
        """Return where the run's documents are looked up that it does not bring itself."""
        home = find_home(self.folder.parent)
        if run.registry == "other" and registry_kind(self.registry, home) != "other":
            raise CatalogError(
                "it refers to documents in an asset registry that only the session that measured "
                "has: start that again, and its writer stores the run"
            )
        if self.registry is None and registry_file(home).exists():
            return asset_registry(home)
        return self.registry

    def _back(self) -> None:
        with self._state:
            stored, away, self._stored, self.away = self._stored, self.away, 0, False
        if away or stored:
            logger.warning(
                "the catalog %s %s: %s that had been kept %s stored",
                self.destination.catalog,
                "is back" if away else "takes runs",
                f"{stored} runs" if stored != 1 else "1 run",
                "are" if stored != 1 else "is",
            )

    def _runs(self) -> list[spool.Kept]:
        """Return the runs that wait for this catalog, in their order."""
        found = [
            run for run in spool.waiting(self.folder) if run.destination.key == self.destination.key
        ]
        with self._state:
            for uid, (begun, documents) in self._in_memory.items():
                scan_id = documents[0][1].get("scan_id")
                nowhere = Path("memory") / uid
                found.append(spool.Kept(nowhere, uid, scan_id, begun, self.destination, "", ""))
        return sorted(found, key=lambda run: (run.time, run.path.name))

    def _trouble(self, run: spool.Kept) -> _Trouble:
        return self._troubles.setdefault(run.uid, _Trouble())

    def _answers(self) -> bool:
        """Whether the catalog answers at all."""
        try:
            backend_of(self.broker).metadata(NO_RUN)
        except CatalogError:
            return False
        return True

    def _set_free(self, uid: str) -> None:
        with self._state:
            waiter = self._waiters.pop(uid, None)
        if waiter is not None:
            waiter.set()

    def _watch(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._wake.clear()
            try:
                all_stored = self.store()
            except Exception:  # whatever it is, the next look may do
                logger.exception("runs in %s cannot be looked at", self.folder)
                all_stored = False
            with self._state:
                left = self._runs_left()
                if all_stored and not left and not self._wake.is_set():
                    self._thread = None
                    return
            self._wake.wait(max(left, pause) if all_stored else pause)
            pause = FIRST_PAUSE if all_stored else min(2 * pause, MOST_PAUSE)

    def _runs_left(self) -> float:
        """Return the seconds until the first refused run is tried again; 0: there is none."""
        there = {run.uid for run in self._runs()}
        times = [each.next_try for uid, each in self._troubles.items() if uid in there]
        return max(0.1, min(times) - time.monotonic()) if times else 0.0


def registry_kind(registry: AssetRegistry | None, home: Home) -> str:
    """Return whether a registry is none (""), the home's ("home"), or "other"."""
    if registry is None:
        return ""
    config = getattr(registry, "config", None) or {}
    return "home" if config.get("dbpath") == str(registry_file(home)) else "other"
