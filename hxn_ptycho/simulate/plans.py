"""HXN's two-dimensional fly scans, for the simulated beamline's flyers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp

from .trajectory import Trajectory

Plan = Generator[Any, Any, Any]

_default_flyer: Any = None


def set_default_flyer(flyer: Any) -> None:
    """Set the flyer that `fly2d` and `fly2dpd` run; a profile does so once."""
    global _default_flyer
    _default_flyer = flyer


def fly2d(
    dets: Sequence[Any],
    m1: Any,
    s1: float,
    e1: float,
    n1: int,
    m2: Any,
    s2: float,
    e2: float,
    n2: int,
    exposure_time: float,
    *,
    dead_time: float = 0.004,
    fly_type: str | None = None,
    return_speed: float | None = None,
    max_points: int | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Fly scan in two dimensions, relative to where the motors are, with the default flyer.

    Parameters
    ----------
    dets : list of detectors
    m1, s1, e1, n1 : motor, start, end, number of frames
        The fast axis: along the lines.
    m2, s2, e2, n2 : motor, start, end, number of lines
        The slow axis.
    exposure_time, dead_time : float, s
        Of a frame, and between two.
    fly_type : "soft" or None
        Lines all in the same direction; the PandA has no other.
    return_speed : float, optional
        Accepted; the PandA returns at the stage's own speed.
    max_points : int, optional
        Most frames allowed; default: what the flyer can store.
    md : dict, optional
        Metadata; ``{"ptycho": {...}}`` overrides the recipe for this scan.

    Examples
    --------
    >>> RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))
    """
    if fly_type not in (None, "soft"):
        raise ValueError(f'fly_type={fly_type!r}: the default flyer has "soft" only')
    return (
        yield from _fly2d(
            "fly2d",
            dets,
            (m1, s1, e1, n1),
            (m2, s2, e2, n2),
            exposure_time,
            dead_time=dead_time,
            max_points=max_points,
            flyer=None,
            md=md,
        )
    )


def fly2dpd(
    dets: Sequence[Any],
    m1: Any,
    s1: float,
    e1: float,
    n1: int,
    m2: Any,
    s2: float,
    e2: float,
    n2: int,
    exposure_time: float,
    *,
    dead_time: float = 0.003,
    flyer: Any = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Fly scan in two dimensions with a PandA, relative to where the motors are.

    The arguments are those of `fly2d`; `flyer` is another PandA than the profile's.
    """
    return (
        yield from _fly2d(
            "fly2dpd",
            dets,
            (m1, s1, e1, n1),
            (m2, s2, e2, n2),
            exposure_time,
            dead_time=dead_time,
            max_points=None,
            flyer=flyer,
            md=md,
        )
    )


def _fly2d(
    plan_name: str,
    dets: Sequence[Any],
    fast: tuple[Any, float, float, int],
    slow: tuple[Any, float, float, int],
    exposure_time: float,
    *,
    dead_time: float,
    max_points: int | None,
    flyer: Any,
    md: Mapping[str, Any] | None,
) -> Plan:
    (m1, s1, e1, n1), (m2, s2, e2, n2) = fast, slow
    flyer = flyer or _default_flyer
    if flyer is None:
        raise RuntimeError(f"{plan_name} has no flyer: set_default_flyer(...) in the profile")
    _check(plan_name, dets, fast, slow, exposure_time, dead_time, max_points or flyer.max_points)
    x0, y0 = m1.position, m2.position
    trajectory = Trajectory(
        fast=m1,
        slow=m2,
        fast_range=(x0 + s1, x0 + e1),
        slow_range=(y0 + s2, y0 + e2),
        shape=(n1, n2),
        exposure_s=exposure_time,
        dead_s=dead_time,
    )
    for motor, positions in ((m1, trajectory.fast_range), (m2, trajectory.slow_range)):
        for position in positions:
            motor.check_value(position)
    start = {
        "plan_name": plan_name,
        "scan": {
            "type": flyer.scan_type,
            "scan_input": [s1, e1, n1, s2, e2, n2],
            "detectors": [detector.name for detector in dets],
            "detector_distance": float(dets[0].distance.get()),
            "dwell": exposure_time,
            "fast_axis": {"motor_name": m1.name, "units": m1.egu},
            "slow_axis": {"motor_name": m2.name, "units": m2.egu},
            "shape": [n1, n2],
        },
        "motors": [m1.name, m2.name],
        "motor1": m1.name,
        "motor2": m2.name,
        **(md or {}),
    }

    def measure() -> Plan:
        yield from bps.mv(m1, trajectory.fast_range[0], m2, trajectory.slow_range[0])
        yield from bps.prepare(flyer, trajectory, dets, label=plan_name, wait=True)
        yield from bps.kickoff(flyer, wait=True)
        # A pause of the RunEngine stops the stages, which ends the scan; what is resumed is the
        # wait, not the scan.
        yield from bps.checkpoint()
        yield from bps.complete(flyer, wait=True)

    def keep() -> Plan:
        """Store what has been measured, however the scan ended, and go back."""
        flyer.stop()
        while flyer.flying:
            yield from bps.sleep(0.02)
        if flyer.frames_written:
            yield from bps.collect(flyer)
        yield from bps.mv(m1, x0, m2, y0)

    @bpp.stage_decorator([*dets, flyer])
    @bpp.run_decorator(md=start)
    def scan() -> Plan:
        return (yield from bpp.finalize_wrapper(measure(), keep))

    return (yield from scan())


def _check(
    plan_name: str,
    dets: Sequence[Any],
    fast: tuple[Any, float, float, int],
    slow: tuple[Any, float, float, int],
    exposure_time: float,
    dead_time: float,
    most: int,
) -> None:
    if not dets:
        raise ValueError(f"{plan_name} needs at least one detector, as in [merlin1]")
    for detector in dets:
        if not hasattr(detector, "arm"):
            raise ValueError(
                f"{getattr(detector, 'name', detector)!s} cannot be triggered by the flyer"
            )
    if fast[0] is slow[0]:
        raise ValueError(f"{plan_name} needs two motors; both are {fast[0].name}")
    for motor, start, end, number in (fast, slow):
        if not (isinstance(number, int) and number >= 1):
            raise ValueError(f"{number!r} frames along {motor.name}: give a whole number from 1")
        if number > 1 and start == end:
            raise ValueError(f"{motor.name} would not move: from {start} to {end}")
    if exposure_time <= 0 or dead_time < 0:
        raise ValueError(
            f"exposure_time={exposure_time} s and dead_time={dead_time} s: the first must be more "
            "than 0, the second at least 0"
        )
    if fast[3] * slow[3] > most:
        raise ValueError(
            f"{fast[3]} x {slow[3]} = {fast[3] * slow[3]:,} frames, more than {most:,}"
        )
