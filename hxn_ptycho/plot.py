"""A result as one picture: object, probe modes and error curves, sized for a slide."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .solver.job import ResultData
from .solver.metrics import illumination

Box = tuple[float, float, float, float]  # left, bottom, width, height; inches

WIDTH, HEIGHT = 40 / 3, 7.5  # inches: a 16:9 slide
MARGIN = 0.45
MIDDLE = WIDTH / 2 + 0.15
LABEL = 0.28  # height of the line above an image
BAR = 0.95  # width of a colour bar with its numbers
TILES = 1.62  # height of the probe modes
INK, FAINT, OUTSIDE = "#1a1a1a", "#5f6368", "#e6e6e6"

AREA = 0.05
"""Pixels are shown where the summed illumination exceeds this share of its maximum."""


class PlotError(ValueError):
    """A result that no picture can be made of; the message says why."""


def figure(
    result: ResultData,
    *,
    title: str = "",
    origin: Literal["upper", "lower"] = "upper",
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
    _draw_object(canvas, result, lit, origin)
    right = _draw_probe(canvas, result, origin)
    _draw_errors(canvas, result, max(right + 0.75, MIDDLE + 0.6))
    return canvas


def save(
    result: ResultData,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    origin: Literal["upper", "lower"] = "upper",
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
        As `figure`, and for a suffix that is no picture's.
    """
    target = Path(path)
    drawing = figure(result, title=title, origin=origin)
    kind = target.suffix.lstrip(".").lower()
    if kind not in drawing.canvas.get_supported_filetypes():
        raise PlotError(f"{target.name}: name the picture .png, .pdf or .svg, not {kind or 'bare'}")
    partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        drawing.savefig(partial, dpi=dpi, format=kind)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


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


def _check(result: ResultData) -> None:
    for name, array in (("object", result.object), ("probe", result.probe)):
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise PlotError(f"{bad} of {array.size} values of the {name} are not finite")
    if not np.any(result.probe):
        raise PlotError("the probe is zero everywhere: nothing was illuminated")
    if not len(result.positions):
        raise PlotError("the result has no views")


def _axes(canvas: Figure, box: Box) -> Axes:
    left, bottom, width, height = box
    return canvas.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _draw_title(canvas: Figure, result: ResultData, title: str) -> None:
    head = f"Scan {result.scan_id}" + (f"   {title}" if title else "")
    left = MARGIN / WIDTH
    canvas.text(left, 1 - 0.42 / HEIGHT, head, size=19, weight="bold", color=INK, va="center")
    canvas.text(left, 1 - 0.78 / HEIGHT, summary(result), size=10.5, color=FAINT, va="center")


# The object -----------------------------------------------------------------------------------


def _draw_object(
    canvas: Figure, result: ResultData, lit: NDArray[np.float64], origin: Literal["upper", "lower"]
) -> None:
    shown = lit > AREA * lit.max()
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shown = shown[area]
    # Limits are taken where there is light enough that noise does not set them.
    bright = lit[area] > 4 * AREA * lit.max()
    image = result.object[0][area]
    # The picture's cut of the phase lies opposite its mean, so that it seldom shows.
    mean = np.angle(np.sum(image[bright] * np.abs(image[bright])))
    phase = np.angle(image * np.exp(-1j * mean)) + mean
    low, high = _limits(phase[bright], least=0.02)
    wrapped = high - low > 1.8 * np.pi
    if wrapped:
        phase, low, high = np.angle(image), -np.pi, np.pi
    amplitude = np.abs(image)

    size = (shown.shape[0] * result.pixel_size[0], shown.shape[1] * result.pixel_size[1])
    which = "" if len(result.object) == 1 else f", mode 1 of {len(result.object)}"
    left, right = _object_boxes(size[0] / size[1])
    for box, name, unit, values, limits, cmap in (
        (left, "phase", "rad", phase, (low, high), "twilight" if wrapped else "viridis"),
        (right, "amplitude", "transmission", amplitude, _limits(amplitude[bright], 0.02), "gray"),
    ):
        axes = _axes(canvas, box)
        axes.set_facecolor(OUTSIDE)
        picture = _show(axes, np.ma.array(values, mask=~shown), size, origin)
        picture.set_cmap(colormaps[cmap])
        picture.set_clim(*limits)
        _label(axes, f"Object {name}{which}")
        _scale_bar(axes, size[1])
        bar = _axes(canvas, (box[0] + box[2] + 0.1, box[1], 0.14, box[3]))
        canvas.colorbar(picture, cax=bar, extend="neither")
        bar.set_ylabel(unit, size=10, color=INK)
        bar.tick_params(labelsize=9, colors=INK)
        bar.locator_params(nbins=max(2, min(6, round(box[3] / 0.4))))


