"""Frames as a detector has them, of which tests know the truth."""

from __future__ import annotations

import bz2
import functools
import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hxn_ptycho.prepare.sample import FrameSample
from hxn_ptycho.scan import Scan
from hxn_ptycho.solver.job import FrameBlock

STAR = Path(__file__).parents[3] / "shared" / "data" / "siemens-star" / "siemens-star-small.npz.bz2"


@functools.cache
def star_frames() -> NDArray[np.float32]:
    """The measured Siemens star (516, 128, 128), the direct beam near the middle."""
    if not STAR.is_file():
        pytest.skip(f"the measured data are not there: {STAR}")
    archive = np.load(io.BytesIO(bz2.decompress(STAR.read_bytes())))
    return np.fft.fftshift(archive["data"][0], axes=(1, 2))


def evenly(frames: NDArray, most: int = 64) -> NDArray:
    """Frames evenly spread."""
    return frames[np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)]


def sample_of(frames: NDArray, saturation: float | None = None) -> FrameSample:
    """A sample made of these frames."""
    if saturation is None:
        saturation = np.iinfo(frames.dtype).max if frames.dtype.kind in "iu" else np.inf
    return FrameSample(np.arange(len(frames)), frames, saturation)


def annulus(
    shape: tuple[int, int], centre: tuple[float, float], outer: float, inner: float
) -> NDArray[np.float64]:
    """A zone plate's far field: a bright annulus with soft edges, and tails around; mean 1."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - centre[0], x - centre[1])
    ring = (1 - np.tanh(radius - outer)) * (1 + np.tanh(radius - inner)) / 4
    pattern = ring + 0.3 / (1 + (radius / outer) ** 4)
    return pattern / pattern.mean()


def scan_of(frames: NDArray, file: Path, blocks: list[int] | None = None, **changes) -> Scan:
    """A scan of these frames, in an HDF5 file, in blocks of so many."""
    counts = blocks or [len(frames)]
    with h5py.File(file, "w") as target:
        target["frames"] = frames
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    side = int(np.ceil(np.sqrt(len(frames))))
    places = np.stack(np.divmod(np.arange(len(frames)), side), axis=1) * 50e-9
    scan = Scan(
        uid="raw", scan_id=7,
        frames=tuple(
            FrameBlock(str(file), "/frames", start, count)
            for start, count in zip(starts, counts, strict=True)
        ),
        frame_shape=frames.shape[1:], frame_dtype=frames.dtype.name, dc="centre",
        positions_m=places, wavelength_m=1e-10, distance_m=0.5, detector_pixel_m=(55e-6, 55e-6),
        normalisation=np.ones(len(frames)),
    )  # fmt: skip
    return Scan(**{**vars(scan), **changes})
