"""Some of a scan's frames, read before the run: by them is chosen what is left open."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import h5py
import numpy as np
from numpy.typing import NDArray

from ..scan import Scan, ScanError
from ..solver.frame_files import FrameFiles, read_frames
from ..solver.h5_files import FrameFileError

MOST_FRAMES = 64
MOST_BYTES = 128 * 2**20  # of frames, and of chunks that are to be unpacked for them
LEAST_PLACES = 4


@dataclass(frozen=True)
class FrameSample:
    """Some frames of a scan, evenly spread over it, as they are on file.

    Attributes
    ----------
    index : ndarray (k,), int64
        Which frames of the scan these are, rising.
    frames : ndarray (k, h, w)
        In the type on file, and in this machine's byte order.
    saturation : float
        Counts from which on a pixel is not believed; infinite where none is known.
    """

    index: NDArray[np.int64]
    frames: NDArray
    saturation: float

    @cached_property
    def usable(self) -> NDArray[np.bool_] | None:
        """(k, h, w): where a pixel's counts are finite, not negative and not saturated.

        None, which is quicker: everywhere.
        """
        frames = self.frames
        kind = frames.dtype.kind
        if kind != "f" and frames.max() < self.saturation and (kind == "u" or frames.min() >= 0):
            return None
        # NaN fails both.
        usable = (frames >= 0) & (frames < self.saturation)
        return None if usable.all() else usable

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """In how many of the frames a pixel (h, w) is usable."""
        if self.usable is None:
            return np.full(self.frames.shape[1:], len(self.frames))
        return np.count_nonzero(self.usable, axis=0)

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Counts (h, w) of each pixel in the frames where it is usable."""
        if self.usable is None:
            return self.frames.sum(axis=0, dtype=np.float64)
        return np.sum(self.frames, axis=0, dtype=np.float64, where=self.usable)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean counts (h, w) of each pixel in the frames where it is usable; else 0."""
        return self.total / np.maximum(self.seen, 1)

    @cached_property
    def peak(self) -> NDArray[np.float64]:
        """The largest usable counts (h, w) of each pixel; 0 where there are none."""
        if self.usable is None:
            return self.frames.max(axis=0).astype(np.float64)
        counts = np.where(self.usable, self.frames, 0)
        return counts.max(axis=0).astype(np.float64)


def choose_frames(
    scan: Scan, folder: str | os.PathLike[str] = ".", most: int = MOST_FRAMES
) -> NDArray[np.int64]:
    """Return which frames to look at: at most `most`, evenly spread; fewer where they are large.

    Where a file's chunks hold several frames, a chunk is unpacked whole for one of them: a few
    places of the scan then give several frames each, so that never much more is read than wanted.

    Parameters
    ----------
    scan : Scan
    folder : path
        That relative files of frames are relative to.
    most : int

    Raises
    ------
    ScanError
        If a file cannot be read.
    """
    try:
        with FrameFiles(folder, scan.frame_shape) as files:
            first = files.open(next(block for block in scan.frames if block.count))
            frame_bytes = first.dtype.itemsize * math.prod(scan.frame_shape)
            return _choose(scan.number_of_frames, most, frame_bytes, _unpacked_together(first))
    except FrameFileError as error:
        raise ScanError(f"scan {scan.scan_id}: {error.sentence}") from error


def read_sample(
    scan: Scan, folder: str | os.PathLike[str] = ".", most: int = MOST_FRAMES
) -> FrameSample:
    """Read some frames, as `choose_frames` chooses them.

    Raises
    ------
    ScanError
        If a file cannot be read.
    """
    index = choose_frames(scan, folder, most)
    frames: NDArray | None = None
    ends = np.cumsum([block.count for block in scan.frames])
    block_of = np.searchsorted(ends, index, side="right")
    done = 0
    try:
        with FrameFiles(folder, scan.frame_shape) as files:
            for number in np.unique(block_of).tolist():
                block = scan.frames[number]
                dataset = files.open(block)
                if frames is None:
                    dtype = dataset.dtype.newbyteorder("=")
                    frames = np.empty((len(index), *scan.frame_shape), dtype)
                rows = index[block_of == number] - (ends[number] - block.count) + block.start
                for start, stop in _runs(rows):
                    read_frames(dataset, start, stop, frames[done : done + stop - start])
                    done += stop - start
    except FrameFileError as error:
        raise ScanError(f"scan {scan.scan_id}: {error.sentence}") from error
    assert frames is not None  # check_scan has seen to it that there is a frame
    return FrameSample(index, frames, _saturation(scan, frames.dtype))


def _choose(count: int, most: int, frame_bytes: int, chunk: int) -> NDArray[np.int64]:
    """Return which of `count` frames to read, where `chunk` frames are unpacked together."""
    places = max(LEAST_PLACES, min(most, MOST_BYTES // max(1, frame_bytes * chunk)))
    each = max(1, min(chunk, most // places))
    if each == 1:
        return np.unique(np.linspace(0, count - 1, min(places, count)).round().astype(np.int64))
    chunks = -(-count // chunk)
    first = np.unique(np.linspace(0, chunks - 1, min(places, chunks)).round().astype(np.int64))
    index = (first[:, None] * chunk + np.arange(each)).ravel()
    return index[index < count]


def _unpacked_together(dataset: h5py.Dataset) -> int:
    """Return how many frames are unpacked when one is read."""
    if not dataset.chunks or not dataset.id.get_create_plist().get_nfilters():
        return 1
    return math.prod(dataset.chunks[:-2])


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut rising rows into runs without a gap. (Of slices with a step HDF5 makes slow work.)"""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        yield int(run[0]), int(run[-1]) + 1


def _saturation(scan: Scan, dtype: np.dtype) -> float:
    known = float("inf") if scan.saturation is None else float(scan.saturation)
    return min(known, float(np.iinfo(dtype).max)) if dtype.kind in "iu" else known