def _object_boxes(aspect: float) -> tuple[Box, Box]:
    """Place phase and amplitude side by side or one over the other, whichever is larger."""
    left, bottom = MARGIN, MARGIN + TILES + LABEL + 0.25
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 1.05 - bottom
    beside = min(WIDTH - MARGIN - BAR - MIDDLE, (height - LABEL) / aspect)
    over = min(width - BAR, (height - 2 * LABEL - 0.15) / 2 / aspect)
    if beside >= over:
        tall = beside * aspect
        base = bottom + height - LABEL - tall
        return (left, base, beside, tall), (MIDDLE, base, beside, tall)
    tall = over * aspect
    top = bottom + height - LABEL - tall
    return (left, top, over, tall), (left, top - 0.15 - LABEL - tall, over, tall)


def _limits(values: NDArray[np.floating], least: float) -> tuple[float, float]:
    """Return limits that leave out the outermost half percent, at least `least` apart."""
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    spread = max(least - (high - low), 0.04 * (high - low)) / 2
    return low - spread, high + spread


# The probe ------------------------------------------------------------------------------------


def _draw_probe(canvas: Figure, result: ResultData, origin: Literal["upper", "lower"]) -> float:
    """Draw the probe modes, and return where (inches from the left) they end."""
    modes = len(result.probe)
    area = _probe_area(result.probe)
    size = tuple(
        (part.stop - part.start) * pixel
        for part, pixel in zip(area, result.pixel_size, strict=True)
    )
    aspect = size[0] / size[1]
    bottom, height, width = MARGIN, TILES + LABEL, 6.2
    rows, tile = max(
        (
            (rows, min((height / rows - LABEL) / aspect, width / math.ceil(modes / rows) - 0.1))
            for rows in range(1, modes + 1)
        ),
        key=lambda choice: choice[1],
    )
    columns = math.ceil(modes / rows)
    step = tile * aspect + LABEL
    for mode in range(modes):
        row, column = divmod(mode, columns)
        box = (
            MARGIN + column * (tile + 0.1),
            bottom + height - (row + 1) * step,
            tile,
            tile * aspect,
        )
        axes = _axes(canvas, box)
        _show(axes, _colour(result.probe[mode][area]), size, origin)
        power = result.probe_power[mode]
        share = f"{100 * power:.1f} %" if power >= 0.001 else "< 0.1 %"
        text = f"Probe mode {mode + 1}: {share}" if tile > 1.5 else f"{mode + 1}: {share}"
        _label(axes, text, size=10.5 if tile > 1.0 else 8)
        if mode == 0:
            _scale_bar(axes, size[1])
    end = MARGIN + columns * (tile + 0.1)
    _draw_wheel(canvas, (end + 0.12, bottom + height - LABEL - 0.8, 0.62, 0.62))
    return end + 0.75


