"""Two-dimensional fly scans, for any flyer."""

# No `from __future__ import annotations`: bluesky-queueserver reads the annotations of plans, and
# turns names into devices where they are protocols of Bluesky's.
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Flyable, Movable, Readable

from .trajectory import Axis, FlyCall, Trajectory

Plan = Generator[Any, Any, Any]

_STREAM_S = 0.2  # stream documents are asked for this often
_ZEBRA_OPEN = 0.9  # of the time from frame to frame

_default_flyer: Any = None


def set_default_flyer(flyer: Any) -> None:
    """Set the flyer that `fly2d` and `fly2dpd` run; a profile does so once."""
    global _default_flyer
    _default_flyer = flyer


def fly2d(
    dets: Sequence[Readable],
    m1: Movable,
    s1: float,
    e1: float,
    n1: int,
    m2: Movable,
    s2: float,
    e2: float,
    n2: int,
    exposure_time: float,
    *,
    dead_time: float = 0.004,
    fly_type: str | None = None,
    return_speed: float | None = None,
    max_points: int | None = None,
    flyer: Flyable | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Fly scan in two dimensions, relative to where the motors are.

    Parameters
    ----------
    dets : list of detectors
    m1, s1, e1, n1 : motor, start, end, number of frames
        The fast axis: along the lines.
    m2, s2, e2, n2 : motor, start, end, number of lines
        The slow axis.
    exposure_time, dead_time : float, s
        Of a frame, and between two.
    fly_type : "soft", "pyramid" or None
        Lines all in the same direction, or every other one backwards, where the flyer can.
    return_speed : float, optional
        Accepted, and noted; stages return at their own speed.
    max_points : int, optional
        Most frames allowed; the classic flyer's most in a sub-scan. Default: what it can store.
    flyer : Flyer, optional
        What drives the scan, and whose form its documents have; default: the profile's.
    md : dict, optional
        Metadata; ``{"ptycho": {...}}`` overrides the recipe for this scan.

    Examples
    --------
    >>> RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))
    >>> RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01, flyer=classic1))
    """
    call = FlyCall(
        "fly2d",
        tuple(dets),
        Axis(m1, s1, e1, n1),
        Axis(m2, s2, e2, n2),
        exposure_time,
        dead_time,
        fly_type,
        return_speed,
        max_points,
    )
    return (yield from _fly(call, flyer, md, relative=True))


def fly2dpd(
    dets: Sequence[Readable],
    m1: Movable,
    s1: float,
    e1: float,
    n1: int,
    m2: Movable,
    s2: float,
    e2: float,
    n2: int,
    exposure_time: float,
    *,
    dead_time: float = 0.003,
    flyer: Flyable | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Fly scan in two dimensions with a PandA, relative to where the motors are.

    The arguments are those of `fly2d`; `flyer` is another PandA than the profile's.
    """
    call = FlyCall(
        "fly2dpd",
        tuple(dets),
        Axis(m1, s1, e1, n1),
        Axis(m2, s2, e2, n2),
        exposure_time,
        dead_time,
    )
    return (yield from _fly(call, flyer, md, relative=True))


