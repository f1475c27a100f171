"""Rows of events as Arrow tables, in the layout of Bluesky's own Tiled writer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Unsupported

# What Tiled takes as a column of an SQL table, "ts_" before it; other names end in an error.
_NAME = re.compile(r"[a-zA-Z_][\w .:-]*")
_LONGEST_NAME = 60


def make_schema(data_keys: Mapping[str, Mapping[str, Any]], lenient: bool = False) -> Any:
    """Return the Arrow schema of a stream's table, from its descriptor's data keys.

    Parameters
    ----------
    data_keys : mapping
        Those with ``external`` are no columns.
    lenient : bool
        Leave columns out that a table cannot hold, instead of raising.

    Raises
    ------
    Unsupported
        If a column is neither a number, a truth value nor a text (SQLite holds no lists), or its
        name is none for SQL.
    """
    import pyarrow  # type: ignore[import-untyped]

    types = {
        "number": pyarrow.float64(),
        "integer": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
        "string": pyarrow.string(),
    }
    columns: dict[str, Any] = {}
    taken = {"seq_num", "time"}
    for key, data_key in data_keys.items():
        if "external" in data_key:
            continue
        # SQL takes names that differ in case for the same.
        fits = (
            _NAME.fullmatch(key)
            and len(key.encode()) <= _LONGEST_NAME
            and not {key.lower(), f"ts_{key}".lower()} & taken
            and data_key["dtype"] in types
        )
        if fits:
            columns[key] = types[data_key["dtype"]]
            taken |= {key.lower(), f"ts_{key}".lower()}
        elif not lenient:
            raise Unsupported(f"{key} ({data_key['dtype']}) as a column of a table")
    return pyarrow.schema(
        [
            ("seq_num", pyarrow.int64()),
            ("time", pyarrow.float64()),
            *columns.items(),
            *((f"ts_{key}", pyarrow.float64()) for key in columns),
        ]
    )


def make_table(
    schema: Any, rows: Sequence[Mapping[str, Any]], first: int, lenient: bool = False
) -> Any:
    """Return `rows` as an Arrow table, their sequence numbers counted from `first`.

    Parameters
    ----------
    schema : pyarrow.Schema
    rows : sequence of mapping
        Each with ``time``, ``data`` and perhaps ``timestamps``.
    first : int
    lenient : bool
        Null where a value is not of the type that the schema says, instead of raising.

    Raises
    ------
    Unsupported
        If a value is not of the type that the schema says.
    """
    import pyarrow

    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name == "seq_num":
            values: list[Any] = list(range(first, first + len(rows)))
        elif name == "time":
            values = [row["time"] for row in rows]
        elif name.startswith("ts_") and name[3:] in schema.names:
            values = [row.get("timestamps", {}).get(name[3:], row["time"]) for row in rows]
        else:
            values = [row["data"].get(name) for row in rows]
        try:
            columns.append(pyarrow.array(values, type=kind))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            if not lenient:
                raise Unsupported(f"{name}: {error}") from error
            columns.append(pyarrow.nulls(len(rows), type=kind))
    return pyarrow.table(columns, schema=schema)
