"""An areaDetector, its camera and its HDF5 plugin, in front of a simulated detector."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..eiger import Eiger
from ..files import GrowingFile
from ..merlin import Merlin
from .records import Writer, make_records, pair, readable, writable

_FRAMES = "/entry/instrument/detector/data"
_YES = ("No", "Yes")
_IDLE, _ACQUIRE = "Done", "Acquire"


class _ThroughPlugin:
    """A simulated detector whose frames go to a plugin."""

    plugin: HDF5Plugin

    def _open(self, frames: int) -> HDF5Plugin:
        return self.plugin


class IocMerlin(_ThroughPlugin, Merlin):
    """A Merlin for an IOC."""


class IocEiger(_ThroughPlugin, Eiger):
    """An Eiger for an IOC, saved by the HDF5 plugin: no master file, no pixel mask."""


class HDF5Plugin:
    """What the PVs below ``HDF1:`` do: a file a capture, in the mode Stream, readable (SWMR).

    Parameters
    ----------
    shape, dtype
        Of a frame.
    tell, value : callable
        Write and read a PV below ``HDF1:``.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: Any,
        tell: Callable[..., None],
        value: Callable[[str], Any],
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.tell, self.value = tell, value
        self.path = Path()
        self._file: GrowingFile | None = None
        self._captured = 0
        self._lock = threading.Lock()

    @property
    def actions(self) -> dict[str, Callable[[Any], Any]]:
        """What puts do."""
        return {"HDF1:FilePath": self.look_at, "HDF1:Capture": self.capture}

    def look_at(self, folder: str) -> None:
        """Say whether a folder exists, having made it if CreateDirectory allows that."""
        self.tell("FilePathExists_RBV", _YES[make_folder(folder, self.value("CreateDirectory"))])

    def capture(self, value: str) -> str | None:
        """Open a file, or close it."""
        with self._lock:
            self._end()
            if value != "Capture":
                return None
            number = int(self.value("FileNumber"))
            folder, name = self.value("FilePath"), self.value("FileName")
            self.path = Path(filled(self.value("FileTemplate"), folder, name, number))
            self.tell("FullFileName_RBV", str(self.path))
            self.tell("NumCaptured_RBV", 0)
            try:
                if not self.path.parent.is_dir():
                    raise FileNotFoundError(f"there is no folder {self.path.parent}")
                self._file = GrowingFile(
                    self.path,
                    {_FRAMES: (self.shape, self.dtype)},
                    links={"/entry/data/data": _FRAMES},
                )
            except OSError as error:
                self._failed(error)
                return "Done"
            self._captured = 0
            if self.value("AutoIncrement") == "Yes":
                self.tell("FileNumber", number + 1, both=True)
            self.tell("WriteStatus", "Write OK")
            self.tell("WriteMessage", "")
            return None

    def write(self, frames: NDArray[np.unsignedinteger]) -> None:
        """Write frames while it captures; the last one that is wanted closes the file."""
        with self._lock:
            if self._file is None or self.value("EnableCallbacks") != "Enable":
                return
            wanted = int(self.value("NumCapture"))
            if wanted:
                frames = frames[: wanted - self._captured]
            try:
                self._file.extend(_FRAMES, frames)
            except (OSError, RuntimeError) as error:  # the disk is full, h5py has it as either
                self._end()
                self._failed(error)
                self.tell("Capture", "Done", both=True)
                return
            self._captured += len(frames)
            self.tell("NumCaptured_RBV", self._captured)
            if self._captured == wanted:
                self._end()
                self.tell("Capture", "Done", both=True)

    def close(self) -> None:
        """Do nothing: that the camera has ended does not end the capture."""

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _failed(self, error: Exception) -> None:
        self.tell("WriteStatus", "Write error")
        self.tell("WriteMessage", str(error)[:255])


