"""The plots of the paper's figures. Only here is matplotlib imported."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from paper_figures import FIGURES, NOT_GIVEN, Row, rows, three_digits

INK, FAINT, PAPER = "#1a1a1a", "#5f6368", "#b3261e"
COLOURS = ("#1f5fa8", "#2a8a57", "#8a4fa3")
MARKS = ("o", "s", "^")


def save(measured: Mapping[str, Any], file: Path) -> None:
    """Draw what `paper.py` measured."""
    figure, found = FIGURES[measured["figure"]], rows(measured)
    canvas = Figure(figsize=(8.0, 5.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    counts = sorted({row.gpus for row in found} | {row.gpus for row in found if row.paper})
    for number, (case, group) in enumerate(groupby(found, key=lambda row: row.case)):
        _draw(axes, list(group), case.label(measured["scale"]), number, figure.weak)
    theirs = sorted({(row.gpus, row.paper) for row in found if row.paper})
    if theirs:
        axes.plot(*zip(*theirs, strict=True), "D--", color=PAPER, label="the paper (V100, double)")
        for gpus, seconds in theirs:
            _name(axes, gpus, seconds, PAPER)
    _scales(axes, counts, figure.weak)
    unit = "GPUs" if measured["device"] == "cuda" else "ranks on a CPU"
    axes.set_xlabel(unit, color=INK)
    axes.set_ylabel(f"seconds for {measured['iterations']} iterations", color=INK)
    scaled = "" if measured["scale"] == 1 else f", views x {measured['scale']:g}"
    axes.set_title(f"{figure.title}{scaled}", loc="left", color=INK, size=12)
    where = ", ".join(sorted(set(measured["gpus"]))) or "CPU"
    axes.set_title(f"{where}, {measured['precision']} precision", loc="right", color=FAINT, size=9)
    _legend(axes, found, not figure.paper)
    canvas.savefig(file, dpi=150)


def _draw(axes: Axes, group: list[Row], label: str, number: int, weak: bool) -> None:
    """Draw one case: the curve of the first way of summing, its ideal, and points of the others."""
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    first = [row for row in group if row.sums == group[0].sums]
    counts = [row.gpus for row in first]
    seconds = [row.all_iterations for row in first]
    axes.plot(counts, seconds, mark + "-", color=colour, label=label)
    for row in first:
        _name(axes, row.gpus, row.all_iterations, colour)
    if counts[0] == 1:
        ideal = [seconds[0] if weak else seconds[0] / count for count in counts]
        axes.plot(counts, ideal, ":", color=FAINT, lw=1.2, zorder=1)
    for row in group:
        if row.sums != group[0].sums:
            axes.plot(row.gpus, row.all_iterations, mark, mfc="white", color=colour)
            # To the left, as what another case took the first way may lie close by.
            _name(axes, row.gpus, row.all_iterations, colour, left=True)


def _name(axes: Axes, gpus: int, seconds: float, colour: str, left: bool = False) -> None:
    """Write the seconds beside a point."""
    axes.annotate(
        three_digits(seconds), (gpus, seconds), (-7 if left else 7, 5), size=8, color=colour,
        textcoords="offset points", ha="right" if left else "left",
    )  # fmt: skip


def _legend(axes: Axes, found: list[Row], without_paper: bool) -> None:
    """Name the curves, and once what is the same for all of them."""
    if any(row.speedup for row in found):
        axes.plot([], [], ":", color=FAINT, lw=1.2, label="ideal, from one")
    for way in sorted({row.sums for row in found} - {found[0].sums}):
        axes.plot([], [], "o", mfc="white", color=FAINT, label=f"the same, sums: {way}")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False, fontsize=9,
        title=f"the paper's curve: {NOT_GIVEN}" if without_paper else None, title_fontsize=8,
    )  # fmt: skip


def _scales(axes: Axes, counts: list[int], weak: bool) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(counts[0] / 1.25, counts[-1] * 1.35)
    if weak:
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(color="#e3e3e3", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
