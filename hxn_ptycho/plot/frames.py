"""The frames of a scan before it is reconstructed, as one picture: are crop and mask right?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .frame_panels import draw_curves, draw_detector, draw_positions, draw_tiles
from .marks import FAINT, HEIGHT, INK, MARGIN, WIDTH
from .saving import save_figure

_BETWEEN, _LINE = "   ·   ", 165  # letters that fit


@dataclass(frozen=True)
class FramesView:
    """What is shown of a scan's frames.

    Attributes
    ----------
    scan_id : int
    title : str
        Put behind the scan id, for instance the sample's name.
    facts : list of str
        What is said under the title.
    mean : ndarray (h, w), float64
        Mean counts of `sampled` frames, as on file (direct beam in the middle).
    sampled : int
    marked : dict of str to ndarray (h, w), bool
        Pixels that are not believed, or set to 0, by the reason: "named", "saturated", "hot",
        "dead", "set to 0".
    crop : (int, int, int)
        Row, column and side of the window.
    centre : (float, float)
        Pixel (y, x) taken for the direct beam.
    found : (float, float) or None
        Pixel (y, x) where it was found, if it was looked for.
    tiles : ndarray (k, n, n), float
        Some frames as the solver sees them, direct beam in the middle; NaN where not measured.
    numbers : ndarray (k,), int
        Which frames these are.
    positions_m : ndarray (N, 2), float64, m
        Of all frames, (y, x), as used.
    normalisation : ndarray (N,), float64
    index : ndarray (m,), int64
        Frames that were looked at, with counts and usable.
    photons : ndarray (m,), float64
        Theirs, normalised.
    empty, bad : ndarray, int64
        Frames, of those looked at, without a count; of no use.
    """

    scan_id: int
    title: str
    facts: list[str]
    mean: NDArray[np.float64]
    sampled: int
    marked: dict[str, NDArray[np.bool_]]
    crop: tuple[int, int, int]
    centre: tuple[float, float]
    found: tuple[float, float] | None
    tiles: NDArray[np.floating]
    numbers: NDArray[np.integer]
    positions_m: NDArray[np.float64]
    normalisation: NDArray[np.float64]
    index: NDArray[np.int64]
    photons: NDArray[np.float64]
    empty: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    bad: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def figure_frames(view: FramesView) -> Figure:
    """Draw a scan's frames: on the detector, as the solver sees them, and over the scan.

    Nothing of pyplot is touched.

    Returns
    -------
    matplotlib.figure.Figure
        13.3 x 7.5 inches, with an Agg canvas.
    """
    canvas = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    FigureCanvasAgg(canvas)
    head = f"Scan {view.scan_id}, frames" + (f"   {view.title}" if view.title else "")
    left = MARGIN / WIDTH
    canvas.text(left, 1 - 0.42 / HEIGHT, head, size=19, weight="bold", color=INK, va="center")
    for number, line in enumerate(_lines(view.facts)):
        up = 1 - (0.78 + 0.22 * number) / HEIGHT
        canvas.text(left, up, line, size=10.5, color=FAINT, va="center")
    draw_detector(canvas, view)
    draw_tiles(canvas, view)
    draw_positions(canvas, view)
    draw_curves(canvas, view)
    return canvas


def _lines(facts: list[str]) -> list[str]:
    """Return facts in lines that fit under the title."""
    lines = [""]
    for fact in facts:
        longer = f"{lines[-1]}{_BETWEEN}{fact}" if lines[-1] else fact
        if lines[-1] and len(longer) > _LINE:
            lines.append(fact)
        else:
            lines[-1] = longer
    return lines


def save_frames(view: FramesView, path: str | os.PathLike[str], *, dpi: float = 150) -> Path:
    """Draw a scan's frames into a file; its suffix says the format (.png, .pdf, .svg).

    Parameters
    ----------
    view : FramesView
    path : path
        Written beside and renamed, so that a viewer never sees half a picture.
    dpi : float
        Pixels per inch; 150 gives 2000 x 1125.

    Raises
    ------
    PlotError
        For a suffix that is no picture's, and where the file cannot be written.
    """
    return save_figure(figure_frames(view), path, dpi)
