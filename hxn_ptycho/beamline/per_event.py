"""What scans with an event for each frame have in common: positions in columns, no scan type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..scan import Scan, ScanError
from .assembly import make_scan
from .detectors import find_detector, has_diffraction
from .motion import Line, from_column, from_encoder
from .motors import find_motors, known_motors

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run


def has_positions(
    start: Mapping[str, Any],
    keys: Mapping[str, Any],
    config: BeamlineConfig,
    columns: Sequence[str],
) -> bool:
    """Return whether there is a diffraction detector, and positions of both motors."""
    motors = known_motors(start, config)
    return (
        motors is not None
        and has_diffraction(keys, config)
        and all(
            _column(name, keys, columns) is not None or motor.encoder in keys
            for name, motor in motors.items()
        )
    )


def read_events(
    run: Run,
    lines: Mapping[str, Line],
    *,
    columns: Sequence[str],
    scaled: bool,
    samples_per_frame: int,
    ion_chambers: Sequence[str],
) -> Scan:
    """Read a run that has a position of each motor for each frame.

    Parameters
    ----------
    run : Run
    lines : mapping of str to Line
        What was announced of the motors.
    columns : sequence of str
        Names under which a motor's readback may be, ``{motor}`` in them; the first there is.
    scaled : bool
        Multiply these by the motor's ``position_scale``.
    samples_per_frame : int
        Of encoders, in a run that has these and not columns.
    ion_chambers : sequence of str
        Data keys; the first that the run has.

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
        column = _column(name, run.keys, columns)
        if column is not None:
            track = from_column(run, name, motor, column, number, line, scaled=scaled)
        elif motor.encoder is not None and motor.encoder in run.keys:
            track = from_encoder(run, name, motor, number, samples_per_frame, line)
        else:
            looked = [each.format(motor=name) for each in columns]
            raise ScanError(
                f"{run.name} has no positions of {name}: none of {', '.join(looked)} is among its "
                f"data ({', '.join(sorted(run.keys))})"
            )
        tracks.append(track)
    return make_scan(run, frames, detector, tracks, ion_chambers)


def _column(name: str, keys: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    names = (column.format(motor=name) for column in columns)
    return next((column for column in names if column in keys), None)
