"""The paper's figures again, measured on the GPUs of this machine: one command each.

    python benchmarks/paper.py strong-scaling
    python benchmarks/paper.py weak-scaling
    python benchmarks/paper.py multi-mode

Each writes, into --out, JSON of all that was measured, a Markdown table and a PNG. Without a GPU:
--device cpu --scale 0.01. What the figures are, and what the paper says: paper_figures.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from paper_figures import FIGURES, table

from hxn_ptycho.bench import run
from hxn_ptycho.launch import LaunchError, gpus, physical_cores, why_no_gpu
from hxn_ptycho.recipe import RecipeError
from hxn_ptycho.scan import ScanError

Name = StrEnum("Name", [(name, name) for name in FIGURES])


def main(
    figure: Annotated[Name, typer.Argument(help="which of the paper's figures")],
    numbers: Annotated[
        str, typer.Option("--gpus", help="How many, as 1,2,4; default: 1, 2, 4 ... all there are.")
    ] = "",
    iterations: Annotated[int, typer.Option(min=2)] = 50,
    sums: Annotated[
        str,
        typer.Option(
            help="Ways of summing over the ranks: the first on all numbers of GPUs, the others on "
            "the largest only, to see what they cost there."
        ),
    ] = "auto,host",
    repeat: Annotated[
        int,
        typer.Option(min=1, help="Measure all of it so often, as clocks change with the heat."),
    ] = 1,
    precision: Annotated[str, typer.Option(help="single, or double as in the paper.")] = "single",
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    scale: Annotated[float, typer.Option(min=0, help="Times the number of views.")] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; default: paper-figures, or that of --from."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Draw what was measured, perhaps elsewhere, again: its JSON."),
    ] = None,
) -> None:
    """Measure one of the paper's figures; write JSON, a table and a plot."""
    if source is not None:
        measured = json.loads(source.read_text())
        if measured["figure"] != figure:
            raise typer.BadParameter(
                f"{source} has measured {measured['figure']}", param_hint="--from"
            )
        write(measured, out or source.parent)
        return
    counts = _counts(numbers, device)
    measured = {
        "figure": str(figure),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": device,
        "gpus": [gpu.name for gpu in gpus()] if device == "cuda" else [],
        "iterations": iterations,
        "scale": scale,
        "precision": precision,
        "runs": [],
        "failed": [],
    }
    folder = out or Path("paper-figures")
    ways = sums.split(",") if device == "cuda" else ["auto"]
    for case, ranks, way in [
        step for _ in range(repeat) for step in _steps(len(FIGURES[figure].cases), counts, ways)
    ]:
        _measure(measured, case, ranks, way)
        # Beside every run, so that one cut short leaves what it had measured.
        _write_json(measured, folder)
    write(measured, folder)
    if not measured["runs"]:
        raise typer.Exit(1)


def _steps(cases: int, counts: list[int], ways: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield case, number of GPUs and way of summing of every run."""
    for case in range(cases):
        for ranks in counts:
            yield case, ranks, ways[0]
        if counts[-1] > 1:
            for way in ways[1:]:
                yield case, counts[-1], way


def _measure(measured: dict[str, Any], number: int, ranks: int, way: str) -> None:
    """Add one run to what was measured; one that fails is told, and the others go on."""
    case = FIGURES[measured["figure"]].cases[number]
    choice: dict[str, Any] = {} if way == "auto" else {"sums": way}
    step = {"case": number, "label": case.label(measured["scale"]), "gpus": ranks, "sums": way}
    try:
        result = run(
            device=measured["device"],
            ranks=ranks,
            views=case.views_on(ranks, measured["scale"]),
            window=case.window,
            fft_window=case.fft_window,
            probe_modes=case.probe_modes,
            iterations=measured["iterations"],
            precision=measured["precision"],
            **choice,
        )
    except (LaunchError, RecipeError, ScanError) as error:  # as where memory does not suffice
        measured["failed"].append(step | {"reason": str(error)})
        said = str(error)
    else:
        measured["runs"].append(step | {"measured": result})
        said = f"{1e3 * result['seconds_per_iteration']:.3f} ms an iteration"
    typer.echo(f"{step['label']}, {ranks} ranks, sums {way}: {said}", err=True)


def write(measured: dict[str, Any], folder: Path) -> None:
    """Write JSON and table, and the plot where there is matplotlib; print the table."""
    file = _write_json(measured, folder)
    text = table(measured)
    file.with_suffix(".md").write_text(text)
    typer.echo(text)
    if not measured["runs"]:
        return
    try:
        from paper_plot import save
    except ImportError as error:
        typer.echo(
            f"no plot ({error}): draw it where matplotlib is, by "
            f"python benchmarks/paper.py {measured['figure']} --from {file}",
            err=True,
        )
        return
    save(measured, file.with_suffix(".png"))
    typer.echo(f"{file.with_suffix('.png')} shows it", err=True)


def _write_json(measured: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{measured['figure']}.json"
    file.write_text(json.dumps(measured, indent=1))
    return file


def _counts(numbers: str, device: str) -> list[int]:
    """Return the numbers of GPUs (of ranks, on a CPU) to measure, the largest last."""
    if device == "cuda" and why_no_gpu():
        raise typer.BadParameter(f"{why_no_gpu()}; or --device cpu", param_hint="--device")
    there = len(gpus()) if device == "cuda" else physical_cores()
    if not numbers:
        return [2**power for power in range(there.bit_length())]
    try:
        wanted = sorted({int(number) for number in numbers.split(",")})
    except ValueError:
        wanted = [0]
    if wanted[0] < 1:
        raise typer.BadParameter(f"{numbers!r} is no list as 1,2,4", param_hint="--gpus")
    # Ranks that share a GPU would measure something else.
    if device == "cuda" and wanted[-1] > there:
        raise typer.BadParameter(f"{wanted[-1]} of {there} GPUs", param_hint="--gpus")
    return wanted


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):  # no git, or a tree without its history
        return "unknown"
    return said.stdout.strip()


if __name__ == "__main__":
    typer.run(main)
