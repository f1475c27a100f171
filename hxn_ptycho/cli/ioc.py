"""The command ioc: the simulated endstation behind EPICS PVs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .output import stop

DEFAULT_PORT = 5064


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(epilog="Example: hxn-ptycho ioc")(ioc)


def ioc(
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, envvar="EPICS_CA_SERVER_PORT",
            help="Port, on this machine only; 0: a free one.",
        ),
    ] = DEFAULT_PORT,
    pixels: Annotated[
        int, typer.Option(min=16, max=1024, help="Rows, and columns, of the Merlin.")
    ] = 128,
    seed: Annotated[
        int | None, typer.Option(help="Of noise and of the beam; default: another one each time.")
    ] = None,
) -> None:  # fmt: skip
    """Run an IOC of the simulated endstation: motors, detectors, a scaler and a PandA.

    It listens on this machine only, until it is ended (Ctrl-C). A session with HXN_PTYCHO_EPICS=1
    needs in its environment what it prints.
    """
    # Its devices are simulated; the IOC itself needs no client of EPICS, and shall not start one.
    os.environ["OPHYD_CONTROL_LAYER"] = "dummy"
    try:
        from ..simulate.ioc.server import LOOPBACK, Ioc, serve
    except ModuleNotFoundError as error:
        if error.name != "caproto":
            raise
        stop("an IOC needs caproto: pip install 'hxn_ptycho[epics]'")

    def ready(port: int) -> None:
        print(
            f"EPICS_CA_ADDR_LIST={LOOPBACK} EPICS_CA_AUTO_ADDR_LIST=NO EPICS_CA_SERVER_PORT={port}",
            flush=True,
        )

    serve(Ioc(pixels=pixels, seed=seed), port, ready)
