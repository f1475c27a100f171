"""What the paper's figures measure, what the paper says of them, and the table beside it.

The paper: Dong, Fang, Huang et al., "High-Performance Multi-Mode Ptychography Reconstruction on
Distributed GPUs", NYSDS 2018, doi:10.1109/NYSDS.2018.8538964, arXiv:1808.10375. Its text could not
be read again for this, only its abstract: the sizes of Fig. 3 and 4 and the times of Fig. 4 are
from this project's notes of it. No number stands here that was not found; where there is none, the
figure says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_GIVEN = "not given as a number in what could be read"


@dataclass(frozen=True)
class Case:
    """One curve: `views` of `window` squared pixels, of every GPU if `each`."""

    views: int
    window: int
    probe_modes: int = 1
    fft_window: str = "exact"
    each: bool = False

    def views_on(self, gpus: int, scale: float = 1) -> int:
        """Return the views of all GPUs; at least one for every GPU."""
        views = max(1, round(self.views * scale))
        return views * gpus if self.each else max(gpus, views)

    def label(self, scale: float = 1) -> str:
        """Return what a table calls it."""
        gpu = " a GPU" if self.each else ""
        modes = f", {self.probe_modes} modes" if self.probe_modes > 1 else ""
        fast = ", fast window" if self.fft_window == "fast" else ""
        return f"{self.views_on(1, scale):,} views of {self.window}²{gpu}{modes}{fast}"


@dataclass(frozen=True)
class PaperFigure:
    """One figure: its cases, the paper's seconds by number of GPUs, and what is to be known."""

    title: str
    cases: tuple[Case, ...]
    paper: Mapping[int, float]
    notes: tuple[str, ...]

    @property
    def weak(self) -> bool:
        """Whether the work grows with the GPUs."""
        return self.cases[0].each


