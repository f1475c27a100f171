"""This rank's share of the frames, read from disk; and where its views lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .device import Views
from .frame_files import FrameFiles, read_frames
from .job import Inputs, Job, JobError, iterate_blocks
from .preparation import FramePlan, Preparation

# Bytes read at a time: enough to be quick, few enough that they cost little memory.
BATCH_BYTES = 32 * 2**20


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
    counts : array (N, n, n)
        As `Views.counts`.
    scale : ndarray (N,), float64
    measured : ndarray (n, n), bool
    index : ndarray (N,), int64
        Number of each frame in the scan.
    bad : list of str
        What is wrong with which frames; these are not among `counts`.
    total : ndarray (n, n), float64
        Sum of the frames, scaled.
    photons : ndarray (N,), float64
        Of each frame, scaled.
    """

    counts: Any
    scale: NDArray[np.float64]
    measured: NDArray[np.bool_]
    index: NDArray[np.int64]
    bad: list[str]
    total: NDArray[np.float64]
    photons: NDArray[np.float64]

    def views(self, geometry: Geometry) -> Views:
        """Return the share with its places in the object."""
        return Views(self.counts, self.scale, self.measured, geometry.positions[self.index])


def share_of(rank: int, size: int, count: int) -> tuple[int, int]:
    """Return the first and one past the last of `count` views that `rank` of `size` takes."""
    each, rest = divmod(count, size)
    first = rank * each + min(rank, rest)
    return first, first + each + (rank < rest)


def read_share(
    job: Job,
    inputs: Inputs,
    folder: Path,
    rank: int,
    size: int,
    preparation_of: Callable[[FramePlan], Preparation],
) -> Share:
    """Read the frames of one rank, cropped, DC moved to [0, 0], in the FFT window.

    Parameters
    ----------
    job, inputs, folder
        The job, and where it lies.
    rank, size : int
        Which share of how many.
    preparation_of : callable
        Makes what takes the frames as they are read.

    Raises
    ------
    JobError
        If positions, normalisation and frames differ in number, a file is missing or shorter than
        the job says, the files hold numbers of different types, or a mask does not fit.
    """
    _check(job, inputs)
    first, last = share_of(rank, size, job.number_of_frames)
    plan = FramePlan.of(job, inputs.mask, last - first)
    if not plan.measured.any():
        raise JobError(
            "the mask leaves no measured pixel in the window", "check the mask and the crop"
        )
    preparation: Preparation | None = None
    with FrameFiles(folder, job.frame_shape) as files:
        for block, start, stop, offset in iterate_blocks(job.frames, first, last):
            dataset = files.open(block)
            dtype = dataset.dtype.newbyteorder("=")
            if preparation is None:
                # What the file says counts, not what the job expected of it.
                plan = replace(plan, dtype=dtype)
                preparation = preparation_of(plan)
            if dtype != plan.dtype:
                raise JobError(
                    f"{dataset.file.filename}{block.dataset} holds {dtype} where the frames "
                    f"before are {plan.dtype}",
                    "store all frames of a scan as one type",
                )
            _read(dataset, start, stop, offset, preparation)
    if preparation is None:
        preparation = preparation_of(plan)
    prepared = preparation.finish(inputs.normalisation[first:last])
    index = np.arange(first, last)[prepared.good]
    bad = [f"frame {first + j} {fault}" for j, fault in prepared.faults.items()]
    return Share(
        prepared.counts,
        inputs.normalisation[index],
        plan.measured,
        index,
        bad,
        prepared.total,
        prepared.photons,
    )


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


def _read(
    dataset: h5py.Dataset, start: int, stop: int, offset: int, preparation: Preparation
) -> None:
    """Read frames start..stop-1 a batch at a time; the first is number `offset` of the share."""
    shape = dataset.shape[-2:]
    dtype = dataset.dtype.newbyteorder("=")
    batch = max(1, BATCH_BYTES // max(1, dtype.itemsize * shape[0] * shape[1]))
    for low in range(start, stop, batch):
        high = min(stop, low + batch)
        frames = preparation.room(high - low, shape, dtype)
        read_frames(dataset, low, high, frames)
        preparation.add(offset + low - start, frames)
