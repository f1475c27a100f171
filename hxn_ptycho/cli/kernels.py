"""The command build-kernels: compile the CUDA kernels ahead of time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import FAILED, Json, only_json, print_json, short, side, stop, terminal

if TYPE_CHECKING:
    from ..solver.build import Built

UNTESTED = ("sm_70",)


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(
        "build-kernels", epilog="Example: hxn-ptycho build-kernels --arch sm_80 --arch sm_90"
    )(build_kernels)


def build_kernels(
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="A GPU architecture, as sm_90; may be repeated. Default: sm_75 sm_80 sm_90."
        ),
    ] = None,
    window: Annotated[
        list[int] | None,
        typer.Option(help="An FFT window, pixels; may be repeated. Default: those often used."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the files. Default: where solvers look."),
    ] = None,
    json: Json = False,
) -> None:
    """Compile the CUDA kernels with nvcc, so that a GPU's first job need not wait for it."""
    from ..solver.build import build, cache_folder, find_sources
    from ..solver.job import JobError
    from ..solver.nvcc import arch_number, find_nvcc, known_archs, nvcc_version
    from ..solver.units import ARCHS, WINDOWS, units

    archs = list(dict.fromkeys(arch or ARCHS))
    windows = list(dict.fromkeys(window or WINDOWS))
    try:
        for name in archs:
            arch_number(name)
        wanted = units(windows)
    except JobError as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from error
    nvcc = find_nvcc()
    if nvcc is None:
        stop(
            "no nvcc: install the CUDA toolkit, or pip install nvidia-cuda-nvcc nvidia-cuda-cccl, "
            "or name one with NVCC=PATH"
        )
    cache = cache_folder()
    folder = output or cache
    for name in archs:
        if name in UNTESTED:
            side().print(f"{name} is untested: nobody has run these kernels there", soft_wrap=True)
    # One word for an architecture that nvcc does not know, rather than one a kernel.
    known = known_archs(nvcc) or archs
    version = nvcc_version(nvcc)
    reasons = {
        name: f"{nvcc} (CUDA {version}) does not compile for {name}, only for {', '.join(known)}"
        for name in archs
        if name not in known
    }
    tasks = [(unit, name) for name in archs if name in known for unit in wanted]
    rows: list[dict[str, Any]] = []
    with only_json(json):
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        sources = find_sources()
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            Progress(*columns, console=side(), transient=True) as progress,
        ):
            bar = progress.add_task("kernels compiled", total=len(tasks))
            running = {
                pool.submit(build, unit, name, nvcc, folder, sources, True): (unit, name)
                for unit, name in tasks
            }
            try:
                for done in as_completed(running):
                    unit, name = running[done]
                    progress.advance(bar)
                    try:
                        rows.append(_row(unit.name, name, done.result()))
                    except JobError as error:
                        reason = f"{error}; {error.hint}" if error.hint else str(error)
                        reasons[f"{unit.name} for {name}"] = reason
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    rows.sort(key=lambda row: (row["arch"], row["kernel"]))
    if json:
        print_json({"nvcc": nvcc, "folder": folder, "built": rows, "failed": reasons})
    else:
        _show(rows)
        terminal().print(f"{len(rows)} files in {short(folder)}", soft_wrap=True)
        if output:
            terminal().print(f"Solvers look for them in {short(cache)}", soft_wrap=True)
    for name, reason in reasons.items():
        side().print(f"failed: {name}: {reason}", style="red", markup=False, soft_wrap=True)
    if reasons:
        raise typer.Exit(FAILED)


def _row(kernel: str, arch: str, built: Built) -> dict[str, Any]:
    """Return what is told of one file; null where it was there already, so that none knows."""
    each = built.resources
    return {
        "file": built.path.name,
        "kernel": kernel,
        "arch": arch,
        "seconds": round(built.seconds, 2) if built.seconds else None,
        "registers": max((kernel.registers for kernel in each), default=None),
        "spills": sum(kernel.spill_stores + kernel.spill_loads for kernel in each)
        if each
        else None,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    for name in ("registers", "spilt bytes", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        seconds = "was there" if row["seconds"] is None else f"{row['seconds']:.1f}"
        given = ["" if row[key] is None else str(row[key]) for key in ("registers", "spills")]
        table.add_row(row["file"], *given, seconds)
    terminal().print(table)
