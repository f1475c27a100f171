"""``hxn-ptycho show --frames``: a scan's frames, before it is reconstructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .output import assigned, only_json, print_json, short, terminal

FOLDER = "frames"  # of the home, where pictures go that have no other place


def show_frames(
    run: str, output: Path | None, recipe: Path | None, texts: list[str], json: bool
) -> None:
    """Draw the frames of a run as they would be reconstructed, and print the numbers."""
    with only_json(json):
        given = assigned(recipe, texts)
        from ..catalog import open_catalog
        from ..plot.frames import save_frames
        from ..worker import look_at_frames

        catalogs = open_catalog()
        seen = look_at_frames(run, catalogs=catalogs, recipe=recipe, **given)
        if output is None:
            folder = catalogs.home.root / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            output = folder / f"scan_{seen.numbers['scan_id']}_{seen.numbers['uid'][:8]}.png"
        picture = save_frames(seen.view, output)
    if json:
        print_json({**seen.numbers, "picture": picture})
        return
    terminal().print(_table(seen.numbers, seen.view.facts, picture))


def _table(numbers: dict[str, Any], facts: list[str], picture: Path) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    y, x = numbers["centre"]
    found = numbers["centre_found"]
    beam = f"({y:g}, {x:g}), {numbers['centre_how']}"
    if found:
        beam += f"; found at ({found[0]:.1f}, {found[1]:.1f})"
    masked = ", ".join(f"{count} {kind}" for kind, count in numbers["masked_pixels"].items())
    for name, value in (
        ("scan", f"{numbers['scan_id']}, run {numbers['uid']}"),
        ("what", "; ".join(facts)),
        ("direct beam", beam),
        ("masked", masked),
        *(("bad", why) for why in numbers["bad_why"][:3]),
        ("picture", short(picture)),
    ):
        table.add_row(name, value)
    return table
