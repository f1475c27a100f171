"""A simulated PandA: it drives a fly scan, triggers detectors, and records encoders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Device
from ophyd.status import DeviceStatus

from .endstation import Endstation
from .files import GrowingFile, datum, external, new_path, resource
from .merlin import Merlin
from .stages import Stage
from .trajectory import Trajectory

SPEC = "PANDA"
SAMPLES = 10  # encoder samples a frame
CHANNELS = ("inenc1_val", "inenc2_val", "inenc3_val", "inenc4_val")
ION_CHAMBER = "sclr1_ch4"

_BATCH_S = 0.15  # frames are computed, and progress is told, this often
_FLYBACK_S = 0.02


class FlyStatus(DeviceStatus):
    """Status of a fly scan; its watchers hear how many frames there are (for progress bars)."""

    def __init__(self, device: Device, label: str, frames: int) -> None:
        super().__init__(device)
        self._title, self._frames = label, frames
        self._began = time.monotonic()
        self._watchers: list[Callable[..., Any]] = []

    def watch(self, function: Callable[..., Any]) -> None:
        """Call `function` with the progress, as bluesky's progress bars want it."""
        self._watchers.append(function)

    def tell(self, frames: int) -> None:
        """Tell the watchers how many frames there are now."""
        for watcher in self._watchers:
            watcher(
                name=self._title,
                current=frames,
                initial=0,
                target=self._frames,
                unit="frames",
                precision=0,
                fraction=1 - frames / self._frames,
                time_elapsed=time.monotonic() - self._began,
            )


