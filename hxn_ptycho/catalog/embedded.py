"""The catalog that needs no server: two Tiled trees on SQLite, in this process.

``raw`` and ``processed`` have a catalog file and a table file each. One file for both is a trap:
derived runs, written while scans are, then fail with ``database is locked``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from ..home import Home, find_home
from .errors import CatalogError
from .first_use import database_errors, describe, make
from .storage import HOME_KEY, NAMES, configuration, readable_storage

if TYPE_CHECKING:
    from pathlib import Path

    from databroker import Broker

__all__ = ["HOME_KEY", "PROFILE", "Catalogs", "install_profile", "open_catalog"]

PROFILE = "hxn_ptycho"


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


def open_catalog(home: Home | str | os.PathLike[str] | None = None) -> Catalogs:
    """Open the catalogs of a home; make them on first use.

    A process opens a home once; later calls return the same brokers. Any number of processes may
    have it open.

    Parameters
    ----------
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.

    Raises
    ------
    CatalogError
        If a database cannot be made, read or written, or is damaged.
    ConfigError
        If ``config.toml`` cannot be used or the home cannot be made.
    """
    where = home if isinstance(home, Home) else find_home(home)
    # A forked child must not use its parent's database connections and threads.
    key = (os.getpid(), where.root, readable_storage(where))
    with _opening:
        if key not in _opened:
            _opened[key] = _open(where)
        return _opened[key]


def _open(home: Home) -> Catalogs:
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
        brokers = {name: Broker(root[name]) for name in NAMES}
    except database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be opened: {describe(home, error)}"
        ) from error
    return Catalogs(brokers["raw"], brokers["processed"], home)


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

    catalogs = open_catalog(home)
    # The user's own folder of profiles; TILED_PROFILES moves it.
    path = tiled.profiles.paths[-1] / f"{PROFILE}.yml"
    text = yaml.safe_dump({PROFILE: {"direct": configuration(catalogs.home)}}, sort_keys=False)
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
