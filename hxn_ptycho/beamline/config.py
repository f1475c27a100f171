"""What the documents do not say: ``hxn.toml``, and a beamline's own changes to it."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..home import ConfigError, Home, find_home

FILE_NAME = "hxn.toml"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Energy(_Table):
    """How the photon energy follows from the baseline stream."""

    bragg_key: str
    lattice_spacing_angstrom: Annotated[float, Field(gt=0)]


class PandaScans(_Table):
    """Fly scans driven by a PandA."""

    scan_types: tuple[str, ...]
    samples_per_frame: Annotated[int, Field(ge=1)]
    ion_chamber: str


class Detector(_Table):
    """A detector that sees diffraction."""

    pixel_um: Annotated[float, Field(gt=0)]
    distance_m: Annotated[float, Field(gt=0)]
    distance_from_documents: bool
    saturation: Annotated[int, Field(gt=0)]


class Motor(_Table):
    """A stage: its encoder, and what its position means on the sample."""

    axis: Literal["x", "y"]
    encoder: str
    scale_um: float
    direction: Literal[1, -1]
    angle_key: str | None = None
    projection: Literal["cos", "sin"] = "cos"

    @model_validator(mode="after")
    def _has_a_scale(self) -> Motor:
        if self.scale_um == 0:
            raise ValueError("scale_um must not be 0")
        return self


class BeamlineConfig(_Table):
    """The whole of ``hxn.toml``."""

    energy: Energy
    panda: PandaScans
    detectors: dict[str, Detector]
    motors: dict[str, Motor]


def load_config(home: Home | None = None) -> BeamlineConfig:
    """Read the tables that come with the package, and ``HOME/hxn.toml`` over them.

    Raises
    ------
    ConfigError
        Naming the file and the key or line.
    """
    path = (home or find_home()).root / FILE_NAME
    # Every document of every scan asks: the file is read again only when it has changed.
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=4)
def _load(path: Path, changed_ns: int) -> BeamlineConfig:
    tables = tomllib.loads(files(__package__).joinpath(FILE_NAME).read_text())
    if not changed_ns:
        return BeamlineConfig.model_validate(tables)
    try:
        own = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        return BeamlineConfig.model_validate(_over(tables, own))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {_say(fault)}" for fault in error.errors()
        )
        raise ConfigError(f"{path}: {faults}") from error


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with the keys of `above` in place of its own, table by table."""
    merged = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _over(below[key], value) if both_tables else value
    return merged


def _say(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "is missing"
    return f"{fault['msg'].removeprefix('Value error, ')}, not {fault['input']!r}"
