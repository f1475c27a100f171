"""databroker behind one narrow interface: open, store, find, and say where arrays lie.

`open_catalog` gives two `databroker.Broker`: ``raw`` (scans) and ``processed`` (reconstructions).
By default they are SQLite files in the home, made on first use. What of databroker and Tiled the
other rooms need is here; none of them imports either.
"""

from __future__ import annotations

from .arrays import ExternalArray, baseline, read, read_table, resolve
from .embedded import PROFILE, Catalogs, install_profile, open_catalog
from .errors import CatalogError
from .find import (
    descriptors,
    find_run,
    search,
    search_metadata,
    since,
    start_document,
    stop_document,
    wait_for_stop,
)
from .growing import GrowingRun
from .recorder import RunRecorder
from .registry import AssetRegistry, asset_registry
from .spool import pending, recover
from .storage import check_readable, readable_storage
from .store import insert
from .writing import has_run, run_metadata

__all__ = [
    "PROFILE",
    "AssetRegistry",
    "CatalogError",
    "Catalogs",
    "ExternalArray",
    "GrowingRun",
    "RunRecorder",
    "asset_registry",
    "baseline",
    "check_readable",
    "descriptors",
    "find_run",
    "has_run",
    "insert",
    "install_profile",
    "open_catalog",
    "pending",
    "read",
    "read_table",
    "readable_storage",
    "recover",
    "resolve",
    "run_metadata",
    "search",
    "search_metadata",
    "since",
    "start_document",
    "stop_document",
    "wait_for_stop",
    "writer",
]

# The callback that stores raw runs, for RE.subscribe.
writer = RunRecorder
