"""HXN's classic fly scans (FlyPlan2D): an event for each frame, written when a part has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..scan import Scan
from .motion import Line
from .motors import motor_names
from .per_event import EventSettings, has_positions, read_events
from .starts import number_announced, scan_type

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run

NAME = "classic"
WHAT = "a classic fly scan"


class Settings(EventSettings):
    """``[classic]`` of ``hxn.toml``."""


def takes(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour: two motors, a way to fly, and no scan type."""
    return (
        config.settings(Settings) is not None
        and scan_type(start) is None
        and "fly_type" in start
        and len(motor_names(start)) == 2
    )


def diffracts(start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether there is a diffraction detector, and positions of both motors."""
    return has_positions(start, keys, config, config.settings(Settings))


def expected(start: Mapping[str, Any]) -> int | None:
    """Return the number of frames that its shape announces, of all its parts together."""
    return number_announced(start)


def read(run: Run) -> Scan:
    """Read a run of this flavour.

    Lines that were flown back and forth (``fly_type="pyramid"``) need nothing: the positions tell.

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
    """Return what was announced: motors, shape and scan_range are [fast, slow]."""
    shape, ranges = start.get("shape") or (), start.get("scan_range") or ()
    if len(shape) != 2:
        return {}
    fast, slow = motor_names(start)
    n_fast, n_slow = (int(size) for size in shape)
    ends = [tuple(map(float, pair)) for pair in ranges if isinstance(pair, list | tuple)]
    (f0, f1), (s0, s1) = ends if [len(pair) for pair in ends] == [2, 2] else [(None, None)] * 2
    return {fast: Line(f0, f1, n_fast), slow: Line(s0, s1, n_slow, every=n_fast)}
