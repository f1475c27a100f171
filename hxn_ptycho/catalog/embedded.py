"""The catalog that needs no server: two Tiled trees on SQLite, in this process.

``raw`` and ``processed`` have a catalog file and a table file each. One file for both is a trap:
derived runs, written while scans are, then fail with ``database is locked``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]

from ..home import Home, find_home
from .errors import CatalogError
from .first_use import database_errors, describe, make
from .one_host import hold
from .storage import NAMES, configuration

if TYPE_CHECKING:
    from pathlib import Path

    from databroker import Broker

PROFILE = "hxn_ptycho"


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

    # Tiled announces its version on the terminal at every start.
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Starlette's advice about its test client is not for our users.
            warnings.filterwarnings("ignore", message=".*starlette.testclient.*")
            root = from_context(Context.from_app(build_app_from_config(configuration(home))))
        return {name: Broker(root[name]) for name in NAMES}
    except database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be opened: {describe(home, error)}"
        ) from error


def install_profile(home: Home | str | os.PathLike[str] | None = None) -> Path:
    """Write the Tiled profile ``hxn_ptycho`` for this user and return its path.

    With it ``databroker.Broker.named("hxn_ptycho")`` is the raw catalog, and
    ``tiled.client.from_profile("hxn_ptycho")["processed"]`` the derived runs, in any notebook.

    Raises
    ------
    CatalogError
        If the catalogs cannot be opened or the profile cannot be written.
    ConfigError
        If ``config.toml`` cannot be used.
    """
    import tiled.profiles

    where = home if isinstance(home, Home) else find_home(home)
    make(where)
    # The user's own folder of profiles; TILED_PROFILES moves it.
    path = tiled.profiles.paths[-1] / f"{PROFILE}.yml"
    text = yaml.safe_dump({PROFILE: {"direct": configuration(where)}}, sort_keys=False)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        raise CatalogError(
            f"the Tiled profile {path} cannot be written ({error.strerror}); set TILED_PROFILES "
            "to a folder that can"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    tiled.profiles.load_profiles.cache_clear()
    return path