class Camera:
    """The PVs of an areaDetector: ``cam1:`` and ``HDF1:``.

    TriggerMode Internal takes NumImages frames where the stages are; External takes one for each
    trigger, which the PandA gives with `expose`.

    Parameters
    ----------
    prefix : str
    detector : IocMerlin or IocEiger
    model : str
    beam : RLock
        Held by who computes light: one at a time.
    writer : Writer
    """

    def __init__(
        self,
        prefix: str,
        *,
        detector: IocMerlin | IocEiger,
        model: str,
        beam: threading.RLock,
        writer: Writer,
    ) -> None:
        self.detector, self.name = detector, detector.name
        rows, columns = detector.frame_shape
        kind = np.dtype(detector.DTYPE).name.replace("uint", "UInt")
        self._beam = beam
        self._left = 0  # triggers that it waits for
        self._taken = self._counter = 0
        self._stop = threading.Event()
        self._ended: Future[str] = Future()  # as a busy record's put
        detector.plugin = HDF5Plugin(
            detector.frame_shape,
            detector.DTYPE,
            lambda name, *args, **more: self.records.tell(f"HDF1:{name}", *args, **more),
            lambda name: self.records.value(f"HDF1:{name}"),
        )
        pvs = {
            **pair("cam1:Acquire", _IDLE, choices=(_IDLE, _ACQUIRE)),
            **pair("cam1:AcquireTime", 0.01),
            **pair("cam1:AcquirePeriod", 0.01),
            **pair("cam1:NumImages", 1),
            **pair("cam1:NumExposures", 1),
            **readable("cam1:NumImagesCounter_RBV", 0),
            **pair("cam1:ImageMode", "Single", choices=("Single", "Multiple", "Continuous")),
            **pair("cam1:TriggerMode", "Internal", choices=("Internal", "External")),
            **pair("cam1:ArrayCounter", 0),
            **pair("cam1:ArrayCallbacks", "Enable", choices=("Disable", "Enable")),
            **readable("cam1:DetectorState_RBV", "Idle", choices=("Idle", "Acquire", "Waiting")),
            **readable("cam1:StatusMessage_RBV", "", long=True),
            **readable("cam1:PortName_RBV", "CAM"),
            **readable("cam1:Manufacturer_RBV", "hxn_ptycho"),
            **readable("cam1:Model_RBV", model),
            **readable("cam1:ArraySizeX_RBV", columns),
            **readable("cam1:ArraySizeY_RBV", rows),
            **readable("cam1:ArraySizeZ_RBV", 0),
            **pair("cam1:DataType", kind, choices=("UInt8", "UInt16", "UInt32")),
            **readable("cam1:DataType_RBV.DISA", 0),
            **readable("HDF1:PluginType_RBV", "NDFileHDF5"),
            **readable("HDF1:PortName_RBV", "HDF1"),
            **pair("HDF1:NDArrayPort", "CAM"),
            **pair("HDF1:EnableCallbacks", "Disable", choices=("Disable", "Enable")),
            **pair("HDF1:BlockingCallbacks", "No", choices=_YES),
            **pair("HDF1:ArrayCounter", 0),
            **readable("HDF1:ArraySize0_RBV", columns),
            **readable("HDF1:ArraySize1_RBV", rows),
            **readable("HDF1:ArraySize2_RBV", 0),
            **pair("HDF1:CreateDirectory", 0),
            **pair("HDF1:FilePath", "", long=True),
            **readable("HDF1:FilePathExists_RBV", "No", choices=_YES),
            **pair("HDF1:FileName", "", long=True),
            **pair("HDF1:FileNumber", 0),
            **pair("HDF1:FileTemplate", "%s%s_%6.6d.h5", long=True),
            **readable("HDF1:FullFileName_RBV", "", long=True),
            **pair("HDF1:AutoIncrement", "No", choices=_YES),
            **pair("HDF1:AutoSave", "No", choices=_YES),
            **pair("HDF1:FileWriteMode", "Single", choices=("Single", "Capture", "Stream")),
            **pair("HDF1:SWMRMode", "On", choices=("Off", "On")),
            **pair("HDF1:NumCapture", 1),
            **readable("HDF1:NumCaptured_RBV", 0),
            **pair("HDF1:Capture", "Done", choices=("Done", "Capture")),
            **writable("HDF1:WriteStatus", "Write OK", choices=("Write OK", "Write error")),
            **writable("HDF1:WriteMessage", "", long=True),
        }
        self.records = make_records(
            model,
            pvs,
            prefix,
            writer=writer,
            actions={
                "cam1:Acquire": self._acquire,
                "cam1:ArrayCounter": self._count_from,
                **detector.plugin.actions,
            },
        )

    def look(self, path_um: NDArray[np.floating]) -> None:
        """Make ready for triggers within these corners (..., 2), um, if it waits for any."""
        if self._left:
            self.detector.look(path_um)

    def expose(self, path_um: NDArray[np.floating], photons: NDArray[np.floating]) -> None:
        """Take the frames of triggers that have come; those that it does not wait for are lost."""
        with self._beam:
            number = min(len(path_um), self._left)
            if not number:
                return
            self.detector.expose(path_um[:number], photons[:number])
            self._left -= number
            self._count(number)
            if not self._left:
                self._idle()

    def _acquire(self, value: str) -> Future[str] | None:
        if value != _ACQUIRE:
            self._stop.set()
            with self._beam:
                self._left = 0
                self._idle()
            return None
        tell, value_of = self.records.tell, self.records.value
        self._stop.set()
        with self._beam:
            self._complete()
            self._stop, self._ended = threading.Event(), Future()
            single = value_of("cam1:ImageMode") == "Single"
            number = 1 if single else int(value_of("cam1:NumImages"))
            self._taken = 0
            self.detector.true_path_um.clear()
            self.detector.arm(number, float(value_of("cam1:AcquireTime")))
            tell("cam1:NumImagesCounter_RBV", 0)
            tell("cam1:Acquire_RBV", _ACQUIRE)
            if value_of("cam1:TriggerMode") == "External":
                self._left = number
                tell("cam1:DetectorState_RBV", "Waiting")
                return self._ended
            tell("cam1:DetectorState_RBV", "Acquire")
        threading.Thread(
            target=self._take, args=(number, self._stop), name=f"{self.name} acquires", daemon=True
        ).start()
        return self._ended

    def _take(self, number: int, stop: threading.Event) -> None:
        """Take frames where the stages are."""
        exposure = float(self.records.value("cam1:AcquireTime"))
        for _ in range(number):
            if stop.wait(exposure * self.detector.endstation.pace):
                return
            with self._beam:
                if stop.is_set():
                    return
                self.detector.expose_at_rest(exposure)
                self._count(1)
        with self._beam:
            if not stop.is_set():
                self._idle()

    def _count_from(self, value: float) -> None:
        self._counter = int(value)

    def _count(self, number: int) -> None:
        self._taken += number
        self._counter += number
        self.records.tell("cam1:ArrayCounter", self._counter, both=True)
        self.records.tell("cam1:NumImagesCounter_RBV", self._taken)

    def _idle(self) -> None:
        self.records.tell("cam1:DetectorState_RBV", "Idle")
        self.records.tell("cam1:Acquire", _IDLE, both=True)
        self._complete()

    def _complete(self) -> None:
        self.records.writer.complete(self._ended, _IDLE)


def make_folder(folder: str, create: float) -> bool:
    """Return whether a folder exists; up to `-create` of its last parts are made for that."""
    path = Path(folder)
    missing = [each for each in (path, *path.parents) if not each.exists()]
    if missing and len(missing) <= -int(create):
        with suppress(OSError):  # that it is not there is what one asks for
            path.mkdir(parents=True, exist_ok=True)
    return path.is_dir()


def filled(template: str, folder: str, name: str, number: int) -> str:
    """Return a file's path by a template as of C's printf, which may leave out the number."""
    return template % (folder, name, number)[: template.count("%")]
