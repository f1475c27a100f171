"""Step scans of Bluesky (grids, spirals, lists) with a detector that sees diffraction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ..scan import Scan
from .motion import Line
from .motors import motor_names
from .per_event import EventSettings, has_positions, read_events
from .starts import number_announced, scan_type
from .tables import Names

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run

NAME = "step"
WHAT = "a step scan"


class Settings(EventSettings):
    """``[step]`` of ``hxn.toml``."""

    scan_types: Names = ()
    columns: Annotated[Names, Field(min_length=1)] = ("{motor}", "{motor}_readback")


def takes(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour: it moved motors, and has no scan type."""
    settings = config.settings(Settings)
    if settings is None or len(motor_names(start)) < 2:
        return False
    kind = scan_type(start)
    return kind is None or kind in settings.scan_types


def diffracts(start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether there is a diffraction detector, and positions of both motors."""
    return has_positions(start, keys, config, config.settings(Settings))


def expected(start: Mapping[str, Any]) -> int | None:
    """Return the number of points that the plan announced."""
    points = start.get("num_points")
    return number_announced(start) if points is None else int(points)


def read(run: Run) -> Scan:
    """Read a run of this flavour.

    Raises
    ------
    ScanError
        If something is missing or does not fit together.
    CatalogError
        If an array cannot be found or opened.
    """
    settings = run.config.settings(Settings)
    assert settings is not None
    return read_events(run, _lines(run.start), settings)


def _lines(start: Mapping[str, Any]) -> dict[str, Line]:
    """Return what the plan announced of each motor: Bluesky's grids move the last one fastest.

    Of a spiral, whose points are in no lines, only where it extends.
    """
    motors, shape = motor_names(start), start.get("shape") or ()
    extents = start.get("extents") or ()
    lines: dict[str, Line] = {}
    every = 1
    for i, name in reversed(list(enumerate(motors))):
        ends = [float(end) for end in extents[i]] if i < len(extents) else []
        first, last = (ends[0], ends[-1]) if len(ends) == 2 else (None, None)
        number = int(shape[i]) if len(shape) == len(motors) else None
        lines[name] = Line(first, last, number, every)
        every *= number or 1
    return lines
