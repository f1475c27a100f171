"""Where the embedded catalogs keep what they keep, and which files they may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..home import ConfigError, Home
from .backend import home_of
from .errors import CatalogError

if TYPE_CHECKING:
    from databroker import Broker

NAMES = ("raw", "processed")
HOME_KEY = "hxn_ptycho_home"
BUSY_SECONDS = 30


def configuration(home: Home, driver: str = "") -> dict[str, Any]:
    """Return the Tiled service configuration that serves `home`'s catalogs.

    Parameters
    ----------
    driver : str
        Of SQLAlchemy, by which the databases of runs are read; empty: Tiled's own.

    Raises
    ------
    ConfigError
        If ``config.toml`` cannot be used.
    """
    readable = [str(path) for path in readable_storage(home)]
    return {
        "authentication": {"allow_anonymous_access": True},
        "trees": [
            {
                "path": f"/{name}",
                "tree": "catalog",
                "args": {
                    # Seconds that a writer waits for another one before "database is locked".
                    "uri": f"{sqlite_uri(catalog_file(home, name), driver)}?timeout={BUSY_SECONDS}",
                    "writable_storage": [
                        str(home.catalogs / name / "files"),
                        sqlite_uri(table_file(home, name)),
                    ],
                    "readable_storage": readable,
                    "init_if_not_exists": False,
                    "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                    "metadata": {"name": name, HOME_KEY: str(home.root)},
                },
            }
            for name in NAMES
        ],
        # Header.documents() needs it.
        "media_types": {
            "BlueskyRun": {
                "application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"
            }
        },
    }


def catalog_file(home: Home, name: str) -> Path:
    """Return the database of runs of catalog `name`."""
    return home.catalogs / name / "catalog.db"


def table_file(home: Home, name: str) -> Path:
    """Return the database of events of catalog `name`."""
    return home.catalogs / name / "tables.db"


def registry_file(home: Home) -> Path:
    """Return the database of Resource and Datum documents that pass through no run."""
    return home.catalogs / "raw" / "assets.db"


def readable_storage(home: Home) -> tuple[Path, ...]:
    """Return the folders whose files the catalogs can read.

    They are HOME/data, where results go (the fixed part of ``results_root``), and
    ``readable_storage`` of config.toml.

    Raises
    ------
    ConfigError
        If ``config.toml`` cannot be used.
    """
    config = home.config()
    results = home.results
    if config.results_root:
        fixed = config.results_root.partition("{")[0]
        results = Path(fixed).expanduser()
        if "{" in config.results_root and not fixed.endswith("/"):
            results = results.parent  # "/data/c{cycle}" is kept below /data
    folders = [home.data, results, *(Path(text).expanduser() for text in config.readable_storage)]
    for folder in folders:
        if not folder.is_absolute():
            raise ConfigError(
                f"{home.config_file}: results_root and readable_storage must be absolute paths, "
                f"and {str(folder)!r} is not"
            )
    return tuple(dict.fromkeys(folders))


def check_readable(owner: Home | Broker, path: str | os.PathLike[str]) -> None:
    """Check that the embedded catalog could read the file `path` later.

    Tiled registers a file outside its readable storage without complaint and refuses it only when
    it is read, after the experiment. What a server may read is in its own configuration: of that
    nothing is known before (`why_unreadable` says it afterwards).

    Parameters
    ----------
    owner : Home or databroker.Broker
        Whose embedded catalog; a broker of another store passes.
    path : path

    Raises
    ------
    CatalogError
        If `path` is outside the readable storage of these catalogs.
    """
    root = owner.root if isinstance(owner, Home) else home_of(owner)
    if root is None:
        return
    home = Home(root)
    file = Path(os.path.abspath(path))
    if set("?#") & set(str(file)):
        raise CatalogError(
            f"{file} has a ? or # in its path, which no address in a catalog can hold"
        )
    folders = readable_storage(home)
    if not any(file.is_relative_to(folder) for folder in folders):
        raise CatalogError(
            f"{file} is outside the folders that the catalog may read "
            f"({', '.join(map(str, folders))}), so it could never be read back; add its folder to "
            f'readable_storage in {home.config_file}, as in readable_storage = ["{file.parent}"]'
        )


def sqlite_uri(path: Path, driver: str = "") -> str:
    """Return the address of an SQLite file."""
    return f"sqlite{'+' * bool(driver)}{driver}:///{path}"
