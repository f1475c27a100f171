"""What the documents do not say: ``hxn.toml``, and a beamline's own changes to it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, create_model

from ..home import ConfigError, Home, find_home
from .flavours import FLAVOURS
from .mistakes import Mistake, find_mistakes, in_words
from .tables import Detector, Energy, Folder, Motor, Table

FILE_NAME = "hxn.toml"
#: Where the package's own file is.
PACKAGED = Path(str(files(__package__).joinpath(FILE_NAME)))

T = TypeVar("T", bound=Table)


class _Tables(Table):
    extends: bool = True
    energy: Energy
    detectors: Annotated[dict[str, Detector], Field(min_length=1)]
    motors: Annotated[dict[str, Motor], Field(min_length=1)]
    roots: dict[Folder, Folder] = Field(default_factory=dict)


# The tables of the flavours are added by their names: a flavour says itself what it needs.
_File: Any = create_model(
    "_File",
    __base__=_Tables,
    **{
        flavour.NAME: (flavour.Settings | None, None)
        for flavour in FLAVOURS
        if flavour.Settings is not None
    },  # type: ignore[call-overload]
)


@dataclass(frozen=True)
class BeamlineConfig:
    """The whole of ``hxn.toml``, as it is in force.

    Attributes
    ----------
    energy : Energy
    detectors : mapping of str to Detector
    motors : mapping of str to Motor
    roots : tuple of (str, str)
        Folders that files were moved from and to, the longest first.
    flavours : mapping of str to Table
        What is set of each flavour of scan; one that is not here is not read.
    """

    energy: Energy
    detectors: Mapping[str, Detector]
    motors: Mapping[str, Motor]
    roots: tuple[tuple[str, str], ...]
    flavours: Mapping[str, Table]

    def settings(self, kind: type[T]) -> T | None:
        """Return what is set of the flavour whose table is of this type; None: it is not read."""
        return next((table for table in self.flavours.values() if isinstance(table, kind)), None)

    def data_keys(self, detector: str) -> tuple[str, ...]:
        """Return the data keys under which a detector's frames may come."""
        return self.detectors[detector].data_keys or (detector,)


@dataclass(frozen=True)
class InForce:
    """What is in force, and whence.

    Attributes
    ----------
    config : BeamlineConfig
    own : Path or None
        The beamline's own file; None: there is none.
    extends : bool
        Whether the package's file is in force where the own one says nothing.
    tables, packaged : dict
        What is in force, and what the package's file says, as read.
    """

    config: BeamlineConfig
    own: Path | None
    extends: bool
    tables: dict[str, Any]
    packaged: dict[str, Any]


def load_config(home: Home | None = None) -> BeamlineConfig:
    """Read the tables that come with the package, and ``HOME/hxn.toml`` over them.

    Raises
    ------
    ConfigError
        Naming the file, the line and the key.
    """
    return load_in_force(home).config


def load_in_force(home: Home | None = None) -> InForce:
    """As `load_config`, with where each entry comes from.

    Raises
    ------
    ConfigError
        Naming the file, the line and the key.
    """
    path = (home or find_home()).root / FILE_NAME
    # Every document of every scan asks: the file is read again only when it has changed.
    try:
        status = path.stat()
    except OSError:
        return _load(path, None)
    return _load(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=4)
def _load(path: Path, state: tuple[int, ...] | None) -> InForce:
    packaged = tomllib.loads(PACKAGED.read_text(encoding="utf-8"))
    if state is None:
        return InForce(_validated(packaged), None, True, packaged, packaged)
    try:
        text = path.read_text(encoding="utf-8")
        own = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    extends = own.get("extends", True) is not False
    tables = _over(packaged, own) if extends else own
    try:
        config = _validated(tables)
    except ValidationError as error:
        mistakes = find_mistakes(error, _File, tables, packaged if extends else {})
        raise ConfigError(in_words(mistakes, path, text)) from error
    mistakes = _contradictions(config)
    if mistakes:
        raise ConfigError(in_words(mistakes, path, text))
    return InForce(config, path, extends, tables, packaged)


def _validated(tables: dict[str, Any]) -> BeamlineConfig:
    file = _File.model_validate(tables)
    flavours = {
        flavour.NAME: getattr(file, flavour.NAME)
        for flavour in FLAVOURS
        if flavour.Settings is not None and getattr(file, flavour.NAME) is not None
    }
    roots = sorted(file.roots.items(), key=lambda pair: -len(pair[0]))
    return BeamlineConfig(file.energy, file.detectors, file.motors, tuple(roots), flavours)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with the keys of `above` in place of its own, table by table."""
    merged = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _over(below[key], value) if both_tables else value
    return merged


def _contradictions(config: BeamlineConfig) -> list[Mistake]:
    """Return what each table may say, but not all of them together."""
    mistakes = []
    whose: dict[str, str] = {}
    for name in config.detectors:
        for key in config.data_keys(name):
            other = whose.setdefault(key, name)
            if other != name:
                mistakes.append(
                    Mistake(
                        ("detectors", name, "data_keys"),
                        f"{key!r} is a data key of the detector {other} too; the frames are of one",
                    )
                )
    for axis in ("x", "y"):
        if not any(motor.axis == axis for motor in config.motors.values()):
            mistakes.append(
                Mistake(("motors",), f"no motor has axis = {axis!r}: no scan could be read")
            )
    types: dict[str, str] = {}
    for flavour, table in config.flavours.items():
        for kind in getattr(table, "scan_types", ()):
            other = types.setdefault(kind, flavour)
            if other != flavour:
                mistakes.append(
                    Mistake(
                        (flavour, "scan_types"),
                        f"{kind!r} is a scan type of [{other}] too; a scan is of one flavour",
                    )
                )
    for old, new in config.roots:
        if old == new:
            mistakes.append(Mistake(("roots", old), "is moved to itself"))
    return mistakes
