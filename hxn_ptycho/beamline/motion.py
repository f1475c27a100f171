"""Where the stages were during each frame: from encoders, columns, or what was announced."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..scan import ScanError
from .motors import motor_names

if TYPE_CHECKING:
    from .run import Run
    from .tables import Motor

log = logging.getLogger(__name__)

Positions = NDArray[np.float64]

# As people and control systems write them.
_UM = {
    **{"m": 1e6, "mm": 1e3, "um": 1.0, "nm": 1e-3},
    **dict.fromkeys(("µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1.0),
}


@dataclass(frozen=True)
class Line:
    """What a scan announced of one motor.

    Attributes
    ----------
    first, last : float or None
        Where it was to begin and to end, um; None: not said.
    number : int or None
        Frames along a line for the fast motor, lines for the slow one; None: no raster.
    every : int
        After how many frames it moves on: 1 for the fast motor, a line's for the slow one.
    """

    first: float | None = None
    last: float | None = None
    number: int | None = None
    every: int = 1

    def places(self, edges: bool) -> Positions:
        """Return where the middles of the frames, or the lines, are; of `number`.

        Parameters
        ----------
        edges : bool
            `first` and `last` are the edges of the first and last frame, and not their middles.
        """
        assert self.first is not None
        assert self.last is not None
        assert self.number is not None
        margin = (self.last - self.first) / self.number / 2 if edges else 0.0
        return np.linspace(self.first + margin, self.last - margin, self.number, dtype=float)


@dataclass(frozen=True)
class Track:
    """Where one motor was.

    Attributes
    ----------
    name : str
        Of the motor.
    motor : Motor
    um : ndarray (N,)
        Stage position during each frame.
    source : str
        Where it is from, for messages.
    line : Line
        What was announced.
    measured : bool
        Whether it was measured, or only announced.
    """

    name: str
    motor: Motor
    um: Positions
    source: str
    line: Line
    measured: bool = True


def from_encoder(
    run: Run, name: str, motor: Motor, frames: int, samples_per_frame: int, line: Line
) -> Track:
    """Return a motor's mean position during each frame, from its encoder's counts.

    Raises
    ------
    ScanError
        If there are not as many readings as the frames need.
    """
    assert motor.encoder is not None
    assert motor.scale_um is not None
    samples = run.read(motor.encoder)
    each = samples_per_frame
    if samples.size == frames:  # averaged when they were taken
        each = 1
    if samples.size != frames * each:
        raise ScanError(
            f"{run.name} has {frames} frames but {samples.size} readings of {motor.encoder} "
            f"({name}): {samples.size / each:g} positions at {each} readings each; a file is cut "
            "off, or the detector missed triggers"
        )
    # NaN spreads through the mean, and is found with the frame's number.
    means = samples.reshape(frames, each).mean(axis=1) * motor.scale_um
    return Track(name, motor, means, f"{motor.encoder} ({name})", line)


def from_column(
    run: Run, name: str, motor: Motor, key: str, frames: int, line: Line, *, scaled: bool = False
) -> Track:
    """Return a motor's positions as recorded with each frame.

    Parameters
    ----------
    run, name, motor, frames, line
    key : str
        Data key; its unit is the motor's, the one that the documents say, or um.
    scaled : bool
        Multiply by the motor's ``position_scale``.

    Raises
    ------
    ScanError
        If there are not as many as frames, or their unit is not known.
    """
    recorded = run.read(key)
    if recorded.size != frames:
        each, rest = divmod(frames, recorded.size or frames + 1)
        raise ScanError(
            f"{run.name} has {frames} frames but {recorded.size} positions of {name} ({key}); each "
            "frame needs one: "
            + (
                f"{each} frames at a position cannot be read, add them up when measuring"
                if each > 1 and not rest
                else "a file is cut off, or the detector missed triggers"
            )
        )
    unit = motor.unit or run.keys[key].get("units")
    scale = micrometres(run, name, unit) * (motor.position_scale if scaled else 1.0)
    source = key if key == name else f"{key} ({name})"
    return Track(name, motor, recorded * scale, source, line)


def announced(
    run: Run,
    lines: Mapping[str, Line],
    name: str,
    motor: Motor,
    frames: int,
    *,
    snake: bool = False,
    edges: bool = False,
) -> Track:
    """Return a motor's positions as the plan announced them: the stage has no encoder.

    Parameters
    ----------
    run : Run
    lines : mapping of str to Line
        Of both motors, the fast one first.
    name : str
    motor : Motor
    frames : int
    snake : bool
        Every other line was flown backwards.
    edges : bool
        See `Line.places`.

    Raises
    ------
    ScanError
        If the start document does not say enough, or there are more frames than it says.
    """
    line = lines.get(name, Line())
    if (
        any(None in (each.first, each.last, each.number) for each in (line, *lines.values()))
        or len(lines) != 2
    ):
        raise ScanError(
            f"{run.name}: {name} has no encoder, and its positions cannot be made from "
            f'start["scan"]["scan_input"] = {(run.start.get("scan") or {}).get("scan_input")}'
        )
    fast, slow = sorted(lines.values(), key=lambda each: each.every)
    row, column = np.divmod(np.arange(frames), slow.every)
    if snake:
        column = np.where(row % 2, slow.every - 1 - column, column)
    index = column if line is fast else row
    if frames and index.max() >= int(line.number or 0):
        raise ScanError(
            f"{run.name} has {frames} frames, more than the {fast.number} x {slow.number} of "
            f"its scan_input; {name} has no encoder that could say where they were"
        )
    log.warning(
        "%s: %s has no encoder: its positions are those that the plan announced, %g to %g um in %d",
        run.name, name, line.first, line.last, line.number,
    )  # fmt: skip
    return Track(
        name, motor, line.places(edges)[index], f"scan_input ({name})", line, measured=False
    )


def raster(
    run: Run, ends: Sequence[tuple[float, float, int]], *, relative: bool = False
) -> dict[str, Line]:
    """Return the lines of a fly scan's fast and slow motor, in um.

    Parameters
    ----------
    run : Run
    ends : sequence of (float, float, int)
        First, last, number: of the fast motor, and of the slow one; in the motors' units.
    relative : bool
        To where the motors were before, which the baseline knows.
    """
    scan, lines = run.start["scan"], {}
    every = 1
    for name, speed, (first, last, number) in zip(
        motor_names(run.start), ("fast", "slow"), ends, strict=False
    ):
        axis = scan.get(f"{speed}_axis")
        motor = run.config.motors.get(name)
        unit = (motor.unit if motor else None) or (
            axis.get("units") if isinstance(axis, Mapping) else None
        )
        scale = micrometres(run, name, unit)
        origin = run.baseline.get(name, 0.0) if relative else 0.0
        lines[name] = Line((origin + first) * scale, (origin + last) * scale, int(number), every)
        every *= int(number)
    return lines


def micrometres(run: Run, name: str, unit: Any) -> float:
    """Return how many micrometres a unit is; one that is not said is the micrometre.

    Raises
    ------
    ScanError
        If it is no length.
    """
    if unit is None or not str(unit).strip():
        return 1.0
    try:
        return _UM[str(unit).strip()]
    except KeyError:
        raise ScanError(
            f"{run.name}: positions of {name} are in {unit!r}, which is none of "
            f'{", ".join(_UM)}; if they are um, set unit = "um" in [motors.{name}] of hxn.toml'
        ) from None
