"""Rows of events as Arrow tables, in the layout of Bluesky's own Tiled writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Unsupported

# Longer lists are for Tiled's own writer, which makes arrays of them.
LONGEST_LIST = 64


def make_schema(data_keys: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the Arrow schema of a stream's table, from its descriptor's data keys.

    Raises
    ------
    Unsupported
        If a column is neither a number, a truth value, a text nor a short list of numbers.
    """
    import pyarrow  # type: ignore[import-untyped]

    plain = {
        "number": pyarrow.float64(),
        "integer": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
        "string": pyarrow.string(),
    }
    columns: dict[str, Any] = {}
    for key, data_key in data_keys.items():
        if "external" in data_key:
            continue
        if key in ("seq_num", "time"):
            raise Unsupported(f"{key} is a name of the catalog's own")
        kind = data_key["dtype"]
        if kind == "array":
            shape: list[int | None] = list(data_key.get("shape") or ())
            if len(shape) != 1 or not 0 < (shape[0] or 0) <= LONGEST_LIST:
                raise Unsupported(f"{key} is an array of shape {shape}")
            columns[key] = pyarrow.list_(pyarrow.float64())
        else:
            columns[key] = plain[kind]
    return pyarrow.schema(
        [
            ("seq_num", pyarrow.int64()),
            ("time", pyarrow.float64()),
            *columns.items(),
            *((f"ts_{key}", pyarrow.float64()) for key in columns),
        ]
    )


def make_table(schema: Any, rows: Sequence[Mapping[str, Any]], first: int) -> Any:
    """Return `rows` as an Arrow table, their sequence numbers counted from `first`.

    Raises
    ------
    Unsupported
        If a value is not of the type that the schema says.
    """
    import pyarrow

    columns: dict[str, list[Any]] = {}
    for name in schema.names:
        if name == "seq_num":
            columns[name] = list(range(first, first + len(rows)))
        elif name == "time":
            columns[name] = [row["time"] for row in rows]
        elif name.startswith("ts_") and name[3:] in schema.names:
            columns[name] = [row.get("timestamps", {}).get(name[3:], row["time"]) for row in rows]
        else:
            columns[name] = [row["data"].get(name) for row in rows]
    try:
        return pyarrow.table(columns, schema=schema)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise Unsupported(str(error)) from error
