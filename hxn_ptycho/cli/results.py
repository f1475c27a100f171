"""Commands about what is there: results, show."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import (
    NEGATIVE_RUNS,
    Json,
    only_json,
    print_json,
    run_argument,
    short,
    side,
    stop,
    terminal,
    when,
)

if TYPE_CHECKING:
    from ..catalog import Catalogs
    from ..results import Result

SHOWN = 50  # results in a list, unless more are asked for

Uid = Annotated[
    str,
    typer.Argument(
        metavar="UID",
        callback=run_argument,
        help="Of a result (its first characters suffice) or of its raw run; a scan id; -1: the "
        "last result.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command(
        "results",
        context_settings=NEGATIVE_RUNS,
        epilog="Example: hxn-ptycho results --sample star --since 2026-11-25",
    )(list_results)
    app.command(
        context_settings=NEGATIVE_RUNS,
        epilog="Example: hxn-ptycho show -1 -o star.png; before a run, hxn-ptycho show --frames -1 "
        "--set window=128",
    )(show)


def list_results(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            callback=run_argument,
            help="Only of this raw run: a uid (its first characters suffice), a scan id, or -1 "
            "for the last.",
        ),
    ] = None,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="NAME", help="Only of this sample.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DATE",
            help='Only begun since then: 2026-11-25, or "2026-11-25 14:30"; local time.',
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Only begun before; a day counts to its end."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=0,
            help=f"The newest N; 0: all. Default: {SHOWN}, or with --json 1000.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the newest reconstructions, oldest first."""
    with only_json(json):
        from ..results import MOST, SearchError, results

        wanted = (MOST if json else SHOWN) if limit is None else limit
        try:
            found = results(
                raw_uid=run,
                sample=sample,
                since=since,
                until=until,
                limit=wanted + 1 if wanted else 0,
            )
        except SearchError as error:
            raise typer.BadParameter(str(error)) from error
    if wanted and len(found) > wanted:
        found = found[-wanted:]
        if limit is None:
            side().print(
                f"These are the newest {wanted}; ask for more by --limit N (0: all), or for fewer "
                "by RUN, --sample, --since, --until."
            )
    if json:
        print_json([result.to_dict() for result in found])
        return
    if not found:
        if sample or since or until:
            given = {"--sample": sample, "--since": since, "--until": until}
            asked = " ".join(f"{option} {value}" for option, value in given.items() if value)
            terminal().print(f"There is no result with {asked}.", markup=False)
            return
        about = "" if run is None else f" of {run}"
        terminal().print(f"There is no result{about} yet. See: hxn-ptycho queue")
        return
    terminal().print(_table(found))


def show(
    uid: Annotated[
        str,
        typer.Argument(
            metavar="UID",
            callback=run_argument,
            help="Of a result (its first characters suffice) or of its raw run; a scan id; -1: the "
            "last result. With --frames: a raw run, -1 the last.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PNG", help="Write the picture there (.png, .pdf, .svg)."
        ),
    ] = None,
    frames: Annotated[
        bool,
        typer.Option(
            "--frames",
            help="Show a scan's frames, as they would be reconstructed: centre, window, mask.",
        ),
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="With --frames: a TOML file.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --frames; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Show one result: what it is, and where its picture lies; or a scan's frames."""
    if frames:
        from .frames import show_frames

        show_frames(uid, output, recipe, assignments or [], json)
        return
    if recipe or assignments:
        raise typer.BadParameter("--recipe and --set go with --frames: a result has its own")
    with only_json(json):
        from ..catalog import open_catalog

        result = find_result(open_catalog(), uid)
        picture = result.picture
        if output is not None:
            picture = _draw(result, output)
    if json:
        print_json({**result.to_dict(), "picture": picture})
        return
    terminal().print(details(result, picture))


def find_result(catalogs: Catalogs, uid: str) -> Result:
    """Return the newest result that `uid` means: a derived run, else of a raw run."""
    from ..catalog import CatalogError, find_run
    from ..results import results

    try:
        found = results(uid=find_run(catalogs.processed, uid, derived=True), catalogs=catalogs)
    except CatalogError as unknown:
        try:
            raw_uid = find_run(catalogs.raw, uid, derived=False)
        except CatalogError:
            raise CatalogError(f"{unknown}; see hxn-ptycho results") from None
        found = results(raw_uid=raw_uid, catalogs=catalogs)
    if not found:
        stop(f"run {uid} has no result yet; see hxn-ptycho queue, or hxn-ptycho reconstruct {uid}")
    return found[-1]


def _draw(result: Result, output: Path) -> Path:
    """Copy the picture that is there, or draw it anew for another format."""
    ready = result.picture
    if ready is not None and ready.suffix == output.suffix:
        return Path(shutil.copyfile(ready, output))
    from ..plot import sample_name, save

    return save(result.data, output, title=sample_name(result.start))


def _table(found: list[Result]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("scan", "right"), ("uid", "left"), ("raw", "left"), ("status", "left"),
        ("recipe", "left"), ("error", "right"), ("seconds", "right"), ("result", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "result")  # type: ignore[arg-type]
    for result in found:
        good = result.exit_status == "success"
        modes = f"{result.probe_modes} mode{'s'[: result.probe_modes != 1]}"
        table.add_row(
            str(result.scan_id),
            result.uid[:8],
            result.raw_uid[:8],
            "[green]success[/]" if good else f"[red]{result.exit_status or 'not ended'}[/]",
            f"{result.algorithm}, {modes}, {result.iterations} iterations",
            _number(result.error_fourier, ".4f"),
            _number(result.seconds, ".1f"),
            short(result.result_file) if good and result.result_file else (result.reason or ""),
        )
    return table


def details(result: Result, picture: Path | None = None) -> Any:
    """Return a table of one result."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    fields = result.to_dict()
    rows = {
        "scan": result.scan_id,
        "uid": result.uid,
        "raw run": result.raw_uid,
        "status": result.exit_status or "not ended",
        "reason": result.reason,
        "recipe": f"{result.algorithm}, {result.probe_modes} probe modes, "
        f"{result.iterations} iterations",
        "error_fourier": _number(result.error_fourier, ".4f"),
        "frames dropped": fields.get("frames_dropped") or "",
        "saturated": f"{fields['saturated_pixels']} pixels of single frames left out"
        if fields.get("saturated_pixels")
        else "",
        "seconds": _number(result.seconds, ".1f"),
        "finished": when(fields.get("time")),
        "result": result.result_file,
        "picture": picture,
    }
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, str(value))
    return table


def _number(value: float | None, how: str) -> str:
    return "" if value is None or value != value else format(value, how)
