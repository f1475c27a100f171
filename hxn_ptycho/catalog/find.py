"""Find runs, and read their documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .backend import backend_of, has_run
from .errors import CatalogError

if TYPE_CHECKING:
    from databroker import Broker

UID_LENGTH = 36
# A longer text of digits is the beginning of a uid; SQLite has no such integers.
SCAN_ID_DIGITS = 18


def find_run(broker: Broker, run: str | int) -> str:
    """Return the full uid of a run.

    Parameters
    ----------
    broker : databroker.Broker
    run : str or int
        A uid, the first characters of one, a scan id (the newest run with it), or -1 for the last
        run, -2 for the one before. Texts of digits are numbers if there is such a scan.

    Raises
    ------
    CatalogError
        If there is no such run, or several uids begin with these characters.
    """
    store = backend_of(broker)
    text = str(run).strip()
    if re.fullmatch(r"-\d+", text):
        found = store.last(-int(text)) if int(text) else None
        if found is None:
            raise CatalogError(
                f"there is no run {text} in the catalog {store.name}: it has {len(store)}"
            )
        return found
    if text.isdecimal() and len(text) < SCAN_ID_DIGITS:
        found = store.newest_with_scan_id(int(text))
        if found is not None:
            return found
        if isinstance(run, int):
            raise CatalogError(f"no run in the catalog {store.name} has scan id {run}")
    if not re.fullmatch(r"[\w.:-]+", text):
        raise CatalogError(f"{text!r} is neither a uid nor a scan id, nor -1 for the last run")
    if len(text) == UID_LENGTH and has_run(store, text):
        return text
    matches = store.uids_that_begin_with(text)
    if not matches:
        raise CatalogError(
            f"no run in the catalog {store.name} has a uid that begins with {text!r}"
            + (" or this scan id" if text.isdecimal() else "")
        )
    if len(matches) > 1:
        raise CatalogError(
            f"{len(matches)} runs in the catalog {store.name} have uids that begin with "
            f"{text!r}: {', '.join(uid[:12] for uid in matches[:5])}; give more characters"
        )
    return matches[0]


def start_document(broker: Broker, uid: str) -> dict[str, Any]:
    """Return the start document of the run with this full uid.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    return _metadata(broker, uid)["start"]


def stop_document(broker: Broker, uid: str) -> dict[str, Any] | None:
    """Return the stop document, or None if the run has none (it goes on, or was killed).

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    return _metadata(broker, uid).get("stop")


def descriptors(broker: Broker, uid: str) -> list[dict[str, Any]]:
    """Return the run's event descriptors, each with its stream's name under ``name``.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    return backend_of(broker).descriptors(uid)


def search(
    broker: Broker,
    equal: Mapping[str, Any] | None = None,
    /,
    *,
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
    **equalities: Any,
) -> list[str]:
    """Return the uids, oldest first, of runs whose start documents have these values.

    Parameters
    ----------
    broker : databroker.Broker
    equal : mapping, optional
        Of keys that are no Python names, as ``{"analysis.algorithm": "DM"}``.
    since, until : float, optional
        Seconds since 1970: begun at or after, and before.
    limit : int, optional
        Of those that fit, so many at most: those that came into the catalog last.
    **equalities
        As ``raw_uid="..."``, ``scan_id=7``.
    """
    found = search_metadata(broker, {**(equal or {}), **equalities}, since, until, limit)
    return [uid for uid, _ in found]


def search_metadata(
    broker: Broker,
    equal: Mapping[str, Any],
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
) -> list[tuple[str, dict[str, Any]]]:
    """As `search`, with each run's ``{"start": ..., "stop": ...}``."""
    return backend_of(broker).search(equal, since, until, limit)


def run_metadata(broker: Broker, uid: str) -> dict[str, Any] | None:
    """Return the metadata (start, stop) of the run with this full uid, or None."""
    return backend_of(broker).metadata(uid)


def _metadata(broker: Broker, uid: str) -> dict[str, Any]:
    store = backend_of(broker)
    metadata = store.metadata(uid)
    if metadata is None:
        raise CatalogError(f"there is no run {uid!r} in the catalog {store.name}")
    return metadata
