"""`TiledStore`: what the rest of the room asks of a Tiled catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from numpy.typing import NDArray

from ...home import Store
from ..backend import Contents, DocumentWriter
from ..errors import CatalogAway, CatalogError
from ..event_writer import EventWriter
from ..hdf5 import Roots
from ..storage import HOME_KEY
from ..writing import exclusively
from .connection import address_of, impatient, is_served_here
from .growing import GrowingRun
from .permissions import refusals
from .remote import describe_remote
from .requests import columns, contents, metadata, newest, open_run, require
from .writers import TiledWriter

if TYPE_CHECKING:
    from databroker import Broker

    from ..registry import AssetRegistry

_PREFIX_MATCHES = 20
# Comes after whatever a uid has, letters, digits and hyphens, in any database's order.
_AFTER_ALL = "zzzz"


class TiledStore:
    """A store of runs, by its `databroker.Broker`.

    Parameters
    ----------
    broker : databroker.Broker

    Raises
    ------
    CatalogError
        If it is not a catalog of Bluesky runs in SQL.
    """

    def __init__(self, broker: Broker) -> None:
        catalog = getattr(broker, "v2", None)
        if catalog is None or not getattr(catalog, "is_sql", False):
            raise CatalogError(
                f"{broker!r} is not a databroker 2 catalog of Bluesky runs in SQL (Tiled spec "
                "CatalogOfBlueskyRuns 3.0); open one with hxn_ptycho.open_catalog()"
            )
        #: The Tiled client, whose items are runs by uid, oldest first.
        self.runs: Any = _of_our_own(catalog.v3)
        self.name = str(broker.name or "/".join(self.runs.path_parts) or "of Bluesky runs")

    @property
    def address(self) -> str:
        """As of `Backend`."""
        context = self.runs.context
        return "" if is_served_here(context) else address_of(context, self.runs.path_parts)

    @property
    def home(self) -> Path | None:
        """As of `Backend`."""
        # A server may serve a home's files, too: then it is the server's to write them.
        served_here = is_served_here(self.runs.context)
        root = self.runs.metadata.get(HOME_KEY) if served_here else None
        return Path(root) if root else None

    def description(self) -> Store:
        """As of `Backend`."""
        if self.home:
            return Store()
        return describe_remote(self)

    def metadata(self, uid: str) -> dict[str, Any] | None:
        """As of `Backend`."""
        with self._answering():
            return metadata(self.runs, uid)

    def __len__(self) -> int:
        with self._answering():
            return len(self.runs)

    def last(self, number: int) -> str | None:
        """As of `Backend`."""
        with self._answering():
            try:
                return str(self.runs.keys()[-number])
            except IndexError:
                return None

    def newest_with_scan_id(self, scan_id: int) -> str | None:
        """As of `Backend`."""
        from tiled.queries import Key

        with self._answering():
            found = newest(self.runs, [Key("start.scan_id") == scan_id], 1, only_uids=True)
            return found[0][0] if found else None

    def uids_that_begin_with(self, text: str) -> list[str]:
        """As of `Backend`."""
        from tiled.queries import Key

        uid = Key("start.uid")
        # A range, which an index serves; Like is none to SQLite, as it takes "a" for "A".
        between = [uid >= text, uid < text + _AFTER_ALL]
        with self._answering():
            found = newest(self.runs, between, _PREFIX_MATCHES, only_uids=True)
        # PostgreSQL's order of characters is the database's: it may look past a hyphen.
        return [uid for uid, _ in found if uid.startswith(text)]

    def search(
        self,
        equal: Mapping[str, Any],
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, dict[str, Any]]]:
        """As of `Backend`; one request three hundred runs."""
        from tiled.queries import Key

        queries = []
        for key, value in equal.items():
            if not isinstance(value, str | int | float):
                raise CatalogError(
                    f"{key} = {value!r} cannot be searched for: a text, a number, True or False can"
                )
            queries.append(Key(f"start.{key}") == value)
        if since is not None:
            queries.append(Key("start.time") >= float(since))
        if until is not None:
            queries.append(Key("start.time") < float(until))
        with self._answering():
            return newest(self.runs, queries, limit)[::-1]

    def descriptors(self, uid: str) -> list[dict[str, Any]]:
        """As of `Backend`."""
        with self._answering():
            return [
                {**client.item["attributes"]["metadata"], "name": name, "run_start": uid}
                for name, client in open_run(self.runs, uid).base.items()
            ]

    def contents(self, uid: str, stream: str) -> Contents:
        """As of `Backend`."""
        with self._answering():
            return contents(self.runs, uid, stream)

    def columns(
        self, uid: str, stream: str, known: Contents, keys: Sequence[str] = ()
    ) -> dict[str, Any]:
        """As of `Backend`."""
        with self._answering():
            return columns(self.runs, uid, stream, known, keys)

    def require(self, uid: str, stream: str, key: str | None = None) -> None:
        """As of `Backend`."""
        with self._answering():
            require(self.runs, uid, stream, key)

    def read(self, uid: str, stream: str, key: str) -> NDArray[np.generic]:
        """As of `Backend`."""
        with self._answering():
            found = require(self.runs, uid, stream, key)
            try:
                return np.asarray(found.read())
            except CatalogError:
                raise
            except (KeyError, ValueError, RuntimeError, OSError) as error:
                raise CatalogError(f"{key} of run {uid[:8]} cannot be read: {error}") from error

    def why_unreadable(self, uid: str, stream: str, key: str) -> str:
        """As of `Backend`: a server says what it may not read only when it is asked to."""
        if self.home:
            return ""  # known before: `check_readable`
        with self._answering():
            array = require(self.runs, uid, stream, key)
        try:
            array[(slice(0, 1),) * array.ndim]
        except (CatalogAway, httpx.HTTPStatusError) as error:
            with self._answering():
                known = contents(self.runs, uid, stream)  # or else it is away
            files = ", ".join(map(str, known.sources[key].files))
            return (
                f"the server of the catalog cannot read {files}: others find {key} in the catalog "
                "and not what is in it; ask the server's administrator to add the folder to "
                "readable_storage in the server's configuration, if it is on the server's host "
                f"({error})"
            )
        return ""

    def writing(self) -> AbstractContextManager[None]:
        """As of `Backend`: one writer at a time on the home's SQLite files; a server has many."""
        home = self.home
        if not home and not is_served_here(self.runs.context):
            return nullcontext()
        name = self.runs.metadata.get("name", self.name)
        return exclusively(home / "catalogs" / f".{name}.lock" if home else None, name)

    def remove(self, uid: str) -> None:
        """As of `Backend`."""
        with refusals(self):
            self.runs.delete_contents([uid], recursive=True, external_only=False)

    def run_writer(self, start: Mapping[str, Any]) -> GrowingRun:
        """As of `Backend`."""
        return GrowingRun(self, start)

    def document_writers(
        self, registry: AssetRegistry | None, roots: Roots
    ) -> list[Callable[[], DocumentWriter]]:
        """As of `Backend`."""
        return [
            lambda: EventWriter(self.run_writer, registry=registry, roots=roots),
            lambda: TiledWriter(self, registry, roots),
            # Something in it that the catalog does not take must not cost the rest.
            lambda: EventWriter(lambda start: GrowingRun(self, start, True), True, registry, roots),
        ]

    def is_passing(self, error: BaseException) -> bool:
        """As of `Backend`."""
        if isinstance(error, CatalogAway):
            return True
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code >= 500 or error.response.status_code == 429
        text = str(error).lower()
        passing = ("locked", "busy", "disk is full")
        return isinstance(error, httpx.TransportError) or any(word in text for word in passing)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in the room's words that the catalog does not answer, or refuses."""
        try:
            with refusals(self):
                yield
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            kind = CatalogAway if self.is_passing(error) else CatalogError
            raise kind(
                f"the catalog {self.name} does not answer: {type(error).__name__}: {error}"
            ) from error


def _of_our_own(runs: Any) -> Any:
    """Return the same catalog by a connection that says at once that its server is away."""
    return type(runs)(
        impatient(runs.context), item=runs.item, structure_clients=runs.structure_clients
    )
