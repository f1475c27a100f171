"""Documents on disk first: a scan outlives a full catalog and a killed IPython."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from .backend import backend_of
from .errors import CatalogError
from .hdf5 import Roots
from .opening import Catalogs
from .registry import AssetRegistry, asset_registry
from .storage import registry_file
from .store import insert

if TYPE_CHECKING:
    from databroker import Broker

    from .documents import Named

logger = logging.getLogger(__name__)


class Spool:
    """One run's documents in a file, a line each, until the catalog has them all.

    Parameters
    ----------
    folder : Path
    uid : str
        Of the run.

    Raises
    ------
    OSError
        If the file cannot be made.
    """

    def __init__(self, folder: Path, uid: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{uid}.jsonl"
        self._file: TextIO = open(self.path, "w", encoding="utf-8")  # noqa: SIM115, open for a run
        # Says to `recover` of another process that this run is being written.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def append(self, line: str) -> None:
        """Write one line, as `encode` makes it."""
        self._file.write(line + "\n")
        self._file.flush()

    def keep(self) -> None:
        """Close the file and leave it for `recover`."""
        self._file.close()

    def discard(self) -> None:
        """The catalog has the run: remove the file."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def spool_folder(broker: Broker) -> Path:
    """Return where runs for this catalog are kept until it has them."""
    from ..home import find_home

    return (backend_of(broker).home or find_home().root) / "spool"


def encode(name: str, document: dict[str, Any]) -> str:
    """Return a document as one line of JSON; NaN and infinities are kept."""
    return json.dumps([name, document], default=_plain)


def decode(line: str) -> Named:
    """Return what `encode` was given."""
    name, document = json.loads(line)
    return name, document


def read(path: Path) -> list[Named]:
    """Return the documents of a spool file; a last line that was cut off is left out."""
    documents = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            documents.append(decode(line))
    return documents


def pending(catalogs: Catalogs) -> list[Path]:
    """Return the spool files of runs that no living process is writing: the catalog lacks them."""
    folder = spool_folder(catalogs.raw)
    return [path for path in sorted(folder.glob("*.jsonl")) if not _is_held(path)]


def recover(
    catalogs: Catalogs, registry: AssetRegistry | None = None, roots: Roots = ()
) -> list[str]:
    """Store the runs that were kept on disk because the catalog could not take them.

    A run whose IPython was killed has no stop document; it gets one that says so.

    Parameters
    ----------
    catalogs : Catalogs
    registry : AssetRegistry, optional
        As of `insert`; default: the home's own, if it has one.
    roots : sequence of (old, new)
        As of `insert`.

    Returns
    -------
    list of str
        The uids that are in the catalog now.

    Raises
    ------
    CatalogError
        If the catalog still refuses one; its file stays.
    """
    if registry is None and registry_file(catalogs.home).exists():
        registry = asset_registry(catalogs.home)
    done = []
    for path in pending(catalogs):
        documents = read(path)
        if not documents or documents[0][0] != "start":
            raise CatalogError(
                f"{path} holds no run (its first document is no start): look at it and remove it"
            )
        start = documents[0][1]
        if documents[-1][0] != "stop":
            documents.append(("stop", _stop_of_a_killed_run(start, documents)))
        insert(catalogs.raw, documents, registry, roots)
        path.unlink()
        done.append(start["uid"])
    return done


def _stop_of_a_killed_run(start: dict[str, Any], documents: list[Named]) -> dict[str, Any]:
    times = [document["time"] for _, document in documents if "time" in document]
    return {
        "uid": f"stop-{start['uid']}",
        "run_start": start["uid"],
        "time": max(
            (time for time in times if isinstance(time, int | float)), default=start["time"]
        ),
        "exit_status": "abort",
        "reason": "the program that ran the scan ended before the scan did",
        "num_events": {},
    }


def _is_held(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return True


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # A scan must not be lost for a strange piece of metadata.
    return repr(value)
