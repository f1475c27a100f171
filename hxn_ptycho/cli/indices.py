"""The command catalog-index: SQL for the owner of a Tiled server's PostgreSQL database."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLE = "Example: hxn-ptycho catalog-index | psql postgresql://owner@host/catalog"


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("catalog-index", epilog=EXAMPLE)(catalog_index)


def catalog_index(
    remove: Annotated[
        bool, typer.Option("--remove", help="SQL that takes the indices away again.")
    ] = False,
) -> None:
    """Print SQL that makes dates and beginnings of uids quick to find on a Tiled server.

    It is for a Tiled catalog on PostgreSQL, once, by the database's owner; scans and users go on
    meanwhile. Embedded catalogs need nothing.
    """
    from ..catalog.indices import postgresql_script

    typer.echo(postgresql_script(remove), nl=False)
