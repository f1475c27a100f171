"""Open the two catalogs of a home, wherever they are kept, and say of a broker where it is."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..home import Home, Store, Stores, find_home
from .backend import backend_of
from .embedded import open_embedded
from .storage import readable_storage

if TYPE_CHECKING:
    from databroker import Broker


@dataclass(frozen=True)
class Catalogs:
    """The two catalogs of a home.

    Attributes
    ----------
    raw : databroker.Broker
        What was measured.
    processed : databroker.Broker
        What was made of it: one run a reconstruction, with ``raw_uid`` in its start document.
    home : Home
        Whose they are.
    """

    raw: Broker
    processed: Broker
    home: Home


_opened: dict[tuple[Any, ...], Catalogs] = {}
_opening = threading.RLock()


def open_catalog(
    home: Home | str | os.PathLike[str] | None = None, stores: Stores | None = None
) -> Catalogs:
    """Open the catalogs of a home; make the embedded ones on first use.

    A process opens a store once; later calls return the same brokers. Any number of processes may
    have it open.

    Parameters
    ----------
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    stores : Stores, optional
        Where they are kept. Default: ``[catalogs]`` of the home's ``config.toml``; else embedded.

    Raises
    ------
    CatalogError
        If a database cannot be made, read or written, or is damaged; `CatalogAway` if a server
        does not answer.
    ConfigError
        If ``config.toml`` cannot be used or the home cannot be made.
    """
    where = home if isinstance(home, Home) else find_home(home)
    stores = stores or where.config().catalogs
    # A forked child must not use its parent's database connections and threads.
    key = (os.getpid(), where.root, readable_storage(where), stores.model_dump_json())
    with _opening:
        if key not in _opened:
            _opened[key] = _open(where, stores)
        return _opened[key]


def _open(home: Home, stores: Stores) -> Catalogs:
    places = {"raw": stores.raw, "processed": stores.processed}
    embedded = open_embedded(home) if any(place.is_embedded for place in places.values()) else {}
    brokers = {}
    for name, place in places.items():
        if place.is_embedded:
            brokers[name] = embedded[name]
        elif place.v0:
            from .v0_store import open_v0

            brokers[name] = open_v0(place)
        else:
            from .tiled_store.remote import open_remote

            brokers[name] = open_remote(place)
    return Catalogs(brokers["raw"], brokers["processed"], home)


def describe(broker: Any, known: Store | None = None) -> Store:
    """Return how another process opens the same store, without any secret.

    Parameters
    ----------
    broker : databroker.Broker
    known : Store, optional
        What config.toml says; returned if it is the same catalog, as it says by which key.

    Raises
    ------
    CatalogError
        If another process cannot.
    """
    from .tiled_store import TiledStore
    from .tiled_store.remote import is_at

    store = backend_of(broker)
    if known is not None and isinstance(store, TiledStore) and is_at(store, known):
        return known
    if known is not None and known.v0:
        from .v0_store import V0Store, is_of

        if isinstance(store, V0Store) and is_of(broker, known):
            return known
    return store.description()
