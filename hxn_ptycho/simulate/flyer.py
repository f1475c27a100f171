"""What the simulated flyers have in common: they move, trigger detectors, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Device
from ophyd.status import DeviceStatus

from .detector import PixelDetector
from .endstation import Endstation
from .fly_status import FlyStatus
from .trajectory import FlyCall, Measured, Trajectory

SAMPLES = 10  # places of the stages within a frame
ION_CHAMBER = "sclr1_ch4"

_BATCH_S = 0.15  # frames are computed, and progress is told, this often
_FLYBACK_S = 0.02


class Flyer(Device):
    """Drives a fly scan in one or several parts, each with files of its own.

    A plan asks: `start_document`, `prepare`; then for each of the `parts`: ``kickoff``,
    ``complete``, ``collect``. A form of scan documents is a subclass: which parts there are, what
    is recorded of the frames, and in which documents it is told.

    Parameters
    ----------
    prefix : str
        Used in the documents' ``source`` only.
    name : str
    endstation : Endstation
        Whose stages it moves.
    folder : path
        Folder that its files go under.
    encoder_noise_um, vibration_um : float
        Standard deviations: of a reading; of the stage's true place about the straight line.
    """

    #: What a plan calls it by; the most frames of a scan; whether its start document has absolute
    #: positions, though the plan's are relative; ways to fly; whether it emits stream documents.
    scan_type = ""
    max_points = 64_000
    absolute = False
    fly_types: tuple[str, ...] = ("soft",)
    streams = False

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        encoder_noise_um: float = 0.003,
        vibration_um: float = 0.008,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.endstation = endstation
        self.folder = Path(folder)
        self.encoder_noise_um, self.vibration_um = encoder_noise_um, vibration_um
        self.detectors: tuple[PixelDetector, ...] = ()
        #: Where the stages were (N, S, 2), (y, x) um, part by part of the scan.
        self.true_path_um: list[NDArray[np.float64]] = []
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
        detectors: Sequence[PixelDetector],
        label: str = "fly scan",
        max_points: int | None = None,
    ) -> DeviceStatus:
        """Make ready for one scan."""
        if self.flying:
            raise RuntimeError(f"{self.name} is flying; stop it first")
        for stage in (trajectory.fast, trajectory.slow):
            if stage not in (self.endstation.x, self.endstation.y):
                raise ValueError(
                    f"{self.name} can fly {self.endstation.x.name} and {self.endstation.y.name}, "
                    f"not {getattr(stage, 'name', stage)!s}"
                )
        self._trajectory, self._title = trajectory, label
        self.detectors = tuple(detectors)
        self._status, self._next, self.true_path_um = None, 0, []
        self._frames, self._part_frames, self._told = 0, 0, True
        self.parts = self._split(trajectory, max_points)
        self._halt.clear()
        corners = self._yx(trajectory.corners()[:, 0], trajectory.corners()[:, 1])
        for detector in self.detectors:
            detector.look(corners)
        return self._done()

    def kickoff(self) -> DeviceStatus:
        """Start flying the next part; done at once. Nothing flies after a stop."""
        trajectory = self._trajectory
        if trajectory is None or self._next >= len(self.parts):
            raise RuntimeError(f"{self.name} is not prepared for a scan")
        if self.flying:
            raise RuntimeError(f"{self.name} is flying; stop it first")
        if self.halted:
            return self._done()
        rows = self.parts[self._next]
        self._next += 1
        for detector in self.detectors:
            detector.arm(len(rows) * trajectory.shape[0], trajectory.exposure_s, self._frames)
        self._part_frames, self._told = 0, False
        self._open(rows)
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
        if trajectory is not None and (trajectory.fast.stopped or trajectory.slow.stopped):
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

    def _open(self, rows: range) -> None:
        """Open the files of a part."""

    def _record(self, measured: Measured) -> None:
        """Record frames; in the scan's thread."""

    def _close(self) -> None:
        """Close the files of a part; in the scan's thread."""

    # What happens in the scan's thread

    def _fly(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        failure: Exception | None = None
        try:
            self._fly_lines(trajectory, rows, status)
        except Exception as error:  # noqa: BLE001, the plan hears of it through the status
            self._halt.set()
            failure = error
        finally:
            self._close()
            for detector in self.detectors:
                detector.disarm()
        if failure is None:
            status.set_finished()
        else:
            status.set_exception(failure)

    def _fly_lines(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        due, pace = time.monotonic(), self.endstation.pace
        batch = max(1, min(trajectory.shape[0], round(_BATCH_S / trajectory.period_s)))
        for row in rows:
            fast, slow = trajectory.line(row, SAMPLES)
            trajectory.slow.follow(slow)
            due += _FLYBACK_S * pace
            for first in range(0, trajectory.shape[0], batch):
                part = fast[first : first + batch]
                due = max(due + len(part) * trajectory.period_s * pace, time.monotonic())
                self._measure(trajectory, part, slow)
                trajectory.fast.follow(float(part[-1, -1]))
                status.tell(self._frames)
                self._halt.wait(max(due - time.monotonic(), 0))
                if self.halted:
                    return

    def _measure(self, trajectory: Trajectory, fast: NDArray[np.floating], slow: float) -> None:
        light, random = self.endstation, self.endstation.generator
        path = self._yx(fast, np.full(fast.shape, slow))
        # The stage follows the line to some nanometres, and trembles within a frame.
        path = path + random.normal(0, self.vibration_um, (len(fast), 1, 2))
        path = path + random.normal(0, self.vibration_um / 4, (*fast.shape, 2))

        brightness = light.brightness(len(fast))
        photons = light.flux * trajectory.exposure_s * brightness
        for detector in self.detectors:
            detector.expose(path, photons)
        counts = light.ion_chamber.count(
            brightness, trajectory.exposure_s, random, first=self._frames
        )
        self._record(
            Measured(self._frames, path, counts, trajectory.exposure_s, trajectory.period_s)
        )
        self.true_path_um.append(path)
        self._frames += len(fast)
        self._part_frames += len(fast)

    def _read_um(self, measured: Measured) -> NDArray[np.float64]:
        """Return what encoders say of the mean places (N, 2), (y, x)."""
        places = measured.places_um
        noise = self.encoder_noise_um / np.sqrt(SAMPLES)
        return places + self.endstation.generator.normal(0, noise, places.shape)

    def _yx(self, fast: NDArray[np.floating], slow: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return positions (..., 2) in the order (y, x), whichever stage is the fast one."""
        assert self._trajectory is not None
        pair = (slow, fast) if self._trajectory.fast is self.endstation.x else (fast, slow)
        return np.stack(pair, axis=-1)

    def _done(self) -> DeviceStatus:
        status = DeviceStatus(self)
        status.set_finished()
        return status
