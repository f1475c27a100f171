"""In which line of a TOML file a key is: its parser does not say."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Return the line, from 1, of the statement that sets `path`, or what is nearest above it.

    Lines are added one by one until what they say has the key: the parser itself decides, so that
    quoted and dotted keys, and values of several lines, are as it takes them.

    Parameters
    ----------
    text : str
        A whole file that can be parsed.
    path : sequence of str and int
        As ``("motors", "zpssx", "scale_um")``; numbers are places in arrays.

    Returns
    -------
    int or None
        None if not even the first part of `path` is there.
    """
    statements = _statements(text)
    for length in range(len(path), 0, -1):
        for line, so_far in statements:
            if _has(so_far, path[:length]):
                return line
    return None


def _statements(text: str) -> list[tuple[int, dict[str, Any]]]:
    """Return, of each statement, the line where it begins, and all that is said up to its end."""
    # Not splitlines(): form feeds and the like end no line of TOML.
    lines = text.replace("\r\n", "\n").split("\n")
    found: list[tuple[int, dict[str, Any]]] = []
    begin = 0
    for end in range(1, len(lines) + 1):
        if begin == end - 1 and _is_blank(lines[begin]):
            begin = end
            continue
        try:
            so_far = tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # a value goes on in the next line
        found.append((begin + 1, so_far))
        begin = end
    return found


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _has(tables: Any, path: Sequence[str | int]) -> bool:
    for part in path:
        places: Any = tables if isinstance(tables, dict) else ()
        if isinstance(tables, list):
            places = range(len(tables))
        if part not in places:
            return False
        tables = tables[part]
    return True