FIGURES = {
    "strong-scaling": PaperFigure(
        "Strong scaling (the paper's Fig. 2)",
        (Case(1_000, 128), Case(10_000, 200), Case(20_000, 256)),
        {},
        (
            f"The paper's sizes and times: {NOT_GIVEN}. The sizes are ours: a small, a usual and "
            "a large scan.",
        ),
    ),
    "weak-scaling": PaperFigure(
        "Weak scaling (the paper's Fig. 3)",
        (Case(5_000, 200, each=True), Case(5_000, 200, 5, each=True)),
        {},
        (
            f"The paper's times: {NOT_GIVEN}; its abstract says that weak scaling can remain "
            "nearly constant. One mode, and five: our choice.",
            "The speed-up is of views a second.",
        ),
    ),
    "multi-mode": PaperFigure(
        "Multi-mode reconstruction (the paper's Fig. 4)",
        (Case(10_000, 188, 5, "fast"), Case(10_000, 188, 5)),
        {2: 49.82, 4: 25.69},
        (
            "The paper's times are of V100 cards in double precision, from this project's notes of "
            f"it; one GPU: {NOT_GIVEN}. Its one CPU core took 8.8 hours.",
            "Fast window, the default of a recipe: the 188² embedded in 192², the rim not "
            "measured; otherwise 188 = 4 x 47 as it is.",
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """The runs of one case on so many GPUs, summed one way: medians; times in s, sizes in bytes.

    `speedup` is over one GPU, of views a second where the work grows; None where there is none.
    """

    case: Case
    gpus: int
    sums: str
    communicator: str
    runs: int
    iteration: float
    total: float
    all_iterations: float
    sum_seconds: float | None
    floor: float | None
    memory: float | None
    paper: float | None
    speedup: float | None = None

    @property
    def efficiency(self) -> float | None:
        """The speed-up over the number of GPUs."""
        return None if self.speedup is None else self.speedup / self.gpus


def rows(measured: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a table of what `paper.py` measured, case by case."""
    figure = FIGURES[measured["figure"]]
    comparable = measured["scale"] == 1 and measured["iterations"] == 50
    groups: dict[tuple[int, int, str], list[Mapping[str, Any]]] = {}
    for run in measured["runs"]:
        groups.setdefault((run["case"], run["gpus"], run["sums"]), []).append(run["measured"])
    alone = {
        case: _median(runs, "seconds_per_iteration")
        for (case, gpus, _), runs in groups.items()
        if gpus == 1
    }
    found = []
    for (number, gpus, sums), runs in sorted(groups.items(), key=lambda item: item[0][:2]):
        each = _median(runs, "seconds_per_iteration")
        size, rate = _median(runs, "sum_bytes"), _median(runs, "link_bytes_per_second")
        speedup = None
        if number in alone:
            speedup = alone[number] / each * (gpus if figure.weak else 1)
        found.append(
            Row(
                case=figure.cases[number],
                gpus=gpus,
                sums=sums,
                # Which MPI it is stays in the JSON; one rank has nothing to sum.
                communicator=runs[0]["communicator"].split(" (")[0] if gpus > 1 else "–",
                runs=len(runs),
                iteration=each,
                total=_median(runs, "seconds_total"),
                all_iterations=each * measured["iterations"],
                sum_seconds=_median(runs, "sum_seconds"),
                floor=size / rate if size and rate else None,
                memory=_median(runs, "device_memory_bytes"),
                paper=figure.paper.get(gpus) if comparable else None,
                speedup=speedup,
            )
        )
    return found


def _median(runs: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Return the median of what the runs say of `key`; None if they say nothing."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def table(measured: Mapping[str, Any]) -> str:
    """Return Markdown: the table, and below it what is to be known."""
    figure, found = FIGURES[measured["figure"]], rows(measured)
    head = (
        "case", "GPUs", "sums", f"s for {measured['iterations']} iterations", "the paper, s",
        "ms an iteration", "speed-up", "efficiency", "sums, ms", "of an iteration",
        "least for the sums, ms", "memory of a GPU", "total, s",
    )  # fmt: skip
    if measured["device"] == "cpu":
        head = ("case", "ranks", *head[2:])
    lines = [_line(head), _line(["---", "---:", "---", *["---:"] * (len(head) - 3)])]
    for row in found:
        share = None if row.sum_seconds is None else row.sum_seconds / row.iteration
        lines.append(
            _line(
                (
                    row.case.label(measured["scale"]), str(row.gpus), row.communicator,
                    three_digits(row.all_iterations), _number(row.paper, ".2f"),
                    _number(row.iteration, ".2f", 1e3), _number(row.speedup, ".2f"),
                    _number(row.efficiency, ".0%"), _number(row.sum_seconds, ".3f", 1e3),
                    _number(share, ".1%"), _number(row.floor, ".3f", 1e3),
                    _number(row.memory, ".2f GB", 1e-9), _number(row.total, ".2f"),
                )
            )
        )  # fmt: skip
    return "\n".join([f"# {figure.title}", "", *lines, "", *notes(measured, found), ""])


def notes(measured: Mapping[str, Any], found: Sequence[Row]) -> list[str]:
    """Return what is to be known of a table, a sentence or two each."""
    where = ", ".join(sorted(set(measured["gpus"]))) or "CPU"
    most = max((row.runs for row in found), default=0)
    said = [
        f"Measured on {where}, {measured['precision']} precision, commit {measured['commit']}; "
        + (f"medians of up to {most} runs." if most > 1 else "one run each."),
        *FIGURES[measured["figure"]].notes,
    ]
    if measured["scale"] != 1:
        said.append(f"All numbers of views are scaled by {measured['scale']:g}.")
    if any(row.sum_seconds is not None for row in found):
        said.append(
            "The sums: those of an iteration, one after the other without computing; the least: "
            "their bytes at the rate of a large all-reduce."
        )
    for failed in measured.get("failed", ()):
        label = FIGURES[measured["figure"]].cases[failed["case"]].label(measured["scale"])
        said.append(
            f"{label}, {failed['gpus']} GPUs, sums {failed['sums']}: failed, {failed['reason']}"
        )
    return [f"- {line}" for line in said]


def three_digits(value: float) -> str:
    """Return a number with three digits, as 0.0100 and 25.7."""
    return f"{value:#.3g}".rstrip(".")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, how: str, times: float = 1) -> str:
    """Return a number as text, in `how` what may follow it after a space; "–" where none is."""
    how, _, unit = how.partition(" ")
    return "–" if value is None else f"{value * times:{how}}{unit and ' ' + unit}"
