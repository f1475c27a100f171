"""Which motors a scan moved: one along x and one along y."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..scan import ScanError

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run
    from .tables import Motor

Start = Mapping[str, Any]


def motor_names(start: Start) -> list[str]:
    """Return the motors that a scan moved, in its start document's order: fast first if flown."""
    if start.get("motors"):
        return [str(name) for name in start["motors"]]
    scan = start.get("scan")
    if not isinstance(scan, Mapping):
        return []
    axes = [scan.get(f"{speed}_axis") for speed in ("fast", "slow")]
    return [
        str(axis["motor_name"])
        for axis in axes
        if isinstance(axis, Mapping) and "motor_name" in axis
    ]


def known_motors(start: Start, config: BeamlineConfig) -> dict[str, Motor] | None:
    """Return the motors of a scan, one along x and one along y; None if they are not."""
    names = motor_names(start)
    if not all(name in config.motors for name in names):
        return None
    motors = {name: config.motors[name] for name in names}
    return motors if sorted(motor.axis for motor in motors.values()) == ["x", "y"] else None


def find_motors(run: Run) -> dict[str, Motor]:
    """Return the motors that a scan moved, one along x and one along y.

    Raises
    ------
    ScanError
        If they are others.
    """
    names, known = motor_names(run.start), run.config.motors
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ScanError(
            f"{run.name} moved {', '.join(unknown)}, which hxn.toml does not know (it knows "
            f"{', '.join(known)}); add a table [motors.{unknown[0]}]"
        )
    found = known_motors(run.start, run.config)
    if found is None:
        raise ScanError(
            f"{run.name} moved {', '.join(names) or 'nothing'}; ptychography needs one motor along "
            "x and one along y"
        )
    return found
