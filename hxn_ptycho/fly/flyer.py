"""What flyers have in common: a scan in parts, each flown in a thread, which can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ophyd import Device
from ophyd.status import DeviceStatus

from .status import FlyStatus
from .trajectory import FlyCall, Trajectory


class Flyer(Device):
    """Drives a fly scan in one or several parts, each with files of its own.

    A plan asks: `start_document`, `prepare`; then for each of the `parts`: ``kickoff``,
    ``complete``, ``collect``. A form of scan documents, and a way to fly, is a subclass: which
    parts there are, how one is flown, and in which documents it is told.

    Of a detector it asks: ``name``, ``distance`` (m, a signal), ``arm(frames, exposure_s, first)``,
    ``disarm()`` (again is allowed), ``frames_written``, and what the documents are made of:
    ``data_key(*leading)`` and ``asset_docs()``.

    Parameters
    ----------
    prefix : str
    name : str
    folder : path
        Folder that its files go under.
    """

    #: What a plan calls it by; the most frames of a scan; whether its start document has absolute
    #: positions, though the plan's are relative; ways to fly; whether it emits stream documents.
    scan_type = ""
    max_points = 64_000
    absolute = False
    fly_types: tuple[str, ...] = ("soft",)
    streams = False

    def __init__(self, prefix: str = "", *, name: str, folder: str | Path, **kwargs: Any) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.folder = Path(folder)
        self.detectors: tuple[Any, ...] = ()
        self.parts: tuple[range, ...] = ()
        self._trajectory: Trajectory | None = None
        self._title = ""
        self._next = 0
        self._status: FlyStatus | None = None
        self._halt = threading.Event()
        self._frames = self._part_frames = 0
        self._told = True

    # What a plan asks of a flyer

    def check(self, call: FlyCall) -> None:
        """Refuse, with a ValueError, what this flyer cannot do."""
        if (call.fly_type or "soft") not in self.fly_types:
            known = " and ".join(f'"{each}"' for each in self.fly_types)
            raise ValueError(f"fly_type={call.fly_type!r}: {self.name} has {known} only")
        self._check_points(call)

    def _check_points(self, call: FlyCall) -> None:
        most = call.max_points or self.max_points
        if call.frames > most:
            raise ValueError(
                f"{call.fast.number} x {call.slow.number} = {call.frames:,} frames, more than "
                f"{most:,}"
            )

    def start_document(self, call: FlyCall) -> dict[str, Any]:
        """Return what the start document of a scan says of it."""
        fast, slow = call.fast, call.slow
        return {
            "plan_name": call.plan_name,
            "scan": {
                "type": self.scan_type,
                "scan_input": [
                    fast.start, fast.end, fast.number, slow.start, slow.end, slow.number
                ],
                "detectors": [detector.name for detector in call.detectors],
                "detector_distance": float(call.detectors[0].distance.get()),
                "dwell": call.exposure_s,
                "fast_axis": {"motor_name": fast.motor.name, "units": fast.motor.egu},
                "slow_axis": {"motor_name": slow.motor.name, "units": slow.motor.egu},
                "shape": list(call.shape),
            },
            "motors": [fast.motor.name, slow.motor.name],
            "motor1": fast.motor.name,
            "motor2": slow.motor.name,
        }  # fmt: skip

    def prepare(
        self,
        trajectory: Trajectory,
        detectors: Sequence[Any],
        label: str = "fly scan",
        max_points: int | None = None,
    ) -> DeviceStatus:
        """Make ready for one scan."""
        self._check_idle()
        self._check_trajectory(trajectory)
        self._trajectory, self._title = trajectory, label
        self.detectors = tuple(detectors)
        self._status, self._next = None, 0
        self._frames, self._part_frames, self._told = 0, 0, True
        self.parts = self._split(trajectory, max_points)
        self._halt.clear()
        self._make_ready(trajectory)
        return self._done()

    def kickoff(self) -> DeviceStatus:
        """Start flying the next part; done at once. Nothing flies after a stop."""
        trajectory = self._trajectory
        if trajectory is None or self._next >= len(self.parts):
            raise RuntimeError(f"{self.name} is not prepared for a scan")
        self._check_idle()
        if self.halted:
            return self._done()
        rows = self.parts[self._next]
        self._next += 1
        self._part_frames, self._told = 0, False
        self._begin(trajectory, rows)
        self._status = FlyStatus(self, self._title, trajectory.frames)
        threading.Thread(
            target=self._fly,
            args=(trajectory, rows, self._status),
            name=f"{self.name} flies",
            daemon=True,
        ).start()
        return self._done()

    def complete(self) -> DeviceStatus:
        """Return the status of the part: done when its last frame is written."""
        if self._status is None and not self.halted:
            raise RuntimeError(f"{self.name} is not flying")
        return self._status or self._done()

    def stop(self, *, success: bool = False) -> None:
        """End the scan after the frames now being measured; what there is is kept."""
        self._halt.set()

    @property
    def frames_written(self) -> int:
        """Frames of the last scan that are in the files."""
        return self._frames

    @property
    def flying(self) -> bool:
        """Whether a part of a scan is being measured."""
        return self._status is not None and not self._status.done

    @property
    def halted(self) -> bool:
        """Whether the scan, or a stage in it, was stopped."""
        trajectory = self._trajectory
        if trajectory is not None and self._stages_stopped(trajectory):
            self._halt.set()
        return self._halt.is_set()

    # What a form of scan is

    def describe_collect(self) -> dict[str, Any]:
        """Return the data keys, by stream."""
        raise NotImplementedError

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents on files that are new since the last call."""
        yield from ()

    def _take(self) -> bool:
        """Return whether a part has frames that no document tells of yet; true once a part."""
        told, self._told = self._told, True
        return not told and self._part_frames > 0

    def _split(self, trajectory: Trajectory, max_points: int | None) -> tuple[range, ...]:
        """Return the lines of each part."""
        return (range(trajectory.shape[1]),)

    # How it flies

    def _check_trajectory(self, trajectory: Trajectory) -> None:
        """Refuse what cannot be flown."""

    def _make_ready(self, trajectory: Trajectory) -> None:
        """Do what a scan needs done once, before its first part."""

    def _stages_stopped(self, trajectory: Trajectory) -> bool:
        """Return whether somebody else has stopped a stage of the scan."""
        raise NotImplementedError

    def _begin(self, trajectory: Trajectory, rows: range) -> None:
        """Begin a part, before it flies; in the plan's thread, so at once."""

    def _fly_lines(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        """Fly a part until its end or until it is halted; in a thread."""
        raise NotImplementedError

    def _close(self) -> None:
        """End a part, however it went."""

    def _fly(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        failure: Exception | None = None
        try:
            self._fly_lines(trajectory, rows, status)
        except Exception as error:  # noqa: BLE001, the plan hears of it through the status
            failure = error
        for end in (self._close, *(detector.disarm for detector in self.detectors)):
            try:
                end()
            except Exception as error:  # noqa: BLE001, as above; the others are ended all the same
                failure = failure or error
        if failure is None:
            status.set_finished()
        else:
            self._halt.set()
            status.set_exception(failure)

    def _check_idle(self) -> None:
        if self.flying:
            raise RuntimeError(f"{self.name} is flying; stop it first")

    def _done(self) -> DeviceStatus:
        status = DeviceStatus(self)
        status.set_finished()
        return status