class PandA(Device):
    """A PandA-like flyer in HXN's present form: one event, everything in files.

    Parameters
    ----------
    prefix : str
        Used in the documents' ``source`` only.
    name : str
    endstation : Endstation
        Whose stages it moves.
    encoders : mapping of Stage to (str, float)
        The channel that follows each stage, and its scale, units a count.
    folder : path
        Folder that its files go under.
    encoder_noise_um, vibration_um : float
        Standard deviations: of a reading; of the stage's true place about the straight line.
    """

    scan_type = "2D_FLY_PANDA"
    max_points = 64_000

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        encoders: Mapping[Stage, tuple[str, float]],
        folder: str | Path,
        encoder_noise_um: float = 0.003,
        vibration_um: float = 0.008,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.endstation = endstation
        self.encoders = dict(encoders)
        self.folder = Path(folder)
        self.encoder_noise_um, self.vibration_um = encoder_noise_um, vibration_um
        self.detectors: tuple[Merlin, ...] = ()
        self.true_path_um: list[NDArray[np.float64]] = []
        self._trajectory: Trajectory | None = None
        self._file: GrowingFile | None = None
        self._status: FlyStatus | None = None
        self._thread: threading.Thread | None = None
        self._halt = threading.Event()
        self._frames = 0
        self._assets: list[tuple[str, dict[str, Any]]] = []
        self._datum_ids: dict[str, str] = {}

    # What a plan asks of a flyer

    def prepare(
        self, trajectory: Trajectory, detectors: Sequence[Merlin], label: str = "fly scan"
    ) -> DeviceStatus:
        """Arm for one scan: open the files here and in the detectors."""
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
        self._status, self._frames, self.true_path_um = None, 0, []
        self._assets, self._datum_ids = [], {}
        corners = self._yx(trajectory.corners()[:, 0], trajectory.corners()[:, 1])
        for detector in self.detectors:
            detector.arm(trajectory.frames, trajectory.exposure_s, corners)
        self._file = GrowingFile(
            new_path(self.folder),
            {**dict.fromkeys(CHANNELS, ((), np.int32)), ION_CHAMBER: ((), np.float64)},
            chunk={**dict.fromkeys(CHANNELS, 4096), ION_CHAMBER: 1024},
        )
        status = DeviceStatus(self)
        status.set_finished()
        return status

    def kickoff(self) -> DeviceStatus:
        """Start flying; done at once."""
        if self._trajectory is None or self._file is None:
            raise RuntimeError(f"{self.name} is not prepared for a scan")
        self._halt.clear()
        self._status = FlyStatus(self, self._title, self._trajectory.frames)
        self._thread = threading.Thread(
            target=self._fly,
            args=(self._trajectory, self._file, self._status),
            name=f"{self.name} flies",
            daemon=True,
        )
        self._thread.start()
        status = DeviceStatus(self)
        status.set_finished()
        return status

    def complete(self) -> DeviceStatus:
        """Return the status of the scan: done when the last frame is written."""
        if self._status is None:
            raise RuntimeError(f"{self.name} is not flying")
        return self._status

    def describe_collect(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the data keys of the only stream, as long as the files now are."""
        source = f"PV:{self.prefix}DATA:"
        keys = {c: external(source, (self._frames * SAMPLES,), np.int32) for c in CHANNELS}
        keys[ION_CHAMBER] = external(source, (self._frames,), np.float64)
        for detector in self.detectors:
            keys |= detector.describe_collect()
        return {"primary": keys}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield Resource and Datum documents: the PandA's file, then each detector's."""
        if not self._frames or self._file is None or self._datum_ids:
            return
        document, uid = resource(SPEC, self.folder, self._file.path)
        assets: list[tuple[str, dict[str, Any]]] = [("resource", document)]
        for i, field in enumerate((*CHANNELS, ION_CHAMBER)):
            assets.append(("datum", datum(uid, i, field=field)))
            self._datum_ids[field] = f"{uid}/{i}"
        for detector in self.detectors:
            for name, document in detector.asset_docs():
                assets.append((name, document))
                if name == "datum":
                    self._datum_ids[detector.name] = document["datum_id"]
        yield from assets

    def collect(self) -> Iterator[dict[str, Any]]:
        """Yield the only event; none if there is no frame."""
        if not self._datum_ids:
            return
        now = time.time()
        timestamps: dict[str, Any] = dict.fromkeys(self._datum_ids, now)
        # HXN's scaler puts its datum id here too; who reads documents strictly falls over it.
        timestamps[ION_CHAMBER] = self._datum_ids[ION_CHAMBER]
        yield {
            "time": now,
            "data": dict(self._datum_ids),
            "timestamps": timestamps,
            "filled": dict.fromkeys(self._datum_ids, False),
        }

    def stop(self, *, success: bool = False) -> None:
        """End the scan after the frames now being measured; what there is is kept."""
        self._halt.set()

    @property
    def frames_written(self) -> int:
        """Frames of the last scan that are in the files."""
        return self._frames

    @property
    def flying(self) -> bool:
        """Whether a scan is going on."""
        return self._thread is not None and self._thread.is_alive()

    # What happens in the scan's thread

    def _fly(self, trajectory: Trajectory, file: GrowingFile, status: FlyStatus) -> None:
        try:
            due = time.monotonic()
            batch = max(1, min(trajectory.shape[0], round(_BATCH_S / trajectory.period_s)))
            for row in range(trajectory.shape[1]):
                fast, slow = trajectory.line(row, SAMPLES)
                trajectory.slow.follow(slow)
                due += _FLYBACK_S
                for first in range(0, trajectory.shape[0], batch):
                    part = fast[first : first + batch]
                    due = max(due + len(part) * trajectory.period_s, time.monotonic())
                    self._measure(trajectory, file, part, slow)
                    trajectory.fast.follow(float(part[-1, -1]))
                    status.tell(self._frames)
                    self._halt.wait(max(due - time.monotonic(), 0))
                    if self._halt.is_set() or trajectory.fast.stopped or trajectory.slow.stopped:
                        return
        except Exception as error:  # noqa: BLE001, the plan hears of it through the status
            status.set_exception(error)
        finally:
            file.close()
            for detector in self.detectors:
                detector.disarm()
            if not status.done:
                status.set_finished()

    def _measure(
        self, trajectory: Trajectory, file: GrowingFile, fast: NDArray[np.floating], slow: float
    ) -> None:
        random = self.endstation.generator
        shape = (*fast.shape, 1)
        path = self._yx(fast, np.full(fast.shape, slow))
        # The stage follows the line to some nanometres, and trembles within a frame.
        path = path + random.normal(0, self.vibration_um, (len(fast), 1, 2))
        path = path + random.normal(0, self.vibration_um / 4, (*fast.shape, 2))

        brightness = self.endstation.brightness(len(fast))
        photons = self.endstation.flux * trajectory.exposure_s * brightness
        for detector in self.detectors:
            detector.expose(path, photons)

        places = {self.endstation.y: path[..., :1], self.endstation.x: path[..., 1:]}
        for channel in CHANNELS:
            reading = np.zeros(shape)
            for stage, (follows, scale) in self.encoders.items():
                if follows == channel:
                    where = places.get(stage, np.full(shape, stage.position))
                    reading = (where + random.normal(0, self.encoder_noise_um, shape)) / scale
            file.extend(channel, np.rint(reading).ravel().astype(np.int32))
        counts = 5e7 * trajectory.exposure_s * brightness
        file.extend(ION_CHAMBER, np.rint(random.normal(counts, np.sqrt(counts))))
        self.true_path_um.append(path)
        self._frames += len(fast)

    def _yx(self, fast: NDArray[np.floating], slow: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return positions (..., 2) in the order (y, x), whichever stage is the fast one."""
        assert self._trajectory is not None
        pair = (slow, fast) if self._trajectory.fast is self.endstation.x else (fast, slow)
        return np.stack(pair, axis=-1)
