"""Fly scans driven by a Zebra, as at SRX: an event a line, its arrays in files, positions in um."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..scan import Scan, ScanError
from .assembly import make_scan
from .detectors import find_detector, has_diffraction
from .motion import Line, Track, announced, from_column, from_encoder, raster
from .motors import find_motors, known_motors, motor_names
from .starts import number_announced, scan_type
from .tables import Names, Table

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run
    from .tables import Motor

NAME = "zebra"
WHAT = "a Zebra fly scan"


class Settings(Table):
    """``[zebra]`` of ``hxn.toml``."""

    scan_types: dict[str, Literal["start-stop", "centre-range"]]
    fast_key: str = "enc1"
    slow_key: str = "enc2"
    samples_per_frame: Annotated[int, Field(ge=1)] = 1
    ion_chamber: Names = ()


def takes(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour: its scan type is one of the table's."""
    settings = config.settings(Settings)
    return settings is not None and scan_type(start) in settings.scan_types


def diffracts(start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether there is a diffraction detector, and positions of both motors."""
    settings = config.settings(Settings)
    assert settings is not None
    motors = known_motors(start, config)
    return (
        motors is not None
        and has_diffraction(keys, config)
        and all(
            key in keys or motor.encoder is None or motor.encoder in keys
            for key, motor in zip(
                (settings.fast_key, settings.slow_key), motors.values(), strict=True
            )
        )
    )


def expected(start: Mapping[str, Any]) -> int | None:
    """Return the number of frames that its shape announces, or else its scan_input."""
    given = list(start["scan"].get("scan_input") or ())
    found = number_announced(start)
    return int(given[2]) * int(given[5]) if found is None and len(given) > 5 else found


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
    lines = _lines(run, settings)
    by_motor = dict(
        zip(motor_names(run.start), (settings.fast_key, settings.slow_key), strict=True)
    )
    tracks = [
        _track(run, settings, name, motor, by_motor[name], frames.shape[0], lines)
        for name, motor in motors.items()
    ]
    return make_scan(run, frames, detector, tracks, settings.ion_chamber)


def _track(
    run: Run,
    settings: Settings,
    name: str,
    motor: Motor,
    key: str,
    frames: int,
    lines: Mapping[str, Line],
) -> Track:
    line = lines.get(name, Line())
    if key in run.keys:
        return from_column(run, name, motor, key, frames, line)
    if motor.encoder is None:
        snake = bool(run.start["scan"].get("snake"))
        return announced(run, lines, name, motor, frames, snake=snake)
    if motor.encoder in run.keys:  # HXN flies such scans by a PandA too
        return from_encoder(run, name, motor, frames, settings.samples_per_frame, line)
    raise ScanError(
        f"{run.name} has no positions of {name}: neither {key} nor {motor.encoder} is among its "
        f"data ({', '.join(sorted(run.keys))})"
    )


def _lines(run: Run, settings: Settings) -> dict[str, Line]:
    """Return what scan_input announces: its first two numbers mean what the scan type says."""
    given = list(run.start["scan"].get("scan_input") or ())
    if len(given) < 6:
        return {}
    first, last, number = given[:3]
    if settings.scan_types[str(scan_type(run.start))] == "centre-range":
        first, last = first - last / 2, first + last / 2
    return raster(run, [(first, last, number), (given[3], given[4], given[5])])
