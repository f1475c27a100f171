"""What an Eiger's own file says of its pixels: which are measured, and up to how many counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..solver.frame_files import open_dataset
from ..solver.h5_files import FrameFileError
from .linked_files import LinkedFiles

# Dectris' own place before that of NeXus: both are there in newer files, and are the same.
_MASKS = (
    "entry/instrument/detector/detectorSpecific/pixel_mask",
    "entry/instrument/detector/pixel_mask",
)
_SATURATIONS = (
    "entry/instrument/detector/detectorSpecific/countrate_correction_count_cutoff",
    "entry/instrument/detector/saturation_value",
)


def master_of(path: Path) -> Path:
    """Return the master beside an Eiger's data file, if there is one; else the file itself."""
    match = re.fullmatch(r"(.+)_data_\d+(\.h5|\.hdf5)", path.name)
    master = path.with_name(f"{match[1]}_master{match[2]}") if match else path
    return master if master.exists() else path


def read_mask(
    files: LinkedFiles, path: Path, frame_shape: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Return where the detector measured, by its own file."""
    for name in _MASKS:
        found = files.follow(path, name)
        if found is None:
            continue
        values = np.asarray(open_dataset(files.file(found[0]), found[1])[()])
        # With several thresholds there is a mask for each, and frames of the first come first.
        values = values.reshape(-1, *values.shape[-2:])[0]
        if values.shape != frame_shape:
            raise FrameFileError(
                f"the pixel mask {path}:/{name} is {' x '.join(map(str, values.shape))} for "
                f"frames of {' x '.join(map(str, frame_shape))} pixels"
            )
        return values == 0
    return None


def read_saturation(files: LinkedFiles, path: Path, dtype: np.dtype[Any]) -> int | None:
    """Return from which counts on the detector's own file believes no pixel."""
    for name in _SATURATIONS:
        found = files.follow(path, name)
        if found is None:
            continue
        value = float(np.asarray(files.file(found[0])[found[1]][()]).ravel()[0])
        if np.isfinite(value) and value > 0:
            top = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
            return int(min(value, top))
    return None
