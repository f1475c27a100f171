"""Fly scans with a PandA: it compares an encoder, triggers detectors, and captures positions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO
from ophyd import FormattedComponent as Formatted

from ..fly.panda import CHANNELS, ION_CHAMBER, SAMPLES, PandAForm
from ..fly.status import FlyStatus
from ..fly.trajectory import FlyCall, Trajectory
from .motors import Stage
from .waiting import POLL_S, check_answers, put, wait

_FOLDERS = -3  # year, month and day, which the IOC makes
_COUNTER = "COUNTER1:OUT"  # counts the ion chamber

Encoders = Mapping[Stage, tuple[str, float]]


class Data(Device):
    """What a PandA captures into a file (``DATA:`` of PandABlocks-ioc)."""

    directory = Component(EpicsSignal, "HDF_DIRECTORY", string=True)
    create_directory = Component(EpicsSignal, "CREATE_DIRECTORY")
    directory_exists = Component(EpicsSignalRO, "DIRECTORY_EXISTS", string=True)
    file_name = Component(EpicsSignal, "HDF_FILE_NAME", string=True)
    capture_mode = Component(EpicsSignal, "CAPTURE_MODE", string=True)
    num_capture = Component(EpicsSignal, "NUM_CAPTURE")
    num_captured = Component(EpicsSignalRO, "NUM_CAPTURED", auto_monitor=False)
    capture = Component(EpicsSignal, "CAPTURE", string=True)
    capturing = Component(EpicsSignalRO, "CAPTURING", string=True, auto_monitor=False)
    status = Component(EpicsSignalRO, "STATUS", string=True, auto_monitor=False)


class Compare(Device):
    """Pulses at equal steps of an encoder (``PCOMP``)."""

    enable = Component(EpicsSignal, "ENABLE", string=True)
    source = Component(EpicsSignal, "INP", string=True)
    start = Component(EpicsSignal, "START")
    step = Component(EpicsSignal, "STEP")
    pulses = Component(EpicsSignal, "PULSES")
    direction = Component(EpicsSignal, "DIR", string=True)
    active = Component(EpicsSignalRO, "ACTIVE", string=True, auto_monitor=False)
    produced = Component(EpicsSignalRO, "PRODUCED", auto_monitor=False)


class Pulse(Device):
    """Readings at equal times after each pulse (``PULSE``)."""

    pulses = Component(EpicsSignal, "PULSES")
    step = Component(EpicsSignal, "STEP")


class Channel(Device):
    """A field that may be captured."""

    capture = Formatted(EpicsSignal, "{self.prefix}:CAPTURE", string=True)
    dataset = Formatted(EpicsSignal, "{self.prefix}:DATASET", string=True)


class PandA(PandAForm):
    """A flyer on a PandA's PVs, as PandABlocks-ioc has them.

    Along each line the fast motor runs up, and passes at the speed at which a step takes the time
    of a frame; the PandA's position compare (PCOMP1) triggers the detectors where frames begin,
    and PULSE1 makes `SAMPLES` readings of the encoders within each. Documents are those of HXN.

    Parameters
    ----------
    prefix : str
    name : str
    folder : path
        Folder that its files go under, one folder a day, seen alike from here and from its IOC.
    encoders : mapping of Stage to (str, float)
        The channel that follows each stage, and its scale, units a count.
    **kwargs
        As for any ophyd device.
    """

    data = Component(Data, "DATA:")
    arm = Component(EpicsSignal, "PCAP:ARM", string=True)
    active = Component(EpicsSignalRO, "PCAP:ACTIVE", string=True, auto_monitor=False)
    compare = Component(Compare, "PCOMP1:")
    pulse = Component(Pulse, "PULSE1:")
    inenc1 = Component(Channel, "INENC1:VAL")
    inenc2 = Component(Channel, "INENC2:VAL")
    inenc3 = Component(Channel, "INENC3:VAL")
    inenc4 = Component(Channel, "INENC4:VAL")
    counter = Component(Channel, _COUNTER)

    def __init__(
        self, prefix: str, *, name: str, folder: str | Path, encoders: Encoders, **kwargs: Any
    ) -> None:
        super().__init__(prefix, name=name, folder=folder, **kwargs)
        self.encoders = dict(encoders)
        self._path: Path | None = None
        self._stops: dict[Stage, int] = {}

    @property
    def path(self) -> Path | None:
        """Of its last file."""
        return self._path

    def check(self, call: FlyCall) -> None:
        """Refuse, with a ValueError, what cannot be flown."""
        super().check(call)
        if call.fast.number < 2:
            raise ValueError(f"{call.fast.motor.name} does not move along a line of one frame")
        if call.fast.motor not in self.encoders:
            known = ", ".join(stage.name for stage in self.encoders)
            raise ValueError(
                f"{self.name} compares the encoders of {known}; {call.fast.motor.name} has none, "
                "so it cannot be the fast axis"
            )

    # How it flies

    def _check_trajectory(self, trajectory: Trajectory) -> None:
        speed, most = _speed(trajectory), float(trajectory.fast.max_velocity.get())
        if 0 < most < speed:
            raise ValueError(
                f"{trajectory.fast.name} would fly at {speed:.4g} {trajectory.fast.egu}/s; its "
                f"fastest is {most:.4g}: smaller steps, or a longer exposure"
            )
        for position in self._line(trajectory, 0)[1:3]:
            trajectory.fast.check_value(position)

    def _make_ready(self, trajectory: Trajectory) -> None:
        self._stops = {stage: stage.stops for stage in (trajectory.fast, trajectory.slow)}
        self._datum_ids = {}

    def _stages_stopped(self, trajectory: Trajectory) -> bool:
        return any(stage.stops != before for stage, before in self._stops.items())

    def _fly_lines(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        frames = len(rows) * trajectory.shape[0]
        for detector in self.detectors:
            detector.arm(frames, trajectory.exposure_s, self._frames)
        self._arm(trajectory, frames)
        travel_speed = float(trajectory.fast.velocity.get())
        try:
            for row in rows:
                if not self._fly_line(trajectory, row, travel_speed):
                    break
                status.tell(self._captured())
        finally:
            put(trajectory.fast.velocity, travel_speed)
        self._count_frames()

    def _arm(self, trajectory: Trajectory, frames: int) -> None:
        """Begin to capture."""
        channels = zip(
            (self.inenc1, self.inenc2, self.inenc3, self.inenc4, self.counter),
            (*CHANNELS, ION_CHAMBER),
            strict=True,
        )
        for channel, dataset in channels:
            put(channel.capture, "Value")
            put(channel.dataset, dataset)
        folder = self.folder / datetime.now().strftime("%Y/%m/%d")
        name = str(uuid.uuid4())
        encoder = self.encoders[trajectory.fast][0]
        settings = (
            (self.data.create_directory, _FOLDERS),
            (self.data.directory, str(folder)),
            (self.data.file_name, name),
            (self.data.capture_mode, "FIRST_N"),
            (self.data.num_capture, frames * SAMPLES),
            (self.compare.source, encoder.upper().replace("_", ".")),
            (self.compare.pulses, trajectory.shape[0]),
            (self.pulse.pulses, SAMPLES),
            (self.pulse.step, trajectory.exposure_s / SAMPLES),
        )
        for signal, value in settings:
            put(signal, value)
        self._path = folder / f"{name}.h5"
        self.data.capture.put("ON")
        self._wait(
            lambda: self.data.capturing.get() == "ON",
            lambda: f"does not capture into {self._path}: {self.data.status.get()}",
        )
        self.arm.put("ON")
        self._wait(lambda: self.active.get() == "ON", lambda: "is not armed")

    def _fly_line(self, trajectory: Trajectory, row: int, travel_speed: float) -> bool:
        """Fly one line; return whether it came to its end."""
        fast, slow = trajectory.fast, trajectory.slow
        first, begin, end, at = self._line(trajectory, row)
        put(fast.velocity, travel_speed)
        if not (self._move(slow, at) and self._move(fast, begin)):
            return False
        scale = self.encoders[fast][1]
        settings = (
            (self.compare.start, round(first / scale)),
            (self.compare.step, max(round(abs(_step(trajectory) / scale)), 1)),
            (self.compare.direction, "Positive" if (end > begin) == (scale > 0) else "Negative"),
            (fast.velocity, _speed(trajectory)),
        )
        for signal, value in settings:
            put(signal, value)
        self.compare.enable.put("ONE")
        self._wait(lambda: self.compare.active.get() == "ONE", lambda: "does not compare")
        if not self._move(fast, end):
            return False
        self._wait(
            lambda: self.compare.active.get() == "ZERO",
            lambda: (
                f"gave {self.compare.produced.get():.0f} triggers of the "
                f"{trajectory.shape[0]} of line {row + 1}: does {fast.name} move, and is its "
                f"encoder {self.encoders[fast][0]}?"
            ),
        )
        self.compare.enable.put("ZERO")
        return True

    def _move(self, stage: Stage, position: float) -> bool:
        """Move a stage; return whether nobody has stopped it."""
        if self.halted:
            return False
        status = stage.move(position, wait=False)
        while not status.done:
            check_answers(stage)
            if self.halted:
                stage.stop()
                return False
            time.sleep(POLL_S)
        if self.halted:
            return False
        failure = status.exception()
        if failure is not None:
            raise RuntimeError(
                f"{stage.name} did not come to {position:.4f} {stage.egu}, it is at "
                f"{stage.position:.4f}: {failure!r}"
            )
        return True

    def _close(self) -> None:
        """Disarm: all of it, also where a part of it fails."""
        with ExitStack() as stack:
            for signal, value in (
                (self.data.capture, "OFF"), (self.arm, "OFF"), (self.compare.enable, "ZERO")
            ):  # fmt: skip
                stack.callback(put, signal, value)

    def _count_frames(self) -> None:
        """Wait until all that was triggered is written, and count it."""
        self._frames = self._part_frames = self._captured()
        for detector in self.detectors:
            self._await(detector)

    def _await(self, detector: Any) -> None:
        wait(
            lambda: detector.frames_written == self._frames,
            lambda: (
                f"{self.name} captured {self._frames} frames, {detector.name} "
                f"{detector.frames_written}: is its trigger connected, and does it take a frame "
                "in the time between two?"
            ),
            lambda: not detector.acquiring,
        )

    def _captured(self) -> int:
        """Return how many frames are captured."""
        return int(self.data.num_captured.get()) // SAMPLES

    def _wait(self, done: Callable[[], bool], problem: Callable[[], str]) -> None:
        wait(done, lambda: f"{self.name} {problem()}")

    def _line(self, trajectory: Trajectory, row: int) -> tuple[float, float, float, float]:
        """Return where a line's first frame begins, where it begins and ends, and the slow place.

        A frame begins before its middle; the stage needs a way to come to its speed, and a step
        more at either end.
        """
        path, slow = trajectory.line(row, SAMPLES)
        middle, last = float(path[0].mean()), float(path[-1].mean())
        step = _step(trajectory) * (1 if last > middle else -1)
        exposed = step * trajectory.exposure_s / trajectory.period_s
        first = middle - exposed / 2
        gathering = _speed(trajectory) * float(trajectory.fast.acceleration.get()) / 2
        run_up = step + (gathering if step > 0 else -gathering)
        return first, first - run_up, last + exposed / 2 + run_up, slow


def _step(trajectory: Trajectory) -> float:
    """Return the distance from frame to frame along a line, the stage's units."""
    begin, end = trajectory.fast_range
    return abs(end - begin) / (trajectory.shape[0] - 1)


def _speed(trajectory: Trajectory) -> float:
    """Return how fast the stage flies, the stage's units a second."""
    return _step(trajectory) / trajectory.period_s
