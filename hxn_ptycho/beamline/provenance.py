"""From which file each entry of ``hxn.toml`` in force comes, and what it replaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .config import InForce

Origin = Literal["package", "home", "changed"]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A key whose value is not the package's.

    Attributes
    ----------
    path : tuple of str
        As ``("motors", "zpssx", "direction")``.
    value, packaged : object
        In force, and the package's; None: it has none.
    """

    path: Path
    value: Any
    packaged: Any

    @property
    def name(self) -> str:
        """The key as it is written in TOML."""
        return ".".join(self.path)


def changes(in_force: InForce) -> list[Change]:
    """Return each key of the home's file that differs from the package's."""
    packaged = dict(_leaves(in_force.packaged))
    return [
        Change(path, value, packaged.get(path))
        for path, value in _leaves(in_force.tables)
        if packaged.get(path) != value and path != ("extends",)
    ]


def origin(in_force: InForce, *path: str) -> Origin:
    """Return where a table comes from: the package, the home's file, or that file in part."""
    known: Any = in_force.packaged
    for part in path:
        known = known.get(part, {}) if isinstance(known, dict) else {}
    if not known or not in_force.extends:
        return "home"
    length = len(path)
    return "changed" if any(c.path[:length] == path for c in changes(in_force)) else "package"


def _leaves(tables: dict[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value
