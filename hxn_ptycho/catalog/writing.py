"""One writer at a time on a catalog, between threads and processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from filelock import FileLock, Timeout
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from .errors import CatalogError
from .storage import HOME_KEY

if TYPE_CHECKING:
    from databroker import Broker

LOCK_SECONDS = 120
ATTEMPTS = 5

T = TypeVar("T")

# For a catalog on a server, which sees to its own writers; a thread may enter it again.
_without_file = threading.RLock()
_locks: dict[Path, FileLock] = {}
_making = threading.Lock()


@contextlib.contextmanager
def writing(broker: Broker) -> Iterator[None]:
    """Hold the right to write to the catalog of `broker`.

    SQLite has one writer at a time; two that meet fail with ``database is locked``.

    Raises
    ------
    CatalogError
        If another writer keeps it for two minutes.
    """
    metadata = runs(broker).metadata
    if HOME_KEY not in metadata:
        with _without_file:
            yield
        return
    path = Path(metadata[HOME_KEY]) / "catalogs" / f".{metadata['name']}.lock"
    with _making:
        lock = _locks.setdefault(path, FileLock(path, timeout=LOCK_SECONDS, poll_interval=0.01))
    try:
        lock.acquire()
    except Timeout as error:
        raise CatalogError(
            f"another process has been writing to the catalog {metadata['name']} for "
            f"{LOCK_SECONDS} s ({path}); see with `fuser {path}` which, and end it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def runs(broker: Broker) -> Any:
    """Return the Tiled catalog of `broker`, whose items are runs by uid, oldest first.

    Raises
    ------
    CatalogError
        If it is not a catalog of Bluesky runs in SQL.
    """
    catalog = getattr(broker, "v2", None)
    if catalog is None or not getattr(catalog, "is_sql", False):
        raise CatalogError(
            f"{broker!r} is not a databroker 2 catalog of Bluesky runs in SQL (Tiled spec "
            "CatalogOfBlueskyRuns 3.0); open one with hxn_ptycho.open_catalog()"
        )
    return catalog.v3


def retrying(action: Callable[[], T]) -> T:
    """Return what `action` returns; try again, a few times, while the catalog is only busy."""
    attempts = Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=3),
        reraise=True,
    )
    return attempts(action)


def is_passing(error: BaseException) -> bool:
    """Whether an error may go away by itself: a busy database, a server that did not answer."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    text = str(error).lower()
    return isinstance(error, httpx.TransportError) or "locked" in text or "busy" in text


def is_conflict(error: BaseException) -> bool:
    """Whether the catalog refused a name because it is taken."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 409


def run_metadata(broker: Broker, uid: str) -> dict[str, Any] | None:
    """Return the metadata (start, stop) of the run with this full uid, or None."""
    from tiled.queries import Key

    found = runs(broker).search(Key("uid") == uid).values().head(1)
    return dict(found[0].item["attributes"]["metadata"]) if found else None


def has_run(broker: Broker, uid: str, whole: bool = False) -> bool:
    """Whether the run with this full uid is there; `whole`: with its stop document."""
    metadata = run_metadata(broker, uid)
    return metadata is not None and (not whole or bool(metadata.get("stop")))


def remove(broker: Broker, uid: str) -> None:
    """Take a run out of the catalog: its documents and tables, never a file it refers to."""
    runs(broker).delete_contents([uid], recursive=True, external_only=False)