def _probe_area(probe: NDArray[np.complexfloating]) -> tuple[slice, slice]:
    """Return the square, centred in the window, that the probe lies in (0.1 % of its maximum)."""
    power = np.sum(np.abs(probe) ** 2, axis=0)
    n = power.shape[-1]
    away = np.abs(np.argwhere(power > 1e-3 * power.max()) - n // 2).max()
    half = min(n // 2, max(int(1.15 * away) + 1, 8))
    part = slice(n // 2 - half, n // 2 + half)
    return part, part


def _colour(wave: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return (h, w, 3): hue is the phase, brightness the amplitude."""
    amplitude = np.abs(wave)
    top = np.percentile(amplitude, 99.9) or amplitude.max() or 1.0
    hue = (np.angle(wave) / (2 * np.pi)) % 1.0
    value = np.minimum(amplitude / top, 1.0)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), value], axis=-1))


def _draw_wheel(canvas: Figure, box: Box) -> None:
    """Draw the key of the probe's colours: phase around, amplitude outwards."""
    axis = np.linspace(-1, 1, 201)
    plane = axis[None, :] + 1j * axis[::-1, None]
    disc = _colour(np.where(np.abs(plane) <= 1, plane, 0))
    disc = np.concatenate([disc, (np.abs(plane) <= 1)[..., None]], axis=-1)
    axes = _axes(canvas, box)
    axes.imshow(disc, extent=(-1, 1, -1, 1))
    axes.set_axis_off()
    for text, x, y, across, up in (
        ("0", 1.1, 0, "left", "center"),
        ("π", -1.1, 0, "right", "center"),
        ("phase", 0, -1.15, "center", "top"),
    ):
        axes.text(x, y, text, size=8, color=FAINT, ha=across, va=up)


# The errors -----------------------------------------------------------------------------------


def _draw_errors(canvas: Figure, result: ResultData, left: float) -> None:
    axes = _axes(canvas, (left, MARGIN + 0.18, WIDTH - MARGIN - left, TILES - 0.2))
    drawn = []
    for name, curves, colour in (
        ("object change", result.error_object, "#1f77b4"),
        ("probe change", result.error_probe, "#d95f02"),
    ):
        drawn += _curves(axes, name, result.iteration, curves, colour)
    known = np.isfinite(result.error_fourier_curve) & (result.error_fourier_curve > 0)
    if known.any():
        x, y = result.iteration[known], result.error_fourier_curve[known]
        drawn += axes.plot(x, y, "o-", ms=3, lw=1.4, color=INK, label="error_fourier")
    _label(axes, "Errors")
    axes.set_xlabel("iteration", size=9.5, color=INK, labelpad=1)
    axes.tick_params(which="both", labelsize=8.5, colors=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not drawn:
        axes.text(0.5, 0.5, "none recorded", transform=axes.transAxes, ha="center", color=FAINT)
        return
    axes.set_yscale("log")
    last = float(result.iteration[-1])
    axes.set_xlim(0 if last < 200 else -0.02 * last, 1.02 * last + 0.2)
    axes.grid(axis="y", color=OUTSIDE, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(
        handles=drawn, fontsize=8.5, frameon=False, loc="lower right", ncols=3,
        bbox_to_anchor=(1.0, 0.98), borderaxespad=0, handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip


def _curves(
    axes: Axes, name: str, iteration: NDArray, curves: NDArray[np.floating], colour: str
) -> list:
    """Draw one curve a mode, the first strongest; return what the legend shows."""
    first = []
    for mode, curve in enumerate(np.atleast_2d(curves.T)):
        known = np.isfinite(curve) & (curve > 0)
        if not known.any():
            continue
        marker = "." if known.sum() < 3 else ""
        line = axes.plot(
            iteration[known], curve[known], marker=marker, color=colour,
            lw=1.6 if not first else 0.7, alpha=1.0 if not first else 0.45, label=name,
            zorder=3 - mode / 100,
        )  # fmt: skip
        first = first or line
    return first


# Shared by the images -------------------------------------------------------------------------


def _show(
    axes: Axes, values: NDArray, size: tuple[float, ...], origin: Literal["upper", "lower"]
) -> AxesImage:
    """Show an image in metres, without ticks, framed."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
        spine.set_color(FAINT)
    height, width = size
    return axes.imshow(values, extent=(0, width, 0, height), aspect="auto", origin=origin)


def _label(axes: Axes, text: str, size: float = 11) -> None:
    axes.set_title(text, loc="left", size=size, color=INK, pad=4)


def _scale_bar(axes: Axes, width: float) -> None:
    """Draw a bar of round length into the lower left corner of an image `width` metres wide."""
    low, high = axes.get_ylim()
    place = axes.get_position()
    across, up = width / (place.width * WIDTH), (high - low) / (place.height * HEIGHT)  # m / inch
    narrow = place.width * WIDTH < 1.5
    length = round_length((0.6 if narrow else 0.3) * width)
    offset = min(0.12, 0.08 * place.width * WIDTH)
    x, y, thick = offset * across, 0.1 * up, (0.035 if narrow else 0.055) * up
    axes.add_patch(Rectangle((x, y), length, thick, fc="white", ec="black", lw=0.6, zorder=5))
    axes.text(
        x, y + thick + 0.03 * up, length_text(length), color="white", zorder=5,
        size=7 if narrow else 10, ha="left", va="bottom",
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )  # fmt: skip


def round_length(most: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (0.5, 1, 2, 5) if step * power <= most * (1 + 1e-9))


def length_text(metres: float) -> str:
    """Write a length with the unit that suits it: pm, nm, µm or mm."""
    for unit, name in ((1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm")):
        if metres >= unit * (1 - 1e-9):
            return f"{metres / unit:.3g} {name}"
    return f"{metres / 1e-12:.3g} pm"


def _pixel_text(pixel: tuple[float, float]) -> str:
    y, x = (f"{1e9 * side:.3g}" for side in pixel)
    return f"{x} nm" if y == x else f"{y} x {x} nm (y, x)"
