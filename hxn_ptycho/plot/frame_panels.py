"""The panels of the picture of a scan's frames: the detector, some frames, the scan, the light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .marks import FAINT, HEIGHT, INK, LABEL, MARGIN, OUTSIDE, WIDTH, Box, label, place

if TYPE_CHECKING:
    from .frames import FramesView

#: Colours of pixels that are not believed, or set to 0, by the reason.
MARKS = {
    "named": "#4f9dff",
    "saturated": "#ff9d2e",
    "hot": "#ff4d4d",
    "dead": "#35d07f",
    "set to 0": "#c77dff",
}
WINDOW = "#ffe14d"
BEAM = "#00e5ff"
DROPPED = "#e0218a"
LEFT = 6.55  # inches: where the right half begins
_RINGED = 300  # marked pixels of a kind at most that get a ring around, to be seen at all
_NOTHING = 1e-30  # counts, where a logarithm of 0 is shown
_TOP = HEIGHT - 1.35
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw_detector(canvas: Figure, view: FramesView) -> None:
    """Draw the mean frame with the window, the direct beam, and the marked pixels."""
    height, width = view.mean.shape
    room: Box = (MARGIN + 0.35, 1.2, LEFT - MARGIN - 1.85, _TOP - LABEL - 1.2)
    box = _fit(room, height / width)
    axes = place(canvas, box)
    marked = np.zeros(view.mean.shape, bool)
    for pixels in view.marked.values():
        marked |= pixels
    norm = _log_norm(view.mean[~marked], 0.5 / view.sampled)
    picture = axes.imshow(
        np.maximum(view.mean, _NOTHING), norm=norm, cmap=colormaps["inferno"], aspect="auto"
    )
    for reason, pixels in view.marked.items():
        _mark(axes, pixels, MARKS[reason], box[2] / width)
    _draw_window(axes, view)
    _frame(axes)
    label(axes, f"Mean of {view.sampled} frames, counts, as on file")
    axes.tick_params(labelsize=8.5, colors=INK, length=3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(round(2 + box[3]), integer=True, min_n_ticks=2))
    bar = place(canvas, (box[0] + box[2] + 0.12, box[1], 0.14, box[3]))
    canvas.colorbar(picture, cax=bar)
    bar.tick_params(labelsize=9, colors=INK)
    _draw_key(canvas, view, (MARGIN + 0.25, box[1] - 1.0, LEFT - MARGIN, 0.62))


def draw_tiles(canvas: Figure, view: FramesView) -> None:
    """Draw some frames as the solver sees them, side by side."""
    count = max(len(view.tiles), 1)
    tile = min(1.55, (WIDTH - MARGIN - LEFT) / count - 0.1)
    norm = _log_norm(view.tiles[np.isfinite(view.tiles)], 0.7)
    shown = colormaps["inferno"].with_extremes(bad=OUTSIDE)
    photons = dict(zip(view.index.tolist(), view.photons.tolist(), strict=True))
    for j, (number, frame) in enumerate(zip(view.numbers.tolist(), view.tiles, strict=True)):
        axes = place(canvas, (LEFT + j * (tile + 0.1), _TOP - LABEL - tile, tile, tile))
        values = np.where(np.isnan(frame), np.nan, np.maximum(frame, _NOTHING))
        axes.imshow(np.ma.masked_invalid(values), norm=norm, cmap=shown, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        _frame(axes)
        light = f"{photons[number]:.3g} photons" if number in photons else "not used"
        for text, up, align in ((f"frame {number}", 0.96, "top"), (light, 0.04, "bottom")):
            axes.text(
                0.04, up, text, transform=axes.transAxes, size=8, color="white", va=align,
                path_effects=[withStroke(linewidth=2, foreground="black")],
            )  # fmt: skip
        if j == 0:
            label(axes, "Frames as the solver sees them")


def draw_positions(canvas: Figure, view: FramesView) -> None:
    """Draw where the beam was on the sample, coloured by the light that was counted there."""
    top = _TOP - LABEL - 1.55 - 0.35
    places = view.positions_m * 1e6
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    extent = np.maximum(np.ptp(places, axis=0), 1e-6)
    extent = 1.1 * np.maximum(extent, 0.35 * extent.max())
    room: Box = (LEFT + 0.4, 0.7, 2.5, top - LABEL - 0.7)
    box = _fit(room, extent[0] / extent[1])
    axes = place(canvas, box)
    axes.set_xlim(middle[1] - extent[1] / 2, middle[1] + extent[1] / 2)
    axes.set_ylim(middle[0] + extent[0] / 2, middle[0] - extent[0] / 2)  # y grows downwards
    size = _dot(len(places), box)
    if len(view.index) + len(view.empty) + len(view.bad) < len(places):
        axes.scatter(places[:, 1], places[:, 0], s=0.35 * size, color="#c9ccd1", lw=0)
    scale, unit = _power(view.photons)
    photons = view.photons / scale
    dots = axes.scatter(
        places[view.index, 1], places[view.index, 0], s=size, c=photons, cmap="viridis", lw=0
    )
    if len(photons):
        low, high = np.percentile(photons, (0.5, 99.5))
        spread = max(0.005 * high - (high - low), 0) / 2
        dots.set_clim(low - spread, high + spread)
    for numbers, marker in ((view.empty, "x"), (view.bad, "+")):
        axes.scatter(
            places[numbers, 1], places[numbers, 0], s=30, marker=marker, color=DROPPED, lw=1.2
        )
    axes.scatter(
        places[0, 1], places[0, 0], s=60, facecolors="none", edgecolors="#d62728", lw=1.5, zorder=5
    )
    _frame(axes)
    label(axes, "Positions, µm (first frame ringed)")
    axes.tick_params(labelsize=8.5, colors=INK, length=3)
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(round(1 + 2 * box[3]), min_n_ticks=2))
    bar = place(canvas, (box[0] + box[2] + 0.1, box[1], 0.12, box[3]))
    canvas.colorbar(dots, cax=bar)
    bar.locator_params(nbins=round(1 + 2 * box[3]))
    bar.tick_params(labelsize=8.5, colors=INK)
    bar.set_ylabel(f"{unit}photons", size=9, color=INK)


def draw_curves(canvas: Figure, view: FramesView) -> None:
    """Draw photons and normalisation over the frames."""
    left, bottom, top = LEFT + 4.55, 0.7, _TOP - LABEL - 1.55 - 0.35
    tall = (top - bottom - 2 * LABEL - 0.3) / 2
    last = max(len(view.positions_m) - 1, 1)
    upper = place(canvas, (left, bottom + tall + LABEL + 0.3, WIDTH - MARGIN - left, tall))
    scale, unit = _power(view.photons)
    upper.plot(
        view.index, view.photons / scale, ".", ms=_marker(len(view.index)), color="#1f77b4", mew=0
    )
    for numbers, marker in ((view.empty, "x"), (view.bad, "+")):
        upper.plot(numbers, np.zeros(len(numbers)), marker, color=DROPPED, ms=6, clip_on=False)
    most = float(view.photons.max() / scale) if len(view.photons) else 1.0
    upper.set_ylim(0, 1.1 * most if most > 0 else 1.0)
    upper.tick_params(labelbottom=False)
    looked = len(view.index) + len(view.empty) + len(view.bad)
    every = looked == len(view.positions_m)
    text = f"{unit}photons a frame" if every else f"{unit}photons, {looked} frames"
    label(upper, text[0].upper() + text[1:], size=10.5)
    lower = place(canvas, (left, bottom, WIDTH - MARGIN - left, tall))
    values = view.normalisation
    step = max(1, len(values) // 4000)
    lower.plot(np.arange(len(values))[::step], values[::step], "-", lw=0.9, color="#d95f02")
    low, high = float(values.min()), float(values.max())
    spread = max(0.15 * (high - low), 0.05 * high)
    lower.set_ylim(low - spread, high + spread)
    label(lower, "Normalisation", size=10.5)
    lower.set_xlabel("frame", size=9.5, color=INK, labelpad=1)
    for axes in (upper, lower):
        axes.set_xlim(-0.02 * last, 1.02 * last)
        axes.tick_params(labelsize=8.5, colors=INK, length=3)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.5g}")
        axes.grid(axis="y", color=OUTSIDE, lw=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)


def _draw_window(axes: Axes, view: FramesView) -> None:
    """Draw the window's edge, and crosses for the direct beam: as taken, and as found."""
    y0, x0, side = view.crop
    dark = [withStroke(linewidth=3, foreground="black", alpha=0.6)]
    axes.add_patch(
        Rectangle(
            (x0 - 0.5, y0 - 0.5), side, side, fill=False, ec=WINDOW, lw=1.6, clip_on=False,
            path_effects=dark, zorder=6,
        )
    )  # fmt: skip
    y, x = view.centre
    axes.plot([x], [y], "+", color=BEAM, ms=16, mew=1.6, path_effects=dark, zorder=7)
    if view.found is not None and np.hypot(view.found[0] - y, view.found[1] - x) > 0.75:
        axes.plot(
            [view.found[1]], [view.found[0]], "x", color=BEAM, ms=7, mew=1.2, path_effects=dark,
            zorder=7,
        )  # fmt: skip


