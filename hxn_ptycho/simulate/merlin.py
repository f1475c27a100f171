"""A simulated Merlin: one HDF5 file that can be read while it grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detector import FrameFile, PixelDetector
from .files import GrowingFile, new_path

DATASET = PixelDetector.DATASET
SPEC = PixelDetector.SPEC


class Merlin(PixelDetector):
    """A Merlin-like detector: 55 um pixels, uint16 counts, one HDF5 file (SWMR) at a time."""

    def _open(self, frames: int) -> FrameFile:
        return _MerlinFile(new_path(self.folder), self.frame_shape, self.DTYPE)


class _MerlinFile(GrowingFile):
    def __init__(self, path: Path, shape: tuple[int, int], dtype: Any) -> None:
        super().__init__(path, {DATASET: (shape, dtype)}, links={"/entry/data/data": DATASET})

    def write(self, frames: NDArray[np.unsignedinteger]) -> None:
        self.extend(DATASET, frames)
