"""The catalog that needs no server: two Tiled trees on SQLite, in this process.

``raw`` and ``processed`` have a catalog file and a table file each. One file for both is a trap:
derived runs, written while scans are, then fail with ``database is locked``.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from ..home import Home
from .errors import CatalogError
from .first_use import database_errors, describe, make
from .one_host import hold
from .storage import NAMES, configuration

if TYPE_CHECKING:
    from databroker import Broker


def open_embedded(home: Home) -> dict[str, Broker]:
    """Open the home's own catalogs, by name; make them on first use.

    Raises
    ------
    CatalogError
        If a database cannot be made, read or written, or is damaged; if another host has it open.
    ConfigError
        If ``config.toml`` cannot be used or the home cannot be made.
    """
    hold(home.make())
    make(home)
    # Seconds of imports, paid by those who open a catalog only.
    from databroker import Broker
    from tiled.client import from_context
    from tiled.client.context import Context
    from tiled.server.app import build_app_from_config

    from .literal_paths import DRIVER

    # Tiled announces its version on the terminal at every start.
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Starlette's advice about its test client is not for our users.
            warnings.filterwarnings("ignore", message=".*starlette.testclient.*")
            app = build_app_from_config(configuration(home, DRIVER))
            root = from_context(Context.from_app(app))
        return {name: Broker(root[name]) for name in NAMES}
    except database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be opened: {describe(home, error)}"
        ) from error
