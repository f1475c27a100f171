"""This rank's share of the frames, read from disk and prepared; and where its views lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .device import Views
from .job import FrameBlock, Inputs, Job, JobError, iterate_blocks, relocate

# Frames read at a time: enough to be quick, few enough that their copies cost little memory.
_BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Geometry:
    """Where the views lie in the object.

    Attributes
    ----------
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object, all views.
    object_shape : (int, int)
        The smallest that holds every window.
    origin_m : (float, float), m
        Stage (y, x) of the centre of object pixel [0, 0].
    """

    positions: NDArray[np.int64]
    object_shape: tuple[int, int]
    origin_m: tuple[float, float]

    @classmethod
    def of(cls, job: Job, positions_m: NDArray[np.float64]) -> Geometry:
        """Round positions (m) to whole pixels; the beam is at a window's [n // 2, n // 2]."""
        pixel = np.array(job.object_pixel_m)
        whole = np.rint(positions_m / pixel).astype(np.int64)
        first = whole.min(axis=0)
        positions = whole - first
        rows, columns = positions.max(axis=0) + job.fft_window
        origin = (first - job.fft_window // 2) * pixel
        return cls(positions, (int(rows), int(columns)), (float(origin[0]), float(origin[1])))


@dataclass(frozen=True)
class Share:
    """What one rank reads: its frames, prepared, and which they are.

    Attributes
    ----------
    counts : ndarray (N, n, n)
        As `Views.counts`.
    scale : ndarray (N,), float64
    measured : ndarray (n, n), bool
    index : ndarray (N,), int64
        Number of each frame in the scan.
    bad : list of str
        What is wrong with which frames; these are not among `counts`.
    """

    counts: NDArray
    scale: NDArray[np.float64]
    measured: NDArray[np.bool_]
    index: NDArray[np.int64]
    bad: list[str]

    def views(self, geometry: Geometry) -> Views:
        """Return the share with its places in the object."""
        return Views(self.counts, self.scale, self.measured, geometry.positions[self.index])


def share_of(rank: int, size: int, count: int) -> tuple[int, int]:
    """Return the first and one past the last of `count` views that `rank` of `size` takes."""
    each, rest = divmod(count, size)
    first = rank * each + min(rank, rest)
    return first, first + each + (rank < rest)


def read_share(job: Job, inputs: Inputs, folder: Path, rank: int, size: int) -> Share:
    """Read the frames of one rank, cropped, DC moved to [0, 0], in the FFT window.

    Raises
    ------
    JobError
        If positions, normalisation and frames differ in number, a file is missing or shorter than
        the job says, a mask does not fit, or a frame is of no use and the recipe refuses such.
    """
    _check(job, inputs)
    first, last = share_of(rank, size, job.number_of_frames)
    n = job.fft_window
    rows, columns = (_segments(job, axis) for axis in (0, 1))
    measured = np.zeros((n, n), bool)
    _place(measured[None], inputs.mask[None], rows, columns)
    if not measured.any():
        raise JobError(
            "the mask leaves no measured pixel in the window", "check the mask and the crop"
        )

    counts: NDArray | None = None
    for source, start, stop, offset in iterate_blocks(job.frames, first, last):
        for low, frames in _read(source, start, stop, job, folder):
            if counts is None:
                counts = np.zeros((last - first, n, n), _native(frames.dtype))
            place = offset + low
            _place(counts[place : place + len(frames)], frames, rows, columns)
    if counts is None:
        counts = np.zeros((0, n, n), _native(np.dtype(job.frame_dtype)))
    if not measured.all():
        counts[:, ~measured] = 0

    faults = {first + j: fault for j, frame in enumerate(counts) if (fault := _fault(frame))}
    good = np.array([j not in faults for j in range(first, last)], bool)
    if faults:
        counts = counts[good]
    index = np.arange(first, last)[good]
    bad = [f"frame {j} {fault}" for j, fault in faults.items()]
    return Share(counts, inputs.normalisation[index], measured, index, bad)


def check_frames(bad: list[str], total: int, bad_frames: str) -> None:
    """Refuse a scan with frames of no use, unless the recipe drops them and some are left.

    Raises
    ------
    JobError
        With the number of such frames and the first few by name.
    """
    if not bad:
        return
    listed = "; ".join(bad[:3]) + ("; ..." if len(bad) > 3 else "")
    reason = f"{len(bad)} of {total} frames cannot be used: {listed}"
    if len(bad) == total:
        raise JobError(reason, "check the detector, the shutter and the crop")
    if bad_frames == "refuse":
        raise JobError(
            reason,
            'set bad_frames="drop" to reconstruct without them, or mask the pixels at fault',
        )


def _check(job: Job, inputs: Inputs) -> None:
    frames = job.number_of_frames
    for name, count in (
        ("positions", len(inputs.positions_m)),
        ("normalisation values", len(inputs.normalisation)),
    ):
        if count != frames:
            raise JobError(
                f"{count} {name} for {frames} frames", "they must agree: was the scan cut short?"
            )
    if inputs.mask.shape != tuple(job.frame_shape):
        raise JobError(f"a mask of {inputs.mask.shape} for frames of {tuple(job.frame_shape)}")


def _segments(job: Job, axis: int) -> list[tuple[slice, slice]]:
    """Return (from, to) slices that take one axis of a stored frame into the FFT window."""
    side, n = job.crop[2], job.fft_window
    begin, length = job.crop[axis], job.frame_shape[axis]
    pixel = np.arange(side)
    source = begin + pixel
    if job.dc == "corner":  # the crop is counted after the direct beam has been moved to the middle
        source = (source - length // 2) % length
    target = (pixel - side // 2) % n
    breaks = np.flatnonzero((np.diff(source) != 1) | (np.diff(target) != 1)) + 1
    return [
        (slice(int(s[0]), int(s[-1]) + 1), slice(int(t[0]), int(t[-1]) + 1))
        for s, t in zip(np.split(source, breaks), np.split(target, breaks), strict=True)
    ]


def _place(
    window: NDArray,
    frames: NDArray,
    rows: list[tuple[slice, slice]],
    columns: list[tuple[slice, slice]],
) -> None:
    for row_from, row_to in rows:
        for column_from, column_to in columns:
            window[:, row_to, column_to] = frames[:, row_from, column_from]


def _read(
    block: FrameBlock, start: int, stop: int, job: Job, folder: Path
) -> Iterator[tuple[int, NDArray]]:
    """Yield (offset, frames) of frames start..stop-1 of one block, a batch at a time."""
    path = relocate(block.file, folder)
    try:
        # Without locking: the detector's file may still be open for writing, or on a file system
        # that has no locks.
        with h5py.File(path, "r", locking=False) as file:
            dataset = file[block.dataset]
            if dataset.shape[1:] != tuple(job.frame_shape):
                raise JobError(
                    f"{path}{block.dataset} holds frames of {dataset.shape[1:]}, "
                    f"the job says {tuple(job.frame_shape)}"
                )
            if dataset.shape[0] < block.start + block.count:
                raise JobError(
                    f"{path} holds {dataset.shape[0]} frames where {block.start + block.count} "
                    "are needed: it is truncated",
                    "was the scan cut short, or is the file still being written?",
                )
            _load_filters(dataset)
            batch = max(
                1, _BATCH_BYTES // max(1, dataset.dtype.itemsize * np.prod(job.frame_shape))
            )
            for low in range(start, stop, int(batch)):
                yield low - start, dataset[low : min(stop, low + int(batch))]
    except FileNotFoundError as error:
        raise JobError(
            f"the file of frames {path} is missing",
            "if it was moved, set HXN_PTYCHO_ROOTS=old=new",
        ) from error
    except KeyError as error:
        raise JobError(f"{path} has no dataset {block.dataset}") from error
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error}") from error


def _load_filters(dataset: h5py.Dataset) -> None:
    """Register the compression filters of real detectors if this dataset needs one."""
    plist = dataset.id.get_create_plist()
    codes = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if any(code > 255 for code in codes):  # 0..255 are HDF5's own
        try:
            import hdf5plugin  # noqa: F401
        except ImportError as error:
            raise JobError(
                f"the frames are compressed with HDF5 filter {max(codes)}",
                "pip install hdf5plugin",
            ) from error


def _native(dtype: np.dtype) -> np.dtype:
    """Return the type to keep counts in: as stored, in this machine's byte order."""
    return dtype.newbyteorder("=") if dtype.itemsize <= 4 else np.dtype(np.float32)


def _fault(frame: NDArray) -> str:
    """Say what is wrong with a frame, or return an empty text."""
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        return f"has {np.count_nonzero(~np.isfinite(frame))} pixels that are not finite"
    peak = frame.max()
    if peak == 0 and not frame.any():
        return "is empty"
    if frame.dtype.kind in "iu":
        top = np.iinfo(frame.dtype).max
        if peak == top:
            return f"is saturated: {np.count_nonzero(frame == top)} pixels at {top}"
    if frame.dtype.kind != "u" and (low := frame.min()) < 0:
        return f"has negative counts, down to {low:g}"
    return ""
