"""A PandA in front of the simulated one: encoders compared, detectors triggered, data captured."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...fly.panda import CHANNELS, SAMPLES
from ...fly.trajectory import Measured, Trajectory
from ..endstation import Endstation
from ..files import GrowingFile
from ..panda import PandA
from .detector import Camera, make_folder
from .motor import RecordedStage
from .records import Writer, make_records, readable, writable

_SWITCH = ("OFF", "ON")
_BIT = ("ZERO", "ONE")
COUNTER = "counter1_out"  # counts the ion chamber


@dataclass
class _Line:
    """Pulses that the position compare is still to give along a line.

    Attributes
    ----------
    trajectory : Trajectory
        Of this line only.
    stage : RecordedStage
    where : ndarray
        Positions of the pulses, the stage's units, in the order in which they come.
    direction : float
        +1 or -1: which way the stage passes them.
    begun : bool
        Whether it has been before the first.
    """

    trajectory: Trajectory
    stage: RecordedStage
    where: np.ndarray
    direction: float
    given: int = 0
    begun: bool = False


class Box(PandA):
    """The PVs of a PandA, as PandABlocks-ioc has them, in front of a simulated one.

    PCOMP1 gives pulses where an encoder passes START, START + STEP, ...; each triggers the
    detectors and, by PULSE1, so many readings of the encoders, which PCAP captures into a file
    (``DATA:``). The ion chamber's counter is captured once a pulse of PCOMP1.

    Parameters
    ----------
    prefix, endstation, encoders
        As for `PandA`.
    cameras : sequence of Camera
        Which it triggers.
    beam : RLock
        Held by who computes light: one at a time.
    writer : Writer
    """

    def __init__(
        self,
        prefix: str,
        *,
        endstation: Endstation,
        encoders: Mapping[Any, tuple[str, float]],
        cameras: Sequence[Camera],
        beam: threading.RLock,
        writer: Writer,
    ) -> None:
        super().__init__(
            prefix, name="panda", endstation=endstation, encoders=encoders, folder=Path("/")
        )
        self.detectors = tuple(cameras)
        self._beam = beam
        self._line: _Line | None = None
        self._capturing = self._armed = False
        self._captured = 0
        self._datasets: dict[str, str] = {}
        self._passed: queue.SimpleQueue[tuple[RecordedStage, float]] = queue.SimpleQueue()
        for stage in self.encoders:
            stage.listeners.append(lambda at, stage=stage: self._passed.put((stage, at)))
        self.records = make_records(
            "PandA", self._pvs(), prefix, writer=writer, actions=self._actions()
        )
        threading.Thread(target=self._follow, name="PandA follows", daemon=True).start()

    def _pvs(self) -> dict[str, Any]:
        pvs: dict[str, Any] = {
            **writable("DATA:HDF_DIRECTORY", "", long=True),
            **writable("DATA:HDF_FILE_NAME", "", long=True),
            **readable("DATA:HDF_FULL_FILE_PATH", "", long=True),
            **writable("DATA:CREATE_DIRECTORY", 0),
            **readable("DATA:DIRECTORY_EXISTS", "No", choices=("No", "Yes")),
            **writable("DATA:CAPTURE_MODE", "FIRST_N", choices=("FIRST_N", "LAST_N", "FOREVER")),
            **writable("DATA:NUM_CAPTURE", 0),
            **readable("DATA:NUM_CAPTURED", 0),
            **writable("DATA:CAPTURE", "OFF", choices=_SWITCH),
            **readable("DATA:CAPTURING", "OFF", choices=_SWITCH),
            **readable("DATA:STATUS", "OK", long=True),
            **writable("PCAP:ARM", "OFF", choices=_SWITCH),
            **readable("PCAP:ACTIVE", "OFF", choices=_SWITCH),
            **writable("PCOMP1:ENABLE", "ZERO", choices=_BIT),
            **writable("PCOMP1:INP", "INENC2.VAL"),
            **writable("PCOMP1:START", 0),
            **writable("PCOMP1:STEP", 0),
            **writable("PCOMP1:WIDTH", 1),
            **writable("PCOMP1:PULSES", 0),
            **writable("PCOMP1:RELATIVE", "Absolute", choices=("Absolute", "Relative")),
            **writable("PCOMP1:DIR", "Positive", choices=("Positive", "Negative", "Either")),
            **readable("PCOMP1:ACTIVE", "ZERO", choices=_BIT),
            **readable("PCOMP1:PRODUCED", 0),
            **writable("PULSE1:PULSES", SAMPLES),
            **writable("PULSE1:STEP", 0.001),
            **writable("PULSE1:WIDTH", 0.0001),
        }
        for channel in (*CHANNELS, COUNTER):
            pvs |= writable(f"{_field(channel)}:CAPTURE", "No", choices=("No", "Value", "Diff"))
            pvs |= writable(f"{_field(channel)}:DATASET", "")
        return pvs

    def _actions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "DATA:HDF_DIRECTORY": self._look_at,
            "DATA:CAPTURE": self._capture,
            "PCAP:ARM": self._arm,
            "PCOMP1:ENABLE": self._enable,
        }

    # What puts do

    def _look_at(self, folder: str) -> None:
        exists = make_folder(folder, self.records.value("DATA:CREATE_DIRECTORY"))
        self.records.tell("DATA:DIRECTORY_EXISTS", ("No", "Yes")[exists])

    def _capture(self, value: str) -> str | None:
        with self._beam:
            self._end_capture()
            if value != "ON":
                return None
            tell, value_of = self.records.tell, self.records.value
            path = Path(value_of("DATA:HDF_DIRECTORY"), f"{value_of('DATA:HDF_FILE_NAME')}.h5")
            tell("DATA:HDF_FULL_FILE_PATH", str(path))
            tell("DATA:NUM_CAPTURED", 0)
            self._captured = self._frames = 0
            self.true_path_um = []
            try:
                if not path.parent.is_dir():
                    raise FileNotFoundError(f"there is no folder {path.parent}")
                self._datasets = self._asked()
                self._file = GrowingFile(
                    path,
                    {
                        name: ((), np.float64 if channel == COUNTER else np.int32)
                        for channel, name in self._datasets.items()
                    },
                    chunk=dict.fromkeys(self._datasets.values(), 4096),
                )
            except OSError as error:
                tell("DATA:STATUS", str(error)[:255])
                return "OFF"
            self._capturing = True
            tell("DATA:STATUS", "OK")
            tell("DATA:CAPTURING", "ON")
            return None

    def _arm(self, value: str) -> None:
        with self._beam:
            self._armed = value == "ON"
            if not self._armed:
                self._end_line()
        self.records.tell("PCAP:ACTIVE", value)

    def _enable(self, value: str) -> None:
        with self._beam:
            self._end_line()
            if value == "ONE":
                line = self._read_line()
                for camera in self.detectors:
                    camera.look(self._corners(line))
                self._line = line
                self.records.tell("PCOMP1:PRODUCED", 0)
                self.records.tell("PCOMP1:ACTIVE", "ONE")
                self._passed.put((line.stage, line.stage.position))

    # What happens as the stages move, in a thread

    def _follow(self) -> None:
        while True:
            stage, at = self._passed.get()
            with self._beam:
                line = self._line
                if line is None or line.stage is not stage:
                    continue
                ahead = (line.where - at) * line.direction
                if not line.begun:
                    line.begun = bool(ahead[0] > 0)
                    continue
                number = int(np.sum(ahead <= 0)) - line.given
                if number > 0:
                    self._pulse(line, number)

    def _pulse(self, line: _Line, number: int) -> None:
        """Measure the frames that the stage has come to."""
        first, line.given = line.given, line.given + number
        # Each frame is measured while the stage goes on at its speed.
        period = line.trajectory.exposure_s / SAMPLES
        way = (np.arange(SAMPLES) + 0.5) * period * line.stage.speed * line.direction
        fast = line.where[first : line.given, None] + way
        self._trajectory = line.trajectory
        self._measure(line.trajectory, fast, float(line.trajectory.slow.position))
        self.records.tell("PCOMP1:PRODUCED", line.given)
        if line.given == len(line.where):
            self._end_line()

    def _record(self, measured: Measured) -> None:
        if not (self._armed and self._capturing):
            return
        assert self._file is not None
        try:
            for channel, name in self._datasets.items():
                if channel == COUNTER:
                    self._file.extend(name, measured.ion_chamber)
                else:
                    counts = np.rint(self._counts(channel, measured))
                    self._file.extend(name, counts.ravel().astype(np.int32))
        except (OSError, RuntimeError) as error:  # the disk is full, h5py has it as either
            self.records.tell("DATA:STATUS", str(error)[:255])
            self._end_capture()
            return
        self._captured += measured.count * SAMPLES
        self.records.tell("DATA:NUM_CAPTURED", self._captured)
        if self._captured == int(self.records.value("DATA:NUM_CAPTURE")):
            self._end_capture()

    def _asked(self) -> dict[str, str]:
        """Return the dataset of each channel that is to be captured."""
        value = self.records.value
        return {
            channel: value(f"{_field(channel)}:DATASET") or f"{_field(channel)}.Value"
            for channel in (*CHANNELS, COUNTER)
            if value(f"{_field(channel)}:CAPTURE") != "No"
        }

    def _read_line(self) -> _Line:
        """Return what PCOMP1 and PULSE1 now say."""
        value = self.records.value
        channel = value("PCOMP1:INP").lower().replace(".", "_")
        stage = next(stage for stage, (follows, _) in self.encoders.items() if follows == channel)
        light = self.endstation
        if stage not in (light.x, light.y):
            raise ValueError(f"the simulated stages fly along x and y only, not {stage.name}")
        scale = self.encoders[stage][1]
        direction = -1.0 if value("PCOMP1:DIR") == "Negative" else 1.0
        number = np.arange(int(value("PCOMP1:PULSES")))
        counts = int(value("PCOMP1:START")) + direction * int(value("PCOMP1:STEP")) * number
        slow = light.y if stage is light.x else light.x
        where = counts * scale
        exposure = float(value("PULSE1:STEP")) * int(value("PULSE1:PULSES"))
        trajectory = Trajectory(
            stage, slow, (float(where[0]), float(where[-1])), (slow.position,) * 2,
            (len(where), 1), exposure, 0.0,
        )  # fmt: skip
        return _Line(trajectory, stage, where, direction * float(np.sign(scale)))

    def _corners(self, line: _Line) -> np.ndarray:
        """Return the outermost places (4, 2), (y, x) um, of a line's frames."""
        self._trajectory = line.trajectory
        ends = np.array(line.trajectory.fast_range)
        return self._yx(ends, np.full(ends.shape, line.trajectory.slow_range[0]))

    def _end_line(self) -> None:
        if self._line is not None:
            self._line = None
        self.records.tell("PCOMP1:ACTIVE", "ZERO")

    def _end_capture(self) -> None:
        self._capturing = False
        if self._file is not None:
            self._file.close()
        self.records.tell("DATA:CAPTURING", "OFF")
        self.records.tell("DATA:CAPTURE", "OFF")


def _field(channel: str) -> str:
    """Return a channel's name in PVs: inenc2_val is INENC2:VAL."""
    return channel.upper().replace("_", ":")
