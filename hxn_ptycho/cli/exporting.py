"""The command export: results, and frames of raw runs, for other programs."""

from __future__ import annotations

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
    terminal,
)

if TYPE_CHECKING:
    from ..catalog import Catalogs
    from ..results import Result


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(
        context_settings=NEGATIVE_RUNS,
        epilog="Example: hxn-ptycho export -1 --format tiff pictures; "
        "hxn-ptycho export 34784 --format ptycho_gui . --set window=128",
    )(export)


def export(
    uid: Annotated[
        str,
        typer.Argument(
            metavar="UID",
            callback=run_argument,
            help="Of a result (its first characters suffice) or of its raw run; a scan id; -1: the "
            "last. A raw run's for the formats of frames.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="Of a result: npy, arrays; tiff, phase and amplitude; cxi; hxn, "
            "recon_result/S..., as the beamline's tools and tomviz read it. Of a raw run, its "
            "frames prepared as for a reconstruction: ptycho_gui, scan_ID.h5; cxi_frames; pynx, "
            "CXI with positions as PyNX has them.",
        ),
    ],
    label: Annotated[str, typer.Option(help="hxn: label of the reconstruction.")] = "t1",
    angle_deg: Annotated[
        float | None,
        typer.Option(
            help="hxn: rotation of the sample, for tomography; unset: as the raw run says."
        ),
    ] = None,
    detector_pixel_um: Annotated[
        float | None, typer.Option(help="hxn: detector pixel; unset: as the raw run says.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe", metavar="FILE", help="Formats of frames: a TOML file with [ptycho]."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Formats of frames: of the recipe; may be repeated."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
    json: Json = False,
) -> None:
    """Write a result, or a raw run's frames, for another program."""
    with only_json(json):
        from ..catalog import open_catalog
        from ..export import FORMATS, SCAN_FORMATS
        from ..export import export as write
        from .results import find_result

        if format not in (*FORMATS, *SCAN_FORMATS):
            raise typer.BadParameter(
                f"{format!r} is none of {', '.join(FORMATS)} (of a result), "
                f"{', '.join(SCAN_FORMATS)} (of a raw run)",
                param_hint="--format",
            )
        catalogs = open_catalog()
        if format in SCAN_FORMATS:
            written = _export_frames(
                catalogs, uid, format, folder, recipe, assignments or [], overwrite
            )
        else:
            result = find_result(catalogs, uid)
            options: dict[str, Any] = {"label": label, "overwrite": overwrite}
            if format == "hxn":
                options |= _of_the_raw_run(catalogs, result, angle_deg, detector_pixel_um)
            written = write(result.data, format, folder, **options)
    if json:
        print_json([str(path) for path in written])
        return
    for path in written:
        terminal().print(short(path), soft_wrap=True)


def _export_frames(
    catalogs: Catalogs,
    run: str,
    format: str,
    folder: Path,
    file: Path | None,
    assignments: list[str],
    overwrite: bool,
) -> list[Path]:
    """Write a raw run's frames, by its own recipe with what is given in place of it."""
    from ..catalog import find_run, start_document
    from ..export_scan import export_scan
    from ..prepare import override
    from ..recipe import Recipe

    uid = find_run(catalogs.raw, run, derived=False)
    recipe = Recipe.from_toml(file) if file else Recipe()
    recipe = override(recipe, start_document(catalogs.raw, uid)).assign(assignments)
    return export_scan(uid, format, folder, catalogs=catalogs, recipe=recipe, overwrite=overwrite)


def _of_the_raw_run(
    catalogs: Catalogs, result: Result, angle_deg: float | None, detector_pixel_um: float | None
) -> dict[str, float]:
    """Return what the folders of HXN need and a result has not, as given or as the raw run says."""
    from ..beamline import read_scan, rotation_deg

    if angle_deg is None:
        angle_deg = rotation_deg(catalogs.raw, result.raw_uid, home=catalogs.home)
    if angle_deg is None:
        angle_deg = 0.0
        side().print(
            f"The rotation of scan {result.scan_id} is not known: 0 is written; for tomography, "
            "give --angle-deg",
            soft_wrap=True,
        )
    if detector_pixel_um is not None:
        pixel = detector_pixel_um * 1e-6
    else:
        pixel = read_scan(catalogs.raw, result.raw_uid, recipe=result.recipe).detector_pixel_m[1]
    return {"angle_deg": angle_deg, "detector_pixel_m": pixel}
