"""How a frame on file becomes one in the FFT window: worked out once, for all frames of a job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .job import Inputs, Job, JobError
from .orientation import matrix


@dataclass(frozen=True)
class FramePlan:
    """How a frame on file becomes one in the FFT window: numbers only, no frames.

    A frame goes this way: dark and flat; pixels that are not believed; zero regions; crop, turn,
    direct beam to [0, 0], rim; binning; threshold. The *fine* window is that before binning: (n b,
    n b) pixels of the detector, turned; fine pixel (b ky + i, b kx + j) is a part of pixel (ky, kx)
    of the window.

    Attributes
    ----------
    which : ndarray (count,), int64
        Numbers of the frames in the scan.
    scale : ndarray (count,), float64
        What the counts of each are multiplied by.
    frame_shape : (int, int)
        Of a frame on file.
    dtype : dtype
        Of the frames on file, in this machine's byte order.
    binning : int
        Detector pixels, along an axis, that make one of the window: b.
    rows, columns : ndarray (n b,), int64
        Row of the frame on file for each row of the fine window, and column for each column, DC at
        [0, 0]; -1 for none: the rim, and what lies outside the frame. With `swapped`, the row for
        each *column* of the fine window, and the column for each row.
    swapped : bool
        Whether rows become columns.
    measured : ndarray (n, n), bool
        True where the detector measured, all parts of a pixel; in the FFT window.
    used : ndarray (n b, n b), bool
        Fine pixels whose counts matter: parts of measured pixels, but not of zero regions.
    dark, flat : ndarray (n b, n b), float32, or None
        Subtracted from the counts, and what these are then divided by; 0 and 1 where not `used`.
    saturation : int or None
        Counts on file from which on a pixel is not believed, as the job says.
    masks_saturated : bool
        Whether a saturated pixel is not measured in its frame; or the frame is a bad one.
    threshold : float
        Counts times `scale` below it become 0.
    """

    which: NDArray[np.int64]
    scale: NDArray[np.float64]
    frame_shape: tuple[int, int]
    dtype: np.dtype
    binning: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    swapped: bool
    measured: NDArray[np.bool_]
    used: NDArray[np.bool_]
    dark: NDArray[np.float32] | None
    flat: NDArray[np.float32] | None
    saturation: int | None
    masks_saturated: bool
    threshold: float

    @classmethod
    def of(cls, job: Job, inputs: Inputs, which: NDArray[np.integer]) -> FramePlan:
        """Plan the frames `which` (numbers in the scan) of a job, of the type that it says.

        A pixel is not measured where the mask says so, or dark or flat are not finite, or flat is
        not above 0; a zero region is measured, and 0, whatever these say.

        Raises
        ------
        JobError
            If mask, dark or flat are not shaped as the frames, or the crop cannot be binned or is
            larger than the window.
        """
        recipe, shape = job.recipe, tuple(job.frame_shape)
        binning = recipe.get("binning", 1)
        rows, columns, swapped = _sources(job, binning)

        def turned(array: NDArray, outside: float) -> NDArray:
            picked = array[np.ix_(np.maximum(rows, 0), np.maximum(columns, 0))]
            picked[rows < 0], picked[:, columns < 0] = outside, outside
            return np.ascontiguousarray(picked.T if swapped else picked)

        for name in ("mask", "dark", "flat"):
            array = getattr(inputs, name)
            if array is not None and array.shape != shape:
                raise JobError(f"{_an(name)} of {array.shape} for frames of {shape}")
        zeroed = np.zeros(shape, bool)
        for y0, x0, height, width in recipe.get("zero_regions", ()):
            zeroed[y0 : y0 + height, x0 : x0 + width] = True
        good = inputs.mask.astype(bool)
        if inputs.dark is not None:
            good = good & np.isfinite(inputs.dark)
        if inputs.flat is not None:
            good = good & np.isfinite(inputs.flat) & (inputs.flat > 0)
        parts = turned(good | zeroed, False)
        n = job.fft_window
        measured = np.asarray(parts.reshape(n, binning, n, binning).all(axis=(1, 3)))
        used = turned(good & ~zeroed, False)
        used &= measured.repeat(binning, axis=0).repeat(binning, axis=1)
        dark = flat = None
        if inputs.dark is not None or inputs.flat is not None:
            dark, flat = np.zeros(used.shape, np.float32), np.ones(used.shape, np.float32)
            if inputs.dark is not None:
                np.copyto(dark, turned(inputs.dark, 0), where=used)
            if inputs.flat is not None:
                np.copyto(flat, turned(inputs.flat, 1), where=used)
        return cls(
            which=np.asarray(which, np.int64),
            scale=np.asarray(inputs.normalisation, np.float64)[which],
            frame_shape=(int(shape[0]), int(shape[1])),
            dtype=np.dtype(job.frame_dtype).newbyteorder("="),
            binning=binning,
            rows=rows,
            columns=columns,
            swapped=swapped,
            measured=measured,
            used=used,
            dark=dark,
            flat=flat,
            saturation=job.saturation,
            masks_saturated=recipe.get("saturated_pixels", "mask") == "mask",
            threshold=float(recipe.get("threshold", 0.0)),
        )

    @property
    def count(self) -> int:
        """How many frames."""
        return len(self.which)

    @property
    def corrected(self) -> bool:
        """Whether there is a dark or a flat."""
        return self.dark is not None

    @property
    def limit(self) -> int | None:
        """Counts on file from which on a pixel is saturated; None: none is."""
        if self.dtype.kind not in "iu":
            return self.saturation
        largest = int(np.iinfo(self.dtype).max)
        return largest if self.saturation is None else min(self.saturation, largest)

    @property
    def readable(self) -> np.dtype:
        """The type to read frames as: that on file, if all can compute with it.

        Raises
        ------
        JobError
            If it is no number that can be a count.
        """
        if self.dtype.kind not in "biuf":
            raise JobError(f"frames of {self.dtype} hold no counts")
        if self.dtype.kind == "f":
            return np.dtype(np.float32 if self.dtype.itemsize <= 4 else np.float64)
        return self.dtype

    def check(self, shape: tuple[int, int], dtype: np.dtype) -> None:
        """Refuse frames that are not those planned for.

        Raises
        ------
        ValueError
            If they have another shape or type.
        """
        if tuple(shape) != self.frame_shape or dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"frames of {shape} {dtype} where the plan says {self.frame_shape} {self.dtype}"
            )

    def kept(self, double: bool = False) -> np.dtype:
        """Return the type in which the host keeps counts.

        That on file, if it has at most 32 bits and nothing but whole frames' pixels are taken from
        it; else float32, or with `double` float64.
        """
        if not self.corrected and self.binning == 1 and self.dtype.itemsize <= 4:
            return self.readable
        return np.dtype(np.float64 if double else np.float32)


def _sources(job: Job, binning: int) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Return `FramePlan`'s rows, columns and swapped."""
    side, rest = divmod(job.crop[2], binning)
    if rest or side > job.fft_window:
        raise JobError(
            f"a crop of {job.crop[2]} pixels, binned by {binning}, does not make a part of a "
            f"window of {job.fft_window}",
            "prepare the job again",
        )
    # Of each fine pixel: how far it is from the direct beam.
    pixel = np.arange(side) - side // 2
    distance = np.zeros((job.fft_window, binning), np.int64)
    rim = np.ones((job.fft_window, binning), bool)
    distance[pixel % job.fft_window] = pixel[:, None] * binning + np.arange(binning)
    rim[pixel % job.fft_window] = False

    along = []
    turn = matrix(job.recipe.get("orientation") or "identity")
    for axis in (0, 1):
        begin, length = job.crop[axis], job.frame_shape[axis]
        source = begin + job.crop[2] // 2 + turn[axis].sum() * distance.ravel()
        outside = rim.ravel() | (source < 0) | (source >= length)
        if job.dc == "corner":  # where the direct beam is in the middle
            source = (source - length // 2) % length
        along.append(np.where(outside, -1, source))
    return along[0], along[1], bool(turn[0, 0] == 0)


def _an(name: str) -> str:
    return f"a {name}" + (" field" if name == "flat" else "")
