"""A figure shown where a person is looking."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure


def show(drawn: Figure, picture: Path | None) -> None:
    """Show a figure where a person is looking: a notebook, a matplotlib window, or its file."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    if hasattr(shell, "kernel"):
        from IPython.core.pylabtools import select_figure_formats

        # So that the figure that `plot` returns appears, without %matplotlib inline.
        select_figure_formats(shell, {"png"})
        return
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.isinteractive() and pyplot.get_backend().lower() != "agg":
        window = pyplot.figure()
        canvas = type(window.canvas)
        pyplot.close(window)
        canvas.new_manager(drawn, f"ptycho {id(drawn)}").show()
    elif picture is not None:
        print(f"picture: {picture}")
