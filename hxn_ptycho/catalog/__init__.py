"""databroker behind one narrow interface: open, store, find, and say where arrays lie.

`open_catalog` gives two `databroker.Broker`: ``raw`` (scans) and ``processed`` (reconstructions).
By default they are SQLite files in the home, made on first use; ``[catalogs]`` of config.toml names
others: a Tiled server, a `databroker.v0` broker. What of databroker and Tiled the
other rooms need is here; none of them imports either.
"""

from __future__ import annotations

from .arrays import ExternalArray, baseline, read, read_table, resolve, why_unreadable
from .backend import RunWriter, home_of, run_writer
from .errors import CatalogAway, CatalogError, NotAllowed
from .find import (
    descriptors,
    find_run,
    run_metadata,
    search,
    search_metadata,
    start_document,
    stop_document,
)
from .opening import Catalogs, describe, open_catalog
from .profile import PROFILE, install_profile
from .recorder import RunRecorder
from .registry import AssetRegistry, asset_registry
from .spool import pending, recover
from .storage import check_readable, readable_storage
from .store import insert
from .survey import Survey, place_in_words, survey

__all__ = [
    "PROFILE",
    "AssetRegistry",
    "CatalogAway",
    "CatalogError",
    "Catalogs",
    "ExternalArray",
    "NotAllowed",
    "RunRecorder",
    "RunWriter",
    "Survey",
    "asset_registry",
    "baseline",
    "check_readable",
    "describe",
    "descriptors",
    "find_run",
    "home_of",
    "insert",
    "install_profile",
    "open_catalog",
    "pending",
    "place_in_words",
    "read",
    "read_table",
    "readable_storage",
    "recover",
    "resolve",
    "run_metadata",
    "run_writer",
    "search",
    "search_metadata",
    "start_document",
    "stop_document",
    "survey",
    "why_unreadable",
    "writer",
]

# The callback that stores raw runs, for RE.subscribe.
writer = RunRecorder
