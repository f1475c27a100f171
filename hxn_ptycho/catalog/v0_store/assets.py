"""Resource and Datum documents into a broker's registry, once; and ours out of it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ...specs import OWN_SPEC
from ..backend import Document
from ..registry import is_sqlite

# What databroker's registries take; others would be refused.
_OF_RESOURCES = ("uid", "spec", "root", "resource_path", "resource_kwargs", "path_semantics")


def insert_resource(broker: Any, resource: Document) -> None:
    """Store a Resource document, if it is not there: devices may have stored it themselves."""
    if has_resource(broker.reg, resource["uid"]):
        return
    document = {key: resource[key] for key in (*_OF_RESOURCES, "run_start") if key in resource}
    broker.insert("resource", document)


def known_datums(broker: Any, resource: str) -> set[str]:
    """Return the ids of a Resource's datums that are there."""
    if not has_resource(broker.reg, resource):
        return set()
    return {datum["datum_id"] for datum in broker.reg.datum_gen_given_resource(resource)}


def insert_datums(
    broker: Any, resource: str, datums: Sequence[tuple[str, Document]], known: set[str]
) -> None:
    """Store Datum documents of a Resource, those that are not there.

    Parameters
    ----------
    broker : databroker.v0.Broker
        Its own ``insert`` knows no documents for many datums.
    resource : str
        Uid.
    datums : sequence of (str, dict)
        Ids and arguments.
    known : set of str
        Ids of those that are there; the others are added.
    """
    new = {name: kwargs for name, kwargs in datums if name not in known}
    if new:
        broker.reg.bulk_insert_datum(resource, list(new), list(new.values()))
        known.update(new)


def has_resource(registry: Any, uid: str) -> bool:
    """Whether a registry has a Resource of this uid."""
    try:
        return bool(registry.resource_given_uid(uid))
    except (RuntimeError, AttributeError, KeyError):
        return False  # as MongoDB's and SQLite's say it
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # it looks into a table of old ones then
            return False
        raise


def remove_own(registry: Any, run: str) -> None:
    """Take out the Resources of our spec, and their Datums, that were stored for a run.

    Devices' own stay: they do not store them a second time.
    """
    if is_sqlite(registry):
        database = registry._db.conn
        cursor = database.cursor()
        which = "SELECT uid FROM Resources_v2 WHERE run_start = ? AND spec = ?"
        cursor.execute(f"DELETE FROM Datums WHERE resource IN ({which})", (run, OWN_SPEC))
        cursor.execute("DELETE FROM Resources_v2 WHERE run_start = ? AND spec = ?", (run, OWN_SPEC))
        database.commit()
        cursor.close()
    else:
        resources = registry._resource_col
        mine = [each["uid"] for each in resources.find({"run_start": run, "spec": OWN_SPEC})]
        registry._datum_col.delete_many({"resource": {"$in": mine}})
        resources.delete_many({"uid": {"$in": mine}})
    registry.clear_process_cache()
