"""A result, or a scan's frames, in the file formats of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..solver.job import ResultData
from .arrays import npy, tiff
from .cxi import cxi
from .files import ExportError, Writers, write_files
from .filling import Filling
from .hxn import hxn
from .scan import SCAN_FORMATS, PreparedScan, write_scan

__all__ = [
    "FORMATS",
    "SCAN_FORMATS",
    "ExportError",
    "Filling",
    "PreparedScan",
    "export",
    "write_scan",
]

FORMATS: dict[str, Callable[..., Writers]] = {"npy": npy, "tiff": tiff, "cxi": cxi, "hxn": hxn}


def export(
    result: ResultData,
    format: str,
    folder: str | os.PathLike[str],
    *,
    label: str = "t1",
    angle_deg: float = 0.0,
    detector_pixel_m: float = 55e-6,
    overwrite: bool = False,
) -> list[Path]:
    """Write a result for another program.

    ``npy``
        ``scan_<id>_object.npy`` (M_O, H, W), ``scan_<id>_probe.npy`` (M_P, n, n),
        ``scan_<id>_positions.npy`` (N, 2; pixels) and ``scan_<id>.json`` with pixel size,
        wavelength, errors and recipe.
    ``tiff``
        Phase (rad) and amplitude (transmission) of the object and of the probe modes, float32,
        one page a mode, row 0 at the top and columns to the right as seen along the beam, with the
        pixel size in the resolution tags.
    ``cxi``
        ``scan_<id>.cxi``: the object as ``/entry_1/image_1/data`` and the probe as
        ``/entry_1/image_1/process_1/final_illumination``, where readers of CXI files of
        ptychography look for them.
    ``hxn``
        ``recon_result/S<id>/<label>/recon_data/``, as the tools of the HXN beamline and the
        tomography program tomviz read it. There, arrays are turned by
        ``numpy.rot90(axes=(1, 0))``, so that axis 0 is x, and 15 pixels lie around the object.

    Parameters
    ----------
    result : ResultData
    format : {"npy", "tiff", "cxi", "hxn"}
    folder : path
        Made if it is not there.
    label : str
        For ``hxn``: the label ("sign") of the reconstruction.
    angle_deg : float
        For ``hxn``: the sample's rotation, which tomography needs.
    detector_pixel_m : float
        For ``hxn``: the detector's pixel. The distance written beside it is the one that gives
        the result's object pixel, ``z = pixel n detector_pixel / wavelength``.
    overwrite : bool
        Replace files that are there already.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ExportError
        For an unknown format, a file that is there already, a folder that cannot be written, or
        what the format cannot hold.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    options = {"label": label, "angle_deg": angle_deg, "detector_pixel_m": detector_pixel_m}
    return write_files(FORMATS[format](result, **options), folder, overwrite=overwrite)
