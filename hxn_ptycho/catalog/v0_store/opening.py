"""Open a `databroker.v0.Broker`, and say how another process opens the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...home import Store

if TYPE_CHECKING:
    from databroker import Broker


def open_v0(store: Store) -> Broker:
    """Return the broker of a configuration, or of the name of one.

    Raises
    ------
    CatalogError
        If there is no such configuration, or it cannot be opened.
    """
    raise NotImplementedError
