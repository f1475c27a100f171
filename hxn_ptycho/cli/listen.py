"""The command listen: the callback in a process of its own, behind a 0MQ proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(epilog="Example: hxn-ptycho listen --zmq 127.0.0.1:5578 --recipe ptycho.toml")(
        listen
    )


def listen(
    zmq: Annotated[
        str,
        typer.Option(
            "--zmq",
            metavar="HOST:PORT",
            help="Where a bluesky-0MQ-proxy publishes: its --out-address.",
        ),
    ],
    prefix: Annotated[
        str, typer.Option(help="Only documents of the Publisher with this prefix; unset: all.")
    ] = "",
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe", metavar="FILE", help="A TOML file with [ptycho], read anew for each scan."
        ),
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            "--store", help="Write scans into catalog raw, where no other process does so."
        ),
    ] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only queue: start no worker.")
    ] = False,
    catch_up: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="HOURS",
            help="Whenever connected: queue scans of the last hours, in catalog raw, that nobody "
            "queued or reconstructed.",
        ),
    ] = None,
) -> None:
    """Reconstruct the scans of a RunEngine elsewhere, whose documents come by 0MQ.

    Runs until SIGTERM or Ctrl-C. Documents are Python pickles: whoever can publish to the proxy can
    run programs as this user. Keep the proxy on 127.0.0.1, or on a network that you trust.
    """
    from ..listen import AddressError, Listener

    try:
        listener = Listener(
            zmq,
            prefix=prefix,
            recipe=recipe,
            store=store,
            start_worker=not no_worker,
            catch_up_hours=catch_up,
            say=_say,
        )
    except AddressError as error:
        raise typer.BadParameter(str(error)) from error
    listener.run()


def _say(text: str) -> None:
    print(f"ptycho: {text}", flush=True)
