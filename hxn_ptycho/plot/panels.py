"""The panels of a picture: the object, the probe modes, the error curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..solver.job import ResultData
from .marks import (
    FAINT,
    HEIGHT,
    INK,
    LABEL,
    MARGIN,
    OUTSIDE,
    WIDTH,
    Box,
    Origin,
    colour,
    label,
    place,
    scale_bar,
    show,
)

MIDDLE = WIDTH / 2 + 0.15
BAR = 0.95  # width of a colour bar with its numbers
TILES = 1.62  # height of the probe modes

AREA = 0.05
"""Pixels are shown where the summed illumination exceeds this share of its maximum."""


# The object -----------------------------------------------------------------------------------


def draw_object(
    canvas: Figure, result: ResultData, lit: NDArray[np.float64], origin: Origin
) -> None:
    """Draw phase and amplitude where `lit` (H, W), the illumination, exceeds `AREA`."""
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
        axes = place(canvas, box)
        axes.set_facecolor(OUTSIDE)
        picture = show(axes, np.ma.array(values, mask=~shown), size, origin)
        picture.set_cmap(colormaps[cmap])
        picture.set_clim(*limits)
        label(axes, f"Object {name}{which}")
        scale_bar(axes, size[1])
        bar = place(canvas, (box[0] + box[2] + 0.1, box[1], 0.14, box[3]))
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


def draw_probe(canvas: Figure, result: ResultData, origin: Origin) -> float:
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
        axes = place(canvas, box)
        show(axes, colour(result.probe[mode][area]), size, origin)
        power = result.probe_power[mode]
        share = f"{100 * power:.1f} %" if power >= 0.001 else "< 0.1 %"
        text = f"Probe mode {mode + 1}: {share}" if tile > 1.5 else f"{mode + 1}: {share}"
        label(axes, text, size=10.5 if tile > 1.0 else 8)
        if mode == 0:
            scale_bar(axes, size[1])
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


def _draw_wheel(canvas: Figure, box: Box) -> None:
    """Draw the key of the probe's colours: phase around, amplitude outwards."""
    axis = np.linspace(-1, 1, 201)
    plane = axis[None, :] + 1j * axis[::-1, None]
    disc = colour(np.where(np.abs(plane) <= 1, plane, 0))
    disc = np.concatenate([disc, (np.abs(plane) <= 1)[..., None]], axis=-1)
    axes = place(canvas, box)
    axes.imshow(disc, extent=(-1, 1, -1, 1))
    axes.set_axis_off()
    for text, x, y, across, up in (
        ("0", 1.1, 0, "left", "center"),
        ("π", -1.1, 0, "right", "center"),
        ("phase", 0, -1.15, "center", "top"),
    ):
        axes.text(x, y, text, size=8, color=FAINT, ha=across, va=up)


# The errors -----------------------------------------------------------------------------------


def draw_errors(canvas: Figure, result: ResultData, left: float) -> None:
    """Draw the error curves, right of `left` (inches), logarithmic."""
    left = max(left + 0.75, MIDDLE + 0.6)
    axes = place(canvas, (left, MARGIN + 0.18, WIDTH - MARGIN - left, TILES - 0.2))
    drawn = []
    for name, curves, ink in (
        ("object change", result.error_object, "#1f77b4"),
        ("probe change", result.error_probe, "#d95f02"),
    ):
        drawn += _curves(axes, name, result.iteration, curves, ink)
    known = np.isfinite(result.error_fourier_curve) & (result.error_fourier_curve > 0)
    if known.any():
        x, y = result.iteration[known], result.error_fourier_curve[known]
        drawn += axes.plot(x, y, "o-", ms=3, lw=1.4, color=INK, label="error_fourier")
    label(axes, "Errors")
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
    axes: Axes, name: str, iteration: NDArray, curves: NDArray[np.floating], ink: str
) -> list[Any]:
    """Draw one curve a mode, the first strongest; return what the legend shows."""
    first: list[Any] = []
    for mode, curve in enumerate(np.atleast_2d(curves.T)):
        known = np.isfinite(curve) & (curve > 0)
        if not known.any():
            continue
        marker = "." if known.sum() < 3 else ""
        line = axes.plot(
            iteration[known], curve[known], marker=marker, color=ink,
            lw=1.6 if not first else 0.7, alpha=1.0 if not first else 0.45, label=name,
            zorder=3 - mode / 100,
        )  # fmt: skip
        first = first or line
    return first
