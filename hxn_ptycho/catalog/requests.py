"""What the catalog is asked of a run's arrays: one request each, where a client makes six.

A request takes 20 to 50 ms, and a scan has several arrays.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .errors import CatalogError
from .find import open_run
from .growing import TABLE
from .writing import runs

if TYPE_CHECKING:
    from databroker import Broker


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


def data_source(broker: Broker, uid: str, stream: str, key: str) -> Any:
    """Return Tiled's data source of an array in files of its own; None if there is no such array.

    Raises
    ------
    CatalogError
        If the catalog does not answer.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE
    from tiled.structures.data_source import DataSource

    reply = _get(
        broker, "metadata", (uid, stream, key), MSGPACK_MIME_TYPE, include_data_sources=True
    )
    sources = reply and reply.json()["data"]["attributes"].get("data_sources")
    if not sources or sources[0]["management"] != "external":
        return None
    return DataSource.from_json(sources[0])


def table(broker: Broker, uid: str, stream: str, columns: Sequence[str] = ()) -> Any:
    """Return a stream's table, its rows in the order of the events; None if it has none.

    Parameters
    ----------
    columns : sequence of str
        Those wanted, where they are there; default: all.

    Returns
    -------
    pyarrow.Table or None

    Raises
    ------
    CatalogError
        If the catalog does not answer.
    """
    import pyarrow  # type: ignore[import-untyped]

    found = _one_table(broker, uid, stream, TABLE, columns)
    if found is not None:
        return found
    # Bluesky's own writer splits a table of more than a thousand columns.
    parts: list[Any] = []
    while (part := _one_table(broker, uid, stream, f"{TABLE}_{len(parts)}", columns)) is not None:
        parts.append(part)
    if not parts:
        return None
    whole = pyarrow.table({name: part[name] for part in parts for name in part.column_names})
    return _in_order(whole)


def _one_table(broker: Broker, uid: str, stream: str, name: str, columns: Sequence[str]) -> Any:
    import pyarrow
    from tiled.utils import APACHE_ARROW_FILE_MIME_TYPE

    wanted = {"column": ["seq_num", *columns]} if columns else {}
    reply = _get(broker, "table/full", (uid, stream, name), APACHE_ARROW_FILE_MIME_TYPE, **wanted)
    if reply is None:
        return None
    rows = pyarrow.ipc.open_file(io.BytesIO(reply.read())).read_all()
    # On the way it was a pandas table, whose index is none of the columns.
    index = [name for name in rows.column_names if name.startswith("__index_level_")]
    return _in_order(rows.drop_columns(index))


def _in_order(rows: Any) -> Any:
    """Return rows by the number of their event: a database returns them as it likes."""
    if "seq_num" not in rows.column_names:
        return rows
    numbers = rows["seq_num"].to_numpy()
    return rows if (numbers[1:] > numbers[:-1]).all() else rows.sort_by("seq_num")


def _get(broker: Broker, what: str, path: tuple[str, ...], accept: str, **params: Any) -> Any:
    """Return the reply to one request; None if there is no such thing."""
    from tiled.client.utils import ClientError, handle_error

    catalog = runs(broker)
    context = catalog.context
    parts = "/".join(quote(part, safe="") for part in (*catalog.path_parts, *path))
    try:
        return handle_error(
            context.http_client.get(
                f"{str(context.api_uri).rstrip('/')}/{what}/{parts}",
                headers={"Accept": accept},
                params=params,
            )
        )
    except ClientError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            return None
        uid, stream, key = path
        raise CatalogError(
            f"{key} of {stream} of run {uid[:8]} cannot be looked up: {error}"
        ) from error
