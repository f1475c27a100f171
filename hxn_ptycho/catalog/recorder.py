"""The callback that stores a RunEngine's runs: it never raises, and holds the scan up little.

Documents go to a file at once and to the catalog from a thread; at the stop document the callback
waits until the catalog has the run, so that `db[-1]` after `RE(...)` is the scan just made.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from . import spool
from .backend import DocumentWriter, backend_of
from .errors import CatalogError, Unsupported
from .hdf5 import Roots
from .store import insert

if TYPE_CHECKING:
    from databroker import Broker

    from .registry import AssetRegistry

logger = logging.getLogger(__name__)

STOP_SECONDS = 60.0
IDLE_SECONDS = 0.5
END = object()


class RunRecorder:
    """A document callback, for ``RE.subscribe``, that stores runs in a catalog.

    It never raises (a callback that raises fails the scan). A run that the catalog cannot take is
    kept in ``HOME/spool``, with an error in the log that says where; `recover` stores it later.

    Parameters
    ----------
    broker : databroker.Broker
        Where runs go.
    registry : AssetRegistry, optional
        Where Resource and Datum documents are looked up that devices put straight into it, as
        `asset_registry()` or databroker.v0's ``db.reg``.
    roots : sequence of (old, new)
        Prefixes of paths: where files that were moved are looked for.
    """

    def __init__(
        self, broker: Broker, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        self.broker = broker
        self.registry = registry
        self.roots = tuple(roots)
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
            self._open[document["uid"]] = _Recording(
                self.broker, document["uid"], self.registry, self.roots
            )
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

    def __init__(
        self, broker: Broker, uid: str, registry: AssetRegistry | None, roots: Roots
    ) -> None:
        self.broker = broker
        self.uid = uid
        self.registry = registry
        self.roots = roots
        self._lines: list[str] = []
        self._failed: BaseException | None = None
        self._documents: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._spool: spool.Spool | None = None
        try:
            self._spool = spool.Spool(spool.spool_folder(broker), uid)
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
                self._spool = None
        self._documents.put(line)

    def finish(self) -> None:
        """Wait until the catalog has the run, up to a minute."""
        self._documents.put(END)
        if not self._done.wait(STOP_SECONDS):
            logger.warning(
                "the catalog is slow: run %s is still being stored after %g s; the scan goes on",
                self.uid[:8],
                STOP_SECONDS,
            )

    def _write(self) -> None:
        failed = False
        try:
            backend = backend_of(self.broker)
            makers = backend.document_writers(self.registry, self.roots)
            writer = makers.pop(0)()
        except Exception:
            logger.debug("run %s cannot be stored now", self.uid[:8], exc_info=True)
            failed = True
        while (line := self._next(None if failed else writer)) is not END:
            if failed:
                continue
            try:
                try:
                    writer(*spool.decode(line))
                except Unsupported as reason:
                    logger.debug("run %s goes by another writer: %s", self.uid[:8], reason)
                    backend.remove(self.uid)
                    writer = makers.pop(0)()
                    for earlier in self._lines[: self._lines.index(line) + 1]:
                        writer(*spool.decode(earlier))
            except Exception:  # the run is tried again as a whole below
                logger.debug("run %s failed while it was stored", self.uid[:8], exc_info=True)
                failed = True
        try:
            if failed:
                documents = [spool.decode(line) for line in self._lines]
                insert(self.broker, documents, self.registry, self.roots)
            if self._spool is not None:
                self._spool.discard()
        except Exception as error:  # noqa: BLE001, nobody above can hear it
            self._report(error)
        finally:
            self._done.set()

    def _next(self, writer: DocumentWriter | None) -> Any:
        """Return the next document; store events that wait while none comes."""
        while writer is not None:
            try:
                return self._documents.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                try:
                    writer.idle()
                except Exception:  # it is not lost: the run is stored as a whole at its end
                    logger.debug("run %s waits", self.uid[:8], exc_info=True)
        return self._documents.get()

    def _report(self, error: Exception) -> None:
        message = error if isinstance(error, CatalogError) else f"{type(error).__name__}: {error}"
        if self._spool is None:
            logger.error(
                "run %s is neither in the catalog nor kept on disk: %s", self.uid[:8], message
            )
            return
        self._spool.keep()
        logger.error(
            "run %s is not in the catalog: %s. Its documents are safe in %s; when the cause is "
            "gone, `hxn-ptycho doctor` stores them",
            self.uid[:8],
            message,
            self._spool.path,
        )
