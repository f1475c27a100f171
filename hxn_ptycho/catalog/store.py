"""Documents into a catalog: as they come, or a whole run; once, and again if it fails half-way."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .backend import Backend, DocumentWriter, backend_of, has_run, patiently
from .documents import Named
from .errors import CatalogAway, CatalogError, NotAllowed
from .hdf5 import Roots

if TYPE_CHECKING:
    from databroker import Broker

    from .registry import AssetRegistry

logger = logging.getLogger(__name__)


def insert(
    broker: Broker,
    documents: Iterable[Named],
    registry: AssetRegistry | None = None,
    roots: Roots = (),
) -> None:
    """Store one run's documents, from start to stop.

    A run that is there already, with its stop document, is left alone; one without (its writer
    died) is replaced. The catalog has one writer at a time, and a busy one is tried again.

    Parameters
    ----------
    broker : databroker.Broker
    documents : iterable of (name, document)
        In order; legacy Resource and Datum documents are turned into stream documents.
    registry : AssetRegistry, optional
        Where Resource and Datum documents are looked up that are not among `documents`, as
        `asset_registry()`.
    roots : sequence of (old, new)
        Prefixes of paths: where files that were moved are looked for.

    Raises
    ------
    CatalogError
        If the catalog cannot store them; nothing of the run is left in it then.
    CatalogAway
        If it does not answer: what is left of the run in it is replaced when it is stored again.
    """
    whole = list(documents)
    if not whole or whole[0][0] != "start" or whole[-1][0] != "stop":
        raise CatalogError("a run to be stored begins with a start document and ends with a stop")
    uid = whole[0][1]["uid"]
    backend = backend_of(broker)
    what = f"run {uid[:8]} cannot be stored"
    writers = backend.document_writers(registry, roots)
    for number, make in enumerate(writers):
        try:
            patiently(backend, what, lambda make=make: _write(backend, uid, whole, make()))  # type: ignore[misc]
            return
        except (CatalogAway, NotAllowed):
            raise
        except Exception as error:
            # Something in it that this writer does not take may be another's business.
            if number + 1 == len(writers):
                raise
            logger.info("run %s is stored by another writer: %s", uid[:8], error)


def _write(backend: Backend, uid: str, whole: list[Named], write: DocumentWriter) -> None:
    with backend.writing():
        if has_run(backend, uid):
            if has_run(backend, uid, whole=True):
                return
            backend.remove(uid)
        try:
            for name, document in whole:
                write(name, document)
        except CatalogAway:
            raise
        except BaseException:
            if has_run(backend, uid):
                backend.remove(uid)
            raise
