"""What a store of runs must be able to do: everything else in this room is written on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from ..home import Store
from .errors import CatalogAway, CatalogError
from .hdf5 import Dataset, Roots

if TYPE_CHECKING:
    from .registry import AssetRegistry

Document = dict[str, Any]
T = TypeVar("T")

#: A store that is only busy is asked again so often, and no more after so many seconds.
ATTEMPTS = 5
ATTEMPTS_SECONDS = 20.0


@dataclass(frozen=True)
class Source:
    """Where an array lies that is kept in files.

    Attributes
    ----------
    files : tuple of Path
        Whose datasets, joined along the first axis, are the array.
    dataset : str
        The same in all; empty: the files are not HDF5.
    mimetype : str
    part : str
        What of a single dataset the array is, as a slice in words; empty: all.
    frames : tuple of (int, int), or None
        First frame and number of frames of each file that belong to the array; None: whatever the
        files have.
    """

    files: tuple[Path, ...]
    dataset: str
    mimetype: str = "application/x-hdf5"
    part: str = ""
    frames: tuple[tuple[int, int], ...] | None = None


@dataclass
class Contents:
    """What a stream has.

    Attributes
    ----------
    sources : dict of str to Source
        Of each array in files of its own, by its key.
    tables : dict of str to set of str
        Columns of each table, by its name: one, or several where a run has a thousand columns.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    tables: dict[str, set[str]] = field(default_factory=dict)

    def has_column(self, key: str) -> bool:
        """Return whether the events of the stream have such a value."""
        return any(key in columns for columns in self.tables.values())


class DocumentWriter(Protocol):
    """Stores one run's documents as they come."""

    def __call__(self, name: str, document: Document) -> None:
        """Store one document.

        Raises
        ------
        Unsupported
            If there is something in it that only the store's next writer stores.
        CatalogError
            If the store cannot take it.
        """
        ...

    def idle(self) -> None:
        """Store what waits, if nothing was stored for some time."""
        ...


class RunWriter(Protocol):
    """Writes one run piece by piece, readable while it is written."""

    def begin(self, replace: bool = False) -> bool:
        """Store the start document.

        Parameters
        ----------
        replace : bool
            Whether a whole run (one with a stop document) of this uid is replaced. One without is
            always: its writer died.

        Returns
        -------
        bool
            False if a whole run of this uid is there and stays; nothing more must be written.

        Raises
        ------
        CatalogError
            If the store cannot take it; `CatalogAway` if it does not answer now. So do all others.
        """
        ...

    def describe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Open a stream: ``data_keys`` and what else an event descriptor says."""
        ...

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add events: each ``{"time": ..., "data": {...}, "timestamps": {...}}``."""
        ...

    def attach(
        self,
        stream: str,
        key: str,
        path: Path | Sequence[Path],
        dataset: str,
        *,
        found: Dataset | None = None,
        frames: Sequence[tuple[int, int]] | None = None,
        dims: Iterable[str] = (),
    ) -> None:
        """Register a dataset of an HDF5 file, or of several, as the array `key` of a stream."""
        ...

    def end(self, stop: Mapping[str, Any]) -> None:
        """Store the stop document; ``uid``, ``run_start``, ``time``, ``num_events`` are given."""
        ...


