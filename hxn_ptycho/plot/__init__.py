"""A result as one picture: object, probe modes and error curves, sized for a slide."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..solver.job import ResultData
from ..solver.metrics import illumination
from .marks import FAINT, HEIGHT, INK, MARGIN, WIDTH, Origin
from .panels import draw_errors, draw_object, draw_probe
from .saving import PlotError, save_figure
from .showing import show

__all__ = ["PlotError", "figure", "sample_name", "save", "show", "summary"]


def figure(
    result: ResultData,
    *,
    title: str = "",
    origin: Origin = "upper",
) -> Figure:
    """Draw a result: phase and amplitude of the object, probe modes, error curves.

    The object is shown where the summed illumination exceeds 5 % of its maximum, cropped to that
    area. Nothing of pyplot is touched: the figure works without a display, in any thread.

    Parameters
    ----------
    result : ResultData
    title : str
        Put behind the scan id, for instance the sample's name.
    origin : {"upper", "lower"}
        Whether row 0 is at the top or at the bottom of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        13.3 x 7.5 inches, with an Agg canvas.

    Raises
    ------
    PlotError
        If the object or the probe is not finite, or the probe is dark.
    """
    _check(result)
    height, width = result.object.shape[1:]
    lit = illumination(result.probe, result.positions, (height, width))
    canvas = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    FigureCanvasAgg(canvas)
    _draw_title(canvas, result, title)
    draw_object(canvas, result, lit, origin)
    right = draw_probe(canvas, result, origin)
    draw_errors(canvas, result, right)
    return canvas


def save(
    result: ResultData,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    origin: Origin = "upper",
    dpi: float = 150,
) -> Path:
    """Draw a result into a file; its suffix says the format (.png, .pdf, .svg).

    Parameters
    ----------
    result, title, origin
        As for `figure`.
    path : path
        Written beside and renamed, so that a viewer never sees half a picture.
    dpi : float
        Pixels per inch; 150 gives 2000 x 1125.

    Returns
    -------
    Path

    Raises
    ------
    PlotError
        As `figure`, for a suffix that is no picture's, and where the file cannot be written.
    """
    return save_figure(figure(result, title=title, origin=origin), path, dpi)


def summary(result: ResultData) -> str:
    """Return the line under the title: recipe in short, pixel, error, time."""
    recipe = result.recipe
    modes = len(result.probe)
    parts = [
        f"{recipe.get('algorithm', 'DM')}, {recipe.get('iterations', len(result.iteration))} "
        "iterations",
        f"{modes} probe mode{'s'[: modes > 1]}",
    ]
    if len(result.object) > 1:
        parts.append(f"{len(result.object)} object modes")
    parts += [
        f"{len(result.positions)} views",
        f"window {result.probe.shape[-1]}",
        f"pixel {_pixel_text(result.pixel_size)}",
        f"error_fourier {result.error_fourier:.3g}",
        f"{result.seconds:.3g} s on {result.ranks} x {result.device}",
    ]
    return "   ·   ".join(parts)


def sample_name(start: Mapping[str, Any]) -> str:
    """Return the sample's name in a run's start document, or an empty text.

    Beamlines write ``sample_name``, ``sample`` as a text, or ``sample`` with a ``name``.
    """
    sample = start.get("sample_name") or start.get("sample")
    if isinstance(sample, Mapping):
        sample = sample.get("name")
    return sample if isinstance(sample, str) else ""


def _check(result: ResultData) -> None:
    for name, array in (("object", result.object), ("probe", result.probe)):
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise PlotError(f"{bad} of {array.size} values of the {name} are not finite")
    if not np.any(result.probe):
        raise PlotError("the probe is zero everywhere: nothing was illuminated")
    if not len(result.positions):
        raise PlotError("the result has no views")


def _draw_title(canvas: Figure, result: ResultData, title: str) -> None:
    head = f"Scan {result.scan_id}" + (f"   {title}" if title else "")
    left = MARGIN / WIDTH
    canvas.text(left, 1 - 0.42 / HEIGHT, head, size=19, weight="bold", color=INK, va="center")
    canvas.text(left, 1 - 0.78 / HEIGHT, summary(result), size=10.5, color=FAINT, va="center")


def _pixel_text(pixel: tuple[float, float]) -> str:
    y, x = (f"{1e9 * side:.3g}" for side in pixel)
    return f"{x} nm" if y == x else f"{y} x {x} nm (y, x)"
