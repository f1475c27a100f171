"""What the catalog is asked of a run's arrays, in as few requests as can be.

A request takes 20 to 50 ms, a scan has several arrays, and a client that walks to one makes six.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .errors import CatalogError
from .find import open_run
from .hdf5 import FRAMES_KEY
from .writing import runs

if TYPE_CHECKING:
    from databroker import Broker

_PAGE = 300


@dataclass
class Contents:
    """What a stream has.

    Attributes
    ----------
    sources : dict of str to DataSource
        Tiled's data source of each array in files of its own, by its key.
    spans : dict of str to list of (int, int)
        First frame and number of frames of each file that belong to an array, by its key; not
        there: whatever the files have.
    tables : dict of str to set of str
        Columns of each table, by its name: one, or several where a run has a thousand columns.
    """

    sources: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    tables: dict[str, set[str]] = field(default_factory=dict)

    def has_column(self, key: str) -> bool:
        """Return whether the events of the stream have such a value."""
        return any(key in columns for columns in self.tables.values())


def contents(broker: Broker, uid: str, stream: str) -> Contents:
    """Return what a stream has; nothing if there is no such stream.

    Raises
    ------
    CatalogError
        If the catalog does not answer.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE
    from tiled.structures.data_source import DataSource

    found = Contents()
    begin = 0
    while True:
        page = {"include_data_sources": True, "page[offset]": begin, "page[limit]": _PAGE}
        reply = _get(broker, "search", (uid, stream), MSGPACK_MIME_TYPE, page)
        items = reply.json()["data"] if reply else []
        for item in items:
            attributes = item["attributes"]
            if attributes["structure_family"] == "table":
                found.tables[item["id"]] = set(attributes["structure"]["columns"])
                continue
            sources = attributes.get("data_sources")
            if sources and sources[0]["management"] == "external":
                found.sources[item["id"]] = DataSource.from_json(sources[0])
                spans = attributes["metadata"].get(FRAMES_KEY)
                if spans:
                    found.spans[item["id"]] = [(start, count) for start, count in spans]
        begin += len(items)
        if len(items) < _PAGE:
            return found


def columns(
    broker: Broker, uid: str, stream: str, known: Contents, keys: Sequence[str] = ()
) -> dict[str, Any]:
    """Return columns of a stream's table as Arrow arrays, in the order of the events.

    Parameters
    ----------
    known : Contents
        Of the stream.
    keys : sequence of str
        Those wanted, where they are there; default: all.

    Raises
    ------
    CatalogError
        If the catalog does not answer.
    """
    import pyarrow  # type: ignore[import-untyped]
    from tiled.utils import APACHE_ARROW_FILE_MIME_TYPE

    found: dict[str, Any] = {}
    for name, has in known.tables.items():
        wanted = [key for key in keys if key in has]
        if keys and not wanted:
            continue
        # Tiled leaves out what it does not know, and answers with an error if nothing is left.
        asked = {"column": ["seq_num", *wanted]} if keys and "seq_num" in has else {}
        path = (uid, stream, name)
        reply = _get(broker, "table/full", path, APACHE_ARROW_FILE_MIME_TYPE, asked)
        if reply is None:
            continue
        rows = pyarrow.ipc.open_file(io.BytesIO(reply.read())).read_all()
        if "seq_num" in rows.column_names:
            # A database returns rows as it likes.
            numbers = rows["seq_num"].to_numpy()
            if (numbers[1:] < numbers[:-1]).any():
                rows = rows.sort_by("seq_num")
        for column in rows.column_names:
            # On the way it was a pandas table, whose index is none of the columns.
            if column in has:
                found[column] = rows[column]
    return found


def node(broker: Broker, uid: str, stream: str, key: str | None = None) -> Any:
    """Return the Tiled client of a stream, or of a key of it.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, with what there is.
    """
    run = open_run(broker, uid).base
    try:
        found = run[stream]
    except KeyError:
        raise CatalogError(
            f"run {uid[:8]} has no stream {stream!r}; it has {sorted(run)}"
        ) from None
    if key is None:
        return found
    try:
        return found[key]
    except KeyError:
        raise CatalogError(
            f"stream {stream!r} of run {uid[:8]} has no {key!r}; it has {sorted(found)}"
        ) from None


def _get(
    broker: Broker, what: str, path: tuple[str, ...], accept: str, params: dict[str, Any]
) -> Any:
    """Return the reply to one request; None if there is no such thing."""
    from tiled.client.utils import ClientError, handle_error

    catalog = runs(broker)
    parts = "/".join(quote(part, safe="") for part in (*catalog.path_parts, *path))
    address = f"{str(catalog.context.api_uri).rstrip('/')}/{what}/{parts}"
    try:
        return handle_error(
            catalog.context.http_client.get(address, headers={"Accept": accept}, params=params)
        )
    except ClientError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            return None
        raise CatalogError(
            f"stream {path[1]!r} of run {path[0][:8]} cannot be looked up: {error}"
        ) from error
