"""What scans with an event for each frame have in common: positions in columns, no scan type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..scan import Scan, ScanError
from .assembly import make_scan
from .detectors import find_detector, has_diffraction
from .motion import Line, Track, find_motors, from_column, from_encoder, known_motors

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run
    from .tables import Motor


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
    tracks = [
        _track(run, name, motor, columns, frames.shape[0], samples_per_frame, lines)
        for name, motor in motors.items()
    ]
    return make_scan(run, frames, detector, tracks, ion_chambers)


def _track(
    run: Run,
    name: str,
    motor: Motor,
    columns: Sequence[str],
    frames: int,
    samples_per_frame: int,
    lines: Mapping[str, Line],
) -> Track:
    line = lines.get(name, Line())
    key = _column(name, run.keys, columns)
    if key is not None:
        return from_column(run, name, motor, key, frames, line)
    if motor.encoder is not None and motor.encoder in run.keys:
        return from_encoder(run, name, motor, frames, samples_per_frame, line)
    looked = [column.format(motor=name) for column in columns]
    raise ScanError(
        f"{run.name} has no positions of {name}: none of {', '.join(looked)} is among its data "
        f"({', '.join(sorted(run.keys))})"
    )


def _column(name: str, keys: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    names = (column.format(motor=name) for column in columns)
    return next((column for column in names if column in keys), None)
