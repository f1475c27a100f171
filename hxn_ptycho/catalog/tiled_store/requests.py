"""What the catalog is asked of a run's arrays, in as few requests as can be.

A request takes 20 to 50 ms, a scan has several arrays, and a client that walks to one makes six.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from ..backend import Contents, Source
from ..errors import CatalogError
from ..hdf5 import FRAMES_KEY, uri_path

_PAGE = 300  # the largest that Tiled gives


def metadata(runs: Any, uid: str) -> dict[str, Any] | None:
    """Return ``{"start": ..., "stop": ...}`` of the run with this full uid, or None.

    Raises
    ------
    CatalogError
        If the catalog refuses to answer.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE

    only = {"fields": "metadata", "omit_links": True}
    # A run's name in its catalog is its uid; and names have an index in every database.
    reply = _get(runs, "metadata", (uid,), MSGPACK_MIME_TYPE, only)
    return dict(reply.json()["data"]["attributes"]["metadata"]) if reply else None


def newest(
    runs: Any, queries: Iterable[Any], limit: int | None = None, only_uids: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """Return uid and metadata of the runs that fit all `queries`, newest first.

    A Tiled client that goes through its items has the streams of each run counted, and three
    addresses made for it: that takes longer than to find them.

    Parameters
    ----------
    queries : iterable of Tiled queries
        Of metadata, as ``Key("start.scan_id") == 7``.
    limit : int, optional
        Return so many at most.
    only_uids : bool
        Leave the metadata empty.

    Raises
    ------
    CatalogError
        If the catalog refuses to answer.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE
    from tiled.query_registration import default_query_registry

    asked: dict[str, Any] = {
        "fields": "" if only_uids else "metadata",
        "omit_links": True,
        "sort": "-",  # by their coming into the catalog
    }
    for query in queries:
        name = default_query_registry.query_type_to_name[type(query)]
        for field, value in query.encode().items():
            asked.setdefault(f"filter[{name}][condition][{field}]", []).append(value)
    found: list[tuple[str, dict[str, Any]]] = []
    page: dict[str, Any] = {}
    while True:
        # Uids are small, and PostgreSQL, asked for a single row of few, walks back through all.
        size = _PAGE if limit is None or only_uids else min(_PAGE, limit - len(found))
        asked |= page | {"page[limit]": size}
        reply = _get(runs, "search", (), MSGPACK_MIME_TYPE, asked)
        if reply is None:
            raise CatalogError(f"there is no catalog {'/'.join(runs.path_parts)} any more")
        content = reply.json()
        found += [
            (item["id"], {} if only_uids else dict(item["attributes"]["metadata"]))
            for item in content["data"]
        ]
        follows = content["links"]["next"]
        # Tiled guesses how many there are, and may lead on to pages without a run.
        if not follows or len(content["data"]) < size or len(found) >= (limit or len(found) + 1):
            return found[:limit]
        page = dict(parse_qsl(urlsplit(follows).query))


def contents(runs: Any, uid: str, stream: str) -> Contents:
    """Return what a stream has; nothing if there is no such stream.

    Parameters
    ----------
    runs : Tiled client of the catalog
    uid, stream : str

    Raises
    ------
    CatalogError
        If the catalog refuses to answer.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE

    found = Contents()
    begin = 0
    while True:
        page = {"include_data_sources": True, "page[offset]": begin, "page[limit]": _PAGE}
        reply = _get(runs, "search", (uid, stream), MSGPACK_MIME_TYPE, page)
        items = reply.json()["data"] if reply else []
        for item in items:
            attributes = item["attributes"]
            if attributes["structure_family"] == "table":
                found.tables[item["id"]] = set(attributes["structure"]["columns"])
                continue
            sources = attributes.get("data_sources")
            if sources and sources[0]["management"] == "external":
                found.sources[item["id"]] = _source(sources[0], attributes["metadata"])
        begin += len(items)
        if len(items) < _PAGE:
            return found


def _source(source: dict[str, Any], metadata: dict[str, Any]) -> Source:
    parameters = source.get("parameters") or {}
    assets = sorted(source["assets"], key=lambda asset: asset.get("num") or 0)
    spans = metadata.get(FRAMES_KEY)
    return Source(
        tuple(uri_path(asset["data_uri"]) for asset in assets),
        parameters.get("dataset") or "",
        source["mimetype"],
        parameters.get("slice") or "",
        tuple((start, count) for start, count in spans) if spans else None,
    )


def columns(
    runs: Any, uid: str, stream: str, known: Contents, keys: Sequence[str] = ()
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
        If the catalog refuses to answer.
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
        reply = _get(runs, "table/full", path, APACHE_ARROW_FILE_MIME_TYPE, asked)
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


def open_run(runs: Any, uid: str) -> Any:
    """Return the Tiled container of the run with this full uid.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    try:
        return runs[uid]
    except (KeyError, ValueError) as error:
        raise CatalogError(f"there is no run {uid!r} in this catalog") from error


def require(runs: Any, uid: str, stream: str, key: str | None = None) -> Any:
    """Return the Tiled client of a stream, or of a key of it.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, with what there is.
    """
    run = open_run(runs, uid).base
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


def _get(runs: Any, what: str, path: tuple[str, ...], accept: str, params: dict[str, Any]) -> Any:
    """Return the reply to one request; None if there is no such thing."""
    from tiled.client.utils import ClientError, handle_error

    parts = "/".join(quote(part, safe="") for part in (*runs.path_parts, *path))
    address = f"{str(runs.context.api_uri).rstrip('/')}/{what}/{parts}"
    try:
        return handle_error(
            runs.context.http_client.get(address, headers={"Accept": accept}, params=params)
        )
    except ClientError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if error.response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise  # the store says by which key
        what = "runs"
        if path:
            what = f"run {path[0][:8]}"
        if len(path) > 1:
            what = f"stream {path[1]!r} of {what}"
        raise CatalogError(f"{what} cannot be looked up: {error}") from error
