"""One writer at a time on a catalog, between threads and processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import CatalogAway

LOCK_SECONDS = 120

# For a store that sees to its own writers; a thread may enter it again.
_without_file = threading.RLock()
_locks: dict[Path, FileLock] = {}
_making = threading.Lock()


@contextlib.contextmanager
def exclusively(path: Path | None, name: str) -> Iterator[None]:
    """Hold the right to write to a catalog.

    SQLite has one writer at a time; two that meet fail with ``database is locked``.

    Parameters
    ----------
    path : Path or None
        The lock file; None: only the threads of this process take turns.
    name : str
        Of the catalog.

    Raises
    ------
    CatalogAway
        If another writer keeps it for two minutes.
    """
    if path is None:
        with _without_file:
            yield
        return
    with _making:
        mode = 0o644 | path.parent.stat().st_mode & 0o020  # for the group, where it may write there
        lock = _locks.setdefault(
            path, FileLock(path, timeout=LOCK_SECONDS, poll_interval=0.01, mode=mode)
        )
    try:
        lock.acquire()
    except Timeout as error:
        raise CatalogAway(
            f"another process has been writing to the catalog {name} for "
            f"{LOCK_SECONDS} s ({path}); see with `fuser {path}` which, and end it"
        ) from error
    try:
        yield
    finally:
        lock.release()
