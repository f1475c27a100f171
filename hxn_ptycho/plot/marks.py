"""What every panel of a picture uses: its places, images in metres, labels, scale bars, colours."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # left, bottom, width, height; inches
Origin = Literal["upper", "lower"]

WIDTH, HEIGHT = 40 / 3, 7.5  # inches: a 16:9 slide
MARGIN = 0.45
LABEL = 0.28  # height of the line above an image
INK, FAINT, OUTSIDE = "#1a1a1a", "#5f6368", "#e6e6e6"


def place(canvas: Figure, box: Box) -> Axes:
    """Return axes at a place given in inches."""
    left, bottom, width, height = box
    return canvas.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def show(axes: Axes, values: NDArray, size: tuple[float, ...], origin: Origin) -> AxesImage:
    """Show an image in metres, without ticks, framed."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
        spine.set_color(FAINT)
    height, width = size
    return axes.imshow(values, extent=(0, width, 0, height), aspect="auto", origin=origin)


def label(axes: Axes, text: str, size: float = 11) -> None:
    """Write a line over the left end of the axes."""
    axes.set_title(text, loc="left", size=size, color=INK, pad=4)


def scale_bar(axes: Axes, width: float) -> None:
    """Draw a bar of round length into the lower left corner of an image `width` metres wide."""
    low, high = axes.get_ylim()
    place = axes.get_position()
    across, up = width / (place.width * WIDTH), (high - low) / (place.height * HEIGHT)  # m / inch
    narrow = place.width * WIDTH < 1.49  # inches; 1.5 itself is wide, however it is rounded
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


def colour(wave: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return (h, w, 3): hue is the phase, brightness the amplitude."""
    amplitude = np.abs(wave)
    top = np.percentile(amplitude, 99.9) or amplitude.max() or 1.0
    hue = (np.angle(wave) / (2 * np.pi)) % 1.0
    value = np.minimum(amplitude / top, 1.0)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), value], axis=-1))
