"""The embedded catalogs are for one host at a time.

SQLite's log (WAL) has its index in memory, which hosts do not share: two that had the same file
open over a network would damage it. So each process that opens them holds a lock of its host.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path
from typing import TextIO

from .. import host
from ..home import Home
from .errors import CatalogError

log = logging.getLogger(__name__)

# Held until the process ends, as what it has opened is. By process: a forked child has its own.
_held: dict[tuple[int, Path], TextIO] = {}
_holding = threading.Lock()


def hold(home: Home) -> None:
    """Say that this host has the catalogs of a home open, until this process ends.

    Raises
    ------
    CatalogError
        If another host has them open.
    """
    folder = home.catalogs / ".hosts"
    folder.mkdir(exist_ok=True)
    home.share(folder)
    mine = folder / f"{host.name()}.{host.boot()}.lock"
    with _holding:
        if (os.getpid(), folder) in _held:
            return
        file = open(mine, "a")  # noqa: SIM115, open for the life of the process
        home.share(mine)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            log.warning("%s cannot be locked (%s): use this home from one host only", mine, error)
        # Ours first, then the others': of two that begin at once, one at least sees the other.
        others = [path for path in folder.glob("*.lock") if path != mine and _is_held(path)]
        if others:
            file.close()
            names = ", ".join(path.name.rsplit(".", 2)[0] for path in others)
            raise CatalogError(
                f"the catalogs in {home.catalogs} are open on {names}, and one host at a time can "
                f"use them; for several hosts, keep scans and results on a Tiled server or in "
                f"databroker.v0 ([catalogs] in {home.config_file}), or end the programs there"
            )
        _held[os.getpid(), folder] = file


def _is_held(path: Path) -> bool:
    with open(path, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks, of which `hold` has warned
            return False
    return False
