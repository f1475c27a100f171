"""A simulated photon-counting pixel detector: in fly scans, and triggered by any plan."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ophyd import Component, Device, Signal
from ophyd.status import DeviceStatus

from ..fly.documents import datum, external, resource
from ..solver.orientation import turn
from .endstation import Endstation, Geometry
from .faults import Faults

STEP_SPEC = "AD_HDF5"  # an area detector's file plugin, one frame a point
_TREMBLE_UM = 0.002  # of a stage at rest, within a frame
_SAMPLES = 4


class FrameFile(Protocol):
    """A file that frames are appended to."""

    path: Path

    def write(self, frames: NDArray[np.unsignedinteger]) -> None:
        """Append frames (N, h, w)."""

    def close(self) -> None:
        """Close it; again is allowed."""


class PixelDetector(Device):
    """What the simulated pixel detectors have in common.

    A flyer calls `arm`, `expose` as the frames come, `disarm`: a file each time, or each row, as
    the flyer has it. Any other plan stages it and triggers it, frame by frame, with the exposure
    that is set in `acquire_time`.

    Parameters
    ----------
    prefix : str
        As for any ophyd device; used in the documents' ``source`` only.
    name : str
        Its data key.
    endstation : Endstation
        Where its light comes from.
    folder : path
        Folder that its files go under, one folder a day.
    pixels : int
        Rows, and columns, of the field that is computed; it sets the object's pixel.
    shape : (int, int), optional
        Rows and columns of a frame, as seen along the beam; default: those of the field.
    distance_m : float, m
        From the sample.
    faults : Faults, optional
        What it does that an ideal one does not. May be set at any time between two scans.
    """

    acquire_time = Component(Signal, value=0.01, kind="config")
    num_images = Component(Signal, value=0, kind="config")
    distance = Component(Signal, value=0.0, kind="config")

    #: Of a pixel, m; where frames are in a file; their type; the Resource's spec in fly scans.
    PIXEL_M = 55e-6
    DATASET = "/entry/instrument/detector/data"
    DTYPE: Any = np.uint16
    SPEC = "MERLIN_HDF5_BULK"

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        pixels: int = 128,
        shape: tuple[int, int] | None = None,
        distance_m: float = 0.5,
        faults: Faults | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.endstation = endstation
        self.folder = Path(folder)
        self.pixels, self.shape = pixels, shape or (pixels, pixels)
        self.faults = faults or Faults()
        self.distance.put(distance_m)
        self.frames_written = 0
        #: Where the stages were (N, S, 2), (y, x) um, at the points of the last step scan.
        self.true_path_um: list[NDArray[np.float64]] = []
        self._first = 0
        self._file: FrameFile | None = None
        self._step: tuple[str, str] | None = None  # uid of the resource, datum id of the last
        self._assets: deque[tuple[str, dict[str, Any]]] = deque()

    @property
    def geometry(self) -> Geometry:
        """Where and how large it is."""
        return Geometry(self.pixels, self.PIXEL_M, float(self.distance.get()))

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of a frame on file."""
        rows, columns = turn(np.empty(self.shape, np.uint8), self.faults.orientation).shape
        return rows, columns

    @property
    def beam_pixel(self) -> tuple[int, int]:
        """The pixel (row, column) of the direct beam in a frame on file."""
        return self.faults.beam_pixel(self.shape)

    @property
    def path(self) -> Path:
        """Of the last file."""
        if self._file is None:
            raise RuntimeError(f"{self.name} has not measured")
        return self._file.path

    # What a flyer asks

    def look(self, path_um: NDArray[np.floating]) -> None:
        """Make ready for a scan whose stages stay within the corners `path_um` (..., 2)."""
        self.endstation.look(self.geometry, self.endstation.places_m(path_um))

    def arm(self, frames: int, exposure_s: float, first: int = 0) -> None:
        """Open a file for at most `frames` frames, from number `first` of the scan."""
        self.disarm()
        self.faults.check(self.shape)
        self.acquire_time.put(exposure_s)
        self.num_images.put(frames)
        self.frames_written, self._first = 0, first
        self._file = self._open(frames)

    def expose(self, path_um: NDArray[np.floating], photons: NDArray[np.floating]) -> None:
        """Count, and write, the frames of a part of the scan.

        Parameters
        ----------
        path_um : ndarray (N, S, 2), um
            Where the stages are during each frame, (y, x).
        photons : ndarray (N,)
            On the sample, a frame.
        """
        if self._file is None:
            raise RuntimeError(f"{self.name} is not armed")
        light = self.endstation.expose(self.geometry, path_um, photons)
        counts = self.faults.count(
            self.faults.expected(light, self.shape),
            self.endstation.photon_noise,
            first=self._first + self.frames_written,
            most=int(np.iinfo(self.DTYPE).max),
        )
        self._file.write(self._on_file(counts.astype(self.DTYPE)))
        self.frames_written += len(counts)

    def disarm(self) -> None:
        """Close the file; again is allowed."""
        if self._file is not None:
            self._file.close()

    def data_key(self, *leading: int, kind: str = "FILESTORE:") -> dict[str, Any]:
        """Return its data key, for arrays (*leading, h, w)."""
        shape = (*leading, *self.frame_shape)
        return external(f"PV:{self.prefix}HDF1:", shape, self.DTYPE, kind)

    def asset_docs(self, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the Resource and the only Datum document of the last file."""
        document, uid = resource(
            self.SPEC, self.folder, self.path, frame_per_point=self.frames_written
        )
        yield "resource", document
        yield "datum", datum(uid, 0, **kwargs)

    # What any other plan asks

    def stage(self) -> list[Any]:
        """Be ready for a scan; the file is opened when the first frame is triggered."""
        self._step, self.true_path_um = None, []
        self._assets.clear()
        self.endstation.new_step()
        return super().stage()

    def trigger(self) -> DeviceStatus:
        """Measure one frame where the stages are."""
        exposure = float(self.acquire_time.get())
        if exposure <= 0:
            raise ValueError(f"{self.name} cannot expose for {exposure} s; set acquire_time")
        if self._step is None:
            self.arm(1, exposure)
            document, uid = resource(STEP_SPEC, self.folder, self.path, frame_per_point=1)
            self._assets.append(("resource", document))
            self._step = (uid, "")
        began = time.monotonic()
        self._step_frame(self._step[0], exposure)
        status = DeviceStatus(self)
        left = max(exposure * self.endstation.pace - (time.monotonic() - began), 0)
        threading.Timer(left, status.set_finished).start()
        return status

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe a frame of a step scan, as an area detector does."""
        return {self.name: self.data_key(1)}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the datum id of the last frame of a step scan."""
        if self._step is None:
            raise RuntimeError(f"{self.name} has not been triggered")
        return {self.name: {"value": self._step[1], "timestamp": time.time()}}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the Resource and Datum documents of a step scan that are new."""
        while self._assets:
            yield self._assets.popleft()

    def unstage(self) -> list[Any]:
        """Close the file."""
        self.disarm()
        return super().unstage()

    def expose_at_rest(self, exposure: float) -> None:
        """Count, and write, a frame where the stages are; `exposure` in seconds."""
        rest = np.array([self.endstation.y.position, self.endstation.x.position])
        path = rest + self.endstation.generator.normal(0, _TREMBLE_UM, (1, _SAMPLES, 2))
        photons = self.endstation.flux * exposure * self.endstation.step_brightness(self)
        self.expose(path, np.array([photons]))
        self.true_path_um.append(path)

    def _step_frame(self, resource_uid: str, exposure: float) -> None:
        """Write a frame, and tell of it."""
        self.expose_at_rest(exposure)
        number = self.frames_written - 1
        document = datum(resource_uid, number, point_number=number)
        self._assets.append(("datum", document))
        self._step = (resource_uid, document["datum_id"])

    # What a kind of detector is

    def _open(self, frames: int) -> FrameFile:
        """Return a new file for at most `frames` frames."""
        raise NotImplementedError

    def _on_file(self, frames: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Return what is written of these frames."""
        return frames
