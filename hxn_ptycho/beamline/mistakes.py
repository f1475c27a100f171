"""What is wrong with ``hxn.toml``, in words: file, line and key, and what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .toml_lines import line_of


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a key.

    Attributes
    ----------
    path : tuple of str and int
        As ``("motors", "zpssx", "scale_um")``.
    what : str
    """

    path: tuple[str | int, ...]
    what: str


def in_words(mistakes: Iterable[Mistake], file: Path, text: str) -> str:
    """Return the message: the file, and of each mistake the line, the key and what it is."""
    said = []
    for mistake in mistakes:
        line = line_of(text, mistake.path)
        place = "" if line is None else f"line {line}, "
        said.append(f"{place}{'.'.join(map(_quoted, mistake.path))}: {mistake.what}")
    return f"{file}: {'; '.join(said)}"


def find_mistakes(
    error: ValidationError,
    model: type[BaseModel],
    tables: Mapping[str, Any],
    packaged: Mapping[str, Any],
) -> list[Mistake]:
    """Return what is wrong, with the nearest known name where one is unknown.

    Parameters
    ----------
    error : ValidationError
    model : type
        That `tables` were validated by.
    tables, packaged : mapping
        All that was validated, and that part of it which is the package's.
    """
    return [_mistake(fault, model, tables, packaged) for fault in error.errors()]


def _mistake(
    fault: Any, model: type[BaseModel], tables: Mapping[str, Any], packaged: Mapping[str, Any]
) -> Mistake:
    path = tuple(part for part in fault["loc"] if part != "[key]")
    if fault["type"] == "extra_forbidden":
        return Mistake(path, _unknown(path, model, tables))
    if fault["type"] == "missing":
        return Mistake(path, f"is missing{_misspelt(path, packaged)}")
    what = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return Mistake(path, what if fault["type"] == "value_error" else f"{what}, not {_given(fault)}")


def _given(fault: Any) -> str:
    given = fault["input"]
    return "a table" if isinstance(given, dict) and given else repr(given)


def _unknown(path: Sequence[str | int], model: type[BaseModel], tables: Mapping[str, Any]) -> str:
    known = list(_fields(path[:-1], model))
    # A name that the file has already was hardly meant a second time.
    at = _at(tables, path[:-1])
    free = [name for name in known if name not in at]
    name = str(path[-1])
    near = difflib.get_close_matches(name, free, 1) or difflib.get_close_matches(name, known, 1)
    what = "table" if isinstance(_at(tables, path), dict) else "key"
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown {what}; {hint}"


def _misspelt(path: Sequence[str | int], packaged: Mapping[str, Any]) -> str:
    """Return a hint where a table of the package's was to be changed, under another name."""
    if len(path) < 3:
        return ""
    table, name = path[-3], str(path[-2])
    names = packaged.get(str(table), {})
    near = difflib.get_close_matches(name, names, 1) if name not in names else []
    return f"; if [{table}.{near[0]}] was to be changed, correct its name" if near else ""


def _fields(path: Sequence[str | int], model: Any) -> Iterable[str]:
    """Return the keys that a table at `path` may have."""
    for part in path:
        model = model.model_fields[part].annotation if _is_model(model) else get_args(model)[1]
        while get_origin(model) is not dict and not _is_model(model) and get_args(model):
            model = get_args(model)[0]  # what may be None, or has bounds
    return model.model_fields if _is_model(model) else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _at(tables: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        tables = tables[part]
    return tables


def _quoted(part: str | int) -> str:
    plain = str(part).replace("_", "").replace("-", "").isalnum() and str(part).isascii()
    return str(part) if plain else f'"{part}"'
