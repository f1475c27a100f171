"""What there is of a catalog: where it is kept, by which key it is opened, what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from ..home import Home, Store, Stores
from .backend import backend_of
from .errors import CatalogError
from .opening import open_catalog


@dataclass(frozen=True)
class Survey:
    """A catalog that opened.

    Attributes
    ----------
    place : str
        Where it is kept, in words.
    runs : int
    last_scan : int or None
        Scan id of its last run.
    lacks : tuple of str
        Scopes that the API key in use lacks to store runs; empty: none, as far as it is known.
    """

    place: str
    runs: int
    last_scan: int | None
    lacks: tuple[str, ...]


def survey(home: Home, name: str) -> Survey:
    """Look at one of a home's catalogs, whatever is with the other.

    Parameters
    ----------
    home : Home
    name : {"raw", "processed"}

    Raises
    ------
    CatalogError
        If it cannot be opened or read; `CatalogAway` if its server does not answer.
    ConfigError
        If ``config.toml`` cannot be used.
    """
    from .tiled_store import TiledStore
    from .tiled_store.credentials import credentials_in_use
    from .tiled_store.permissions import lacks_scopes

    place: Store = getattr(home.config().catalogs, name)
    try:
        catalogs = open_catalog(home)
    except CatalogError:
        catalogs = open_catalog(home, Stores(raw=place, processed=place))
    store = backend_of(getattr(catalogs, name))
    where, lacks = place_in_words(home, name, place), tuple[str, ...]()
    if isinstance(store, TiledStore) and not place.is_embedded:
        where += f", by {credentials_in_use(store.runs.context)}"
        lacks = lacks_scopes(store)
    last = store.last(1)
    start = (store.metadata(last) or {}).get("start", {}) if last else {}
    return Survey(where, len(store), start.get("scan_id"), lacks)


def place_in_words(home: Home, name: str, place: Store) -> str:
    """Return where a catalog is kept."""
    if place.is_embedded:
        return f"in the home, {home.catalogs / name}"
    if place.tiled:
        return f"Tiled server, {place.tiled}"
    if place.profile:
        return f"Tiled profile {place.profile}"
    return f"databroker.v0{f' {place.v0}' if isinstance(place.v0, str) else ''}"
