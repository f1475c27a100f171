"""A figure written into a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure


class PlotError(ValueError):
    """No picture can be made of a result, or written; the message says why."""


def save_figure(drawing: Figure, path: str | os.PathLike[str], dpi: float) -> Path:
    """Write a figure beside `path` and rename it; the suffix says the format.

    Raises
    ------
    PlotError
        For a suffix that is no picture's, and where the file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lstrip(".").lower()
    if kind not in drawing.canvas.get_supported_filetypes():
        raise PlotError(f"{target.name}: name the picture .png, .pdf or .svg, not {kind or 'bare'}")
    partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        try:
            drawing.savefig(partial, dpi=dpi, format=kind)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise PlotError(f"{target} cannot be written: {error.strerror or error}") from error
    return target
