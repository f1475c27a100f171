"""Area detectors: triggered point by point by any plan, or by the PandA in a fly scan."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ophyd import Component, Signal
from ophyd.areadetector import DetectorBase
from ophyd.areadetector.cam import AreaDetectorCam
from ophyd.areadetector.filestore_mixins import FileStoreHDF5IterativeWrite
from ophyd.areadetector.plugins import HDF5Plugin_V34
from ophyd.areadetector.trigger_mixins import SingleTrigger
from ophyd.device import BlueskyInterface, Staged

from ..fly.documents import datum, resource
from .waiting import check_answers, put, wait

SPEC = "MERLIN_HDF5_BULK"  # of fly scans: one datum, all frames
_FOLDERS = -3  # year, month and day, which the IOC makes


@contextmanager
def _forgotten_if_it_fails(device: Any) -> Iterator[None]:
    """Leave a device unstaged though its IOC is away: the next scan stages it anew.

    ophyd leaves it partly staged, which refuses to be staged again.
    """
    try:
        yield
    except Exception:
        parts = (part for _, part in device.walk_subdevices(include_lazy=False))
        for each in (device, *parts):
            each._original_vals.clear()
            each._staged = Staged.no
        raise


class _Capture(BlueskyInterface):
    """Begins to capture when all else is set, and says why if it cannot; ophyd waits for ever."""

    def stage(self) -> list[Any]:
        staged = super().stage()
        was_error = self._in_error()
        self.capture.put(1)
        try:
            wait(
                lambda: bool(self.capture.get()),
                lambda: self.write_message.get() or "it does not say why",
                lambda: self._in_error() and not was_error,
            )
        except TimeoutError as why:
            path, name = self.file_path.get(), self.file_name.get()
            raise OSError(
                f"{self.parent.name}: {self.prefix} does not capture into {path}{name}: {why}"
            ) from None
        return staged

    def _in_error(self) -> bool:
        return bool(self.write_status.get() == 1)


class FrameFiles(HDF5Plugin_V34, FileStoreHDF5IterativeWrite, _Capture):
    """An HDF5 plugin whose file is opened when it is known how many frames there will be.

    A detector is staged before that: before its first trigger, or before a flyer arms it.
    """

    lazy_wait_for_connection = False
    also_used = (
        "capture", "num_captured", "file_path", "file_name", "file_number", "file_path_exists",
        "write_message", "write_status", "array_size.width", "array_size.height",
        "nd_array_port", "port_name",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.stage_sigs["capture"]

    def stage(self) -> list[Any]:
        """Do nothing yet."""
        return [self]

    def open(self, frames: int) -> None:
        """Open a file, for `frames` frames; 0: for all that come until it is unstaged.

        Raises
        ------
        OSError
            If the IOC cannot write it.
        """
        self.stage_sigs["num_capture"] = frames
        put(self.create_directory, _FOLDERS)
        try:
            super().stage()
        except Exception:
            self.unstage()
            raise

    def unstage(self) -> list[Any]:
        """Close the file, if it is open; what is known of it stays."""
        with _forgotten_if_it_fails(self):
            if self._staged is not Staged.no:
                put(self.capture, 0)
            return super().unstage()

    @property
    def is_open(self) -> bool:
        """Whether a file was opened since the detector was staged."""
        return self._staged is Staged.yes

    @property
    def path(self) -> Path:
        """Of the last file, as it is seen from here."""
        if self._fn is None:
            raise RuntimeError(f"{self.parent.name} has not measured")
        return Path(self._fn)


class Camera(AreaDetectorCam):
    """A camera; `connect.connect` waits for its PVs, not who first looks at one."""

    lazy_wait_for_connection = False
    also_used = (
        "acquire", "array_counter", "data_type", "data_type_disabled", "port_name",
        "array_size.array_size_x", "array_size.array_size_y",
    )  # fmt: skip


class AreaDetector(SingleTrigger, DetectorBase):
    """A detector of areaDetector's kind, with a camera and an HDF5 plugin.

    In step scans, ``acquire_time`` is the exposure and ``name + "_image"`` the data key; in fly
    scans `name` is, and a flyer calls `arm`, triggers it in hardware, and calls `disarm`.

    Parameters
    ----------
    prefix : str
    name : str
    folder : path
        Folder that its files go under, one folder a day, seen alike from here and from its IOC.
    distance_m : float, m
        From the sample.
    **kwargs
        As for any ophyd device.
    """

    cam = Component(Camera, "cam1:", kind="config")
    hdf5 = Component(
        FrameFiles, "HDF1:", write_path_template="", read_attrs=[], configuration_attrs=[]
    )
    distance = Component(Signal, value=0.0, kind="config")

    #: Choices of the camera's TriggerMode.
    BY_SOFTWARE, BY_HARDWARE = "Internal", "External"

    def __init__(
        self, prefix: str, *, name: str, folder: str | Path, distance_m: float, **kwargs: Any
    ) -> None:
        super().__init__(prefix, name=name, **{"read_attrs": ["hdf5"], **kwargs})
        self.folder = Path(folder)
        self.hdf5.reg_root = str(self.folder)
        self.hdf5.write_path_template = f"{self.folder}/%Y/%m/%d/"
        self.distance.put(distance_m)
        self.stage_sigs["cam.num_images"] = 1
        self.stage_sigs["cam.trigger_mode"] = self.BY_SOFTWARE

    @property
    def acquire_time(self) -> Any:
        """The exposure, s: a signal."""
        return self.cam.acquire_time

    def unstage(self) -> list[Any]:
        """Close the file, and put back what staging has set."""
        try:
            with _forgotten_if_it_fails(self):
                check_answers(self.cam.acquire)
                return super().unstage()
        finally:
            self._acquisition_signal.clear_sub(self._acquire_changed)

    # Step scans

    def trigger(self) -> Any:
        """Measure one frame."""
        if self._staged is not Staged.yes:
            raise RuntimeError(f"{self.name} is not staged: stage it before it is triggered")
        if not self.hdf5.is_open:
            self.hdf5.open(0)
        # SingleTrigger waits to see Acquire fall, which a client that is busy may miss, and returns
        # None where it falls at once. The put is complete when it has.
        status = self._status_type(self)
        self.generate_datum(self._image_name, time.time(), {})
        self._acquisition_signal.put(
            1, wait=False, use_complete=True, callback=lambda **_: status.set_finished()
        )
        return status

    # Fly scans

    @property
    def frames_written(self) -> int:
        """Frames in the file."""
        return int(self.hdf5.num_captured.get())

    @property
    def acquiring(self) -> bool:
        """Whether it still waits for triggers."""
        return bool(self.cam.acquire.get())

    def arm(self, frames: int, exposure_s: float, first: int = 0) -> None:
        """Open a file for at most `frames` frames, and wait for as many triggers."""
        self.disarm()
        settings = (
            (self.cam.acquire_time, exposure_s),
            (self.cam.num_images, frames),
            (self.cam.trigger_mode, self.BY_HARDWARE),
        )
        for signal, value in settings:
            put(signal, value)
        self.hdf5.open(frames)
        put(self.cam.acquire, 1)

    def disarm(self) -> None:
        """Wait for no more triggers, and close the file; again is allowed."""
        put(self.cam.acquire, 0)
        self.hdf5.unstage()

    def data_key(self, *leading: int, kind: str = "FILESTORE:") -> dict[str, Any]:
        """Return its data key, for arrays (*leading, h, w)."""
        size = self.cam.array_size
        return {
            "source": f"PV:{self.prefix}HDF1:",
            "dtype": "array",
            "dtype_numpy": self.dtype_numpy,
            "shape": [*leading, int(size.array_size_y.get()), int(size.array_size_x.get())],
            "external": kind,
        }

    def asset_docs(self, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the Resource and the only Datum document of the last file of a fly scan."""
        document, uid = resource(
            SPEC, self.folder, self.hdf5.path, frame_per_point=self.frames_written
        )
        yield "resource", document
        yield "datum", datum(uid, 0, **kwargs)
