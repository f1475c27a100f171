"""What scans with an event for each frame have in common: positions in columns, no scan type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ..scan import Scan, ScanError
from .assembly import make_scan
from .detectors import find_detector, has_diffraction
from .motion import Line, from_column, from_encoder
from .motors import find_motors, known_motors
from .tables import Names, Table

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run


class EventSettings(Table):
    """What ``hxn.toml`` says of such a form of scan.

    Attributes
    ----------
    columns : tuple of str
        Names under which a motor's readback may be, ``{motor}`` in them; the first there is.
    scale_positions : bool
        Multiply these by the motor's ``position_scale``.
    samples_per_frame : int
        Of encoders, in a run that has these and not columns.
    ion_chamber : tuple of str
        Data keys; the first that the run has.
    """

    columns: Annotated[Names, Field(min_length=1)] = ("{motor}",)
    scale_positions: bool = False
    samples_per_frame: Annotated[int, Field(ge=1)] = 1
    ion_chamber: Names = ()


def has_positions(
    start: Mapping[str, Any],
    keys: Mapping[str, Any],
    config: BeamlineConfig,
    settings: EventSettings | None,
) -> bool:
    """Return whether there is a diffraction detector, and positions of both motors.

    `settings` are those of the form of scan; None: it is not read.
    """
    motors = known_motors(start, config)
    return (
        motors is not None
        and settings is not None
        and has_diffraction(keys, config)
        and all(
            _column(name, keys, settings.columns) is not None or motor.encoder in keys
            for name, motor in motors.items()
        )
    )


def read_events(run: Run, lines: Mapping[str, Line], settings: EventSettings) -> Scan:
    """Read a run that has a position of each motor for each frame.

    Parameters
    ----------
    run : Run
    lines : mapping of str to Line
        What was announced of the motors.
    settings : EventSettings
        Of the form of scan.

    Raises
    ------
    ScanError
        If something is missing or does not fit together.
    CatalogError
        If an array cannot be found or opened.
    """
    key, detector = find_detector(run)
    motors = find_motors(run)
    frames = run.frames(key)
    number = frames.shape[0]
    tracks = []
    for name, motor in motors.items():
        line = lines.get(name, Line())
        column = _column(name, run.keys, settings.columns)
        if column is not None:
            track = from_column(
                run, name, motor, column, number, line, scaled=settings.scale_positions
            )
        elif motor.encoder is not None and motor.encoder in run.keys:
            track = from_encoder(run, name, motor, number, settings.samples_per_frame, line)
        else:
            looked = [each.format(motor=name) for each in settings.columns]
            raise ScanError(
                f"{run.name} has no positions of {name}: none of {', '.join(looked)} is among its "
                f"data ({', '.join(sorted(run.keys))})"
            )
        tracks.append(track)
    return make_scan(run, frames, detector, tracks, settings.ion_chamber)


def _column(name: str, keys: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    names = (column.format(motor=name) for column in columns)
    return next((column for column in names if column in keys), None)
