"""Some of a scan's frames, read before the run: by them is chosen what is left open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import h5py
import numpy as np
from numpy.typing import NDArray

from ..scan import Scan, ScanError
from ..solver.job import FrameBlock, relocate

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


def read_sample(
    scan: Scan, folder: str | os.PathLike[str] = ".", most: int = MOST_FRAMES
) -> FrameSample:
    """Read at most `most` frames, evenly spread over the scan; fewer where they are large.

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
    count, shape = scan.number_of_frames, scan.frame_shape
    ends = np.cumsum([block.count for block in scan.frames])
    frames: NDArray | None = None
    index = _choose(count, most, *_sizes(scan, folder))
    block_of = np.searchsorted(ends, index, side="right")
    done = 0
    for number, group in groupby(range(len(index)), key=lambda i: int(block_of[i])):
        block, which = scan.frames[number], index[list(group)]
        rows = which - (ends[number] - block.count) + block.start
        for dataset in _opened(block, scan, folder):
            if frames is None:
                frames = np.empty((len(index), *shape), dataset.dtype.newbyteorder("="))
            for part in _runs(rows):
                size = part.stop - part.start
                dataset.read_direct(frames[done : done + size], part)
                done += size
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


def _sizes(scan: Scan, folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Return a frame's bytes, and how many frames the file of the first ones unpacks at once."""
    (sizes,) = (
        (
            dataset.dtype.itemsize * scan.frame_shape[0] * scan.frame_shape[1],
            dataset.chunks[0] if dataset.chunks and dataset.id.get_create_plist().get_nfilters()
            else 1,
        )
        for dataset in _opened(scan.frames[0], scan, folder)
    )  # fmt: skip
    return sizes


def _runs(rows: NDArray[np.int64]) -> Iterator[slice]:
    """Cut rising rows into runs without a gap. (Of slices with a step HDF5 makes slow work.)"""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        yield slice(int(run[0]), int(run[-1]) + 1)


def _opened(
    block: FrameBlock, scan: Scan, folder: str | os.PathLike[str]
) -> Iterator[h5py.Dataset]:
    """Yield the dataset of a block, once; its file is closed after."""
    path = relocate(block.file, folder)
    try:
        import hdf5plugin  # noqa: F401, the compression filters of real detectors

        with h5py.File(path, "r", locking=False) as file:
            yield file[block.dataset]
    except (OSError, KeyError) as error:
        raise ScanError(
            f"the frames of scan {scan.scan_id} in {path} cannot be read: {error}"
        ) from error


def _saturation(scan: Scan, dtype: np.dtype) -> float:
    if scan.saturation is not None:
        return float(scan.saturation)
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else float("inf")
