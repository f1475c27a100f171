"""HDF5 files of others: opened, and read a batch of frames at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import ImportFileError
from .measured import batch_length

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OWN_FILTERS = 255  # numbers up to this are HDF5's own


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file to read, without locking.

    Raises
    ------
    ImportFileError
        If it is missing, damaged or cut off; also where reading within the ``with`` fails so.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except OSError as error:
        what = error.strerror or str(error)
        raise ImportFileError(
            f"{path} cannot be read: {what}; if it was copied here, copy it again"
        ) from error


def find(file: h5py.File, *names: str) -> h5py.Dataset | None:
    """Return the first of some datasets that is there; links that lead nowhere are none."""
    for name in names:
        found = file.get(name)
        if isinstance(found, h5py.Dataset):
            return found
    return None


def number(file: h5py.File, *names: str) -> float | None:
    """Return the first of some numbers that is there, of an array its first; None without one."""
    found = find(file, *names)
    if found is None or found.size == 0 or found.dtype.kind not in "iuf":
        return None
    return float(np.ravel(found[()])[0])


def read_batches(
    path: Path,
    dataset: str,
    convert: Callable[[int, NDArray], NDArray],
    *,
    region: tuple[slice, slice] = (slice(None), slice(None)),
    start: int = 0,
) -> Iterator[NDArray]:
    """Yield frames of a dataset (N, h, w), a batch at a time.

    Parameters
    ----------
    convert : callable (first, frames) -> frames
        What is done to each batch; `first` is the number of its first frame, `start` and up.
    region : (slice, slice)
        Rows and columns that are read.
    """
    with opened(path) as file:
        frames = file[dataset]
        load_filters(path, frames)
        length = batch_length(frames.shape, frames.dtype.itemsize)
        for first in range(0, len(frames), length):
            yield convert(start + first, frames[(slice(first, first + length), *region)])


def load_filters(path: Path, dataset: h5py.Dataset) -> None:
    """Register the compression filters of real detectors if this dataset needs one.

    Raises
    ------
    ImportFileError
        If it needs one that is not installed.
    """
    settings = dataset.id.get_create_plist()
    codes = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    if max(codes, default=0) > _OWN_FILTERS:
        try:
            import hdf5plugin  # noqa: F401
        except ImportError as error:
            raise ImportFileError(
                f"the frames in {path} are compressed with HDF5 filter {max(codes)}: "
                "pip install hdf5plugin"
            ) from error
