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
    fft_window: Annotated[
        str,
        typer.Option(help="exact, or fast: frames embedded in the next size with factors 2, 3, 5."),
    ] = "exact",
    probe_modes: Annotated[int, typer.Option(min=1)] = 5,
    object_modes: Annotated[int, typer.Option(min=1)] = 1,
    iterations: Annotated[int, typer.Option(min=2)] = 20,
    algorithm: Annotated[str, typer.Option(help="DM, RAAR or ER.")] = "DM",
    precision: Annotated[str, typer.Option(help="single or double.")] = "single",
    storage: Annotated[
        str, typer.Option(help="Of exit waves on a GPU: single or half.")
    ] = "single",
    sums: Annotated[
        str, typer.Option(help="How several GPUs add up: auto, nccl, mpi-cuda or host.")
    ] = "auto",
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Also the time of each of the GPU's kernels, which then run one after the other.",
        ),
    ] = False,
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
            fft_window=fft_window,
            probe_modes=probe_modes,
            object_modes=object_modes,
            iterations=iterations,
            algorithm=algorithm,
            precision=precision,
            storage=storage,
            sums=sums,
            profile=profile,
        )
    if json:
        print_json(measured)
        return
    kernels = measured.pop("profile", None)
    terminal().print(_results_table(measured))
    if kernels is not None:
        terminal().print()
        terminal().print(_kernels_table(kernels, measured["iterations"]))


def _results_table(measured: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in measured.items():
        table.add_row(name.replace("_", " "), _text(value))
    return table


def _kernels_table(kernels: list[dict[str, Any]], iterations: int) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kernel")
    for name in ("calls", "ms per iteration", "share"):
        table.add_column(name, justify="right")
    for kernel in kernels:
        table.add_row(
            kernel["name"],
            str(kernel["calls"]),
            f"{1e3 * kernel['seconds'] / iterations:.3f}",
            f"{kernel['share']:.1%}",
        )
    return table


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
