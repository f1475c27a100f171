"""Fly scans driven by a PandA: every array in a file, encoders sampled several times a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..scan import Scan
from .assembly import make_scan
from .detectors import find_detector, has_diffraction
from .motion import Line, announced, from_encoder, raster
from .motors import find_motors, known_motors
from .starts import number_announced, scan_type
from .tables import Names, Table

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run

NAME = "panda"
WHAT = "a PandA fly scan"


class Settings(Table):
    """``[panda]`` of ``hxn.toml``."""

    scan_types: Names
    samples_per_frame: Annotated[int, Field(ge=1)] = 1
    ion_chamber: Names = ()
    scan_input: Literal["middles", "edges"] = "middles"


def takes(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour: its scan type is one of the table's."""
    settings = config.settings(Settings)
    return settings is not None and scan_type(start) in settings.scan_types


def diffracts(start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether there is a diffraction detector, and the encoders of both motors."""
    motors = known_motors(start, config)
    return (
        motors is not None
        and has_diffraction(keys, config)
        and all(motor.encoder is None or motor.encoder in keys for motor in motors.values())
    )


def expected(start: Mapping[str, Any]) -> int | None:
    """Return the number of frames that the scan's shape announces."""
    return number_announced(start)


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
    key, detector = find_detector(run)
    motors = find_motors(run)
    frames = run.frames(key)
    lines = _lines(run)
    tracks = [
        announced(run, lines, name, motor, frames.shape[0], edges=settings.scan_input == "edges")
        if motor.encoder is None
        else from_encoder(
            run, name, motor, frames.shape[0], settings.samples_per_frame, lines.get(name, Line())
        )
        for name, motor in motors.items()
    ]
    return make_scan(run, frames, detector, tracks, settings.ion_chamber)


def _lines(run: Run) -> dict[str, Line]:
    """Return what scan_input announces, [x0, x1, nx, y0, y1, ny], relative to where it began."""
    given = list(run.start["scan"].get("scan_input") or ())
    if len(given) < 6:
        return {}
    return raster(
        run, [(given[0], given[1], given[2]), (given[3], given[4], given[5])], relative=True
    )
