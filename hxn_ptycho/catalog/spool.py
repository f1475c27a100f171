"""Documents on disk first: a scan outlives a catalog that is away and a killed IPython."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..home import Home, Store
from .backend import backend_of
from .errors import CatalogError

if TYPE_CHECKING:
    from databroker import Broker

    from .documents import Named

HEADER = "spool"
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Destination:
    """The catalog that a run is for.

    Attributes
    ----------
    catalog : str
        Its name.
    store : Store or None
        How any process opens it; None: only one to which its broker was given can.
    address : str
        Of a server; empty: another kind.
    """

    catalog: str
    store: Store | None
    address: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the same catalog, whoever opens it and with which API key."""
        if self.address:
            return ("server", self.address)
        if self.store is None:
            return ("a broker", self.catalog)
        if self.store.is_embedded:
            return ("home", self.catalog)
        return ("store", self.store.model_copy(update={"api_key_file": ""}).model_dump_json())

    def __str__(self) -> str:
        """Say in a few words where it is."""
        if self.address:
            return self.address
        if self.store is None:
            return f"{self.catalog}, a broker of the session that measured"
        if self.store.is_embedded:
            return f"{self.catalog}, in the home"
        if self.store.v0:
            named = isinstance(self.store.v0, str)
            return f"databroker.v0 {self.store.v0}" if named else "a databroker.v0 broker"
        return f"Tiled profile {self.store.profile}"


@dataclass(frozen=True)
class Kept:
    """A run that its catalog does not have yet.

    Attributes
    ----------
    path : Path
        Its documents, a line each.
    uid : str
    scan_id : int or None
    time : float
        When it began, seconds since 1970.
    destination : Destination
    registry : str
        Where Resource and Datum documents are looked up that are not in the file: "", "home", or
        "other", which only the session that measured knows.
    reason : str
        Why it is not stored; empty: nobody has tried.
    fault : str
        Why the file cannot be read as a run; empty for a good one.
    """

    path: Path
    uid: str
    scan_id: int | None
    time: float
    destination: Destination
    registry: str
    reason: str
    fault: str = ""

    def remove(self) -> None:
        """Remove the file: the catalog has the run."""
        self.path.unlink(missing_ok=True)
        _reason_file(self.path).unlink(missing_ok=True)


class Spool:
    """One run's documents in a file, a line each, until the catalog has them all.

    Parameters
    ----------
    folder : Path
    uid : str
        Of the run.
    destination : Destination
    registry : {"", "home", "other"}
        As of `Kept`.

    Raises
    ------
    OSError
        If the file cannot be made, or there is one of this run.
    """

    def __init__(
        self, folder: Path, uid: str, destination: Destination, registry: str = ""
    ) -> None:
        make(folder)
        self.path = folder / f"{uid}{SUFFIX}"
        self._file: TextIO = open(self.path, "x", encoding="utf-8")  # noqa: SIM115, open for a run
        # Says to others that this run is being written.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        store = destination.store
        header = {
            "catalog": destination.catalog,
            "store": None if store is None else store.model_dump(exclude_defaults=True),
            "address": destination.address,
            "registry": registry,
        }
        self.append(encode(HEADER, header))

    def append(self, line: str) -> None:
        """Write one line, as `encode` makes it."""
        self._file.write(line + "\n")
        self._file.flush()

    def keep(self) -> None:
        """Close the file and leave it for whoever stores it later."""
        self._file.close()

    def discard(self) -> None:
        """The catalog has the run: remove the file."""
        self.path.unlink(missing_ok=True)
        _reason_file(self.path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what is not written yet has no room
            self._file.close()


def make(folder: Path) -> None:
    """Make a spool's folder, for its user alone, and the home that it is in.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def spool_folder(broker: Broker) -> Path:
    """Return where runs for this catalog are kept until it has them."""
    from ..home import find_home

    return (backend_of(broker).home or find_home().root) / "spool"


def destination_of(broker: Broker) -> Destination:
    """Return which catalog a broker is."""
    backend = backend_of(broker)
    try:
        return Destination(backend.name, backend.description(), backend.address)
    except CatalogError:  # no other process can open it; this one stores its runs
        return Destination(backend.name, None, backend.address)


def pending(home: Home) -> list[Kept]:
    """Return the runs that no living process is writing and their catalogs lack, in their order."""
    return waiting(home.root / "spool")


def is_kept(home: Home, uid: str) -> bool:
    """Whether a run's documents are in the home's spool: its catalog may not have it yet."""
    return (home.root / "spool" / f"{uid}{SUFFIX}").exists()


def why_kept(home: Home, uid: str) -> str:
    """Return why a run in the spool is not stored, as far as somebody has tried."""
    return _reason(home.root / "spool" / f"{uid}{SUFFIX}")


def waiting(folder: Path) -> list[Kept]:
    """Return the runs in a spool folder that no living process is writing, in their order."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            if not _is_held(path):
                found.append(_look(path))
        except FileNotFoundError:  # stored by another process meanwhile
            continue
    return sorted(found, key=lambda run: (run.time, run.path.name))


def note(path: Path, reason: str) -> None:
    """Write down beside a run's file why it is not stored."""
    if path.exists():
        with contextlib.suppress(OSError):  # a full disk must not cost the run
            _reason_file(path).write_text(reason)


def read(path: Path) -> list[Named]:
    """Return the documents of a spool file; a last line that was cut off is left out."""
    documents = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            documents.append(decode(line))
    return documents[1:] if documents and documents[0][0] == HEADER else documents


def whole(documents: list[Named]) -> list[Named]:
    """Return a run's documents; with a stop document that says so if its IPython was killed."""
    if documents[-1][0] == "stop":
        return documents
    return [*documents, ("stop", _stop_of_a_killed_run(documents[0][1], documents))]


@contextlib.contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold a file for this process and thread; False if another has it, or it is not there."""
    try:
        file = open(path, "a+" if path.suffix == ".lock" else "r+")  # noqa: SIM115, closed below
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield os.fstat(file.fileno()).st_nlink > 0  # 0: stored and removed meanwhile


def encode(name: str, document: dict[str, Any]) -> str:
    """Return a document as one line of JSON; NaN and infinities are kept."""
    return json.dumps([name, document], default=_plain)


def decode(line: str) -> Named:
    """Return what `encode` was given."""
    name, document = json.loads(line)
    return name, document


def _look(path: Path) -> Kept:
    """Return what the first lines of a spool file say."""
    reason = _reason(path)
    destination = Destination("raw", Store())  # a version before 0.2 knew no other
    registry = "home"
    try:
        with open(path, encoding="utf-8") as file:
            name, document = decode(file.readline())
            if name == HEADER:
                store = document["store"]
                destination = Destination(
                    document["catalog"],
                    None if store is None else Store.model_validate(store),
                    document["address"],
                )
                registry = document["registry"]
                line = file.readline()
                if not line.endswith("\n"):
                    raise ValueError("it has no document")
                name, document = decode(line)
        if name != "start":
            raise ValueError(f"its first document is a {name}")
        uid, scan_id, begun = document["uid"], document.get("scan_id"), float(document["time"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Kept(
            path,
            path.stem,
            None,
            path.stat().st_mtime,
            destination,
            registry,
            reason,
            f"{path} holds no run ({error}): look at it and remove it",
        )
    return Kept(path, uid, scan_id, begun, destination, registry, reason)


def _reason_file(path: Path) -> Path:
    return path.with_suffix(".why")


def _reason(path: Path) -> str:
    try:
        return _reason_file(path).read_text()
    except OSError:
        return ""


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
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


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
