"""Commands that make results: import, reconstruct, queue, worker."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import (
    NEGATIVE_RUNS,
    Json,
    assigned,
    only_json,
    print_json,
    run_argument,
    side,
    terminal,
    when,
)

if TYPE_CHECKING:
    from ..queue import QueuedJob


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command(
        "import",
        epilog="Example: hxn-ptycho import scan_34784.h5; hxn-ptycho import star.npz.bz2 "
        "--energy-kev 8.8 --distance-m 2 --detector-pixel-um 75",
    )(import_files)
    app.command(
        context_settings=NEGATIVE_RUNS,
        epilog="Example: hxn-ptycho reconstruct -1 --set probe_modes=2 --set iterations=100",
    )(reconstruct)
    app.command(epilog="Example: hxn-ptycho queue --cancel 3fa9")(queue)
    app.command(epilog="Example: hxn-ptycho worker --idle-seconds 60")(worker)


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Told by their content: scan_ID.h5 of ptycho_gui; CXI; NumPy archives (.npz, "
            ".npz.bz2) with data (frames, DC at the corner), scan (y, x of each window's corner, "
            "object pixels) and perhaps probe.",
        ),
    ],
    energy_kev: Annotated[
        float | None, typer.Option(help="Photon energy, keV; unset: as the file says.")
    ] = None,
    distance_m: Annotated[
        float | None, typer.Option(help="From sample to detector, m; unset: as the file says.")
    ] = None,
    detector_pixel_um: Annotated[
        float | None, typer.Option(help="Side of a detector pixel, um; unset: as the file says.")
    ] = None,
    dc: Annotated[
        str | None,
        typer.Option(
            metavar="corner|centre",
            help="Where the direct beam is in a frame of an archive or a CXI file; unset: as the "
            "file says, else at the corner in an archive, in the middle in CXI.",
        ),
    ] = None,
    x_direction: Annotated[
        int, typer.Option(metavar="1|-1", help="ptycho_gui: as it is set there for this scan.")
    ] = -1,
    y_direction: Annotated[
        int, typer.Option(metavar="1|-1", help="ptycho_gui: as it is set there for this scan.")
    ] = -1,
    sample: Annotated[str | None, typer.Option(help="The sample's name.")] = None,
    json: Json = False,
) -> None:
    """Take scans from files into the catalog of raw runs."""
    imported = []
    with only_json(json):
        from ..catalog import open_catalog, start_document
        from ..importers import import_file

        given: dict[str, Any] = {
            "energy_kev": energy_kev,
            "distance_m": distance_m,
            "detector_pixel_um": detector_pixel_um,
            "dc": dc,
            "x_direction": x_direction,
            "y_direction": y_direction,
        }
        catalogs = open_catalog()
        md = {"sample": {"name": sample}} if sample else None
        for file in files:
            uid = import_file(file, catalogs=catalogs, md=md, **given)
            start = start_document(catalogs.raw, uid)
            imported.append(
                {
                    "uid": uid,
                    "scan_id": start["scan_id"],
                    "file": str(file),
                    "format": start["scan"]["format"],
                    "frames": start["num_points"],
                    "stored": start["scan"]["stored"],
                    "object_pixel_m": start["scan"]["object_pixel_m"],
                    "probe": "probe" in start["scan"],
                    "mask": "mask" in start["scan"],
                    "recipe": start.get("ptycho", {}),
                }
            )
    if json:
        print_json(imported)
        return
    for each in imported:
        pixel_y, pixel_x = (1e9 * side for side in each["object_pixel_m"])
        recipe = ", ".join(f"{key} = {value}" for key, value in each["recipe"].items())
        terminal().print(
            f"Scan {each['scan_id']}: {each['frames']} frames from {Path(each['file']).name} "
            f"({each['format']})\n"
            f"  uid            {each['uid']}\n"
            f"  object pixel   {pixel_y:.4g} x {pixel_x:.4g} nm (y, x)\n"
            f"  frames kept as {each['stored']}\n"
            f"  first probe    {'from the file' if each['probe'] else 'none in the file'}\n"
            + ("  mask           from the file\n" if each["mask"] else "")
            + (f"  recipe         {recipe}, as the file calls for\n" if recipe else "")
            + f"Next: hxn-ptycho reconstruct {each['scan_id']}",
            soft_wrap=True,
        )


def reconstruct(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            callback=run_argument,
            help="A uid (its first characters suffice), a scan id, or -1 for the last.",
        ),
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="A TOML file with [ptycho].")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe; may be repeated."),
    ] = None,
    ranks: Annotated[int | None, typer.Option(help="MPI ranks.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; unset: a GPU where one can be used.")
    ] = None,
    json: Json = False,
) -> None:
    """Reconstruct a scan now, and wait for the result."""
    with only_json(json):
        from ..watch import ProgressBar
        from ..worker import reconstruct as run_it

        texts = [*(assignments or [])]
        texts += [f"ranks={ranks}"] if ranks is not None else []
        texts += [f"device={device}"] if device is not None else []
        given = assigned(recipe, texts)
        with ProgressBar(side()) as bar:
            result = run_it(run, recipe=recipe, progress=bar, **given)
    if json:
        print_json(result.to_dict())
    else:
        from .results import details

        terminal().print(details(result, result.picture))


def queue(
    cancel: Annotated[
        str | None, typer.Option(metavar="JOB", help="Cancel this job (first characters suffice).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the jobs that ended long ago.")
    ] = False,
    json: Json = False,
) -> None:
    """List the jobs: queued, running, and the last that ended; or cancel one."""
    with only_json(json):
        from ..home import find_home
        from ..queue import Queue

        jobs = Queue(find_home())
        listed = [jobs.cancel(cancel)] if cancel else jobs.jobs()
        if not everything:
            ended = [job for job in listed if job.ended][-10:]
            listed = [job for job in listed if not job.ended or job in ended]
        serving = jobs.has_worker()
        process = jobs.serving()
    if json:
        print_json(
            {
                "worker": serving,
                "process": process and asdict(process),
                "jobs": [job.to_dict() for job in listed],
            }
        )
        return
    if listed:
        terminal().print(_jobs_table(listed))
    else:
        terminal().print("There is no job.")
    waiting = any(not job.ended for job in listed)
    if waiting and not serving:
        side().print("No worker is running. Start one: hxn-ptycho worker")
    elif waiting and process is not None and not process.is_here:
        side().print(f"The worker is {process}.", soft_wrap=True)


def _jobs_table(jobs: list[QueuedJob]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "scan", "raw", "state", "submitted", "ended", "reason"):
        table.add_column(name, overflow="fold")
    colours = {"done": "green", "failed": "red", "running": "cyan"}
    for job in jobs:
        colour = colours.get(job.state, "default")
        table.add_row(
            job.job_uid[:8],
            str(job.scan_id),
            job.raw_uid[:8],
            f"[{colour}]{job.state}[/]",
            when(job.submitted),
            when(job.finished),
            job.reason,
        )
    return table


def worker(
    idle_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="End after so long without a job; unset: as config.toml says."),
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="As a service: work until SIGTERM; see service.")
    ] = False,
) -> None:
    """Reconstruct what is queued, side by side where there is room, until idle for a while.

    The callback starts one by itself when none is running.
    """
    if stay and idle_seconds is not None:
        raise typer.BadParameter("--stay never ends for want of jobs: leave --idle-seconds out")
    from ..home import find_home
    from ..worker import Worker

    home = find_home().make()
    if home.is_group_shared:  # what this process makes is for the other accounts too
        os.umask(os.umask(0) & ~0o070)
    Worker(home).run(idle_seconds, stay=stay)
