"""``hxn-ptycho``, the command line. Commands import the rooms they need, so that help is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .._version import __version__
from . import (
    bench,
    demo,
    doctor,
    exporting,
    indices,
    ioc,
    kernels,
    listen,
    orient,
    results,
    service,
    work,
)
from .output import DEBUG_VARIABLE, INTERRUPTED, tell

__all__ = ["app", "main"]

app = typer.Typer(
    help="Ptychography at the beamline: reconstruct scans, find, show and export the pictures.",
    epilog="Data are kept in HXN_PTYCHO_HOME (default: your data folder). Example: hxn-ptycho demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for room in (
    *(demo, work, listen, orient, results, exporting),
    *(doctor, service, indices, kernels, bench, ioc),
):
    room.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hxn_ptycho {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit: 0 done, 1 failed, 2 wrong use.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of the process's own.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="hxn-ptycho")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001, the one place where every error is told to a person
        sys.exit(tell(error))
