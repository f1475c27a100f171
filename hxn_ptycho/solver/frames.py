"""This rank's share of the frames, read from disk; and where its views lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .frame_files import FrameFiles, read_frames
from .job import FrameBlock, Inputs, Job, JobError
from .preparation import FramePlan, Gaps, HostPreparation, Preparation

# Bytes read at a time: enough to be quick, few enough that they cost little memory and that a
# processor finds them in its caches when they are prepared.
BATCH_BYTES = 8 * 2**20


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
        As `Views.counts`: on the host an ndarray, DC at [0, 0], 0 where not measured, not scaled.
    gaps : Gaps or None
        Pixels not measured in single frames, as `Views.gaps`.
    scale : ndarray (N,), float64
    measured : ndarray (n, n), bool
    index : ndarray (N,), int64
        Number of each frame in the scan.
    bad : list of str
        What is wrong with which frames; these are not among `counts`.
    empty : list of str
        Which frames have no counts; nor are these.
    total : ndarray (n, n), float64
        Sum of the frames, scaled.
    seen : ndarray (n, n), int64
        In how many of these frames each pixel was measured.
    photons : ndarray (N,), float64
        Of each frame, scaled, as measured.
    saturated_pixels : int
        How many pixels on file were not believed in single frames.
    """

    counts: Any
    gaps: Gaps | None
    scale: NDArray[np.float64]
    measured: NDArray[np.bool_]
    index: NDArray[np.int64]
    bad: list[str]
    empty: list[str]
    total: NDArray[np.float64]
    seen: NDArray[np.int64]
    photons: NDArray[np.float64]
    saturated_pixels: int

    def measured_in(self, j: int) -> NDArray[np.bool_]:
        """Return which pixels (n, n) were measured in frame j of `counts`, on the host."""
        measured = self.measured.copy()
        if self.gaps is not None:
            measured.flat[self.gaps.of_frame(j)] = False
        return measured


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
    """Read the frames of one rank and prepare them for the FFT window, see `FramePlan`.

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
    first, last = share_of(rank, size, job.number_of_frames)
    return _read_frames(job, inputs, folder, np.arange(first, last), preparation_of)


def prepare_some(job: Job, inputs: Inputs, folder: Path, which: Sequence[int]) -> Share:
    """Read some frames and prepare them on the host, exactly as the solver does on CPUs.

    Parameters
    ----------
    job, inputs, folder
        The job, and where it lies; its recipe decides what is done to a frame.
    which : sequence of int
        Numbers of the frames in the scan, in any order; the share has them in this order.

    Raises
    ------
    JobError
        As `read_share`, or if the scan has no such frame.
    """
    numbers = np.asarray(which, np.int64)
    for number in numbers[(numbers < 0) | (numbers >= job.number_of_frames)]:
        raise JobError(f"frame {number} is none of the scan's {job.number_of_frames}")
    return _read_frames(job, inputs, folder, numbers, HostPreparation)


def _read_frames(
    job: Job,
    inputs: Inputs,
    folder: Path,
    which: NDArray[np.int64],
    preparation_of: Callable[[FramePlan], Preparation],
) -> Share:
    """Read the frames `which` and prepare them."""
    _check(job, inputs)
    plan = FramePlan.of(job, inputs, which)
    if not plan.measured.any():
        raise JobError(
            "the mask leaves no measured pixel in the window", "check the mask and the crop"
        )
    preparation: Preparation | None = None
    with FrameFiles(folder, job.frame_shape) as files:
        for block, start, stop, offset in _runs(job.frames, which):
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
    prepared = preparation.finish()
    index = which[prepared.good]
    return Share(
        counts=prepared.counts,
        gaps=prepared.gaps,
        scale=plan.scale[prepared.good],
        measured=plan.measured,
        index=index,
        bad=[f"frame {which[j]} {fault}" for j, fault in prepared.bad.items()],
        empty=[f"frame {which[j]} {fault}" for j, fault in prepared.empty.items()],
        total=prepared.total,
        seen=prepared.seen,
        photons=prepared.photons,
        saturated_pixels=prepared.saturated_pixels,
    )


def _runs(
    frames: tuple[FrameBlock, ...], which: NDArray[np.int64]
) -> Iterator[tuple[FrameBlock, int, int, int]]:
    """Yield ``(block, start, stop, offset)`` of the runs of frames in `which` that lie together.

    `start`, `stop` index the block's dataset; `offset` is the run's place in `which`.
    """
    if not len(which):
        return
    counts = np.array([block.count for block in frames])
    ends = np.cumsum(counts)
    number = np.searchsorted(ends, which, side="right")
    place = which - (ends - counts)[number]
    apart = (np.diff(number) != 0) | (np.diff(place) != 1)
    for begin, end in pairwise([0, *(np.flatnonzero(apart) + 1).tolist(), len(which)]):
        block = frames[number[begin]]
        start = block.start + int(place[begin])
        yield block, start, start + end - begin, begin


def check_frames(
    bad: list[str], empty: list[str], total: int, bad_frames: str, empty_frames: str
) -> None:
    """Refuse a scan with frames of no use, unless the recipe drops them and most are left.

    More than half of the frames bad or empty are refused whatever the recipe says: then not the
    frames are wrong but the crop, the mask, the threshold or the shutter, and a picture of the rest
    would pass for one of the scan.

    Parameters
    ----------
    bad, empty : list of str
        Which cannot be used, and why; which have no counts.
    total : int
        Frames of the scan.
    bad_frames, empty_frames : {"refuse", "drop"}
        The recipe's.

    Raises
    ------
    JobError
        With the number of such frames and the first few by name.
    """
    lost = len(bad) + len(empty)
    if 2 * lost > total:
        raise JobError(
            f"{lost} of {total} frames cannot be used ({len(empty)} of them have no counts), more "
            f"than half: {_listed(bad + empty)}",
            "check the detector, the shutter, the crop and the threshold",
        )
    for frames, are, choice, key in (
        (bad, "cannot be used", bad_frames, "bad_frames"),
        (empty, "have no counts", empty_frames, "empty_frames"),
    ):
        if frames and choice == "refuse":
            raise JobError(
                f"{len(frames)} of {total} frames {are}: {_listed(frames)}",
                f'set {key}="drop" to reconstruct without them'
                + (", or mask the pixels at fault" if key == "bad_frames" else ""),
            )


def _listed(frames: list[str]) -> str:
    return "; ".join(frames[:3]) + ("; ..." if len(frames) > 3 else "")


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
