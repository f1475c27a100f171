"""Resource and Datum documents: those of a run, and those that only an asset registry has.

HXN's classic flyer puts them straight into databroker's registry; the documents of the run have
datum ids only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import event_model

from ..home import Home, find_home
from ..specs import Resource
from .storage import registry_file

if TYPE_CHECKING:
    from databroker.assets.sqlite import Registry

Document = dict[str, Any]

# So many datum ids, evenly spread over a run, are asked for in vain before the rest is given up.
PROBES = 256


class AssetRegistry(Protocol):
    """What is asked of a registry; those of databroker, on SQLite and MongoDB, have it."""

    def resource_given_datum_id(self, datum_id: str) -> Document:
        """Return the Resource document of a datum."""
        ...

    def datum_gen_given_resource(self, resource: Any) -> Iterable[Document]:
        """Return all Datum documents of a Resource."""
        ...


def asset_registry(home: Home | str | os.PathLike[str] | None = None) -> Registry:
    """Return databroker's own asset registry, in an SQLite file of the home; made if need be.

    Parameters
    ----------
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.

    Returns
    -------
    databroker.assets.sqlite.Registry
        Devices insert into it; `writer` and `insert` look datum ids up in it.
    """
    from databroker.assets import sqlite

    where = home if isinstance(home, Home) else find_home(home)
    path = registry_file(where)
    path.parent.mkdir(parents=True, exist_ok=True)

    class PatientRegistry(sqlite.Registry):
        """databroker's, less its thread that gives a query up after a tenth of a second."""

        _connections = _Connections(path)

        @property
        def _db(self) -> _Connections:
            return self._connections

        def resource_given_datum_id(self, datum_id: str) -> Document:
            # databroker's reads all other datums of the resource first.
            datum = self._datum_col.find_one({"datum_id": datum_id})
            if datum is None:
                raise self.DatumNotFound(datum_id=datum_id)
            return dict(self._resource_cache[datum["resource"]])

    return PatientRegistry({"dbpath": str(path)})


def is_sqlite(registry: Any) -> bool:
    """Whether a registry is databroker's on SQLite, or derived from it."""
    return _sqlite_class(registry) is not None


def make_patient(registry: Any) -> None:
    """Exchange the database of an SQLite registry of databroker's for one that waits.

    databroker's gives a query up after a tenth of a second; one of ten thousand datums takes more.

    Parameters
    ----------
    registry
        Others than databroker's on SQLite are left as they are.
    """
    own = "_RegistryRO__"  # of attributes that databroker makes when they are first asked for
    kind = _sqlite_class(registry)
    if (
        kind is None
        or type(registry)._db is not kind.__dict__["_db"]
        or isinstance(getattr(registry, f"{own}db", None), _Connections)
    ):
        return
    for name in ("resource_col", "resource_update_col", "datum_col"):
        setattr(registry, f"{own}{name}", None)
    setattr(registry, f"{own}db", _Connections(Path(registry.config["dbpath"])))


def _sqlite_class(registry: Any) -> Any:
    for kind in type(registry).__mro__:
        if (kind.__module__, kind.__name__) == ("databroker.assets.sqlite", "RegistryRO"):
            return kind
    return None


class _Connections:
    """What databroker takes for its database: a connection for each thread that asks."""

    def __init__(self, path: Path) -> None:
        from databroker.assets import sqlite

        self.path = path
        self._of_thread = threading.local()
        with self._connection as connection:
            if not connection.execute(sqlite.LIST_TABLES).fetchall():
                for statement in (
                    sqlite.CREATE_RESOURCES_TABLE,
                    sqlite.CREATE_DATUMS_TABLE,
                    sqlite.CREATE_RESOURCE_UPDATES_TABLE,
                ):
                    connection.execute(statement)
            # databroker reads all datums of all scans to find those of one resource.
            connection.execute("CREATE INDEX IF NOT EXISTS datums_of ON Datums (resource)")

    @property
    def conn(self) -> _Connections:
        return self  # databroker keeps what it gets, and threads may not share an SQLite connection

    def cursor(self) -> sqlite3.Cursor:
        return self._connection.cursor()

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def disconnect(self) -> None:
        self._connection.close()
        del self._of_thread.connection

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30)
            connection.row_factory = sqlite3.Row
            self._of_thread.connection = connection
        return connection


class Assets:
    """The Resource and Datum documents that a run's events refer to.

    Parameters
    ----------
    registry : AssetRegistry, optional
        Where those are that the run's documents lack: asked once a resource, not once a datum.
    """

    def __init__(self, registry: AssetRegistry | None = None) -> None:
        self.registry = registry
        #: What the registry said, if it failed otherwise than by not knowing a datum.
        self.failure = ""
        self._resources: dict[str, Resource] = {}
        self._datums: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def add(self, name: str, document: Document) -> None:
        """Take a document: resource, datum, datum_page or bulk_datum."""
        match name:
            case "resource":
                self._resources[document["uid"]] = Resource(document)
            case "datum":
                self._datums[document["datum_id"]] = (
                    document["resource"],
                    document["datum_kwargs"],
                )
            case "datum_page":
                for datum in event_model.unpack_datum_page(cast(Any, document)):
                    self.add("datum", cast(Document, datum))
            case "bulk_datum":
                for datum_id, kwargs in zip(
                    document["datum_ids"], document["datum_kwarg_list"], strict=True
                ):
                    self._datums[datum_id] = (document["resource"], kwargs)

    def resource(self, uid: str) -> Resource | None:
        """Return a Resource that has come."""
        return self._resources.get(uid)

    def find(self, datum_id: str) -> tuple[Resource, Mapping[str, Any]] | None:
        """Return a datum's resource and arguments, or None if they have not come."""
        datum = self._datums.get(datum_id)
        if datum is None:
            return None
        resource = self._resources.get(datum[0])
        return None if resource is None else (resource, datum[1])

    def ask(self, datum_id: str) -> bool:
        """Ask the registry for a datum, and for all of its resource; whether it has it."""
        if self.registry is None:
            return False
        not_there = getattr(self.registry, "DatumNotFound", KeyError)
        try:
            resource = dict(self.registry.resource_given_datum_id(datum_id))
            self.add("resource", resource)
            for datum in self.registry.datum_gen_given_resource(resource):
                self.add("datum", {**datum, "resource": resource["uid"]})
        except (not_there, KeyError):
            return False
        except Exception as error:  # noqa: BLE001, a registry of any database must not cost the run
            self.failure = f"{type(error).__name__}: {error}"
            return False
        return self.find(datum_id) is not None

    def ask_for_all(self, datum_ids: Sequence[str]) -> None:
        """Ask the registry for those of `datum_ids` that have not come.

        It need not know them. Places evenly spread over the run are tried first, so that each file
        that is known to the registry is found by few questions.
        """
        missed = 0
        for place in _spread(len(datum_ids)):
            if self.registry is None or missed >= PROBES:
                return
            if self.find(datum_ids[place]) is None:
                missed = 0 if self.ask(datum_ids[place]) else missed + 1


def _spread(count: int) -> Iterable[int]:
    """Yield 0 .. count - 1, each once: the middle, the quarters, the eighths, ..."""
    bits = max(count - 1, 0).bit_length()
    for number in range(1 << bits):
        place = int(format(number, f"0{bits}b")[::-1], 2) if bits else 0
        if place < count:
            yield place
