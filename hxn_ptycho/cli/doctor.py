"""The command doctor: what is there, and what to do about what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .output import FAILED, Json, only_json, print_json, short, terminal


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(epilog="Example: hxn-ptycho doctor --install-profile")(doctor)


def doctor(
    install_profile: Annotated[
        bool,
        typer.Option(
            "--install-profile",
            help='Write the Tiled profile with which databroker.Broker.named("hxn_ptycho") '
            "opens the raw catalog from any notebook.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Look for MPI, GPUs, Slurm, compiler, catalog, disk, memory; say what is missing.

    Shows what is in force of hxn.toml too: detectors, motors, moved folders, and from which file.
    """
    from ..home import find_home

    home = find_home()
    profile = None
    with only_json(json):
        from .beamline_checks import as_json, tables
        from .checks import examine

        findings = examine(home)
        if install_profile:
            from .. import catalog

            profile = catalog.install_profile(home)
    usable = all(finding.state != "missing" for finding in findings)
    if json:
        print_json(
            {
                "usable": usable,
                "home": home.root,
                "profile": profile,
                "findings": [asdict(finding) for finding in findings],
                "beamline": as_json(home),
            }
        )
    else:
        from rich.markup import escape
        from rich.table import Table

        marks = {"good": "[green]good[/]", "missing": "[red]missing[/]", "optional": "[yellow]-[/]"}
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("", "", "found", "what to do"):
            table.add_column(name, overflow="fold")
        for finding in findings:
            table.add_row(
                finding.name, marks[finding.state], escape(finding.found), escape(finding.advice)
            )
        terminal().print(table)
        for part in tables(home):
            terminal().print(part)
        if profile:
            terminal().print(f"Tiled profile written: {short(profile)}", soft_wrap=True)
    if not usable:
        raise typer.Exit(FAILED)
