"""The command orient: which way round the detector's frames are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from .output import (
    NEGATIVE_RUNS,
    Json,
    only_json,
    print_json,
    run_argument,
    short,
    side,
    terminal,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..orientation import OrientationReport


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(
        context_settings=NEGATIVE_RUNS,
        epilog="Example: hxn-ptycho orient -1 -o orientations.png",
    )(orient)


def orient(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            callback=run_argument,
            help="A uid (its first characters suffice), a scan id, or -1 for the last.",
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PNG", help="The four classes side by side."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="A TOML file with [ptycho].")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe; may be repeated."),
    ] = None,
    views: Annotated[int, typer.Option(min=16, help="Views looked at, at most.")] = 150,
    iterations: Annotated[int, typer.Option(min=30, help="After so many it stays open.")] = 400,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; unset: a GPU where one can be used.")
    ] = None,
    json: Json = False,
) -> None:
    """Find which way round the detector's frames are, relative to the positions.

    A part of the scan is reconstructed in the four classes of orientations that the data tell
    apart. Nothing is published; what comes of it is to be written into hxn.toml.
    """
    with only_json(json):
        from ..orientation import orient as run_it
        from ..orientation import save
        from ..recipe import Recipe

        texts = [*(assignments or [])]
        texts += [f"device={device}"] if device is not None else []
        # Checked before the catalog is opened: a wrong key is told at once.
        chosen = (Recipe.from_toml(recipe) if recipe else Recipe()).assign(texts)
        keys = {text.partition("=")[0].strip() for text in texts}
        given = {key: getattr(chosen, key) for key in keys}
        with Bars(side()) as bars:
            report = run_it(
                run, recipe=recipe, views=views, iterations=iterations, progress=bars, **given
            )
        drawn = save(report, picture) if picture else None
    if json:
        print_json({**report.to_dict(), "picture": str(drawn) if drawn else None})
    else:
        _print(report, drawn)


class Bars:
    """A bar for each class, while it runs: the ``progress`` of `hxn_ptycho.orientation.orient`."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[error]}"),
            console=console,
        )
        self._first = self._progress.add_task("preparing", total=None, error="")
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, line: dict[str, Any]) -> None:
        """Show one line."""
        if line["event"] == "waiting":
            self._progress.update(self._first, description=line["reason"] or "preparing")
        elif line["event"] == "class":
            self._progress.update(self._first, visible=False)
            self._progress.update(
                self._task(line),
                completed=line["iteration"],
                error="" if line["error_fourier"] is None else f"error {line['error_fourier']:.4f}",
            )
        elif line["event"] == "decided":
            text = f"{line['orientation']} is ahead after {line['iteration']} iterations"
            self._progress.console.print(text, highlight=False)

    def _task(self, line: dict[str, Any]) -> Any:
        name = line["orientation"]
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(
                f"{_pair(name):26}", total=line["iterations"], error=""
            )
        return self._tasks[name]


def _pair(name: str) -> str:
    from ..solver.orientation import CLASSES

    return next(" | ".join(pair) for pair in CLASSES if name in pair)


def _print(report: OrientationReport, drawn: Path | None) -> None:
    """Print the ranking, the twin, and what to do."""
    from rich.table import Table

    from ..orientation import verdict

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("orientation", "or its twin", "error_fourier", "first probe"):
        table.add_column(name, justify="right" if name == "error_fourier" else "left")
    for place, each in enumerate(report.ranking):
        style = "green" if place == 0 and report.decided else None
        error = f"{each.error_fourier:.4f}"
        table.add_row(each.orientation, each.twin, error, each.start, style=style)
    out = terminal()
    out.print(table)
    out.print(
        f"\nScan {report.scan_id}, {report.views} of {report.views_of_scan} views: orientation "
        f"[bold]{verdict(report)}[/], by a lead of {report.lead:.1%} after {report.iterations} "
        f"iterations ({report.seconds:.0f} s)",
        soft_wrap=True,
    )
    if report.twin:
        by = f"settled by {report.twin.by}" if report.twin.chosen else "open"
        if report.twin.by == "contradiction":
            by = "open, a contradiction"
        out.print(f"The twin: {by}: {report.twin.reason}.", soft_wrap=True, markup=False)
    for sentence in report.advice:
        out.print(sentence, soft_wrap=True, markup=False)
    if drawn:
        out.print(f"Picture: {short(drawn)}", soft_wrap=True, markup=False)
