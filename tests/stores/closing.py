"""Close what a test has opened of its home: two thousand tests would open too many files."""

from __future__ import annotations

import os

from hxn_ptycho.catalog import one_host, opening
from hxn_ptycho.catalog.tiled_store.connection import is_served_here
from hxn_ptycho.home import Home


def close_catalogs(home: Home) -> None:
    """Close the databases, and the server's thread, of a home's own catalogs in this process."""
    for key, catalogs in list(opening._opened.items()):
        if catalogs.home.root != home.root:
            continue
        del opening._opened[key]
        clients = [getattr(broker, "v2", None) for broker in (catalogs.raw, catalogs.processed)]
        contexts = {id(client.context): client.context for client in clients if client is not None}
        for context in contexts.values():
            if is_served_here(context):
                context.close()
    held = one_host._held.pop((os.getpid(), home.catalogs / ".hosts"), None)
    if held is not None:
        held.close()
