"""Store by hand what waits in a home's spool, each run in the catalog that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..home import ConfigError, Stores
from . import spool
from .errors import CatalogError
from .hdf5 import Roots
from .keeper import Keeper
from .opening import Catalogs, open_catalog

if TYPE_CHECKING:
    from databroker import Broker

    from .registry import AssetRegistry


def recover(
    catalogs: Catalogs, registry: AssetRegistry | None = None, roots: Roots = ()
) -> list[str]:
    """Store the runs that were kept on disk because their catalogs could not take them.

    A run whose IPython was killed has no stop document; it gets one that says so. A run for
    another store than the home's now goes there, not here. One that cannot be stored stays, with
    the reason beside it: `pending` lists them.

    Parameters
    ----------
    catalogs : Catalogs
        Of the home whose spool is looked at.
    registry : AssetRegistry, optional
        As of `insert`; default: the home's own, if it has one.
    roots : sequence of (old, new)
        As of `insert`.

    Returns
    -------
    list of str
        The uids that are in their catalogs now.
    """
    done: list[str] = []
    home = catalogs.home
    destinations = {run.destination.key: run.destination for run in spool.pending(home)}
    for destination in destinations.values():
        group = [run for run in spool.pending(home) if run.destination.key == destination.key]
        try:
            keeper = Keeper(_broker_for(destination, catalogs), registry, roots)
        except (CatalogError, ConfigError) as error:
            for run in group:
                spool.note(run.path, str(error))
            continue
        keeper.folder = home.root / "spool"
        keeper.store()
        left = {run.path for run in spool.pending(home)}
        done += [run.uid for run in group if run.path not in left]
    return done


def _broker_for(destination: spool.Destination, catalogs: Catalogs) -> Broker:
    for broker in (catalogs.raw, catalogs.processed):
        if spool.destination_of(broker).key == destination.key:
            return broker
    store = destination.store
    if store is None:
        raise CatalogError(
            f"it is for {destination}, which nobody else can open: start that session again, and "
            "its writer stores the run"
        )
    opened = open_catalog(catalogs.home, Stores(raw=store, processed=store))
    return opened.processed if destination.catalog == "processed" else opened.raw