def _mark(axes: Axes, pixels: NDArray[np.bool_], colour: str, pixel_inches: float) -> None:
    """Colour pixels; with a ring around each if they are few, and small."""
    if not pixels.any():
        return
    layer = ListedColormap([(0, 0, 0, 0), to_rgba(colour)])
    axes.imshow(pixels, cmap=layer, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    y, x = np.nonzero(pixels)
    if len(y) <= _RINGED and pixel_inches < 0.08:
        axes.scatter(x, y, s=26, facecolors="none", edgecolors=colour, lw=0.9, zorder=4)


def _draw_key(canvas: Figure, view: FramesView, box: Box) -> None:
    """Say under the detector what its marks mean, and how many there are."""
    axes = place(canvas, box)
    axes.set_axis_off()
    y0, x0, side = view.crop
    y, x = view.centre
    entries = [
        (_line(WINDOW, "s", 9), f"window {side} x {side} from ({y0}, {x0})"),
        (_line(BEAM, "+", 11), f"direct beam, taken ({y:g}, {x:g})"),
    ]
    if view.found is not None:
        found = f"({view.found[0]:.1f}, {view.found[1]:.1f})"
        entries.append((_line(BEAM, "x", 7), f"as found {found}"))
    for reason, pixels in view.marked.items():
        if count := np.count_nonzero(pixels):
            entries.append((_dot_mark(MARKS[reason]), f"{count} {reason}"))
    if not any(pixels.any() for pixels in view.marked.values()):
        entries.append((Line2D([], [], ls=""), "no pixel masked"))
    handles, texts = zip(*entries, strict=True)
    columns = 3 if len(entries) > 4 else 2
    axes.legend(
        handles, texts, loc="upper left", ncols=columns, fontsize=9, frameon=False, borderaxespad=0,
        handlelength=1.2, handletextpad=0.5, columnspacing=1.6, labelcolor=INK, labelspacing=0.35,
    )  # fmt: skip


def _line(colour: str, marker: str, size: float) -> Line2D:
    return Line2D(
        [], [], ls="", marker=marker, ms=size, mew=2, mfc="none", mec=colour,
        path_effects=[withStroke(linewidth=3.2, foreground="#555555")],
    )  # fmt: skip


def _dot_mark(colour: str) -> Line2D:
    return Line2D([], [], ls="", marker="s", ms=7, mew=0, mfc=colour)


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
        spine.set_color(FAINT)


def _fit(room: Box, aspect: float) -> Box:
    """Return the largest box of an aspect (height / width) at the upper left of a room."""
    left, bottom, width, height = room
    across = min(width, height / aspect)
    return left, bottom + height - across * aspect, across, across * aspect


def _log_norm(values: NDArray[np.floating], least: float) -> LogNorm:
    """Return limits of colours for counts, from `least` on, over six powers of ten at most."""
    top = float(np.percentile(values, 99.95)) if values.size else 1.0
    top = max(top, 4 * least)
    return LogNorm(max(least, top / 1e6), top)


def _power(values: NDArray[np.floating]) -> tuple[float, str]:
    """Return the power of ten to divide large values by, and how it is written."""
    top = float(values.max()) if values.size else 0.0
    if top < 1e4:
        return 1.0, ""
    power = int(np.floor(np.log10(top)))
    return 10.0**power, f"10{str(power).translate(_RAISED)} "


def _dot(count: int, box: Box) -> float:
    """Return the area (points^2) of dots that fill a box about half."""
    return float(np.clip(0.6 * box[2] * box[3] * 72**2 / max(count, 1), 1.2, 60))


def _marker(count: int) -> float:
    return float(np.clip(40 / np.sqrt(max(count, 1)), 2, 7))
