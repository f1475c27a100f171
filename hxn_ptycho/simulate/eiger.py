"""A simulated Eiger: a master file that links to compressed data files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from .detector import FrameFile, PixelDetector
from .faults import Pixel
from .files import new_path

_DEAD = 2  # a bit of DECTRIS' pixel mask


class Eiger(PixelDetector):
    """An Eiger-like detector: 75 um pixels, uint32 counts, files as DECTRIS' filewriter has them.

    ``<uid>_master.h5`` says what was measured and links to ``<uid>_data_000001.h5``, ..., which
    hold the frames, compressed by bitshuffle and LZ4. Bad pixels hold the largest value of the
    type, in every frame, and are named in the master's ``pixel_mask``.

    Parameters
    ----------
    images_per_file : int
        Frames in a data file.
    bad_pixels : sequence of (row, column), optional
        Of a frame on file; default: three, away from the middle.
    **kwargs
        As for `PixelDetector`.
    """

    PIXEL_M = 75e-6
    DATASET = "/entry/data"  # holds data_000001, ...
    DTYPE = np.uint32

    def __init__(
        self,
        prefix: str = "",
        *,
        images_per_file: int = 1000,
        bad_pixels: Sequence[Pixel] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, **kwargs)
        self.images_per_file = images_per_file
        rows, columns = self.frame_shape
        somewhere = ((1, columns - 3), (rows // 6, columns // 5), (rows - rows // 6, columns // 4))
        self.bad_pixels = tuple(somewhere if bad_pixels is None else bad_pixels)

    def _open(self, frames: int) -> FrameFile:
        return _EigerFiles(self, frames)

    def _on_file(self, frames: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        for row, column in self.bad_pixels:
            frames[:, row, column] = np.iinfo(self.DTYPE).max
        return frames


class _EigerFiles:
    """A master file, and data files that are opened one after the other."""

    def __init__(self, eiger: Eiger, frames: int) -> None:
        self.path = new_path(eiger.folder, "_master")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._shape, self._dtype = eiger.frame_shape, eiger.DTYPE
        self._each = eiger.images_per_file
        self._written = 0
        self._data: h5py.File | None = None
        self._write_master(eiger, frames)

    def write(self, frames: NDArray[np.unsignedinteger]) -> None:
        """Append frames (N, h, w), to as many files as it takes."""
        while len(frames):
            place = self._written % self._each
            if place == 0:
                self._next()
            assert self._data is not None
            part = frames[: self._each - place]
            dataset = self._data["entry/data/data"]
            dataset.resize(place + len(part), axis=0)
            dataset[place:] = part
            self._written += len(part)
            frames = frames[len(part) :]

    def close(self) -> None:
        """Close the data file; again is allowed."""
        if self._data is not None:
            self._data.close()

    def _next(self) -> None:
        self.close()
        number = self._written // self._each + 1
        path = self._data_path(number)
        with h5py.File(self.path, "r+") as master:
            place = f"entry/data/data_{number:06d}"
            master[place] = h5py.ExternalLink(path.name, "/entry/data/data")
        self._data = h5py.File(path, "x")
        self._data.create_dataset(
            "entry/data/data",
            shape=(0, *self._shape),
            maxshape=(None, *self._shape),
            chunks=(1, *self._shape),
            dtype=self._dtype,
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )

    def _data_path(self, number: int) -> Path:
        prefix = self.path.name.removesuffix("_master.h5")
        return self.path.with_name(f"{prefix}_data_{number:06d}.h5")

    def _write_master(self, eiger: Eiger, frames: int) -> None:
        rows, columns = self._shape
        y, x = eiger.beam_pixel
        exposure = float(eiger.acquire_time.get())
        mask = np.zeros(self._shape, np.uint32)
        for row, column in eiger.bad_pixels:
            mask[row, column] = _DEAD
        with h5py.File(self.path, "x") as master:
            entry = master.create_group("entry")
            entry.attrs["NX_class"] = "NXentry"
            entry["instrument/beam/incident_wavelength"] = eiger.endstation.wavelength_m * 1e10
            detector = entry.create_group("instrument/detector")
            for name, value in (
                ("description", "simulated Eiger"),
                ("x_pixel_size", eiger.PIXEL_M),
                ("y_pixel_size", eiger.PIXEL_M),
                ("detector_distance", float(eiger.distance.get())),
                ("beam_center_x", float(x)),
                ("beam_center_y", float(y)),
                ("count_time", exposure),
                ("frame_time", exposure),
                ("bit_depth_image", np.iinfo(self._dtype).bits),
            ):
                detector[name] = value
            specific = detector.create_group("detectorSpecific")
            specific["nimages"], specific["ntrigger"] = 1, frames
            specific["x_pixels_in_detector"], specific["y_pixels_in_detector"] = columns, rows
            specific["pixel_mask"] = mask
            limit = np.iinfo(self._dtype).max - 1
            specific["countrate_correction_count_cutoff"] = eiger.faults.saturation or limit
            data = entry.create_group("data")
            data.attrs["NX_class"] = "NXdata"
