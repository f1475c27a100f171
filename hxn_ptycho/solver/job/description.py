"""What a job is: ``job.json``, and ``input.h5`` beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from .files import INPUT_FILE, JOB_FILE, JobError, WholeFile, put, write_whole

SCHEMA = 1


@dataclass(frozen=True)
class FrameBlock:
    """`count` consecutive frames from frame `start` of `dataset` (count, h, w) in `file`."""

    file: str
    dataset: str
    start: int
    count: int


@dataclass(frozen=True)
class Job:
    """What ``job.json`` says.

    Attributes
    ----------
    job_uid, derived_uid, raw_uid, scan_id
        Of this job, of the run it will be published as, of the run it reconstructs.
    frames : tuple of FrameBlock
        Where the frames lie; `file` absolute or relative to the folder.
    frame_shape, frame_dtype
        Of one frame on file.
    dc : {"centre", "corner"}
        Where the direct beam is in a frame on file.
    crop : (int, int, int)
        Row, column and side (y0, x0, n) of the square of a frame that is used. With `dc`
        "corner" it is counted after the direct beam has been moved to the middle. Pixels of the
        frame on file: before `orientation` and binning, which leave the direct beam where it is.
    fft_window : int
        Side of the FFT window, at least the crop's (binned); the rim between is not measured.
    wavelength_m, distance_m : float
        Metres.
    detector_pixel_m, object_pixel_m : (float, float)
        (y, x), metres. The detector's is that on file.
    recipe : dict
        Every key of the recipe, resolved: among them what is done to each frame (``orientation``,
        ``binning``, ``threshold``, ``saturated_pixels``, ``zero_regions``).
    start : dict
        ``{"probe": "start.h5:/probe" | None, "object": "start.h5:/object" | None}``
    saturation : int or None
        Counts on file from which on a pixel is not believed; None: the largest number of their
        type.
    """

    job_uid: str
    derived_uid: str
    raw_uid: str
    scan_id: int
    frames: tuple[FrameBlock, ...]
    frame_shape: tuple[int, int]
    frame_dtype: str
    dc: Literal["centre", "corner"]
    crop: tuple[int, int, int]
    fft_window: int
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    object_pixel_m: tuple[float, float]
    recipe: dict[str, Any]
    start: dict[str, str | None] = field(default_factory=lambda: {"probe": None, "object": None})
    saturation: int | None = None
    schema: int = SCHEMA

    @property
    def number_of_frames(self) -> int:
        """How many frames the blocks hold together."""
        return sum(block.count for block in self.frames)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``job.json`` into `folder`, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        write_whole(Path(folder) / JOB_FILE, text)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Job:
        """Read ``job.json`` of `folder`.

        Raises
        ------
        JobError
            If the file is missing, is not JSON, has another schema or lacks a key.
        """
        path = Path(folder) / JOB_FILE
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise JobError(
                f"{folder} is not a job folder: it has no {JOB_FILE}",
                "give a folder that prepare made, as in HOME/jobs/<job uid>",
            ) from None
        except (OSError, json.JSONDecodeError) as error:
            raise JobError(f"{path} cannot be read: {error}") from error
        if content.get("schema") != SCHEMA:
            raise JobError(
                f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA}",
                "prepare the job again with this version",
            )
        try:
            return cls(
                **{
                    **content,
                    "frames": tuple(FrameBlock(**block) for block in content["frames"]),
                    **{
                        key: tuple(content[key])
                        for key in ("frame_shape", "crop", "detector_pixel_m", "object_pixel_m")
                    },
                }
            )
        except (KeyError, TypeError) as error:
            raise JobError(f"{path} lacks a key or has one too many: {error}") from error


@dataclass(frozen=True)
class Inputs:
    """What ``input.h5`` holds.

    Attributes
    ----------
    positions_m : ndarray (N, 2), float64, m
        Where the beam is on the sample, (y, x).
    normalisation : ndarray (N,), float64
        What the counts of each frame are multiplied by.
    mask : ndarray (h, w), bool
        True where the detector measured; shaped as a frame on file.
    dark, flat : ndarray (h, w), float32, or None
        Subtracted from each frame, and what it is then divided by; shaped as a frame on file.
    """

    positions_m: NDArray[np.float64]
    normalisation: NDArray[np.float64]
    mask: NDArray[np.bool_]
    dark: NDArray[np.float32] | None = None
    flat: NDArray[np.float32] | None = None

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``input.h5`` into `folder`, whole or not at all."""
        with WholeFile(Path(folder) / INPUT_FILE) as file:
            put(file, "positions_m", self.positions_m, "m", "frame,yx")
            put(file, "normalisation", self.normalisation, "1", "frame")
            put(file, "mask", self.mask, "1", "row,column", compression="gzip")
            for name in ("dark", "flat"):
                if (frame := getattr(self, name)) is not None:
                    put(file, name, frame, "count" if name == "dark" else "1", "row,column")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Inputs:
        """Read ``input.h5`` of `folder`.

        Raises
        ------
        JobError
            If the file is missing or damaged.
        """
        path = Path(folder) / INPUT_FILE
        try:
            with h5py.File(path, "r") as file:
                return cls(
                    file["positions_m"][()],
                    file["normalisation"][()],
                    file["mask"][()].astype(bool),
                    *(file[name][()] if name in file else None for name in ("dark", "flat")),
                )
        except (OSError, KeyError) as error:
            raise JobError(f"{path} cannot be read: {error}", "prepare the job again") from error


def iterate_blocks(
    frames: tuple[FrameBlock, ...], first: int, last: int
) -> Iterator[tuple[FrameBlock, int, int, int]]:
    """Yield ``(block, start, stop, offset)`` of the parts of `frames` within frames first..last-1.

    `start`, `stop` index the block's dataset; `offset` is the part's place after `first`.
    """
    begin = 0
    for block in frames:
        low, high = max(first, begin), min(last, begin + block.count)
        if low < high:
            yield block, block.start + low - begin, block.start + high - begin, low - first
        begin += block.count
