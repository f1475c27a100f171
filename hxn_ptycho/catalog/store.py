"""Whole runs into a catalog: once, whole, and again if it fails half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .documents import Named, StreamDocuments
from .errors import CatalogError
from .writing import is_passing, retrying, runs, writing

if TYPE_CHECKING:
    from databroker import Broker

Document = dict[str, Any]


def insert(broker: Broker, documents: Iterable[Named]) -> None:
    """Store one run's documents, from start to stop.

    A run that is there already, with its stop document, is left alone; one without (its writer
    died) is replaced. The catalog has one writer at a time, and a busy one is tried again.

    Parameters
    ----------
    broker : databroker.Broker
    documents : iterable of (name, document)
        In order; legacy Resource and Datum documents are turned into stream documents.

    Raises
    ------
    CatalogError
        If the catalog cannot store them; nothing of the run is left in it then.
    """
    whole = list(documents)
    if not whole or whole[0][0] != "start":
        raise CatalogError("a run to be stored begins with its start document, and this one not")
    uid = whole[0][1]["uid"]

    def attempt(keep_unknown: bool) -> None:
        with writing(broker):
            there = stored(broker, uid)
            if there is not None:
                if there.get("stop"):
                    return
                remove(broker, uid)
            write = DocumentWriter(broker, keep_unknown)
            try:
                for name, document in whole:
                    write(name, document)
            except BaseException:
                if stored(broker, uid) is not None:
                    remove(broker, uid)
                raise

    try:
        try:
            retrying(lambda: attempt(True))
        except Exception as error:
            if is_passing(error) or not _has_resources(whole):
                raise
            # Something in a detector's Resource that the catalog does not take must not cost the
            # rest of the scan.
            retrying(lambda: attempt(False))
    except CatalogError:
        raise
    except Exception as error:
        raise CatalogError(
            f"run {uid[:8]} cannot be stored in the catalog {broker.name}: "
            f"{type(error).__name__}: {error}"
        ) from error


class DocumentWriter:
    """Writes one run into a catalog as its documents come. The caller holds `writing`."""

    def __init__(self, broker: Broker, keep_unknown: bool = True) -> None:
        from bluesky_tiled_plugins import TiledWriter

        self._translate = StreamDocuments(keep_unknown)
        self._writer: Callable[[str, Document], None] = TiledWriter(runs(broker))

    def __call__(self, name: str, document: Document) -> None:
        """Store one document."""
        for each, translated in self._translate(name, document):
            if each == "stop" and self._translate.notes:
                translated = {**translated, "storage_notes": self._translate.notes}
            self._writer(each, translated)


def stored(broker: Broker, uid: str) -> Document | None:
    """Return the metadata (start, stop) of the run with this full uid, or None."""
    from tiled.queries import Key

    found = runs(broker).search(Key("uid") == uid).values().head(1)
    return dict(found[0].item["attributes"]["metadata"]) if found else None


def remove(broker: Broker, uid: str) -> None:
    """Take a run out of the catalog: its documents and tables, never a file it refers to."""
    runs(broker).delete_contents([uid], recursive=True, external_only=False)


def _has_resources(documents: list[Named]) -> bool:
    return any(name in ("resource", "datum", "datum_page") for name, _ in documents)
