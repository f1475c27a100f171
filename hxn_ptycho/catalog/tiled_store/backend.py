"""`TiledStore`: what the rest of the room asks of a Tiled catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from numpy.typing import NDArray

from ...home import Store
from ..backend import Contents, DocumentWriter
from ..errors import CatalogAway, CatalogError
from ..hdf5 import Roots
from ..storage import HOME_KEY
from ..writing import exclusively
from .growing import GrowingRun
from .remote import describe_remote
from .requests import columns, contents, metadata, newest, open_run, require
from .writers import EventWriter, TiledWriter

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
        self.name = str(broker.name)
        #: The Tiled client, whose items are runs by uid, oldest first.
        self.runs: Any = catalog.v3

    @property
    def home(self) -> Path | None:
        """As of `Backend`."""
        root = self.runs.metadata.get(HOME_KEY)
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
            except (KeyError, ValueError, RuntimeError, OSError) as error:
                raise CatalogError(f"{key} of run {uid[:8]} cannot be read: {error}") from error

    def writing(self) -> AbstractContextManager[None]:
        """As of `Backend`: one writer at a time on the home's SQLite files."""
        home = self.home
        name = self.runs.metadata.get("name", self.name)
        return exclusively(home / "catalogs" / f".{name}.lock" if home else None, name)

    def remove(self, uid: str) -> None:
        """As of `Backend`."""
        self.runs.delete_contents([uid], recursive=True, external_only=False)

    def run_writer(self, start: Mapping[str, Any]) -> GrowingRun:
        """As of `Backend`."""
        return GrowingRun(self, start)

    def document_writers(
        self, registry: AssetRegistry | None, roots: Roots
    ) -> list[Callable[[], DocumentWriter]]:
        """As of `Backend`."""
        return [
            lambda: EventWriter(self, registry=registry, roots=roots),
            lambda: TiledWriter(self, registry, roots),
            # Something in it that the catalog does not take must not cost the rest.
            lambda: EventWriter(self, True, registry, roots),
        ]

    def is_passing(self, error: BaseException) -> bool:
        """As of `Backend`."""
        if isinstance(error, CatalogAway):
            return True
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code >= 500 or error.response.status_code == 429
        text = str(error).lower()
        return isinstance(error, httpx.TransportError) or "locked" in text or "busy" in text

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in the room's words that the catalog does not answer."""
        try:
            yield
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            kind = CatalogAway if self.is_passing(error) else CatalogError
            raise kind(
                f"the catalog {self.name} does not answer: {type(error).__name__}: {error}"
            ) from error
