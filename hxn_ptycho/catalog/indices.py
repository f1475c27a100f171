"""Indices by which a catalog's database finds runs by what their start documents say.

An embedded catalog has them all. On PostgreSQL, Tiled's own index serves what is equal; what is in
a range, a date or the first characters of a uid, needs indices that only the database's owner can
make: `postgresql_script` is for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_PREFIX = "hxn_ptycho"

#: Keys of start documents that runs are found by: a path each.
KEYS = (
    ("uid",),
    ("scan_id",),
    ("time",),
    ("raw_uid",),
    ("raw_scan_id",),
    ("sample_name",),
    ("sample",),
    ("sample", "name"),
)
#: Those that are searched in a range.
RANGES = (("uid",), ("time",))


def name(key: Iterable[str]) -> str:
    """Return the name of the index of a key."""
    return f"{_PREFIX}_start__{'__'.join(key)}"


def sqlite_statements() -> dict[str, str]:
    """Return the statement that makes each index of an embedded catalog, by the index's name.

    The expressions are those of Tiled's queries, letter by letter: SQLite uses an index of an
    expression for no other. Runs are children of one node, ``parent``; what they lack is left out.
    """
    made = {}
    for key in KEYS:
        path = "".join(f'."{part}"' for part in ("start", *key))
        value = f"JSON_EXTRACT(metadata, '${path}')"
        made[name(key)] = (
            f"CREATE INDEX {name(key)} ON nodes (parent, {value}) WHERE {value} IS NOT NULL"
        )
    return made


def add_missing(connection: sqlite3.Connection) -> None:
    """Make those indices that an embedded catalog lacks or has otherwise, in one transaction.

    A catalog of an earlier version with 100,000 runs takes five seconds, once.
    """
    there = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    todo = []
    for index, statement in sqlite_statements().items():
        if there.get(index) != statement:
            todo += [f"DROP INDEX IF EXISTS {index}", statement]
    if todo:
        connection.executescript(";\n".join(("BEGIN IMMEDIATE", *todo, "COMMIT")))


def postgresql_script(remove: bool = False) -> str:
    """Return SQL for the owner of a Tiled server's database; ``psql`` takes it.

    Parameters
    ----------
    remove : bool
        Take the indices away instead.
    """
    lines = []
    for key in RANGES:
        if remove:
            lines.append(f"DROP INDEX CONCURRENTLY IF EXISTS {name(key)};")
            continue
        path = ",".join(("start", *key))
        lines.append(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name(key)} "
            f"ON nodes ((metadata #> '{{{path}}}'));"
        )
    # Without statistics the planner does not know that a day is little.
    return "\n".join([*lines, *([] if remove else ["ANALYZE nodes;"])]) + "\n"
