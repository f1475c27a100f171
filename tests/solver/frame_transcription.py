"""What preparation does to one frame, pixel by pixel in plain float64: truth for every device.

Written from what a recipe's keys promise, slow and literal: nothing of the project is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Where on file the turned pixel (y, x) is, both counted from the direct beam.
ON_FILE = {
    "identity": lambda y, x: (y, x),
    "rot90": lambda y, x: (x, -y),
    "rot180": lambda y, x: (-y, -x),
    "rot270": lambda y, x: (-x, y),
    "flip_y": lambda y, x: (-y, x),
    "flip_x": lambda y, x: (y, -x),
    "transpose": lambda y, x: (x, y),
    "antitranspose": lambda y, x: (-x, -y),
}


@dataclass
class Options:
    """All that decides what becomes of a frame; by default nothing is done to it."""

    crop: tuple[int, int, int]
    window: int
    dc: str = "centre"
    orientation: str = "identity"
    binning: int = 1
    mask: np.ndarray | None = None
    dark: np.ndarray | None = None
    flat: np.ndarray | None = None
    threshold: float = 0.0
    saturation: int | None = None
    saturated_pixels: str = "mask"
    zero_regions: list = field(default_factory=list)


@dataclass
class Pixels:
    """A frame in the window, DC at [0, 0]."""

    counts: np.ndarray  # float64, 0 where not measured
    measured: np.ndarray  # in this frame
    saturated: int  # pixels on file
    negative: float  # the most negative count on file, or 0
    non_finite: int


def limit_of(dtype: np.dtype, saturation: int | None) -> float:
    if dtype.kind not in "iu":
        return np.inf if saturation is None else saturation
    largest = int(np.iinfo(dtype).max)
    return largest if saturation is None else min(saturation, largest)


def one_pixel(frame: np.ndarray, o: Options, y: int, x: int):
    """The pixel of the detector (y, x) from the direct beam when turned: value, what it is."""
    height, width = frame.shape
    y0, x0, side = o.crop
    dy, dx = ON_FILE[o.orientation](y, x)
    row, column = y0 + side // 2 + dy, x0 + side // 2 + dx
    if not (0 <= row < height and 0 <= column < width):
        return 0.0, "unmeasured"
    if o.dc == "corner":  # the crop is that of np.fft.fftshift(frame)
        row, column = (row - height // 2) % height, (column - width // 2) % width
    for top, left, rows, columns in o.zero_regions:
        if top <= row < top + rows and left <= column < left + columns:
            return 0.0, "zeroed"
    dark = 0.0 if o.dark is None else float(o.dark[row, column])
    flat = 1.0 if o.flat is None else float(o.flat[row, column])
    believed = o.mask is None or o.mask[row, column]
    if not believed or not np.isfinite(dark) or not np.isfinite(flat) or flat <= 0:
        return 0.0, "unmeasured"
    raw = frame[row, column]
    if not np.isfinite(raw):
        return 0.0, "non-finite"
    exact = int(raw) if frame.dtype.kind in "iu" else float(raw)
    if exact >= limit_of(frame.dtype, o.saturation):
        return 0.0, "saturated"
    if raw < 0:
        return float(raw), "negative"
    if o.dark is None and o.flat is None:
        return float(raw), "measured"
    return max(float(raw) - dark, 0.0) / flat, "measured"


def pixels(frame: np.ndarray, scale: float, o: Options) -> Pixels:
    """Prepare one frame as on file."""
    n, b = o.window, o.binning
    counts, measured = np.zeros((n, n)), np.zeros((n, n), bool)
    saturated = non_finite = 0
    negative = 0.0
    binned = o.crop[2] // b
    for ky in range(-(binned // 2), binned - binned // 2):
        for kx in range(-(binned // 2), binned - binned // 2):
            parts = [
                one_pixel(frame, o, b * ky + i, b * kx + j) for i in range(b) for j in range(b)
            ]
            kinds = [kind for _, kind in parts]
            if "unmeasured" in kinds:
                continue
            saturated += kinds.count("saturated")
            non_finite += kinds.count("non-finite")
            negative = min([negative, *(value for value, kind in parts if kind == "negative")])
            if "saturated" in kinds:
                continue
            measured[ky % n, kx % n] = True
            value = sum(value for value, _ in parts)
            counts[ky % n, kx % n] = 0.0 if value * scale < o.threshold else value
    return Pixels(counts, measured, saturated, negative, non_finite)


def verdict(found: Pixels, o: Options) -> str:
    """Whether the frame is "good", "bad" or "empty"."""
    if found.non_finite or found.negative < 0:
        return "bad"
    if found.saturated and (o.saturated_pixels == "refuse" or not found.measured.any()):
        return "bad"
    return "good" if found.counts.any() else "empty"
