"""The four classes side by side, for the eye."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..solver.metrics import align

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .report import OrientationReport, Ranked

_LIT = 0.1  # of the greatest illumination: less is noise


@dataclass(frozen=True)
class Picture:
    """What a reconstruction gave.

    Attributes
    ----------
    object : ndarray (H, W), complex
    probe : ndarray (M, n, n), complex
    lit : ndarray (H, W)
        Illumination of the object.
    pixel_m : (float, float), m
    wavelength_m : float, m
    """

    object: NDArray[np.complexfloating]
    probe: NDArray[np.complexfloating]
    lit: NDArray[np.floating]
    pixel_m: tuple[float, float]
    wavelength_m: float

    @property
    def phase(self) -> np.ma.MaskedArray:
        """The object's phase, rad, its ramp removed; masked where it was not lit; the lit part."""
        shown = self.lit > _LIT * self.lit.max()
        flat, _ = align(np.ones_like(self.object), self.object, shown)
        phase = np.angle(flat * np.exp(-1j * np.angle(np.sum(flat[shown]))))
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return np.ma.array(phase[area], mask=~shown[area])


def save(report: OrientationReport, path: str | os.PathLike[str], *, dpi: float = 150) -> Path:
    """Draw the phases of the four classes, the best first, each with its error.

    The first is that of the orientation, where its twin has been ruled out.

    Parameters
    ----------
    report : OrientationReport
    path : path
        Its suffix says the format (.png, .pdf, .svg).
    dpi : float

    Raises
    ------
    PlotError
        For a suffix that is no picture's, and where the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..plot.marks import FAINT, HEIGHT, INK, MARGIN, WIDTH
    from ..plot.saving import save_figure

    canvas = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    FigureCanvasAgg(canvas)
    left = MARGIN / WIDTH
    head = f"Scan {report.scan_id}   orientation {verdict(report)}"
    canvas.text(left, 1 - 0.42 / HEIGHT, head, size=19, weight="bold", color=INK, va="center")
    canvas.text(left, 1 - 0.80 / HEIGHT, _line(report), size=10.5, color=FAINT, va="center")
    for place, ranked in enumerate(report.ranking):
        if ranked.picture is not None:
            first = place == 0 and report.orientation
            name = report.orientation if first else f"{ranked.orientation} | {ranked.twin}"
            _draw(canvas, place, ranked, ranked.picture, str(name))
    return save_figure(canvas, path, dpi)


def verdict(report: OrientationReport) -> str:
    """Return the orientation in a word or three."""
    if not report.decided:
        return "open"
    first = report.ranking[0]
    return report.orientation or f"{first.orientation} or {first.twin}"


def _line(report: OrientationReport) -> str:
    parts = [
        f"{report.views} of {report.views_of_scan} views",
        f"{report.iterations} iterations",
        f"lead {report.lead:.1%}",
    ]
    if report.twin:
        parts.append(f"twin settled by {report.twin.by}" if report.orientation else "twin open")
    return "   ·   ".join(parts)


def _draw(canvas: Figure, place: int, ranked: Ranked, picture: Picture, name: str) -> None:
    """Draw one class, or the orientation `name`: its phase over its beam."""
    conjugate = name == ranked.twin
    from ..plot.marks import HEIGHT, INK, MARGIN, OUTSIDE, WIDTH, colour, label, scale_bar, show

    gap = 0.3
    width = (WIDTH - 2 * MARGIN - 3 * gap) / 4
    left, top = MARGIN + place * (width + gap), HEIGHT - 1.6
    phase = -picture.phase if conjugate else picture.phase
    size = tuple(n * pixel for n, pixel in zip(phase.shape, picture.pixel_m, strict=True))
    tall = min(width * size[0] / size[1], width)
    wide = tall * size[1] / size[0]

    def axes_at(bottom: float, w: float, h: float) -> Axes:
        return canvas.add_axes((left / WIDTH, bottom / HEIGHT, w / WIDTH, h / HEIGHT))

    axes = axes_at(top - tall, wide, tall)
    axes.set_facecolor(OUTSIDE)
    image = show(axes, phase, size, "upper")
    low, high = np.percentile(phase.compressed(), (1, 99))
    image.set_clim(low, max(high, low + 0.02))
    image.set_cmap("viridis")
    axes.text(
        0, 1 + 0.34 / tall, name, transform=axes.transAxes, size=13, color=INK,
        weight="bold" if place == 0 else "normal",
    )  # fmt: skip
    label(
        axes,
        f"error_fourier {ranked.error_fourier:.4f}   phase {low:.2f} to {high:.2f} rad",
        size=8.5,
    )
    scale_bar(axes, size[1])
    probe = picture.probe[0].conj() if conjugate else picture.probe[0]
    side = min(1.5, width)
    below = axes_at(top - width - 0.45 - side, side, side)
    window = tuple(n * pixel for n, pixel in zip(probe.shape, picture.pixel_m, strict=True))
    show(below, colour(probe), window, "upper")
    label(below, "Beam", size=9)
    scale_bar(below, window[1])
