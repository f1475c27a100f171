"""The callback that stores a RunEngine's runs: it never raises, and holds the scan up little.

Documents go to a file at once and to the catalog from a thread; at the stop document the callback
waits until the catalog has the run, so that `db[-1]` after `RE(...)` is the scan just made; but not
while the catalog is away.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from ..home import find_home
from . import spool
from .backend import DocumentWriter, backend_of
from .errors import CatalogAway, CatalogError, NotAllowed, Unsupported
from .hdf5 import Roots
from .keeper import Keeper, registry_kind
from .store import insert

if TYPE_CHECKING:
    from databroker import Broker

    from .registry import AssetRegistry

logger = logging.getLogger(__name__)

#: The longest that a stop document is waited for, in seconds; and a store that does not answer.
STOP_SECONDS = 60.0
STALL_SECONDS = 10.0
WAIT_SECONDS = 0.05
IDLE_SECONDS = 0.5
END = object()


class RunRecorder:
    """A document callback, for ``RE.subscribe``, that stores runs in a catalog.

    It never raises (a callback that raises fails the scan). While the catalog is away, runs are
    kept in ``HOME/spool``, at no cost to the scans, and stored when it is back, in order; so are
    those that an earlier session left. One that the catalog refuses stays there, with an error in
    the log that says why.

    Parameters
    ----------
    broker : databroker.Broker
        Where runs go.
    registry : AssetRegistry, optional
        Where Resource and Datum documents are looked up that devices put straight into it, as
        `asset_registry()` or databroker.v0's ``db.reg``.
    roots : sequence of (old, new)
        Prefixes of paths: where files that were moved are looked for.

    Raises
    ------
    CatalogError
        If `broker` is no catalog that runs can be stored in. Only here: not once subscribed.
    """

    def __init__(
        self, broker: Broker, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        self.keeper = Keeper(broker, registry, tuple(roots))
        self.keeper.wake_if_waiting()
        self._open: dict[str, _Recording] = {}
        self._run_of: dict[str, str] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        """Take one document."""
        try:
            self._take(name, document)
        except Exception:  # whatever it is, the scan goes on
            logger.exception("the catalog writer failed on a %s document; the scan goes on", name)

    def _take(self, name: str, document: dict[str, Any]) -> None:
        if name == "start":
            self._open[document["uid"]] = _Recording(self.keeper, document["uid"])
        recording = self._open.get(self._find_run(name, document) or "")
        if recording is None:
            return  # of a run that began before this was subscribed
        recording.put(name, document)
        if name == "stop":
            uid = document["run_start"]
            del self._open[uid]
            self._run_of = {key: run for key, run in self._run_of.items() if run != uid}
            recording.finish()

    def _find_run(self, name: str, document: dict[str, Any]) -> str | None:
        match name:
            case "start":
                return document["uid"]
            case "stop":
                return document["run_start"]
            case "descriptor" | "stream_resource" | "resource":
                # HXN's resources do not say whose they are; one scan runs at a time.
                run = document.get("run_start") or next(reversed(self._open), None)
                if run is not None:
                    self._run_of[document["uid"]] = run
                return run
            case "datum" | "datum_page" | "bulk_datum":
                # Without its Resource, which only a registry has, it is of the scan that runs.
                last = next(reversed(self._open), None)
                return self._run_of.get(document["resource"], last)
            case "bulk_events":
                return next((self._run_of.get(uid) for uid in document), None)
            case _:
                return self._run_of.get(document["descriptor"])


class _Recording:
    """One run on its way into the catalog."""

    def __init__(self, keeper: Keeper, uid: str) -> None:
        self.keeper = keeper
        self.uid = uid
        self._lines: list[str] = []
        self._documents: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._spool: spool.Spool | None = None
        self._busy_since: float | None = None
        try:
            self._spool = self._make_spool()
        except OSError as error:
            logger.warning("run %s is not kept on disk while it is stored: %s", uid[:8], error)
        self._done = threading.Event()
        threading.Thread(target=self._write, name=f"catalog {uid[:8]}", daemon=True).start()

    def put(self, name: str, document: dict[str, Any]) -> None:
        """Keep the document on disk and hand it to the thread."""
        line = spool.encode(name, document)
        self._lines.append(line)
        if self._spool is not None:
            try:
                self._spool.append(line)
            except OSError as error:
                logger.warning("run %s is not kept on disk any more: %s", self.uid[:8], error)
                self._spool.discard()
                self._spool = None
        self._documents.put(line)

    def finish(self) -> None:
        """Wait until the catalog has the run, up to a minute; not while it does not answer."""
        self.keeper.begin(self.uid)
        self._documents.put(END)
        until = time.monotonic() + STOP_SECONDS
        while not self.keeper.away and not self._done.wait(WAIT_SECONDS):
            now = time.monotonic()
            busy = [since for since in (self._busy_since, self.keeper.busy_since) if since]
            if any(now - since > STALL_SECONDS for since in busy):
                self.keeper.lost(f"it has not answered for {STALL_SECONDS:g} s")
            elif now > until:
                logger.warning(
                    "the catalog is slow: run %s is still being stored after %g s; the scan goes "
                    "on",
                    self.uid[:8],
                    STOP_SECONDS,
                )
                return

    def _write(self) -> None:
        self.keeper.wake_if_waiting()
        later = self.keeper.must_wait()  # those in the spool are stored before it
        failure: Exception | None = None
        try:
            makers = self.keeper.writers()
            writer = makers.pop(0)()
        except Exception as error:
            logger.debug("run %s cannot be stored now", self.uid[:8], exc_info=True)
            failure = error
        while (line := self._next(None if failure or later else writer)) is not END:
            if failure or later:
                continue
            self._busy_since = time.monotonic()
            try:
                try:
                    writer(*spool.decode(line))
                except Unsupported as reason:
                    logger.debug("run %s goes by another writer: %s", self.uid[:8], reason)
                    backend_of(self.keeper.broker).remove(self.uid)
                    writer = makers.pop(0)()
                    for earlier in self._lines[: self._lines.index(line) + 1]:
                        writer(*spool.decode(earlier))
            except (CatalogAway, NotAllowed) as error:
                self.keeper.lost(error)
                later = True
            except Exception as error:  # the run is tried again as a whole below
                logger.debug("run %s failed while it was stored", self.uid[:8], exc_info=True)
                failure = error
            finally:
                self._busy_since = None
        try:
            self._end(later, failure)
        except Exception:  # nobody above can hear it
            logger.exception("run %s: %s", self.uid[:8], self._where())
            self.keeper.end(self.uid, stored=False)
            self._done.set()

    def _end(self, later: bool, failure: Exception | None) -> None:
        """Store the run as a whole if it is not yet, or hand it to those who will."""
        if failure and not later:
            later = self.keeper.must_wait()
        if failure and not later:
            self._busy_since = time.monotonic()
            documents = [spool.decode(line) for line in self._lines]
            try:
                insert(self.keeper.broker, documents, self.keeper.registry, self.keeper.roots)
            except (CatalogAway, NotAllowed) as error:
                self.keeper.lost(error)
                later = True
            except CatalogError as error:
                self._refused(error)
                return
            except Exception as error:  # noqa: BLE001, whatever it is, the run is kept
                self._refused(f"{type(error).__name__}: {error}")
                return
            finally:
                self._busy_since = None
        if later:
            self._keep()
            return
        if self._spool is not None:
            self._spool.discard()
        self.keeper.end(self.uid, stored=True)
        self._done.set()

    def _keep(self) -> None:
        """Hand the run over: on disk, or if there is no room, in memory."""
        on_disk = self._to_disk()
        documents = None if on_disk else [spool.decode(line) for line in self._lines]
        if not on_disk:
            logger.error(
                "run %s is neither in the catalog nor kept on disk: it is lost if this program "
                "ends before the catalog is back",
                self.uid[:8],
            )
        self.keeper.keep(self.uid, documents, self._done)
        self.keeper.end(self.uid, stored=False)

    def _refused(self, error: BaseException | str) -> None:
        if self._to_disk():
            self.keeper.refuse(self.uid, error)
        else:
            logger.error(
                "run %s is neither in the catalog nor kept on disk: %s", self.uid[:8], error
            )
        self.keeper.end(self.uid, stored=False)
        self._done.set()

    def _to_disk(self) -> bool:
        """Leave the run in the spool; return whether it is there."""
        try:
            if self._spool is None:  # there was no room; there may be now
                self._spool = self._make_spool()
                for line in self._lines:
                    self._spool.append(line)
            self._spool.keep()
        except OSError:
            return False
        return True

    def _make_spool(self) -> spool.Spool:
        keeper = self.keeper
        kind = registry_kind(keeper.registry, find_home(keeper.folder.parent))
        return spool.Spool(keeper.folder, self.uid, keeper.destination, kind)

    def _where(self) -> str:
        return "not on disk" if self._spool is None else f"its documents are in {self._spool.path}"

    def _next(self, writer: DocumentWriter | None) -> Any:
        """Return the next document; store events that wait while none comes."""
        while writer is not None:
            try:
                return self._documents.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._busy_since = time.monotonic()
                try:
                    writer.idle()
                except Exception:
                    logger.debug("run %s waits", self.uid[:8], exc_info=True)
                finally:
                    self._busy_since = None
        return self._documents.get()