class Backend(Protocol):
    """A store of Bluesky runs.

    What asks it raises `CatalogAway` while it does not answer, and `CatalogError` if it refuses.
    """

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def address(self) -> str:
        """Where it is, the same whoever opens it and how; empty: in a home, or nobody can say."""
        ...

    @property
    def home(self) -> Path | None:
        """The home folder whose embedded catalog it is; None: another store."""
        ...

    def description(self) -> Store:
        """Return how another process opens it, without any secret.

        Raises
        ------
        CatalogError
            If another process cannot: it is of this one's memory.
        """
        ...

    def metadata(self, uid: str) -> dict[str, Any] | None:
        """Return ``{"start": ..., "stop": ...}`` of the run with this full uid, or None."""
        ...

    def __len__(self) -> int:
        """Return how many runs there are."""
        ...

    def last(self, number: int) -> str | None:
        """Return the uid of the last run (1), the one before (2), ...; None: there are not as many.

        In the order of their start documents' coming into the store.
        """
        ...

    def newest_with_scan_id(self, scan_id: int) -> str | None:
        """Return the uid of the newest run of this scan id, or None."""
        ...

    def uids_that_begin_with(self, text: str) -> list[str]:
        """Return up to 20 uids of runs that begin with `text`."""
        ...

    def search(
        self,
        equal: Mapping[str, Any],
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return uid and metadata of runs whose start documents fit, oldest first.

        Parameters
        ----------
        equal : mapping
            Values by key; ``analysis.algorithm`` is the key ``algorithm`` of ``analysis``.
        since, until : float, optional
            Seconds since 1970: begun at or after, and before.
        limit : int, optional
            Of those that fit, so many at most: those that came into the store last.
        """
        ...

    def descriptors(self, uid: str) -> list[dict[str, Any]]:
        """Return the event descriptors of a run, each with its stream's name under ``name``."""
        ...

    def contents(self, uid: str, stream: str) -> Contents:
        """Return what a stream has; nothing if there is no such stream."""
        ...

    def columns(
        self, uid: str, stream: str, known: Contents, keys: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return columns of a stream's table as Arrow arrays, in the order of the events.

        Parameters
        ----------
        known : Contents
            Of the stream.
        keys : sequence of str
            Those wanted, where they are there; default: all.
        """
        ...

    def require(self, uid: str, stream: str, key: str | None = None) -> None:
        """Raise `CatalogError`, with what there is, if there is no such run, stream or key."""
        ...

    def read(self, uid: str, stream: str, key: str) -> NDArray[np.generic]:
        """Read an array by the store itself: what it keeps, or files that only it reaches."""
        ...

    def why_unreadable(self, uid: str, stream: str, key: str) -> str:
        """Return why the store itself could not read an array's files; empty if it can.

        What cannot be known before is tried: one element is read.
        """
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to write; one writer at a time where the store needs that."""
        ...

    def remove(self, uid: str) -> None:
        """Take a run out: its documents and tables, never a file it refers to."""
        ...

    def run_writer(self, start: Mapping[str, Any]) -> RunWriter:
        """Return what writes the run of this start document piece by piece."""
        ...

    def document_writers(
        self, registry: AssetRegistry | None, roots: Roots
    ) -> list[Callable[[], DocumentWriter]]:
        """Return makers of writers of one run, in the order in which to try them."""
        ...

    def is_passing(self, error: BaseException) -> bool:
        """Whether an error may go away by itself: a busy database, a server not there."""
        ...


def backend_of(broker: Any) -> Backend:
    """Return the store behind a broker.

    Parameters
    ----------
    broker : databroker.Broker or databroker.v0.Broker

    Raises
    ------
    CatalogError
        If it is none that runs can be stored in and found.
    """
    # By name: what databroker.v0 needs is imported by those who have such a broker only.
    if any(
        (kind.__module__, kind.__name__) == ("databroker._core", "BrokerES")
        for kind in type(broker).__mro__
    ):
        from .v0_store import V0Store

        return V0Store(broker)
    from .tiled_store import TiledStore

    return TiledStore(broker)


def home_of(broker: Any) -> Path | None:
    """Return the home folder whose embedded catalog a broker is; None: another store's."""
    return backend_of(broker).home


def run_writer(broker: Any, start: Mapping[str, Any]) -> RunWriter:
    """Return what writes the run of this start document into `broker`, piece by piece."""
    return backend_of(broker).run_writer(start)


def has_run(backend: Backend, uid: str, whole: bool = False) -> bool:
    """Whether the run with this full uid is there; `whole`: with its stop document."""
    metadata = backend.metadata(uid)
    return metadata is not None and (not whole or bool(metadata.get("stop")))


def patiently(backend: Backend, what: str, action: Callable[[], T]) -> T:
    """Return what `action` returns; try again, a few times, while the store is only busy.

    Parameters
    ----------
    backend : Backend
    what : str
        What cannot be done if it fails, as "run 1a2b3c4d cannot be stored".
    action : callable

    Raises
    ------
    CatalogAway
        If the store is still busy, or does not answer: nothing is asked twice that may have been
        done.
    CatalogError
        If it refuses for another reason.
    """
    attempts = Retrying(
        # A store that is away is not asked again here, as what was asked may have been done all the
        # same: who waits for it writes the run anew.
        retry=retry_if_exception(
            lambda e: not isinstance(e, CatalogAway) and backend.is_passing(e)
        ),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(ATTEMPTS_SECONDS),
        wait=wait_random_exponential(multiplier=0.1, max=3),
        reraise=True,
    )
    try:
        return attempts(action)
    except CatalogError:
        raise
    except Exception as error:
        kind = CatalogAway if backend.is_passing(error) else CatalogError
        said = str(error).partition("\n")[0]  # not the SQL
        raise kind(
            f"{what} in the catalog {backend.name}: {type(error).__name__}: {said}"
        ) from error
