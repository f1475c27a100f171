"""The catalog that needs no server: two Tiled trees on SQLite, in this process.

``raw`` and ``processed`` have a catalog file and a table file each. One file for both is a trap:
derived runs, written while scans are, then fail with ``database is locked``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from ..home import ConfigError, Home, find_home
from .errors import CatalogError

if TYPE_CHECKING:
    from databroker import Broker

NAMES = ("raw", "processed")
PROFILE = "hxn_ptycho"
HOME_KEY = "hxn_ptycho_home"
BUSY_SECONDS = 30
FIRST_USE_SECONDS = 120


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
    _make(home)
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
    except _database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be opened: {_first_line(error)}; "
            + _advice(home, error)
        ) from error
    return Catalogs(brokers["raw"], brokers["processed"], home)


def configuration(home: Home) -> dict[str, Any]:
    """Return the Tiled service configuration that serves `home`'s catalogs.

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
                    "uri": f"{_sqlite(catalog_file(home, name))}?timeout={BUSY_SECONDS}",
                    "writable_storage": [
                        str(home.catalogs / name / "files"),
                        _sqlite(table_file(home, name)),
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


def check_readable(
    catalogs: Catalogs | Home | str | os.PathLike[str] | None, path: str | os.PathLike[str]
) -> None:
    """Check that the catalogs could read the file `path` later.

    Tiled registers a file outside its readable storage without complaint and refuses it only when
    it is read, after the experiment.

    Raises
    ------
    CatalogError
        If `path` is outside the readable storage of these catalogs.
    """
    home = (
        catalogs.home
        if isinstance(catalogs, Catalogs)
        else catalogs
        if isinstance(catalogs, Home)
        else find_home(catalogs)
    )
    file = Path(os.path.abspath(path))
    folders = readable_storage(home)
    if not any(file.is_relative_to(folder) for folder in folders):
        raise CatalogError(
            f"{file} is outside the folders that the catalog may read "
            f"({', '.join(map(str, folders))}), so it could never be read back; add its folder to "
            f'readable_storage in {home.config_file}, as in readable_storage = ["{file.parent}"]'
        )


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
        partial.unlink(missing_ok=True)
    tiled.profiles.load_profiles.cache_clear()
    return path


def _make(home: Home) -> None:
    """Make what is not there, once between processes, and look that what is there can be used."""
    home.make()
    if set("?#") & set(str(home.root)):
        raise CatalogError(
            f"the home {home.root} has a ? or # in its path, which a database's address cannot "
            "hold; set HXN_PTYCHO_HOME to a folder without"
        )
    try:
        for name in NAMES:
            for folder in (home.catalogs / name, home.catalogs / name / "files"):
                folder.mkdir(exist_ok=True)
        with FileLock(home.catalogs / ".first-use.lock", timeout=FIRST_USE_SECONDS):
            for name in NAMES:
                for file, fill in (
                    (catalog_file(home, name), _fill_catalog),
                    (table_file(home, name), _fill_tables),
                ):
                    if file.exists():
                        _look(file)
                        continue
                    # Made beside and renamed, so that a killed first use leaves no half of one.
                    partial = file.with_name(f"{file.name}.new")
                    for left in (partial, *partial.parent.glob(f"{partial.name}-*")):
                        left.unlink(missing_ok=True)
                    fill(partial)
                    os.replace(partial, file)
    except Timeout as error:
        raise CatalogError(
            f"another process has been making the catalogs in {home.catalogs} for "
            f"{FIRST_USE_SECONDS} s; end it and try again"
        ) from error
    except _database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be used: {_first_line(error)}; "
            + _advice(home, error)
        ) from error


def _fill_catalog(path: Path) -> None:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.catalog.alembic_constants import ALEMBIC_DIR
    from tiled.catalog.core import initialize_database

    async def fill() -> None:
        engine = create_async_engine(_sqlite(path).replace("sqlite", "sqlite+aiosqlite", 1))
        try:
            await initialize_database(engine)
            script = ScriptDirectory(str(ALEMBIC_DIR))
            async with engine.begin() as connection:
                await connection.run_sync(
                    lambda sync: MigrationContext.configure(sync).stamp(script, "head")
                )
        finally:
            await engine.dispose()

    # A thread of its own: a notebook's has an event loop already, where asyncio.run refuses.
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(fill())
        except BaseException as error:  # noqa: BLE001, raised again below
            failed.append(error)

    thread = threading.Thread(target=run, name="hxn_ptycho catalog")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _fill_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        # Kept by the file: readers and a writer then do not stop one another.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    finally:
        connection.close()


def _look(file: Path) -> None:
    """Raise what SQLite or the system says if `file` cannot be read and written."""
    for needed in (file, file.parent):
        if not os.access(needed, os.R_OK | os.W_OK):
            raise PermissionError(13, "no permission to read and write it", str(needed))
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise sqlite3.DatabaseError(f"{file}: {error}") from error
    finally:
        connection.close()


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def _database_errors() -> tuple[type[Exception], ...]:
    from adbc_driver_manager import Error as AdbcError
    from sqlalchemy.exc import SQLAlchemyError
    from tiled.alembic_utils import (
        DatabaseUpgradeNeeded,
        UninitializedDatabase,
        UnrecognizedDatabase,
    )

    return (
        OSError,
        sqlite3.Error,
        SQLAlchemyError,
        AdbcError,
        DatabaseUpgradeNeeded,
        UninitializedDatabase,
        UnrecognizedDatabase,
    )


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.partition(" [SQL:")[0].partition(" (Background on")[0] or type(error).__name__


def _advice(home: Home, error: BaseException) -> str:
    text = str(error).lower()
    if "malformed" in text or "not a database" in text or "no catalog database" in text:
        return (
            f"the file is damaged: move it aside with its folder (mv {home.catalogs} "
            f"{home.catalogs}.damaged) for a fresh catalog, or put back a copy of it; frames and "
            "results are files of their own and are not touched"
        )
    if "disk is full" in text or "no space" in text:
        return f"make room on the disk of {home.root}"
    if "older version of tiled" in text:
        return "make a copy of the folder, then do as Tiled says"
    if "locked" in text:
        return "another program holds it; end that one (a backup, an sqlite3 shell) and try again"
    return (
        "make it readable and writable for you, or set HXN_PTYCHO_HOME to another folder than "
        f"{home.root}"
    )
