"""The command bench: how fast this machine reconstructs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .output import Json, only_json, print_json, terminal


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(
        epilog="Example: hxn-ptycho bench --device cpu --ranks 2 --views 100 --window 192 "
        "--probe-modes 5"
    )(bench)


def bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    ranks: Annotated[int, typer.Option(min=1, help="MPI ranks.")] = 1,
    views: Annotated[int, typer.Option(min=1, help="Views of the simulated scan.")] = 100,
    window: Annotated[int, typer.Option(min=8, help="Side of a frame, pixels.")] = 192,
    probe_modes: Annotated[int, typer.Option(min=1)] = 5,
    object_modes: Annotated[int, typer.Option(min=1)] = 1,
    iterations: Annotated[int, typer.Option(min=2)] = 20,
    precision: Annotated[str, typer.Option(help="single or double.")] = "single",
    json: Json = False,
) -> None:
    """Reconstruct simulated data and print the speed."""
    with only_json(json):
        from ..bench import run

        measured: dict[str, Any] = run(
            device=device,
            ranks=ranks,
            views=views,
            window=window,
            probe_modes=probe_modes,
            object_modes=object_modes,
            iterations=iterations,
            precision=precision,
        )
    if json:
        print_json(measured)
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in measured.items():
        table.add_row(
            name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)
        )
    terminal().print(table)
