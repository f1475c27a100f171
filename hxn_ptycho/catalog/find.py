"""Find runs, and read their documents."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .backend import Backend, backend_of, has_run
from .errors import CatalogAway, CatalogError

if TYPE_CHECKING:
    from databroker import Broker

UID_LENGTH = 36
# A longer text of digits is the beginning of a uid; SQLite has no such integers.
SCAN_ID_DIGITS = 18
_LOOK_SECONDS = 0.05


def find_run(broker: Broker, run: str | int, derived: bool | None = None) -> str:
    """Return the full uid of a run.

    Parameters
    ----------
    broker : databroker.Broker
    run : str or int
        A uid, the first characters of one, a scan id (the newest run with it), or -1 for the last
        run, -2 for the one before. Texts of digits are numbers if there is such a scan.
    derived : bool, optional
        Count only runs that were made of others (those with ``analysis_stage``), or only runs that
        were not: where both are in one catalog, -1 and scan ids are of either. Default: all.

    Raises
    ------
    CatalogError
        If there is no such run, or several uids begin with these characters.
    """
    store = backend_of(broker)
    text = str(run).strip()
    if re.fullmatch(r"-\d+", text):
        found = _last(store, -int(text), derived)
        if found is None:
            raise CatalogError(
                f"there is no run {text} in the catalog {store.name}: it has {len(store)}"
                + {None: "", False: ", derived ones included", True: ", raw ones included"}[derived]
            )
        return found
    if text.isdecimal() and len(text) < SCAN_ID_DIGITS:
        found = _newest_with_scan_id(store, int(text), derived)
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


def _last(store: Backend, number: int, derived: bool | None) -> str | None:
    """Return the uid of the run that is `number` from the end, of those that count."""
    place = 0
    while number > 0:
        # Few runs are passed over: reconstructions come soon after their scans.
        place += 1
        uid = store.last(number if derived is None else place)
        if uid is None or derived is None:
            return uid
        number -= _is_derived(store.metadata(uid)) is derived
        if not number:
            return uid
    return None


def _newest_with_scan_id(store: Backend, scan_id: int, derived: bool | None) -> str | None:
    newest = store.newest_with_scan_id(scan_id)
    if newest is None or derived is None or _is_derived(store.metadata(newest)) is derived:
        return newest
    found = store.search({"scan_id": scan_id})
    return next((uid for uid, run in reversed(found) if _is_derived(run) is derived), None)


def _is_derived(metadata: Mapping[str, Any] | None) -> bool:
    return "analysis_stage" in (metadata or {}).get("start", {})


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


def wait_for_stop(
    broker: Broker, uid: str, seconds: float, interrupt: Callable[[], object] = lambda: None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's start and stop documents, once the catalog has both: its writer may be behind.

    Parameters
    ----------
    broker : databroker.Broker
    uid : str
        Full uid of the run.
    seconds : float
        The longest wait.
    interrupt : callable
        Is called some times a second; what it raises ends the waiting.

    Raises
    ------
    CatalogError
        If they are not there by then; it says which. `CatalogAway`, at once, if the catalog does
        not answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            metadata = _metadata(broker, uid)
            if metadata.get("stop"):
                return metadata["start"], metadata["stop"]
            fault = f"run {uid} has no stop document: it did not end"
        except CatalogAway:
            raise
        except CatalogError as error:
            fault = str(error)
        if time.monotonic() >= deadline:
            waited = f" after {seconds:.0f} s of waiting" if seconds else ""
            raise CatalogError(f"{fault}{waited}; is the catalog's writer subscribed?")
        interrupt()
        time.sleep(_LOOK_SECONDS)


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
