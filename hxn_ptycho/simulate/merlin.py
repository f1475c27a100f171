"""A simulated photon-counting pixel detector that writes its frames to HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Component, Device, Signal

from .diffraction import SATURATION
from .endstation import Endstation, Geometry
from .files import GrowingFile, datum, external, new_path, resource

DATASET = "/entry/instrument/detector/data"
SPEC = "MERLIN_HDF5_BULK"


class Merlin(Device):
    """A Merlin-like detector: 55 um pixels, uint16 counts, one HDF5 file a scan.

    It measures when a flyer triggers it: `arm`, `expose` as the frames come, `disarm`.

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
        Rows, and columns, of a frame.
    distance_m : float, m
        From the sample.
    """

    acquire_time = Component(Signal, value=0.0, kind="config")
    num_images = Component(Signal, value=0, kind="config")
    distance = Component(Signal, value=0.0, kind="config")

    PIXEL_M = 55e-6

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        pixels: int = 128,
        distance_m: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.endstation = endstation
        self.folder = Path(folder)
        self.pixels = pixels
        self.distance.put(distance_m)
        self.frames_written = 0
        self._file: GrowingFile | None = None

    @property
    def geometry(self) -> Geometry:
        """Where and how large it is."""
        return Geometry(self.pixels, self.PIXEL_M, float(self.distance.get()))

    def arm(self, frames: int, exposure_s: float, path_um: NDArray[np.floating]) -> None:
        """Open a file for at most `frames` frames; `path_um` (..., 2) is where stages will go."""
        self.disarm()
        self.acquire_time.put(exposure_s)
        self.num_images.put(frames)
        self.frames_written = 0
        self.endstation.look(self.geometry, self.endstation.places_m(path_um))
        self._file = GrowingFile(
            new_path(self.folder),
            {DATASET: ((self.pixels, self.pixels), np.uint16)},
            links={"/entry/data/data": DATASET},
        )

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
        expected = self.endstation.expose(self.geometry, path_um, photons)
        counts = self.endstation.generator.poisson(expected)
        self._file.extend(DATASET, np.minimum(counts, SATURATION).astype(np.uint16))
        self.frames_written += len(counts)

    def disarm(self) -> None:
        """Close the file; again is allowed."""
        if self._file is not None:
            self._file.close()

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Return its data key, as long as the file now is."""
        shape = (self.frames_written, self.pixels, self.pixels)
        return {self.name: external(f"PV:{self.prefix}HDF1:", shape, np.uint16)}

    def asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the Resource and Datum documents of the last file."""
        if self._file is None:
            raise RuntimeError(f"{self.name} has not measured")
        document, uid = resource(
            SPEC, self.folder, self._file.path, frame_per_point=self.frames_written
        )
        yield "resource", document
        yield "datum", datum(uid, 0)

    def unstage(self) -> list[Any]:
        """Close the file."""
        self.disarm()
        return super().unstage()
