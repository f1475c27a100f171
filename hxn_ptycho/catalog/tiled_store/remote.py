"""A catalog on a Tiled server: open it, and say where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...home import Store

if TYPE_CHECKING:
    from databroker import Broker

    from .backend import TiledStore


def open_remote(store: Store) -> Broker:
    """Return the catalog on a server.

    Raises
    ------
    CatalogError
        If the server refuses; `CatalogAway` if it does not answer.
    """
    raise NotImplementedError


def describe_remote(store: TiledStore) -> Store:
    """Return how another process opens this catalog of a server.

    Raises
    ------
    CatalogError
        If it would need an API key that only this process has.
    """
    raise NotImplementedError
