"""Read frames from the files that detectors write: the one way, for every room.

What cannot be read rightly is refused. HDF5 itself reads zeros where a file that a virtual dataset
maps is missing, and whatever is there where a file is cut off.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .h5_files import FrameFileError, find_file, first_that_exists, load_filters, open_h5
from .virtual_frames import (
    check_covered,
    check_source,
    folders_of,
    mappings,
    name_of,
    source_places,
)

if TYPE_CHECKING:
    from .job import FrameBlock


def open_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of an open file, whole and ready to be read.

    Raises
    ------
    FrameFileError
        If there is none of this name, if the file is shorter than it, if it needs a compression
        filter that is not installed, or if it is virtual and a source is missing.
    """
    try:
        dataset = file[name]
    except KeyError as error:
        link = file.get(name, getlink=True)
        to = f": it is in {link.filename}, not there" if isinstance(link, h5py.ExternalLink) else ""
        raise FrameFileError(f"{file.filename} has no dataset {name}{to}") from error
    except OSError as error:
        raise FrameFileError(f"{file.filename} cannot be read: {error}") from error
    if not isinstance(dataset, h5py.Dataset):
        raise FrameFileError(f"{file.filename}:{name} is a group, no dataset")
    _check_length(dataset)
    load_filters(dataset)
    if dataset.is_virtual:
        check_sources(dataset)
    return dataset


def check_sources(dataset: h5py.Dataset) -> None:
    """Raise if HDF5 would read anything of a virtual dataset that no file holds.

    Raises
    ------
    FrameFileError
        With the source that is missing or too short and where it was looked for, or the frames that
        no source holds.
    """
    sources = mappings(dataset)
    check_covered(dataset, sources)
    for each in sources:
        if each.file == ".":
            check_source(dataset, each, open_dataset(dataset.file, each.dataset))
            continue
        folders = folders_of(dataset.file.filename)
        try:
            path = first_that_exists(each.file, source_places(each.file, folders))
        except FrameFileError as error:
            raise FrameFileError(
                f"{error}; {name_of(dataset)} would read as zeros without it",
                f"put it beside {dataset.file.filename}",
            ) from error
        with open_h5(path) as file:
            check_source(dataset, each, open_dataset(file, each.dataset))


def stack_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a dataset's shape as a stack (N, h, w) of frames: more than three axes become three.

    Some detectors write (N, 1, h, w), or (points, frames a point, h, w).
    """
    return shape if len(shape) < 4 else (math.prod(shape[:-2]), *shape[-2:])


def read_frames(dataset: h5py.Dataset, start: int, stop: int, out: NDArray) -> None:
    """Read frames start..stop-1 into `out`.

    Parameters
    ----------
    dataset : h5py.Dataset (N, h, w)
        Or with more axes, counted as `stack_shape` does.
    start, stop : int
    out : ndarray (stop - start, h, w), contiguous

    Raises
    ------
    FrameFileError
        If the file is damaged there.
    """
    try:
        if dataset.ndim == 3:
            # One call a batch: 67,200 chunks of one frame take half a second.
            dataset.read_direct(out, np.s_[start:stop])
        else:
            _read_nested(dataset, start, stop, out)
    except OSError as error:
        raise FrameFileError(
            f"{dataset.file.filename}:{dataset.name} cannot be read at frames {start} to "
            f"{stop - 1}: {error}"
        ) from error


class FrameFiles:
    """The files of a scan's frames; the last one stays open, as blocks often follow in a file.

    Parameters
    ----------
    folder : path
        From which relative paths are taken.
    frame_shape : (int, int)
        What every frame must be.
    """

    def __init__(self, folder: str | os.PathLike[str], frame_shape: tuple[int, int]) -> None:
        self._folder = folder
        self._frame_shape = tuple(frame_shape)
        self._file: h5py.File | None = None
        self._place: tuple[str, str] | None = None
        self._dataset: Any = None

    def __enter__(self) -> FrameFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open(self, block: FrameBlock) -> h5py.Dataset:
        """Return the dataset of a block; open until the next block of another file.

        Raises
        ------
        FrameFileError
            If it is missing, cannot be read, or does not hold such frames, or so many.
        """
        if self._place != (block.file, block.dataset):
            self._close()
            self._file = open_h5(find_file(block.file, self._folder))
            self._dataset = open_dataset(self._file, block.dataset)
            self._place = (block.file, block.dataset)
        shape = stack_shape(self._dataset.shape)
        where = self._dataset.file.filename
        if len(shape) != 3 or shape[1:] != self._frame_shape:
            raise FrameFileError(
                f"{where}:{block.dataset} holds frames of {' x '.join(map(str, shape[1:]))} pixels "
                f"where {' x '.join(map(str, self._frame_shape))} are expected"
            )
        if shape[0] < block.start + block.count:
            raise FrameFileError(
                f"{where} holds {shape[0]} frames where {block.start + block.count} are needed: it "
                "is truncated",
                "was the scan cut short, or is the file still being written?",
            )
        return self._dataset

    def _close(self) -> None:
        self._place = self._dataset = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _check_length(dataset: h5py.Dataset) -> None:
    """Raise if the file is shorter than its contiguous dataset; chunks are checked as read."""
    offset = dataset.id.get_offset()
    if offset is None:
        return
    needed = offset + dataset.size * dataset.dtype.itemsize
    size = os.stat(dataset.file.filename).st_size
    if size < needed:
        raise FrameFileError(
            f"{dataset.file.filename} is cut off: it has {size} bytes and needs {needed}"
        )


def _read_nested(dataset: h5py.Dataset, start: int, stop: int, out: NDArray) -> None:
    """Read frames of a dataset with more leading axes than one, the last counted fastest."""
    leading = dataset.shape[:-2]
    inner = math.prod(leading[1:])
    if inner == 1:
        dataset.read_direct(
            out.reshape(stop - start, *leading[1:], *dataset.shape[-2:]), np.s_[start:stop]
        )
        return
    place = start
    while place < stop:
        *index, last = (int(i) for i in np.unravel_index(place, leading))
        count = min(stop - place, leading[-1] - last)
        dataset.read_direct(
            out[place - start : place - start + count], (*index, np.s_[last : last + count])
        )
        place += count
