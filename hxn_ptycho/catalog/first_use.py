"""The embedded catalogs' databases: made on first use, looked at on every other."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from ..home import Home
from . import indices
from .errors import CatalogError
from .storage import BUSY_SECONDS, NAMES, catalog_file, sqlite_uri, table_file

FIRST_USE_SECONDS = 120


def make(home: Home) -> None:
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
                home.share(folder)
        lock = home.catalogs / ".first-use.lock"
        with FileLock(lock, timeout=FIRST_USE_SECONDS, mode=home.lock_mode):
            for name in NAMES:
                for file, fill in (
                    (catalog_file(home, name), _fill_catalog),
                    (table_file(home, name), _fill_tables),
                ):
                    if file.exists():
                        _look(file)
                        if fill is _fill_catalog:
                            _add_indices(file)
                        continue
                    # Made beside and renamed, so that a killed first use leaves no half of one.
                    partial = file.with_name(f"{file.name}.new")
                    for left in (partial, *partial.parent.glob(f"{partial.name}-*")):
                        left.unlink(missing_ok=True)
                    fill(partial)
                    home.share(partial)  # what SQLite makes beside it gets the same mode
                    os.replace(partial, file)
    except Timeout as error:
        raise CatalogError(
            f"another process has been making the catalogs in {home.catalogs} for "
            f"{FIRST_USE_SECONDS} s; end it and try again"
        ) from error
    except database_errors() as error:
        raise CatalogError(
            f"the catalogs in {home.catalogs} cannot be used: {describe(home, error)}"
        ) from error


def _fill_catalog(path: Path) -> None:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.catalog.alembic_constants import ALEMBIC_DIR
    from tiled.catalog.core import initialize_database

    async def fill() -> None:
        engine = create_async_engine(sqlite_uri(path).replace("sqlite", "sqlite+aiosqlite", 1))
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
    _use_log(path)
    _add_indices(path)


def _add_indices(path: Path) -> None:
    """Add the indices that a catalog made by an earlier version lacks."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'nodes'").fetchone():
            indices.add_missing(connection)
    finally:
        connection.close()


def _fill_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA user_version=1")  # an empty file is no database
        connection.commit()
    finally:
        connection.close()
    _use_log(path)


def _use_log(path: Path) -> None:
    """Have SQLite write to a log, so that readers and a writer do not stop one another.

    The file keeps it. (Tiled asks for it too, inside a transaction, where it has no effect.)
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
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


def database_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions by which SQLite, SQLAlchemy and Tiled refuse a database."""
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


def describe(home: Home, error: BaseException) -> str:
    """Say what is wrong with a database, and what to do."""
    return f"{_first_line(error)}; {_advice(home, error)}"


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
