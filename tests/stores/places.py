"""Every kind of store that runs are kept in, for tests of what all of them must do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from hxn_ptycho.home import Stores


class Place(Protocol):
    """A kind of store, there for the whole test run."""

    #: Whether `stop` and `start` can be called: it is apart from the program that uses it.
    can_go_away: bool

    def fresh_stores(self) -> Stores:
        """Return what config.toml says of two empty catalogs, of a fresh home's."""
        ...

    def stop(self) -> None:
        """Have it go away, at once."""
        ...

    def start(self) -> None:
        """Have it come back, with all that it had stored."""
        ...


class Embedded:
    """The home's own SQLite files."""

    can_go_away = False

    def fresh_stores(self) -> Stores:
        """Return what stands for the home's own."""
        return Stores()

    def stop(self) -> None:
        """Not to be called."""
        raise AssertionError("it is in this process")

    start = stop


#: What makes each, from the fixtures of a test.
PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "embedded": lambda request: Embedded(),
    "tiled-postgresql": lambda request: request.getfixturevalue("tiled_server"),
    "v0-sqlite": lambda request: request.getfixturevalue("v0_on_sqlite"),
    "v0-mongo": lambda request: request.getfixturevalue("v0_on_mongo"),
}


def toml(value: Any) -> str:
    """Return a value as TOML has it, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def configuration(stores: Stores) -> str:
    """Return the lines of config.toml that name these stores."""
    return f"catalogs = {toml(stores.model_dump(exclude_defaults=True))}\n"