def scan_and_fly(
    dets: Sequence[Readable],
    xstart: float,
    xstop: float,
    xnum: int,
    ystart: float,
    ystop: float,
    ynum: int,
    dwell: float,
    *,
    flying_zebra: Flyable,
    xmotor: Movable | None = None,
    ymotor: Movable | None = None,
    delta: float | None = None,
    snake: bool = False,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Fly along x and step along y with a Zebra, as SRX's plan of this name; absolute positions.

    Parameters
    ----------
    dets : list of detectors
    xstart, xstop, xnum : float, float, int
        Positions of the first and the last frame of a row, and how many.
    ystart, ystop, ynum : float, float, int
        Of the rows.
    dwell : float, s
        From frame to frame.
    flying_zebra : ZebraFlyer
    xmotor, ymotor : Stage, optional
        Default: the x and the y stage of the flyer.
    delta : float, optional
        What the stage runs up before a row's first frame and after its last; default: two frames.
    snake : bool
        Every other row backwards.
    md : dict, optional
        Metadata.

    Examples
    --------
    >>> RE(scan_and_fly([merlin1], -1, 1, 30, -1, 1, 30, 0.01, flying_zebra=zebra1))
    """
    endstation = getattr(flying_zebra, "endstation")  # noqa: B009, no protocol has it
    x, y = xmotor or endstation.x, ymotor or endstation.y
    if delta is None:
        delta = 2 * abs(xstop - xstart) / max(xnum - 1, 1)
    if delta < 0:
        raise ValueError(f"delta={delta}: what the stage runs up is at least 0")
    call = FlyCall(
        "scan_and_fly",
        tuple(dets),
        Axis(x, xstart, xstop, xnum),
        Axis(y, ystart, ystop, ynum),
        _ZEBRA_OPEN * dwell,
        (1 - _ZEBRA_OPEN) * dwell,
        "pyramid" if snake else "soft",
    )
    return (yield from _fly(call, flying_zebra, md, relative=False, run_up=delta))


def _fly(
    call: FlyCall,
    flyer: Any,
    md: Mapping[str, Any] | None,
    *,
    relative: bool,
    run_up: float = 0.0,
) -> Plan:
    """Run a fly scan, part by part; what it has measured is kept however it ends."""
    flyer = flyer or _default_flyer
    if flyer is None:
        raise RuntimeError(f"{call.plan_name} has no flyer: set_default_flyer(...) in the profile")
    _check(call)
    flyer.check(call)
    m1, m2 = call.fast.motor, call.slow.motor
    at = m1.position, m2.position
    x0, y0 = at if relative else (0.0, 0.0)
    trajectory = Trajectory(
        fast=m1,
        slow=m2,
        fast_range=(x0 + call.fast.start, x0 + call.fast.end),
        slow_range=(y0 + call.slow.start, y0 + call.slow.end),
        shape=call.shape,
        exposure_s=call.exposure_s,
        dead_s=call.dead_s,
        snake=call.fly_type == "pyramid",
    )
    begin, end = trajectory.fast_range
    run_up = run_up if end >= begin else -run_up
    for motor, positions in ((m1, (begin - run_up, end + run_up)), (m2, trajectory.slow_range)):
        for position in positions:
            motor.check_value(position)
    asked = call
    if flyer.absolute:
        asked = replace(call, fast=call.fast.moved(x0), slow=call.slow.moved(y0))
    start = flyer.start_document(asked)
    if run_up:
        start["scan"]["delta"] = {"val": abs(run_up), "units": m1.egu}
    uncollected = False

    def collect() -> Plan:
        nonlocal uncollected
        if flyer.streams:
            yield from bps.collect(flyer, name="primary", return_payload=False)
        else:
            yield from bps.collect(flyer, return_payload=False)
        uncollected = False

    def measure() -> Plan:
        nonlocal uncollected
        yield from bps.mv(m1, begin - run_up, m2, trajectory.slow_range[0])
        yield from bps.prepare(
            flyer, trajectory, call.detectors, label=call.plan_name,
            max_points=call.max_points, wait=True,
        )  # fmt: skip
        if flyer.streams:
            yield from bps.declare_stream(flyer, name="primary", collect=True)
        for _ in flyer.parts:
            yield from bps.kickoff(flyer, wait=True)
            uncollected = True
            # A pause of the RunEngine stops the stages, which ends the scan; what is resumed is
            # the wait, not the scan.
            yield from bps.checkpoint()
            if flyer.streams:
                yield from bps.collect_while_completing([flyer], [flyer], _STREAM_S, "primary")
            else:
                yield from bps.complete(flyer, wait=True)
            if flyer.halted:
                return
            yield from collect()
            yield from bps.checkpoint()

    def keep() -> Plan:
        """Store what has been measured, however the scan ended, and go back."""
        flyer.stop()
        while flyer.flying:
            yield from bps.sleep(0.02)
        if uncollected and flyer.frames_written:
            yield from collect()
        yield from bps.mv(m1, at[0], m2, at[1])

    @bpp.stage_decorator([*call.detectors, flyer])
    @bpp.run_decorator(md={**start, **(md or {})})
    def scan() -> Plan:
        return (yield from bpp.finalize_wrapper(measure(), keep))

    return (yield from scan())


def _check(call: FlyCall) -> None:
    """Refuse, with a ValueError, what no flyer can do."""
    if not call.detectors:
        raise ValueError(f"{call.plan_name} needs at least one detector, as in [merlin1]")
    for detector in call.detectors:
        if not hasattr(detector, "arm"):
            raise ValueError(
                f"{getattr(detector, 'name', detector)!s} cannot be triggered by the flyer"
            )
    if call.fast.motor is call.slow.motor:
        raise ValueError(f"{call.plan_name} needs two motors; both are {call.fast.motor.name}")
    for axis in (call.fast, call.slow):
        if not (isinstance(axis.number, int) and axis.number >= 1):
            raise ValueError(
                f"{axis.number!r} frames along {axis.motor.name}: give a whole number from 1"
            )
        if axis.number > 1 and axis.start == axis.end:
            raise ValueError(f"{axis.motor.name} would not move: from {axis.start} to {axis.end}")
    if call.exposure_s <= 0 or call.dead_s < 0:
        raise ValueError(
            f"exposure_time={call.exposure_s} s and dead_time={call.dead_s} s: the first must be "
            "more than 0, the second at least 0"
        )
